//! TLS connections between a server and clients of this crate.
use std::{
    collections::BTreeSet,
    io::{Read, Write},
    path::PathBuf,
};

use security::{Clients, SecurityConfig, SecurityManager, Use};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn data(name: &str) -> PathBuf {
    std::path::absolute("tests/data").unwrap().join(name)
}

fn config(authority: &str, who: &str) -> SecurityConfig {
    let [ca, cert, key] =
        [format!("{authority}.pem"), format!("{who}.pem"), format!("{who}-key.pem")].map(|name| data(&name));
    SecurityConfig::from_paths(Some(&ca), Some(&cert), Some(&key))
}

fn manager(authority: &str, who: &str) -> SecurityManager {
    SecurityManager::new(config(authority, who)).unwrap()
}

/// Returns the text that a client reads from a server, which greets each client it accepts, and the server's
/// verdict on the client.
fn talk(
    server: SecurityConfig,
    serves: Use,
    client: &SecurityManager,
) -> (Result<String, String>, Result<Clients, String>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let acceptor = SecurityManager::new(server).unwrap().acceptor(serves).unwrap().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let served = runtime.spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (mut stream, clients) = acceptor.accept(stream).await.map_err(|e| e.to_string())?;
        let mut byte = [0];
        stream.read_exact(&mut byte).await.map_err(|e| e.to_string())?;
        stream.write_all(b"welcome").await.map_err(|e| e.to_string())?;
        stream.shutdown().await.map_err(|e| e.to_string())?;
        Ok(clients)
    });
    let exchange = || -> Result<String, Box<dyn std::error::Error>> {
        let tcp = std::net::TcpStream::connect(address)?;
        tcp.set_read_timeout(Some(std::time::Duration::from_secs(10)))?;
        let mut stream = client.wrap(tcp, &address.to_string())?;
        stream.write_all(b"?")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let read = exchange().map_err(|e| e.to_string());
    let served =
        runtime.block_on(async { tokio::time::timeout(std::time::Duration::from_secs(10), served).await });
    (read, served.expect("the server ends").unwrap())
}

#[test]
fn both_sides_must_be_of_one_authority() {
    let (read, served) = talk(config("ca", "server"), Use::Http, &manager("ca", "client"));
    assert_eq!((read.as_deref(), served), (Ok("welcome"), Ok(Clients::Allowed)));
    // A gRPC port does not speak HTTP/1.1, and the handshake says so.
    let (read, _) = talk(config("ca", "server"), Use::Grpc, &manager("ca", "client"));
    assert!(read.unwrap_err().contains("NoApplicationProtocol"));
    // The client does not trust the server's authority.
    let (read, served) = talk(config("ca", "server"), Use::Http, &manager("stranger", "client"));
    assert!(read.unwrap_err().contains("UnknownIssuer") && served.is_err());
    // The server does not trust the client's authority.
    let mut stranger = config("stranger", "stranger");
    stranger.ca_path = config("ca", "server").ca_path;
    let stranger = SecurityManager::new(stranger).unwrap();
    let mut asks = config("ca", "server");
    asks.cert_allowed_cn.insert("stranger".into());
    assert!(talk(asks, Use::Http, &stranger).1.is_err());
    // The status server asks for a certificate only if names are restricted.
    assert_eq!(talk(config("ca", "server"), Use::Http, &stranger).0.unwrap(), "welcome");
    let (read, served) = talk(config("ca", "server"), Use::Http, &SecurityManager::default());
    assert!(read.as_deref() != Ok("welcome") && served.is_err(), "plain text is no handshake");
}

#[test]
fn names_decide_who_may_call() {
    let only = |names: &[&str], others: &[&str]| {
        let set = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let mut server = config("ca", "server");
        (server.cert_allowed_cn, server.cert_allowed_san) = (set(names), set(others));
        talk(server, Use::Http, &manager("ca", "client")).1.unwrap()
    };
    assert_eq!(only(&["client", "tidb"], &[]), Clients::Allowed);
    assert_eq!(only(&[], &["client.example"]), Clients::Allowed);
    assert_eq!(only(&["client"], &["client.example"]), Clients::Allowed);
    let Clients::Forbidden(peer) = only(&["tidb"], &[]) else { panic!("expected a refusal") };
    assert_eq!(peer.common_name.as_deref(), Some("client"));
    assert_eq!(peer.alternative_names, ["client.example"]);
    assert!(matches!(only(&["client"], &["127.0.0.1"]), Clients::Forbidden(_)));
}

#[test]
fn a_silent_client_delays_no_other_connection() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let acceptor = manager("ca", "server").acceptor(Use::Http).unwrap().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let mut ready = runtime.block_on(async { acceptor.accept_all(listener, "test") });
    // A handshake may take 10 s, and this client never begins one.
    let _silent = std::net::TcpStream::connect(address).unwrap();
    let tcp = std::net::TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    let mut stream = manager("ca", "client").wrap(tcp, &address.to_string()).unwrap();
    stream.write_all(b"?").unwrap();
    let limit = std::time::Duration::from_secs(5);
    let next = runtime.block_on(async { tokio::time::timeout(limit, ready.recv()).await });
    let (_, clients) = next.expect("the second client's handshake ends first").expect("a connection");
    assert_eq!(clients, Clients::Allowed);
    drop(ready);
    let is_closed = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        std::net::TcpStream::connect(address).is_err()
    });
    assert!(is_closed, "the port closes with the receiver");
}

#[test]
fn files_of_the_wrong_kind_are_named() {
    let why = |config: SecurityConfig| SecurityManager::new(config).unwrap_err().to_string();
    let mut missing = config("ca", "server");
    missing.key_path.clear();
    assert!(why(missing).contains("key-path is missing"));
    let mut absent = config("ca", "server");
    absent.ca_path = "/does/not/exist.pem".into();
    assert!(why(absent).contains("/does/not/exist.pem"));
    let mut swapped = config("ca", "server");
    swapped.key_path = swapped.cert_path.clone();
    assert!(why(swapped).contains("expected a private key"));
    let mut other = config("ca", "server");
    other.key_path = config("ca", "client").key_path;
    assert!(why(other).contains("do not go together"));
    let plain = SecurityManager::default();
    assert!(plain.endpoint("https://a:1").unwrap_err().to_string().contains("no certificate"));
}

#[test]
fn a_renewed_certificate_is_taken_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let copy = |from: &str| {
        for (from, to) in [(format!("{from}.pem"), "cert.pem"), (format!("{from}-key.pem"), "key.pem")] {
            std::fs::write(dir.path().join(to), std::fs::read(data(&from)).unwrap()).unwrap();
        }
    };
    copy("client");
    let (ca, cert, key) = (data("ca.pem"), dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let server = SecurityConfig::from_paths(Some(&ca), Some(&cert), Some(&key));
    let acceptor = SecurityManager::new(server).unwrap().acceptor(Use::Http).unwrap().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok((mut stream, _)) = acceptor.accept(stream).await {
                let _ = stream.write_all(b"welcome").await;
                let _ = stream.shutdown().await;
            }
        }
    });
    let greets = || {
        let mut stream =
            manager("ca", "client").wrap(std::net::TcpStream::connect(&address).unwrap(), &address).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).map(|_| text)
    };
    assert!(greets().is_err(), "the client's certificate does not name this host");
    copy("server");
    assert_eq!(greets().unwrap(), "welcome");
}
