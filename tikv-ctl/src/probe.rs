//! Identifies the server at an address that did not answer as expected: its gRPC and HTTP addresses are often
//! confused.
use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

use kvproto::debugpb::{GetStoreInfoRequest, debug_client::DebugClient};
use security::SecurityManager;
use serde_json::Value;

use crate::grpc;

/// Timeout of a probe.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Maximum size of a configuration, in bytes.
const MAX_REPLY: u64 = 4 << 20;

/// Returns advice if `host`, which was called by gRPC, answers HTTP; none if it does not.
pub fn is_status_address(host: &str, security: &SecurityManager) -> Option<String> {
    let reply = get(host, "/config", security)?;
    let text = String::from_utf8_lossy(&reply);
    if !text.starts_with("HTTP/1.") {
        return None;
    }
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let config = body.find('{').and_then(|at| {
        let mut values = serde_json::Deserializer::from_str(&body[at..]).into_iter::<Value>();
        values.next()?.ok()
    });
    let address = config.as_ref().and_then(|config| {
        // A configuration with port 0 does not contain the port that the system chose.
        let usable = |address: &&str| !address.is_empty() && !address.ends_with(":0");
        let of = |name: &str| config["server"][name].as_str().filter(usable);
        of("advertise-addr").or(of("addr"))
    });
    let is_server = config.as_ref().is_some_and(|config| config["server"].is_object());
    Some(match address {
        Some(address) => {
            format!("{host} is the status address of a server: give its gRPC address, {address}")
        }
        None if is_server => {
            format!("{host} is the status address of a server: give its gRPC address, the one of its --addr")
        }
        None => format!(
            "{host} answers HTTP like a status address: give the server's gRPC address, the one of its --addr"
        ),
    })
}

fn get(host: &str, path: &str, security: &SecurityManager) -> Option<Vec<u8>> {
    let address = host.to_socket_addrs().ok()?.next()?;
    let stream = TcpStream::connect_timeout(&address, TIMEOUT).ok()?;
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    let mut stream = security.wrap(stream, host).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").ok()?;
    let mut reply = Vec::new();
    // Bytes received before the timeout are enough.
    let _ = read_reply(&mut stream, MAX_REPLY, TIMEOUT, &mut reply);
    Some(reply)
}

/// Reads a reply up to its end or to `max` bytes, for `limit` at most: a stream's own timeout bounds one read.
pub fn read_reply(from: &mut impl Read, max: u64, limit: Duration, reply: &mut Vec<u8>) -> io::Result<()> {
    let end = Instant::now() + limit;
    let mut part = vec![0; 64 << 10];
    while (reply.len() as u64) < max {
        match from.read(&mut part) {
            Ok(0) => return Ok(()),
            Ok(n) => reply.extend_from_slice(&part[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        if Instant::now() >= end {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    Ok(())
}

/// Returns a description if `host` answers gRPC as a TiKV server does; none if it does not.
pub fn is_grpc_address(host: &str, security: &SecurityManager) -> Option<String> {
    let (runtime, channel) = grpc::connect(host, security).ok()?;
    let mut client = DebugClient::new(channel);
    let asked = async { tokio::time::timeout(TIMEOUT, client.get_store_info(GetStoreInfoRequest {})).await };
    let store = runtime.block_on(asked).ok()?.ok()?.into_inner().store_id;
    Some(format!("{host} is the gRPC address of store {store} (its --addr)"))
}
