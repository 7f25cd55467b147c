//! Addresses of servers, and the errors of connections to them.
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use security::SecurityManager;
use tonic::transport::Endpoint;

/// Timeout for the server's answers and keep-alives.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Parses a server's address and prepares a connection.
pub(crate) fn endpoint(address: &str, security: &SecurityManager) -> Result<Endpoint> {
    let expected = || format!("expected HOST:PORT, the --addr of a tikv-server, found `{address}`");
    let bare = address.split_once("://").map_or(address, |(_, bare)| bare);
    let Some((host, port)) = bare.rsplit_once(':') else { bail!(expected()) };
    if host.is_empty() || port.parse::<u16>().is_err() {
        bail!(expected());
    }
    let endpoint = security.endpoint(bare).with_context(expected)?;
    Ok(endpoint.connect_timeout(TIMEOUT).keep_alive_while_idle(true).http2_keep_alive_interval(TIMEOUT))
}

/// The error for a refused subscription.
pub(super) fn refused(server: &str, status: &tonic::Status, hint: &str) -> anyhow::Error {
    match status.code() {
        tonic::Code::Unimplemented => anyhow::anyhow!(
            "expected a tikv-server of this project at {server}, found a server without TraceControl (TiKV itself cannot be stepped)"
        ),
        tonic::Code::ResourceExhausted | tonic::Code::InvalidArgument | tonic::Code::NotFound => {
            anyhow::anyhow!("{server} refused the subscription: {}", status.message())
        }
        _ => anyhow::anyhow!("{}: {}{hint}", no_answer(server), status.message()),
    }
}

/// The error for a failed connection to `server`.
pub(crate) fn unreachable(server: &str, error: &tonic::transport::Error, hint: &str) -> anyhow::Error {
    anyhow::anyhow!("{}: {}{hint}", no_answer(server), security::causes(error))
}

fn no_answer(server: &str) -> String {
    format!(
        "no tikv-server answers at {server}: check that it is running and that this is its --addr, not --status-addr"
    )
}

/// The error for a connection that ended.
pub(super) fn gone(server: &str, status: &tonic::Status) -> anyhow::Error {
    anyhow::anyhow!("lost the connection to {server}: {}; the steps so far stay readable", status.message())
}
