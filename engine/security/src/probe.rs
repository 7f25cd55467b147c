//! Detects which kind of server listens at an address, for errors such as a status address given for gRPC.
//!
//! One HTTP/1.1 request distinguishes them. PD answers it. A status server answers with an error. The gRPC
//! server of a store answers with frames of HTTP/2 or, over TLS, agrees on no protocol.
use std::{
    fmt,
    io::{Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use crate::SecurityManager;

/// Time limit for the connection and for the answer.
const WAIT: Duration = Duration::from_secs(2);
/// First bytes of TLS records: alert, handshake.
const TLS_RECORDS: [u8; 2] = [21, 22];
/// Types of the HTTP/2 frames that a server sends first: SETTINGS, GOAWAY.
const H2_FRAMES: [u8; 2] = [4, 7];

/// The kind of server at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// gRPC of a store (or of another program).
    Grpc,
    /// HTTP of a status server (or of another program).
    Status,
    /// PD: gRPC and HTTP on one port.
    Pd,
    /// A server with TLS that was contacted without it.
    Tls,
    /// A server without TLS that was contacted with it.
    Plain,
    /// No server, or one that does not answer.
    Unknown,
}

impl fmt::Display for Serves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Serves::Grpc => "a gRPC server, such as a store's (tikv-server --addr, port 20160 by default)",
            Serves::Status => {
                "an HTTP server, such as a store's status server (tikv-server --status-addr, port 20180 by default)"
            }
            Serves::Pd => "PD (port 2379 by default)",
            Serves::Tls => "a server with TLS; give --ca-path, --cert-path and --key-path",
            Serves::Plain => "a server without TLS; leave --ca-path, --cert-path and --key-path out",
            Serves::Unknown => "no server that answers gRPC or HTTP",
        })
    }
}

impl Serves {
    /// Asks the server at `address`, `HOST:PORT`. Blocks for a few seconds at most.
    pub fn probe(address: &str, security: &SecurityManager) -> Serves {
        ask(address, security).unwrap_or(Serves::Unknown)
    }

    /// For a call to `address` that failed: names the server there if it is not of the kind `expected`.
    pub fn explain(expected: Serves, address: &str, security: &SecurityManager) -> Option<String> {
        match Serves::probe(address, security) {
            // PD answers both; the caller reports that no server is there.
            found if found == expected || found == Serves::Unknown => None,
            found => Some(format!("expected {expected} at {address}, found {found}")),
        }
    }
}

fn ask(address: &str, security: &SecurityManager) -> Option<Serves> {
    let address = address.split_once("://").map_or(address, |(_, rest)| rest).trim_end_matches('/');
    let mut addrs = address.to_socket_addrs().ok()?;
    let stream = addrs.find_map(|addr| TcpStream::connect_timeout(&addr, WAIT).ok())?;
    stream.set_read_timeout(Some(WAIT)).ok()?;
    stream.set_write_timeout(Some(WAIT)).ok()?;
    let mut connection = security.wrap(stream, address).ok()?;
    let request = format!("GET /pd/api/v1/version HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    if let Err(e) = connection.write_all(request.as_bytes()).and_then(|()| connection.flush()) {
        return security.is_tls().then(|| classify_tls_error(&e.to_string()));
    }
    let mut answer = Vec::new();
    let mut part = [0; 256];
    // The first line of an answer, or the first frame.
    while answer.len() < 16 {
        match connection.read(&mut part) {
            Ok(0) => break,
            Ok(n) => answer.extend_from_slice(&part[..n]),
            Err(e) if answer.is_empty() && security.is_tls() => {
                return Some(classify_tls_error(&e.to_string()));
            }
            Err(_) => break,
        }
    }
    Some(classify_answer(&answer))
}

fn classify_answer(answer: &[u8]) -> Serves {
    match answer {
        // "HTTP/1.1 200"
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', _, b' ', b'2', ..] => Serves::Pd,
        [b'H', b'T', b'T', b'P', b'/', b'1', ..] => Serves::Status,
        [kind, 3, ..] if TLS_RECORDS.contains(kind) => Serves::Tls,
        [_, _, _, kind, ..] if H2_FRAMES.contains(kind) => Serves::Grpc,
        _ => Serves::Unknown,
    }
}

/// A gRPC server offers only h2, which a client of HTTP/1.1 cannot accept. A
/// server without TLS sends no TLS record.
fn classify_tls_error(text: &str) -> Serves {
    let text = text.to_lowercase();
    if text.contains("applicationprotocol") || text.contains("application protocol") {
        Serves::Grpc
    } else if text.contains("corrupt message") || text.contains("invalidcontenttype") {
        Serves::Plain
    } else {
        Serves::Unknown
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Starts a server that answers one connection with these bytes, after it has read something.
    fn server(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 512]);
            let _ = stream.write_all(answer);
        });
        address
    }

    #[test]
    fn servers_are_recognised_by_their_first_bytes() {
        let plain = SecurityManager::default();
        for (answer, expected) in [
            (&b"HTTP/1.1 200 OK\r\n\r\n{}"[..], Serves::Pd),
            (b"HTTP/1.1 404 Not Found\r\n\r\n", Serves::Status),
            (b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80\0\x04", Serves::Grpc),
            (b"\x15\x03\x01\0\x02\x02\x16", Serves::Tls),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Serves::Unknown),
            (b"", Serves::Unknown),
        ] {
            assert_eq!(Serves::probe(&server(answer), &plain), expected, "{}", answer.escape_ascii());
        }
        assert_eq!(Serves::probe("nowhere", &plain), Serves::Unknown);
    }

    #[test]
    fn only_an_unexpected_server_is_named() {
        let plain = SecurityManager::default();
        let status = || server(b"HTTP/1.1 404 Not Found\r\n\r\n");
        assert_eq!(Serves::explain(Serves::Status, &status(), &plain), None);
        let address = status();
        let text = Serves::explain(Serves::Grpc, &address, &plain).unwrap();
        assert!(
            text.contains(&address) && text.contains("--addr") && text.contains("--status-addr"),
            "{text}"
        );
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        assert_eq!(Serves::explain(Serves::Grpc, &free, &plain), None, "no server is there");
    }
}
