//! A TiKV-like store as a server: node assembly, gRPC services, Raft transport, status server, configuration.
//!
//! Mirrors tikv/tikv `src/server` and `components/server`. [`TikvServer::start`] runs one store; several may
//! run in one process, each with threads of its own.
#![warn(missing_docs)]

pub mod bridge;
pub mod config;
mod connection;
mod coprocessor_v2;
pub mod data_dir;
mod error;
mod gc_worker;
pub mod grpc;
mod health_reporter;
pub mod heap;
mod limit;
mod local_stores;
mod lock_manager;
pub mod logger;
mod metrics;
pub mod net_faults;
mod node;
mod pd_worker;
mod raft_client;
mod raftkv;
mod replica_read;
mod request_source;
mod resolve;
mod runtime;
mod server;
pub mod service;
mod slow_log;
mod slow_score;
mod snap;
mod status;
mod trace;
mod tso;
mod ttl;

pub use config::TikvConfig;
pub use coprocessor_v2::{PluginRegistrationError, PluginRegistry};
pub use error::{StartError, format_error_chain};
pub use metrics::Metrics;
pub use net_faults::{MessageFate, NetFaults};
pub use raftkv::RaftKv;
pub use runtime::ThreadsError;
pub use server::{ServerHandle, StartOptions, TikvServer};

/// The transaction layer over this server's engine.
pub type Storage = storage::Storage<RaftKv>;
