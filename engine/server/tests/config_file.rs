//! Changes of the configuration over HTTP and gRPC are written into the configuration file atomically.
mod harness;

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
};

use harness::{BOUND, Harness};
use kvproto::debugpb::{self, debug_client::DebugClient};
use serde_json::Value;
use server::{ServerHandle, StartOptions, TikvServer, config::Cli};

const FILE: &str = "# mine\n[log]\nlevel = \"info\" # as it was\n\n[server]\nunknown-key = 1\n";

/// A store that was started with a configuration file, next to the harness's own store.
struct Store {
    h: Harness,
    path: PathBuf,
    store: ServerHandle,
}

impl Store {
    fn start(h: Harness) -> Self {
        let path = h.dir.path().join("mine/q.toml");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, FILE).unwrap();
        let store = start(&h, &path);
        Self { h, path, store }
    }

    fn again(self) -> Self {
        let Self { h, path, store } = self;
        store.shutdown();
        let store = start(&h, &path);
        Self { h, path, store }
    }

    fn ask(&self, request: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.store.status_addr().unwrap()).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        let length = body.len();
        let head =
            format!("{request} HTTP/1.1\r\nHost: s\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let code = reply.split(' ').nth(1).unwrap().parse().unwrap();
        (code, reply.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    fn config(&self) -> Value {
        serde_json::from_str(&self.ask("GET /config", "").1).unwrap()
    }

    fn file(&self) -> String {
        fs::read_to_string(&self.path).unwrap()
    }
}

fn start(h: &Harness, path: &Path) -> ServerHandle {
    let cli = Cli { config: Some(path.to_owned()), ..Cli::default() };
    let (read, _) = cli.resolve().unwrap();
    let mut config = h.config(0);
    config.log = read.log;
    config.rocksdb = read.rocksdb;
    config.storage.data_dir = h.dir.path().join("with-file");
    TikvServer::start(config, StartOptions { cli: Some(cli), ..StartOptions::default() }).unwrap()
}

#[test]
fn a_change_is_kept_over_a_restart() {
    let s = Store::start(Harness::start(1));
    let changes = r#"{"log.level": "warn", "rocksdb.writecf.max-write-buffer-number": 9}"#;
    assert_eq!(s.ask("POST /config", changes), (200, String::new()));
    let expected = FILE.replace("\"info\"", "\"warn\"");
    assert!(s.file().starts_with(&expected), "{}", s.file());
    assert!(s.file().contains("[rocksdb.writecf]\nmax-write-buffer-number = 9\n"), "{}", s.file());

    assert_eq!(s.ask("POST /config?persist=false", r#"{"log.level": "error"}"#).0, 200);
    assert_eq!(s.config()["log"]["level"], "error");
    assert_eq!(s.ask("PUT /log-level", r#"{"log-level": "debug"}"#).0, 200);
    assert!(s.file().starts_with(&expected), "neither is written");
    let (code, why) = s.ask("POST /config?persist=perhaps", "{}");
    assert_eq!((code, why.as_str()), (400, "provided string was not `true` or `false`"));

    let s = s.again();
    let config = s.config();
    assert_eq!(config["log"]["level"], "warn");
    assert_eq!(config["rocksdb"]["writecf"]["max-write-buffer-number"], 9);
    let kv = &s.store.engines().unwrap().kv;
    let in_effect = kv.option_in_effect(Some("write"), "max_write_buffer_number").unwrap();
    assert_eq!(in_effect.as_deref(), Some("9"), "RocksDB has it, too");

    let address = format!("http://{}", s.store.addr());
    let modify = |value: &str| {
        let request = debugpb::ModifyTikvConfigRequest {
            config_name: "log_level".to_owned(),
            config_value: value.to_owned(),
            ..Default::default()
        };
        let address = address.clone();
        s.h.block_on(async { DebugClient::connect(address).await.unwrap().modify_tikv_config(request).await })
    };
    modify("info").unwrap();
    assert!(s.file().starts_with(FILE), "{}", s.file());
}

#[test]
fn changes_apply_all_or_none() {
    let s = Store::start(Harness::start(1));
    let before = s.config();
    let kv = s.store.engines().unwrap().kv.clone();
    let in_effect = || kv.option_in_effect(Some("default"), "max_write_buffer_number").unwrap();
    let option = in_effect();

    // RocksDB refuses the second: it expects an int.
    let changes = r#"{"rocksdb.defaultcf.max-write-buffer-number": 9,
        "rocksdb.writecf.max-write-buffer-number": 99999999999, "log.level": "warn"}"#;
    let (code, why) = s.ask("POST /config", changes);
    assert!(code == 500 && why.contains("rocksdb.writecf.max-write-buffer-number"), "{code} {why}");
    assert_eq!((s.config(), s.file(), in_effect()), (before.clone(), FILE.to_owned(), option.clone()));

    // A file that cannot be written.
    let mut permissions = fs::metadata(&s.path).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&s.path, permissions).unwrap();
    let changes = r#"{"rocksdb.defaultcf.max-write-buffer-number": 9, "log.level": "warn"}"#;
    let (code, why) = s.ask("POST /config", changes);
    assert!(code == 500 && why.contains("q.toml") && why.contains("read-only"), "{code} {why}");
    assert_eq!((s.config(), s.file(), in_effect()), (before.clone(), FILE.to_owned(), option));
    let left = fs::read_dir(s.path.parent().unwrap()).unwrap().count();
    assert_eq!(left, 1, "no half-written file");
    assert_eq!(s.ask("POST /config?persist=false", changes).0, 200, "a change without the file succeeds");
}
