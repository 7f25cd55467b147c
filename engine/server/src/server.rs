//! One store of a cluster (TiKV `components/server/src/server.rs`): sockets, data, membership, RaftStore and services
//! start in this order.
mod data;
mod handle;
mod member;
mod raft;
mod services;
mod sockets;
mod start;

use std::thread;

use crate::{config::TikvConfig, error::StartError};

pub use handle::ServerHandle;
pub use start::StartOptions;

/// Starts stores.
pub struct TikvServer;

impl TikvServer {
    /// Starts one store and returns when it serves. Blocks; may be called within a runtime.
    ///
    /// # Errors
    /// The obstacle and its remedy; nothing runs then.
    pub fn start(config: TikvConfig, options: StartOptions) -> Result<ServerHandle, StartError> {
        let started = thread::scope(|scope| {
            let starter = thread::Builder::new().name("tikv-server-start".into());
            let starter = starter.spawn_scoped(scope, move || start::start(config, options));
            starter.map(|s| s.join()).map_err(|e| StartError::threads("the thread that starts a store", e))
        })?;
        started.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
