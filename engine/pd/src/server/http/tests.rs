use std::path::Path;

use axum::{body::Body, http::Request};
use kvproto::{
    metapb::{Peer, Region, RegionEpoch, Store},
    pdpb::{PeerStats, RegionHeartbeatRequest, StoreStats},
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower::ServiceExt;

use super::*;
use crate::server::clock::ManualClock;

const START_MS: u64 = 1_700_000_000_000;

fn store(id: u64) -> Store {
    Store {
        id,
        address: format!("127.0.0.1:{id}"),
        version: "8.5.0".to_owned(),
        start_timestamp: 1_699_999_990,
        ..Default::default()
    }
}

/// Creates stores 1 to `stores`, a region [, "m") on the first three with one of them down, and one ["m", )
/// on the first.
fn cluster(dir: &Path, stores: u64) -> Arc<Cluster> {
    let clock = ManualClock::at(START_MS);
    let cluster = Cluster::open(dir, Some(7), None, clock.clone()).unwrap();
    let region = |id: u64, start: &str, end: &str, peers: &[u64]| Region {
        id,
        start_key: start.into(),
        end_key: end.into(),
        region_epoch: Some(RegionEpoch { conf_ver: 3, version: 2 }),
        peers: peers.iter().map(|store| Peer::voter(*store, id * 10 + store)).collect(),
        ..Default::default()
    };
    cluster.bootstrap(store(1), region(2, "", "", &[1])).unwrap();
    (2..=stores).for_each(|id| cluster.put_store(store(id)).unwrap());
    let report = |region: Region| RegionHeartbeatRequest {
        leader: region.peers.first().copied(),
        region: Some(region),
        term: 6,
        approximate_size: 64 << 20,
        approximate_keys: 1000,
        bytes_written: 5,
        ..Default::default()
    };
    let (stream, _) = mpsc::channel(8);
    let mut left = report(region(2, "", "m", &[1, 2, 3]));
    left.down_peers = vec![PeerStats { peer: Some(Peer::voter(3, 23)), down_seconds: 601 }];
    left.pending_peers = vec![Peer::voter(3, 23)];
    cluster.region_heartbeat(left, &stream).unwrap();
    cluster.region_heartbeat(report(region(4, "m", "", &[1])), &stream).unwrap();
    let stats = StoreStats {
        store_id: 1,
        capacity: 100 << 30,
        available: 3 << 29,
        used_size: 1 << 20,
        ..Default::default()
    };
    cluster.store_heartbeat(stats).unwrap();
    clock.set(START_MS + 30_000);
    cluster.store_heartbeat(StoreStats { store_id: 2, ..Default::default() }).unwrap();
    Arc::new(cluster)
}

fn api(cluster: &Arc<Cluster>) -> Router {
    let member = pdpb::Member {
        name: "pd".to_owned(),
        member_id: 1,
        client_urls: vec!["http://127.0.0.1:2379".to_owned()],
        ..Default::default()
    };
    router(Api { cluster: cluster.clone(), member, data_dir: "/d".to_owned(), started_s: 5 })
}

async fn ask_with(cluster: &Arc<Cluster>, method: &str, path: &str, body: &str) -> (u16, Value) {
    let request = Request::builder().method(method).uri(path).body(Body::from(body.to_owned())).unwrap();
    let response = api(cluster).oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

async fn ask(cluster: &Arc<Cluster>, method: &str, path: &str) -> (u16, Value) {
    ask_with(cluster, method, &format!("/pd/api/v1{path}"), "").await
}

async fn get(cluster: &Arc<Cluster>, path: &str) -> Value {
    let (status, body) = ask(cluster, "GET", path).await;
    assert_eq!(status, 200, "{path}: {body}");
    body
}

#[tokio::test]
async fn regions_have_the_fields_of_pd() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = cluster(dir.path(), 3);
    let peer = |id: u64, store: u64| json!({"id": id, "store_id": store, "role_name": "Voter"});
    let left = json!({
        "id": 2, "start_key": "", "end_key": "6D", "epoch": {"conf_ver": 3, "version": 2},
        "peers": [peer(21, 1), peer(22, 2), peer(23, 3)], "leader": peer(21, 1),
        "down_peers": [{"peer": peer(23, 3), "down_seconds": 601}], "pending_peers": [peer(23, 3)],
        "cpu_usage": 0, "written_bytes": 5, "read_bytes": 0, "written_keys": 0, "read_keys": 0,
        "approximate_size": 64, "approximate_keys": 1000, "approximate_kv_size": 0,
        "approximate_columnar_kv_size": 0
    });
    assert_eq!(get(&cluster, "/region/id/2").await, left);
    assert_eq!(get(&cluster, "/region/key/a").await, left);
    assert_eq!(get(&cluster, "/region/key/6a?format=hex").await["id"], 2);
    assert_eq!(get(&cluster, "/region/key/%256D%2500").await["id"], 4, "PD unescapes twice");
    let all = get(&cluster, "/regions").await;
    assert_eq!((&all["count"], &all["regions"][0], &all["regions"][1]["id"]), (&json!(2), &left, &json!(4)));
    for (query, ids) in [
        ("", vec![2, 4]),
        ("?key=m", vec![4]),
        ("?key=6D&format=hex", vec![4]),
        ("?end_key=m", vec![2]),
        ("?limit=1", vec![2]),
        ("?limit=0", vec![2, 4]),
    ] {
        let found = get(&cluster, &format!("/regions/key{query}")).await;
        let found: Vec<u64> =
            found["regions"].as_array().unwrap().iter().map(|r| r["id"].as_u64().unwrap()).collect();
        assert_eq!(found, ids, "{query}");
    }
    assert_eq!(get(&cluster, "/regions/store/2").await["count"], 1);
    assert_eq!(get(&cluster, "/regions/count").await, json!({"count": 2, "regions": null}));
}

#[tokio::test]
async fn stores_have_the_fields_of_pd() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = cluster(dir.path(), 3);
    let all = get(&cluster, "/stores").await;
    assert_eq!(all["count"], 3);
    let first = json!({
        "store": {
            "id": 1, "address": "127.0.0.1:1", "version": "8.5.0", "start_timestamp": 1_699_999_990,
            "last_heartbeat": START_MS * 1_000_000, "node_state": 1, "state_name": "Disconnected"
        },
        "status": {
            "capacity": "100GiB", "available": "1.5GiB", "used_size": "1MiB",
            "leader_count": 2, "leader_weight": 1, "leader_score": 2, "leader_size": 128,
            "region_count": 2, "region_weight": 1,
            "region_score": all["stores"][0]["status"]["region_score"], "region_size": 128,
            "start_ts": "2023-11-14T22:13:10Z", "last_heartbeat_ts": "2023-11-14T22:13:20Z", "uptime": "10s"
        }
    });
    assert_eq!(all["stores"][0], first);
    assert!(first["status"]["region_score"].as_f64().unwrap() > 1e9, "the disk is almost full");
    assert_eq!(get(&cluster, "/store/1").await, first);
    assert_eq!(get(&cluster, "/store/2").await["store"]["state_name"], "Up");
    assert_eq!(get(&cluster, "/stores/check?state=Disconnected").await["count"], 2);
    assert_eq!(get(&cluster, "/stores?state=2").await["count"], 0);
    assert_eq!(get(&cluster, "/store/3").await["status"]["pending_peer_count"], 1);
}

#[tokio::test]
async fn a_store_is_taken_out_as_by_pd_ctl() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = cluster(dir.path(), 4);
    let state = async || get(&cluster, "/stores?state=0&state=1&state=2").await["stores"][3]["store"].clone();
    assert_eq!(ask(&cluster, "DELETE", "/store/4").await, (200, json!("The store is set as Offline.")));
    // It has no peers, so a patrol buries it at once.
    assert_eq!(
        (&state().await["state_name"], &state().await["node_state"]),
        (&json!("Tombstone"), &json!(3))
    );
    let gone = json!("[PD:core:ErrStoreRemoved]store 4 has been removed");
    assert_eq!(ask(&cluster, "DELETE", "/store/4").await, (410, gone.clone()));
    assert_eq!(ask(&cluster, "POST", "/store/4/state?state=Up").await, (410, gone));
    assert_eq!(
        ask(&cluster, "DELETE", "/stores/remove-tombstone").await,
        (200, json!("Remove tombstone successfully."))
    );
    assert_eq!(get(&cluster, "/stores?state=2").await["count"], 0);

    let (status, why) = ask(&cluster, "POST", "/store/2/state?state=offline").await;
    assert_eq!(status, 400, "three stores are needed: {why}");
    assert_eq!(ask(&cluster, "DELETE", "/store/2?force").await.0, 200);
    let destroyed = get(&cluster, "/store/2").await["store"].clone();
    assert_eq!(
        (&destroyed["state_name"], &destroyed["physically_destroyed"]),
        (&json!("Offline"), &json!(true))
    );
}

#[tokio::test]
async fn an_offline_store_can_come_up_again() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = cluster(dir.path(), 4);
    let updated = (200, json!("The store's state is updated."));
    assert_eq!(ask(&cluster, "POST", "/store/3/state?state=Offline").await, updated);
    assert_eq!(get(&cluster, "/store/3").await["store"]["state_name"], "Offline");
    assert_eq!(ask(&cluster, "POST", "/store/3/state?state=up").await, updated);
    assert_eq!(get(&cluster, "/store/3").await["store"]["node_state"], 1);
}

#[tokio::test]
async fn member_and_settings_are_shown_and_changed() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = cluster(dir.path(), 3);
    let members = get(&cluster, "/members").await;
    assert_eq!((&members["header"]["cluster_id"], &members["leader"]["name"]), (&json!(7), &json!("pd")));
    assert_eq!(get(&cluster, "/leader").await, members["members"][0]);
    assert_eq!(get(&cluster, "/health").await[0]["health"], true);
    assert!(get(&cluster, "/version").await["version"].as_str().unwrap().starts_with('v'));
    assert_eq!(get(&cluster, "/status").await["start_timestamp"], 5);
    assert_eq!(get(&cluster, "/cluster").await, json!({"id": 7, "max_peer_count": 3}));

    let update = json!({"max-store-down-time": "1m", "replication.max-replicas": 5}).to_string();
    let done = ask_with(&cluster, "POST", "/pd/api/v1/config", &update).await;
    assert_eq!(done, (200, json!("The config is updated.")));
    let config = get(&cluster, "/config").await;
    assert_eq!(config["schedule"]["max-store-down-time"], "1m0s");
    assert_eq!(
        (&config["replication"]["max-replicas"], &config["cluster-version"]),
        (&json!(5), &json!("8.5.0"))
    );
    let half = json!({"max-replicas": 1, "max-store-down-time": "0s"}).to_string();
    assert_eq!(ask_with(&cluster, "POST", "/pd/api/v1/config", &half).await.0, 400);
    assert_eq!(get(&cluster, "/config/replicate").await["max-replicas"], 5, "all or none");

    let marker = "/admin/cluster/markers/snapshot-recovering";
    assert_eq!(ask(&cluster, "POST", marker).await.0, 200);
    assert_eq!(get(&cluster, marker).await, json!({"marked": true}));
    assert_eq!(ask(&cluster, "DELETE", marker).await.0, 200);
    assert!(!cluster.is_snapshot_recovering());
}

#[tokio::test]
async fn errors_name_the_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = cluster(dir.path(), 3);
    for (method, path, status, named) in [
        ("GET", "/nope", 404, "path /pd/api/v1/nope not found"),
        ("POST", "/stores", 405, "method POST is not allowed for /pd/api/v1/stores"),
        ("GET", "/store/77", 404, "[PD:core:ErrStoreNotFound]store 77 not found"),
        ("DELETE", "/store/77", 404, "store 77 not found"),
        ("GET", "/store/x", 400, "parsing \"x\": invalid syntax"),
        ("POST", "/store/1/state?state=gone", 400, "invalid state gone"),
        ("POST", "/store/1/state", 400, "invalid state"),
        ("GET", "/stores?state=9", 400, "unknown StoreState: 9"),
        ("GET", "/stores?state=Up", 400, "invalid syntax"),
        ("GET", "/stores/check?state=odd", 400, "unknown StoreState: odd"),
        ("GET", "/region/id/0", 400, "invalid region id"),
        ("GET", "/region/id/-1", 400, "invalid syntax"),
        ("GET", "/region/id/9", 404, "[PD:region:ErrRegionNotFound]region 9 not found"),
        ("GET", "/region/key/zz?format=hex", 400, "invalid byte"),
        ("GET", "/region/key/%25z", 400, "invalid URL escape"),
        ("GET", "/regions/key?limit=x", 400, "invalid syntax"),
        ("GET", "/regions/key?key=7&format=hex", 400, "odd length hex string"),
        ("POST", "/config", 400, "EOF while parsing"),
        ("POST", "/config?ttlSecond=3", 400, "ttlSecond"),
    ] {
        let (found, body) = ask(&cluster, method, path).await;
        let text = body.as_str().unwrap_or_default();
        assert!(found == status && text.contains(named), "{method} {path}: {found} {body}");
    }
}

#[tokio::test]
async fn before_bootstrap_pd_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(START_MS);
    let cluster = Arc::new(Cluster::open(dir.path(), None, None, clock).unwrap());
    for (method, path) in [("GET", "/stores"), ("GET", "/regions"), ("DELETE", "/store/1")] {
        let (status, body) = ask(&cluster, method, path).await;
        assert_eq!(status, 500);
        assert!(body.as_str().unwrap().contains("ErrNotBootstrapped"), "{path}: {body}");
    }
    assert_eq!(get(&cluster, "/health").await[0]["health"], true);
}

#[tokio::test]
async fn keyspaces_are_created_listed_and_changed() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = cluster(dir.path(), 3);
    let ask = async |method: &str, path: &str, body: &str| {
        ask_with(&cluster, method, &format!("/pd/api/v2/keyspaces{path}"), body).await
    };
    let now = cluster.now_ms() / 1000;
    let made = |id: u64, name: &str| json!({"id": id, "name": name, "state": "ENABLED", "created_at": now, "state_changed_at": now});
    assert_eq!(ask("POST", "", r#"{"name": "one"}"#).await, (200, made(1, "one")));
    assert_eq!(ask("POST", "/id", r#"{"id": 7, "name": "seven"}"#).await, (200, made(7, "seven")));
    assert_eq!(ask("POST", "", r#"{"name": "id"}"#).await, (200, made(2, "id")));
    assert_eq!(ask("GET", "/id", "").await, (200, made(2, "id")));
    assert_eq!(ask("GET", "/one", "").await, (200, made(1, "one")));
    assert_eq!(ask("GET", "/id/7", "").await, (200, made(7, "seven")));
    let (status, all) = ask("GET", "", "").await;
    assert_eq!((status, &all["next_page_token"]), (200, &json!("")));
    assert_eq!(ask("GET", "?limit=9999999999", "").await, (200, all.clone()));
    assert_eq!(ask("GET", "?limit=-1", "").await, (200, all.clone()), "no limit, as in PD");
    let names: Vec<_> = all["keyspaces"].as_array().unwrap().iter().map(|k| k["name"].clone()).collect();
    assert_eq!(names, ["DEFAULT", "one", "id", "seven"]);
    let (_, page) = ask("GET", "?page_token=1&limit=2", "").await;
    assert_eq!(page["keyspaces"], json!([made(1, "one"), made(2, "id")]));
    assert_eq!(page["next_page_token"], "7");
    let end = json!({"keyspaces": null, "next_page_token": ""});
    assert_eq!(ask("GET", "?page_token=8", "").await, (200, end));

    let patch = r#"{"config": {"a": "b"}, "preconditions": {"a": null}}"#;
    let (status, changed) = ask("PATCH", "/one/config", patch).await;
    assert_eq!((status, &changed["config"]), (200, &json!({"a": "b"})));
    let (status, error) = ask("PATCH", "/one/config", patch).await;
    assert_eq!(status, 409, "{error}");
    let (status, changed) = ask("PUT", "/one/state", r#"{"state": "disabled"}"#).await;
    assert_eq!((status, &changed["state"]), (200, &json!("DISABLED")));

    for (method, path, body, status, text) in [
        ("GET", "/nope", "", 500, "[PD:keyspace:ErrKeyspaceNotFound]keyspace does not exist"),
        ("GET", "/id/x", "", 500, "invalid keyspace id"),
        ("GET", "/nope?force_refresh_group_id=true", "", 500, "keyspace does not exist"),
        ("GET", "/one?force_refresh_group_id=true", "", 500, "keyspace group manager is not initialized"),
        ("GET", "?page_token=x", "", 400, "strconv.ParseUint: parsing \"x\": invalid syntax"),
        ("GET", "?limit=x", "", 400, "strconv.ParseInt: parsing \"x\": invalid syntax"),
        ("POST", "", "{", 400, "[PD:gin:ErrBindJSON]"),
        ("POST", "", r#"{"name": "one"}"#, 500, "keyspace already exists"),
        ("POST", "/id", r#"{"name": "x"}"#, 500, "keyspace id is empty"),
        ("PUT", "/one/state", r#"{"state": "gone"}"#, 400, "unknown target state: gone"),
        ("PUT", "/one/state", r#"{"state": "tombstone"}"#, 500, "cannot change keyspace state from DISABLED"),
        ("PUT", "/DEFAULT/state", r#"{"state": "disabled"}"#, 500, "cannot modify default keyspace's state"),
    ] {
        let (found, error) = ask(method, path, body).await;
        let error = error.as_str().unwrap_or_default().to_owned();
        assert!(found == status && error.contains(text), "{method} {path}: {found} {error}");
    }
}

#[tokio::test]
async fn keyspaces_wait_for_the_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Arc::new(Cluster::open(dir.path(), Some(7), None, ManualClock::at(START_MS)).unwrap());
    let (status, error) = ask_with(&cluster, "GET", "/pd/api/v2/keyspaces", "").await;
    assert_eq!(status, 500);
    assert!(error.as_str().unwrap().contains("ErrNotBootstrapped"), "{error}");
}
