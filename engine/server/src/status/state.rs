//! The state that the handlers share.
use std::sync::Arc;

use axum::extract::State;
use raftstore::RaftRouter;

use crate::{
    config::{Cli, ConfigController},
    grpc::GrpcServiceManager,
    metrics::Metrics,
};

/// The state that the status server shows.
pub struct Status {
    pub store_id: u64,
    pub metrics: Metrics,
    /// The configuration in effect; online changes go through it.
    pub config: Arc<ConfigController>,
    /// The command line of the configuration; none in a program that embeds the store.
    pub cli: Option<Cli>,
    pub router: RaftRouter,
    pub grpc: GrpcServiceManager,
}

/// The state as an argument of a handler.
pub type Shared = State<Arc<Status>>;
