//! HTTP/1.1 GET for the status server: one request per connection.
use std::{
    io::{self, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use security::SecurityManager;

use crate::{
    Error, Result,
    probe::{is_grpc_address, read_reply},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum size of a reply, in bytes.
const MAX_REPLY: u64 = 1 << 30;

/// Fetches `path` from the server at `host` (`HOST:PORT`) and returns the body; the reply must arrive within
/// `timeout`.
pub fn get(
    host: &str,
    path: &str,
    headers: &[(&str, &str)],
    timeout: Duration,
    security: &SecurityManager,
) -> Result<Vec<u8>> {
    let fail = |what: String| Error::other(format!("{}://{host}{path}: {what}", security.scheme()));
    let address = host
        .to_socket_addrs()
        .map_err(|e| fail(format!("expected HOST:PORT of a status server: {e}")))?
        .next()
        .ok_or_else(|| {
            fail("expected a host name that resolves to an address, found one without an address".to_owned())
        })?;
    let stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).map_err(|e| {
        fail(format!("cannot connect: {e}; give the address that the server's --status-addr names"))
    })?;
    stream.set_read_timeout(Some(timeout)).map_err(|e| fail(e.to_string()))?;
    let mut stream = security.wrap(stream, host).map_err(|e| fail(e.to_string()))?;
    let mut reply = Vec::new();
    let mut exchange = || {
        let extra: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{extra}\r\n")?;
        read_reply(&mut stream, MAX_REPLY, timeout, &mut reply)
    };
    let exchanged = exchange().map_err(|e| match e.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!(
                "expected a whole reply within {timeout:?}, found {} bytes of one: try again",
                reply.len()
            )
        }
        _ => format!("the server closed the connection: {e}; give the address of its --status-addr"),
    });
    let parsed = exchanged.and_then(|()| parse(&reply));
    parsed.map_err(|what| {
        // A gRPC server closes the connection on HTTP/1.1, or replies in HTTP/2.
        let grpc = if reply.starts_with(b"HTTP/1.") { None } else { is_grpc_address(host, security) };
        match grpc {
            Some(grpc) => fail(format!("{grpc}: give its status address, which its --status-addr names")),
            None => fail(what),
        }
    })
}

const TRUNCATED: &str = "expected a whole reply, found a part of one: try again";

/// Returns the body of a complete reply.
fn parse(reply: &[u8]) -> std::result::Result<Vec<u8>, String> {
    let end = reply
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .ok_or("expected an HTTP/1.1 reply, found another one or a truncated one: give the address of the server's --status-addr")?;
    let head = String::from_utf8_lossy(&reply[..end]).into_owned();
    let rest = &reply[end + 4..];
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    let code: u16 = status
        .strip_prefix("HTTP/1.")
        .and_then(|s| s.split(' ').nth(1))
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| {
            format!(
                "expected an HTTP/1.1 reply, found {status:?}: give the address of the server's --status-addr"
            )
        })?;
    let header = |name: &str| {
        let found = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        found.filter(|(n, _)| n.trim().eq_ignore_ascii_case(name)).map(|(_, v)| v.trim().to_owned()).next()
    };
    let body = if header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        unchunk(rest).ok_or(TRUNCATED)?
    } else {
        let len = header("content-length").and_then(|v| v.parse().ok()).unwrap_or(rest.len());
        rest.get(..len).ok_or(TRUNCATED)?.to_vec()
    };
    if code != 200 {
        let text: String = String::from_utf8_lossy(&body).chars().take(200).collect();
        return Err(format!("answered {code}: {}", text.trim()));
    }
    Ok(body)
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|w| w == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_without_an_end_is_refused() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let host = server.local_addr().unwrap().to_string();
        let slow = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\n");
            for _ in 0..500 {
                if sent.is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
                sent = stream.write_all(b"x");
            }
        });
        let limit = Duration::from_millis(200);
        let error = get(&host, "/", &[], limit, &SecurityManager::default()).unwrap_err().to_string();
        assert!(error.contains("expected a whole reply within 200ms"), "{error}");
        slow.join().unwrap();
    }

    #[test]
    fn replies_parse_whole_or_not_at_all() {
        let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(parse(plain).unwrap(), b"abc");
        assert!(parse(&plain[..plain.len() - 1]).is_err());
        let chunked =
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n";
        assert_eq!(parse(chunked).unwrap(), b"abc");
        assert!(parse(&chunked[..chunked.len() - 8]).is_err());
        let failed = b"HTTP/1.1 500 Internal\r\n\r\nAlready in CPU Profiling";
        assert_eq!(parse(failed).unwrap_err(), "answered 500: Already in CPU Profiling");
        assert!(parse(b"\x00\x00 grpc").is_err());
    }
}
