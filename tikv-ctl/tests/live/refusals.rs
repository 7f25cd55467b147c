//! Commands that cannot do their work: their exit codes, their messages, and the damage or server that they name.
use std::{io::Write, net::TcpListener, path::Path};

use security::SecurityConfig;
use serde_json::Value;

use crate::{
    cluster::{Cluster, certificate},
    commands::{has_keys, sst},
    common::{Store, ctl, fill},
};

/// Writes an SST without checksums, ordered by `comparator`, in a RocksDB of its own.
fn foreign_sst(dir: &Path, comparator: Option<&str>) -> String {
    let mut block = rocksdb::BlockBasedOptions::default();
    block.set_checksum_type(rocksdb::ChecksumType::NoChecksum);
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&block);
    if let Some(name) = comparator {
        options.set_comparator(name, Box::new(|a, b| b.cmp(a)));
    }
    let db = rocksdb::DB::open(&options, dir.join("db")).unwrap();
    (0..9).for_each(|i| db.put(format!("zkey{i}"), "value").unwrap());
    db.flush().unwrap();
    drop(db);
    sst(dir)
}

#[test]
fn files_with_unsupported_features_are_refused() {
    let (packed, ordered) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sst = foreign_sst(packed.path(), None);
    let (_, out, _) = ctl(&["--format", "json", "sst", &sst, "layout"]);
    let layout: Value = serde_json::from_str(&out).unwrap();
    let kind = (layout[0]["offset"].as_u64().unwrap() + layout[0]["size"].as_u64().unwrap()) as usize;
    let mut bytes = std::fs::read(&sst).unwrap();
    // Sets a compression type that RocksDB does not have.
    bytes[kind] = 0x6e;
    std::fs::write(&sst, bytes).unwrap();
    let other = foreign_sst(ordered.path(), Some("other.Comparator"));
    let (db, packed_db) = (ordered.path().join("db"), packed.path().join("db"));
    let (db, packed_db) = (format!("--db={}", db.display()), format!("--db={}", packed_db.display()));
    let cases: &[(&[&str], &str)] = &[
        (&["sst", &sst, "keys"], "110"),
        (&["sst", &sst, "verify"], "110"),
        (&["sst_dump", &format!("--file={sst}"), "--command=scan"], "110"),
        (&["ldb", &packed_db, "scan"], "110"),
        (&["sst", &other, "keys"], "other.Comparator"),
        (&["sst", &other, "verify"], "other.Comparator"),
        (&["sst_dump", &format!("--file={other}"), "--command=scan"], "other.Comparator"),
        (&["ldb", &db, "scan"], "other.Comparator"),
        (&["lsm", ordered.path().to_str().unwrap()], "other.Comparator"),
        (&["store", "--data-dir", ordered.path().to_str().unwrap()], "raft"),
    ];
    for (args, says) in cases {
        let (code, out, err) = ctl(args);
        let file = args.iter().any(|arg| err.contains(arg.split('=').next_back().unwrap()));
        let place = *says != "110" || format!("{out}{err}").contains("at byte");
        assert!(code == 1 && format!("{out}{err}").contains(says) && place, "{args:?}: {code} {out}{err}");
        assert!(file || *says == "110", "{args:?}: {err}");
    }
}

#[test]
fn servers_of_another_protocol_are_identified() {
    let cluster = Cluster::start(1, SecurityConfig::default());
    let (host, pd) = (cluster.host(), cluster.pd());
    let http = cluster.stores[0].status_addr().unwrap().to_string();
    let path = |name: &str| certificate(name).to_str().unwrap().to_owned();
    let (ca, cert, key) = (path("ca.pem"), path("client.pem"), path("client-key.pem"));
    let tls = ["--ca-path", &ca, "--cert-path", &cert, "--key-path", &key];
    // The system chooses the cluster's ports, so no configuration contains them.
    let named = format!("{http} is the status address of a server: give its gRPC address");
    let turned = format!("{host} is the gRPC address of store 1 (its --addr): give its status address");
    let cases: &[(&[&str], &str, &str)] = &[
        (&["flamegraph", "--seconds", "1", "--status", &host], "1", &turned),
        (&["inflight", "--host", &http], "1", &named),
        (&["store", "--host", &http], "255", &named),
        (&["scan", "-f", "z", "--limit", "1", "--host", &http], "255", "gRPC"),
        (&["store", "--host", &pd], "255", "debugpb.Debug"),
        (&["metrics", "--host", &pd], "255", "debugpb.Debug"),
        (&[&["store", "--host", &host][..], &tls].concat(), "1", "it must speak TLS"),
        (&[&["split-region", "-r", "2", "-k", "a", "--pd", &pd][..], &tls].concat(), "1", "TLS"),
        (
            &["split-region", "-r", "2", "-k", "a", "--pd", &host],
            "1",
            "store 1 (its --addr); give the address that pd-server prints",
        ),
        (&["split-region", "-r", "2", "-k", "a", "--pd", &http], "1", "status address of a server"),
    ];
    let mut failed = Vec::new();
    for (args, code, says) in cases {
        let (found, out, err) = ctl(args);
        let text = format!("{out}{err}");
        let lines = text.lines().filter(|line| !line.starts_with("profiling ")).count();
        if found.to_string() != *code || !text.contains(says) || lines > 1 {
            failed.push(format!("{args:?}: {found} {text}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Starts a server that speaks another protocol; returns its address.
fn mail_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.and_then(|mut stream| stream.write_all(b"220 mail.example ESMTP\r\n"));
        }
    });
    address
}

/// Checks the exit code and the message of a command, as text and as JSON.
fn check(args: &[&str], code: u8, says: &str) -> Result<(), String> {
    let (found, out, err) = ctl(args);
    if found != code || !format!("{out}{err}").contains(says) || (code == 255 && out.is_empty()) {
        return Err(format!("{args:?}: {found} {out} {err}"));
    }
    if code == 2 {
        return Ok(());
    }
    let (found, out, err) = ctl(&[&["--format", "json"], args].concat());
    let value: Value = serde_json::from_str(&out).unwrap_or_default();
    if found != code || !has_keys(&value, "error") {
        return Err(format!("{args:?} as JSON: {found} {out} {err}"));
    }
    Ok(())
}

#[test]
fn failures_have_their_exit_codes_in_every_format() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(&Store::open(dir.path()));
    let path = dir.path().to_str().unwrap();
    let file = other.path().join("text");
    std::fs::write(&file, "this is no file of RocksDB, nor of anything else").unwrap();
    let file = file.to_str().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let foreign = mail_server();
    let cases: &[(&[&str], u8, &str)] = &[
        (&["store", "--host", &closed], 1, "cannot connect"),
        (&["store", "--host", &foreign], 255, "--ca-path"),
        (&["store", "--host", "nowhere:port"], 1, "HOST:PORT"),
        (&["split-region", "-r", "2", "-k", "a", "--pd", &closed], 1, "--pd"),
        (&["flamegraph", "--seconds", "1", "--status", &closed], 1, "cannot connect"),
        (&["flamegraph", "--seconds", "1", "--status", &foreign], 1, "--status-addr"),
        (&["store"], 1, "--data-dir"),
        (&["store", "--data-dir", "/does/not/exist"], 1, "/does/not/exist"),
        (&["store", "--data-dir", other.path().to_str().unwrap()], 1, "db"),
        (&["sst", file], 1, file),
        (&["sst_dump", &format!("--file={file}")], 1, file),
        (&["manifest", file], 1, file),
        (&["wal", file], 1, file),
        (&["log", file], 1, file),
        (&["dump-snap-meta", "-f", file], 1, file),
        (&["undo", file], 1, file),
        (&["raft-engine-ctl", "--", "check", "--path", file], 1, file),
        (&["raft-engine-ctl", "--", "nonsense"], 1, "nonsense"),
        (&["region", "--data-dir", path, "-r", "99"], 255, "99"),
        (&["print", "--data-dir", path, "-k", "zabsent"], 255, "Not Found"),
        (&["print", "--data-dir", path, "-k", "z\\9"], 1, "\\9"),
        (&["raft", "log", "--data-dir", path, "-r", "2", "-i", "99"], 255, "99"),
        (&["mvcc", "--data-dir", path, "-k", "absent", "--key-format", "raw"], 255, "no mvcc infos"),
        (&["region-properties", "--data-dir", path, "-r", "99"], 255, "99"),
        (&["metrics", "--data-dir", path], 255, "remote mode"),
        (&["fail", "list", "--data-dir", path], 255, "requires host"),
        (&["tombstone", "--data-dir", path, "-r", "2"], 1, "--force"),
        (&["encryption-meta", "dump-file", "--data-dir", path], 1, "file.dict"),
        (&["key", "--key-format", "hex", "zz"], 1, "zz"),
        (&["no-such-command"], 2, "no-such-command"),
        (&["size", "--format", "xml"], 2, "xml"),
    ];
    let failed: Vec<String> =
        cases.iter().filter_map(|(args, code, says)| check(args, *code, says).err()).collect();
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), cases.len(), failed.join("\n"));
}
