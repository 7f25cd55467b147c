//! Starting and stopping: refused starts, data after a restart, three stores without their leader.
mod harness;

use harness::Harness;
use kvproto::{kvrpcpb::RawGetRequest, tikvpb::tikv_client::TikvClient};
use server::{StartOptions, TikvServer};

fn refused(config: server::TikvConfig) -> String {
    match TikvServer::start(config, StartOptions::default()) {
        Ok(_) => panic!("it started"),
        Err(e) => e.to_string(),
    }
}

#[test]
fn a_failed_start_names_the_obstacle() {
    let h = Harness::start(1);
    let mut same_dir = h.config(0);
    let taken = h.store(0).addr().to_string();
    let error = refused(same_dir.clone());
    assert!(error.contains("in use by this process"), "{error}");
    same_dir.server.addr = taken.clone();
    let error = refused(same_dir);
    assert!(error.contains(&taken) && error.contains("--addr"), "{error}");

    let mut foreign = h.config(1);
    std::fs::create_dir(&foreign.storage.data_dir).unwrap();
    std::fs::write(foreign.storage.data_dir.join("letter.txt"), "hello").unwrap();
    let error = refused(foreign.clone());
    assert!(error.contains("letter.txt"), "{error}");
    foreign.storage.data_dir = h.dir.path().join("no/such/parent");
    assert!(refused(foreign).contains("parent directory"));
}

#[test]
fn a_store_of_another_cluster_is_refused() {
    let mut h = Harness::start(1);
    let config = h.config(0);
    h.stores[0].take().unwrap().shutdown();
    let other = Harness::start(1);
    let mut config = config;
    config.pd.endpoints = vec![other.pd.addr().to_string()];
    let error = refused(config);
    assert!(error.contains("belongs to cluster") && error.contains("--pd-endpoints"), "{error}");
}

#[test]
fn a_killed_store_keeps_its_data() {
    let mut h = Harness::start(1);
    h.raw_put(b"k", b"v");
    let id = h.store(0).store_id();
    h.stores[0].take().unwrap().kill();
    h.start_store(0);
    assert_eq!(h.store(0).store_id(), id);
    assert_eq!(h.raw_get(b"k"), Some(b"v".to_vec()));
    let last = h.dir.path().join("s0/last_tikv.toml");
    let (config, unknown) = server::TikvConfig::from_file(&last).unwrap();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert_eq!(config.pd.endpoints, [h.pd.addr().to_string()]);
}

#[test]
fn three_stores_survive_the_loss_of_their_leader() {
    let mut h = Harness::start(3);
    let (_, first) = h.region(3);
    h.raw_put(b"before", b"1");
    let lost =
        h.stores.iter().position(|s| s.as_ref().is_some_and(|s| s.store_id() == first.store_id)).unwrap();
    h.stores[lost].take().unwrap().kill();
    h.raw_put(b"after", b"2");
    assert_eq!(h.raw_get(b"before"), Some(b"1".to_vec()));
    assert_ne!(h.region(3).1.store_id, first.store_id);
    h.start_store(lost);
    assert_eq!(h.raw_get(b"after"), Some(b"2".to_vec()));
}

#[test]
fn a_follower_refuses_and_names_the_leader() {
    let h = Harness::start(3);
    let (region, leader) = h.region(3);
    h.raw_put(b"k", b"v");
    let follower = h.stores.iter().flatten().find(|s| s.store_id() != leader.store_id).unwrap();
    let peer = *region.find_peer(follower.store_id()).unwrap();
    let hint = h.until("the follower knows its leader", async || {
        let mut client = TikvClient::connect(format!("http://{}", follower.addr())).await.ok()?;
        let context = Some(harness::context(&region, peer));
        let request = RawGetRequest { context, key: b"k".to_vec(), ..Default::default() };
        let refused = client.raw_get(request).await.ok()?.into_inner().region_error?;
        refused.not_leader?.leader
    });
    assert_eq!(hint.store_id, leader.store_id);
}

#[test]
fn a_leader_cut_off_is_replaced() {
    let h = Harness::start(3);
    let (region, first) = h.region(3);
    h.raw_put(b"before", b"1");
    let all: Vec<u64> = region.peers.iter().map(|p| p.store_id).collect();
    h.faults.isolate(first.store_id, &all);
    h.until("another store leads", async || {
        let leader = h.client.get_region(b"").await.ok()?.leader?;
        (leader.store_id != first.store_id).then_some(())
    });
    h.raw_put(b"after", b"2");
    h.faults.heal_all();
    assert_eq!(h.raw_get(b"before"), Some(b"1".to_vec()));
}
