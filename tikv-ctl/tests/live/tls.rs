//! A cluster that speaks only TLS.
use std::io::{Read, Write};

use security::{SecurityConfig, SecurityManager};

use crate::{
    cluster::{Cluster, certificate, security},
    common::ctl,
};

/// Runs the tool with the certificate of `who`.
fn secure(who: &str, args: &[&str]) -> (u8, String, String) {
    let path = |name: String| certificate(&name).to_str().unwrap().to_owned();
    let (ca, cert, key) = (path("ca.pem".into()), path(format!("{who}.pem")), path(format!("{who}-key.pem")));
    ctl(&[args, &["--ca-path", &ca, "--cert-path", &cert, "--key-path", &key]].concat())
}

/// Returns the status line of a GET of the status server.
fn get(cluster: &Cluster, security: &SecurityConfig, path: &str) -> String {
    let address = cluster.stores[0].status_addr().unwrap();
    let tcp = std::net::TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let mut stream = SecurityManager::new(security.clone()).unwrap().wrap(tcp, &address.to_string()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n").unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    String::from_utf8_lossy(&reply).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn all_parts_of_a_cluster_speak_tls() {
    let cluster = Cluster::start(3, security("server"));
    cluster.write(&[(b"a", Some(b"1")), (b"m", Some(b"2"))]);
    assert_eq!(cluster.read(b"a").as_deref(), Some(&b"1"[..]));
    let (host, pd) = (cluster.host(), cluster.pd());
    cluster.until("three replicas", || {
        let (_, out, _) = secure("client", &["--host", &host, "region", "--format", "json"]);
        // The output lists the leader in addition to the three peers.
        out.matches("\"role\": \"Voter\"").count() == 4
    });
    let (code, out, err) = secure("client", &["--host", &host, "store"]);
    assert_eq!((code, out.starts_with("store id: ")), (0, true), "{out}{err}");
    let (code, out, err) = secure("client", &["--pd", &pd, "split-region", "-r", "2", "-k", "k"]);
    assert!(code == 0 && out.contains("success"), "{out}{err}");
    assert_eq!(cluster.read(b"m").as_deref(), Some(&b"2"[..]));
    assert_eq!(get(&cluster, &security("client"), "/status"), "HTTP/1.1 200 OK");
    let status = cluster.stores[0].status_addr().unwrap().to_string();
    // The server of --host has its status address in PD.
    for from in [&["--status", &status][..], &["--host", &host, "--pd", &pd]] {
        let profile = [&["flamegraph", "--seconds", "1", "--folded"], from].concat();
        let (code, _, err) = secure("client", &profile);
        assert_eq!(code, 0, "{err}");
    }

    // Without TLS, with a foreign authority, with only one of the three flags.
    let (code, out, err) = ctl(&["--host", &host, "store"]);
    assert!(code != 0 && format!("{out}{err}").contains("--ca-path"), "{code} {out}{err}");
    let (code, _, err) = ctl(&["--pd", &pd, "split-region", "-r", "2", "-k", "x"]);
    assert!(code == 1 && !err.is_empty(), "{code} {err}");
    let (code, out, err) = secure("stranger", &["--host", &host, "store"]);
    assert!(code != 0 && format!("{out}{err}").contains("--ca-path"), "{code} {out} {err}");
    let ca = certificate("ca.pem").to_str().unwrap().to_owned();
    assert_eq!(ctl(&["--host", &host, "store", "--ca-path", &ca]).0, 2);
}

#[test]
fn certificates_with_other_names_are_refused() {
    let mut config = security("server");
    config.cert_allowed_cn.insert("server".into());
    let cluster = Cluster::start(1, config);
    let host = cluster.host();
    let (code, out, err) = secure("server", &["--host", &host, "store"]);
    assert_eq!(code, 0, "{out}{err}");
    let (code, out, err) = secure("client", &["--host", &host, "store"]);
    assert!(code == 255 && out.contains("16-UNAUTHENTICATED"), "{code} {out}{err}");
    // Paths without users' data are open to every client.
    assert_eq!(get(&cluster, &security("client"), "/metrics"), "HTTP/1.1 200 OK");
    assert_eq!(get(&cluster, &security("client"), "/region/2"), "HTTP/1.1 403 Forbidden");
    assert_eq!(get(&cluster, &security("server"), "/region/2"), "HTTP/1.1 200 OK");
}
