//! Connections to gRPC servers.
use std::time::Duration;

use security::{SecurityManager, causes};
use tonic::transport::Channel;

use crate::{Error, Result};

/// Time to connect, and to answer a question about the leader.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(3));

/// Connects to `host`; also returns the runtime that drives the connection.
pub fn connect(host: &str, security: &SecurityManager) -> Result<(tokio::runtime::Runtime, Channel)> {
    let endpoint = security.endpoint(host).map_err(|e| Error::other(format!("--host {host}: {e}")))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::other(format!("cannot start a runtime: {e}")))?;
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE.0)
        .keep_alive_timeout(KEEPALIVE.1);
    let channel = runtime.block_on(endpoint.connect()).map_err(|e| {
        let (why, hint) = (causes(&e), security.hint());
        Error::other(format!(
            "--host {host}: cannot connect: {why}; check that the server runs, and give the address of its --addr{hint}"
        ))
    })?;
    Ok((runtime, channel))
}
