//! Raw rows of servers with API V1TTL and V2.
use std::time::Duration;

use security::SecurityConfig;
use serde_json::{Value, json};
use tikv_client::{Config, RawClient};

use crate::{cluster::Cluster, common::ctl};

fn start(api_version: u8) -> (Cluster, RawClient) {
    let cluster = Cluster::start_with(1, SecurityConfig::default(), |config| {
        config.storage.api_version = api_version;
        config.storage.enable_ttl = true;
    });
    let config = Config::default().with_timeout(Duration::from_secs(20));
    let config = if api_version == 2 { config.with_default_keyspace() } else { config };
    let client = cluster.block_on(RawClient::new_with_config(vec![cluster.pd()], config)).unwrap();
    (cluster, client)
}

fn rows(mode: &str, place: &str, options: &str) -> Vec<Value> {
    let line = format!("{mode} {place} --format json raw-scan -f z -t {{ {options}");
    let (code, out, err) = ctl(&line.split_whitespace().collect::<Vec<_>>());
    assert_eq!(code, 0, "{line}: {out}{err}");
    serde_json::from_str(&out).unwrap()
}

/// The parts of a raw row that the test knows.
fn raw(rows: &[Value], name: &str) -> Vec<Value> {
    rows.iter().map(|row| row["raw"][name].clone()).collect()
}

#[test]
fn a_server_with_ttl_shows_what_its_directory_has() {
    let (cluster, client) = start(1);
    cluster.block_on(async {
        client.put(b"a".to_vec(), b"v1".to_vec()).await.unwrap();
        client.put_with_ttl(b"b".to_vec(), b"v2".to_vec(), 100_000).await.unwrap();
    });
    let online = rows("--host", &cluster.host(), "");
    assert_eq!(raw(&online, "value"), [json!("7631"), json!("7632")]);
    assert_eq!(raw(&online, "expired"), [json!(false), json!(false)]);
    assert_eq!(online[0]["raw"]["expire_ts"], Value::Null);
    assert!(online[1]["raw"]["expire_ts"].as_u64().unwrap() > 1_700_000_000, "{online:?}");
    assert_eq!(rows("--data-dir", cluster.data_dir().to_str().unwrap(), ""), online);
    let first = rows("--host", &cluster.host(), "--limit 1");
    assert_eq!(first, online[..1]);
}

#[test]
fn a_v2_server_shows_newest_versions_and_its_directory_all() {
    let (cluster, client) = start(2);
    cluster.block_on(async {
        client.put(b"a".to_vec(), b"v1".to_vec()).await.unwrap();
        client.put(b"a".to_vec(), b"v2".to_vec()).await.unwrap();
        client.put_with_ttl(b"b".to_vec(), b"v3".to_vec(), 100_000).await.unwrap();
        client.put(b"c".to_vec(), b"v4".to_vec()).await.unwrap();
        client.delete(b"c".to_vec()).await.unwrap();
    });
    let online = rows("--host", &cluster.host(), "");
    assert_eq!(raw(&online, "user_key"), [json!("r\\000\\000\\000a"), json!("r\\000\\000\\000b")]);
    assert_eq!(raw(&online, "value"), [json!("7632"), json!("7633")]);
    assert_eq!(online[0]["raw"]["ttl_s"], json!(0));
    let left = online[1]["raw"]["ttl_s"].as_u64().unwrap();
    assert!((90_000..=100_000).contains(&left), "{left}");
    let offline = rows("--data-dir", cluster.data_dir().to_str().unwrap(), "");
    let values = [json!("7632"), json!("7631"), json!("7633"), json!(""), json!("7634")];
    assert_eq!(raw(&offline, "value"), values, "newer versions come first, a delete is a version");
    let deleted = [false, false, false, true, false].map(|deleted| json!(deleted));
    assert_eq!(raw(&offline, "deleted"), deleted);
    let (code, out, err) = ctl(&["--host", &cluster.host(), "raw-scan", "-f", "z", "--cf", "write"]);
    assert!(code != 0 && format!("{out}{err}").contains("CF default only"), "{out}{err}");
}
