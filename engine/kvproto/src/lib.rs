//! The wire format: messages and services with kvproto's package names, field names and field numbers
//! (pingcap/kvproto b6cdca1), the messages of etcd that PD serves ([`etcdserverpb`], [`mvccpb`]), gRPC's health
//! checks ([`grpc_health`]), and our own [`tracecontrol`]. All are generated from `proto/*.proto`.
//!
//! `bytes` fields are `Vec<u8>`. prost drops unknown fields: forward a message as bytes to keep them.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod ext;
pub mod reflect;

macro_rules! packages {
    ($($name:ident),+ $(,)?) => {
        $(
            #[allow(clippy::all, rustdoc::all)]
            #[allow(missing_docs, reason = "generated; the comments are those of the .proto file")]
            pub mod $name {
                include!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".rs"));
            }
        )+
    };
}

packages!(
    apipb,
    coprocessor,
    deadlock,
    debugpb,
    disk_usage,
    encryptionpb,
    enginepb,
    eraftpb,
    errorpb,
    etcdserverpb,
    import_sstpb,
    keyspacepb,
    kvrpcpb,
    meta_storagepb,
    metapb,
    mvccpb,
    pdpb,
    raft_cmdpb,
    raft_serverpb,
    replication_modepb,
    resource_manager,
    tikvpb,
    tracecontrol,
    tracepb,
);

/// gRPC's health checks, of the package `grpc.health.v1`.
#[allow(clippy::all, rustdoc::all)]
#[allow(missing_docs, reason = "generated; the comments are those of the .proto file")]
pub mod grpc_health {
    include!(concat!(env!("OUT_DIR"), "/grpc.health.v1.rs"));
}
