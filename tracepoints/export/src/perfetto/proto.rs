//! Generated from `proto/perfetto.proto`.
#![allow(clippy::all, missing_docs)]
tonic::include_proto!("perfetto.protos");
