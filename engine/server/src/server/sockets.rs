//! The sockets of a store, bound before its data is opened, and the addresses that other programs get.
use std::net::{SocketAddr, TcpListener};

use crate::{
    config::TikvConfig,
    error::StartError,
    grpc::{Http2Options, bind},
};

/// Bound sockets.
pub(super) struct Sockets {
    pub grpc: TcpListener,
    pub status: Option<TcpListener>,
    pub addr: SocketAddr,
    pub status_addr: Option<SocketAddr>,
    /// The address of gRPC that other programs get from PD.
    pub advertise_addr: String,
    /// The address of the status server that other programs get from PD; empty if there is none.
    pub advertise_status_addr: String,
}

impl Sockets {
    /// Binds the sockets of the configuration.
    pub fn bind(config: &TikvConfig) -> Result<Sockets, StartError> {
        let server = &config.server;
        let grpc = bind("gRPC server", "--addr", &server.addr)?;
        let status = match server.status_addr.as_str() {
            "" => None,
            addr => Some(bind("status server", "--status-addr", addr)?),
        };
        let io = |e| StartError::threads("the gRPC server", e);
        let addr = grpc.local_addr().map_err(io)?;
        let status_addr = status.as_ref().map(|l| l.local_addr()).transpose().map_err(io)?;
        Ok(Sockets {
            advertise_addr: advertised(&server.advertise_addr, &server.addr, Some(addr)),
            advertise_status_addr: advertised(
                &server.advertise_status_addr,
                &server.status_addr,
                status_addr,
            ),
            grpc,
            status,
            addr,
            status_addr,
        })
    }
}

/// Returns the announced address: the configured one, else the address of the listener with the port it got.
fn advertised(given: &str, configured: &str, taken: Option<SocketAddr>) -> String {
    match (given, taken, configured.rsplit_once(':')) {
        (given, _, _) if !given.is_empty() => given.to_owned(),
        (_, Some(taken), Some((host, _))) => format!("{host}:{}", taken.port()),
        _ => String::new(),
    }
}

pub(super) fn http2(config: &TikvConfig) -> Http2Options {
    let window = config.server.grpc_stream_initial_window_size.0.clamp(65_535, 1 << 30) as u32;
    Http2Options {
        concurrent_streams: config.server.grpc_concurrent_stream,
        stream_window: window,
        connection_window: window.saturating_mul(4).min((1 << 31) - 1),
        keepalive_time: config.server.grpc_keepalive_time.0,
        keepalive_timeout: config.server.grpc_keepalive_timeout.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_announced_port_is_the_real_one() {
        let taken: SocketAddr = "127.0.0.1:4321".parse().unwrap();
        assert_eq!(advertised("", "localhost:0", Some(taken)), "localhost:4321");
        assert_eq!(advertised("db1:20160", "0.0.0.0:20160", Some(taken)), "db1:20160");
        assert_eq!(advertised("", "", None), "");
    }
}
