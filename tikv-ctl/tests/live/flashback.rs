//! `flashback` of a running cluster, and its undo.
use kvproto::{
    debugpb::{FlashbackToVersionRequest, debug_client::DebugClient},
    kvrpcpb::{Context, GetRequest, Mutation, Op, PrewriteRequest, RawGetRequest},
    metapb::Region,
    tikvpb::tikv_client::TikvClient,
};
use security::SecurityConfig;
use tikv_ctl::Online;
use tikv_ctl::source::Source;
use tonic::transport::Channel;

use crate::{cluster::Cluster, common::ctl};

const BIG: [u8; 300] = [b'B'; 300];

/// Returns the current values of the test's keys.
fn all(cluster: &Cluster) -> Vec<Option<Vec<u8>>> {
    [&b"a"[..], b"big", b"new", b"gone", b"x"].iter().map(|key| cluster.read(key)).collect()
}

fn old() -> Vec<Option<Vec<u8>>> {
    vec![Some(b"1".to_vec()), Some(BIG.to_vec()), None, Some(b"there".to_vec()), Some(b"9".to_vec())]
}

/// Starts a cluster with old values, takes a timestamp and writes newer values; in two regions.
fn filled() -> (Cluster, u64) {
    let cluster = Cluster::start(1, SecurityConfig::default());
    cluster.write(&[
        (b"a", Some(b"1")),
        (b"big", Some(&BIG)),
        (b"gone", Some(b"there")),
        (b"same", Some(b"s")),
        (b"x", Some(b"9")),
    ]);
    let then = cluster.timestamp();
    let (code, out, err) = ctl(&["--pd", &cluster.pd(), "split-region", "-r", "2", "-k", "m"]);
    assert!(code == 0 && out.contains("success"), "{out}{err}");
    cluster.until("PD knows both regions", || cluster_regions(&cluster).len() == 2);
    cluster.write(&[(b"a", Some(b"2")), (b"big", Some(b"small")), (b"new", Some(b"n")), (b"gone", None)]);
    cluster.write(&[(b"x", Some(b"10"))]);
    (cluster, then)
}

fn cluster_regions(cluster: &Cluster) -> Vec<u64> {
    let endpoints = [cluster.pd()];
    let client = cluster.block_on(pd::client::PdClient::connect(&endpoints)).unwrap();
    let found = cluster.block_on(client.scan_regions(b"", b"", 0)).unwrap();
    found.iter().filter(|r| r.leader.is_some()).map(|r| r.region.as_ref().unwrap().id).collect()
}

fn lock(cluster: &Cluster, key: &[u8], ts: u64) {
    let region = region_of(cluster, key);
    cluster.block_on(async {
        let mut client = TikvClient::connect(format!("http://{}", cluster.host())).await.unwrap();
        let put = Mutation {
            op: Op::Put.into(),
            key: key.to_vec(),
            value: b"never".to_vec(),
            ..Default::default()
        };
        let request = PrewriteRequest {
            context: Some(context(&region)),
            mutations: vec![put],
            primary_lock: key.to_vec(),
            start_version: ts,
            lock_ttl: 60_000,
            ..Default::default()
        };
        let reply = client.kv_prewrite(request).await.unwrap().into_inner();
        assert!(reply.region_error.is_none() && reply.errors.is_empty(), "{reply:?}");
    });
}

fn region_of(cluster: &Cluster, key: &[u8]) -> kvproto::metapb::Region {
    let online = Online::connect(&cluster.host(), &Default::default()).unwrap();
    let key = txn_types::Key::from_raw(key).into_encoded();
    let regions = online.all_regions().unwrap().into_iter();
    let mut regions =
        regions.map(|id| online.region_info(id).unwrap().region_local_state.unwrap().region.unwrap());
    regions.find(|r| r.start_key <= key && (r.end_key.is_empty() || key < r.end_key)).unwrap()
}

fn context(region: &kvproto::metapb::Region) -> Context {
    Context {
        region_id: region.id,
        region_epoch: region.region_epoch,
        peer: region.peers.first().copied(),
        ..Default::default()
    }
}

#[test]
fn a_cluster_is_flashed_back_and_undone() {
    let (cluster, then) = filled();
    let now = all(&cluster);
    let pd = cluster.pd();
    let dir = tempfile::tempdir().unwrap();
    let undo = dir.path().join("undo.json").to_str().unwrap().to_owned();
    let version = then.to_string();
    // A transaction that never ends does not block any client afterwards.
    lock(&cluster, b"locked", cluster.timestamp());

    let args = ["--pd", &pd, "flashback", "-v", &version];
    let (code, out, err) = ctl(&[&args[..], &["--dry-run"]].concat());
    assert!(code == 0 && out.ends_with("6 changes; nothing was changed (--dry-run)\n"), "{out}{err}");
    assert!(
        out.contains("CF lock") && out.contains("not there at") && out.contains("as committed at"),
        "{out}"
    );
    assert_eq!(all(&cluster), now);

    let (code, out, err) = ctl(&[&args[..], &["--yes", "--undo-file", &undo]].concat());
    assert_eq!((code, out.ends_with("flashback all stores success!\n")), (0, true), "{out}{err}");
    assert_eq!(all(&cluster), old());
    assert_eq!(cluster.read(b"locked"), None);
    assert_eq!(cluster.read(b"same").as_deref(), Some(&b"s"[..]));
    // Reads at older timestamps return the same as before.
    assert_eq!(cluster.read_at(b"a", then).as_deref(), Some(&b"1"[..]));
    cluster.write(&[(b"after", Some(b"open"))]);
    assert_eq!(cluster.read(b"after").as_deref(), Some(&b"open"[..]));

    let (code, out, err) = ctl(&["undo", &undo, "--yes", "--format", "json"]);
    assert_eq!(code, 0, "{out}{err}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&report["command"], report["regions"].as_array().unwrap().len()), (&"undo".into(), 2));
    assert_eq!(all(&cluster), now);
}

/// Prewrites keys of one transaction, in any regions, and commits its primary only.
fn half_committed(cluster: &Cluster, primary: &[u8], other: &[u8]) {
    let start = cluster.timestamp();
    let of = |key: &[u8]| context(&region_of(cluster, key));
    let prewrite = |key: &[u8]| PrewriteRequest {
        context: Some(of(key)),
        mutations: vec![Mutation {
            op: Op::Put.into(),
            key: key.to_vec(),
            value: b"both".to_vec(),
            ..Default::default()
        }],
        primary_lock: primary.to_vec(),
        start_version: start,
        lock_ttl: 60_000,
        ..Default::default()
    };
    let (first, second) = (prewrite(primary), prewrite(other));
    let context = Some(of(primary));
    cluster.block_on(async {
        let mut client = TikvClient::connect(format!("http://{}", cluster.host())).await.unwrap();
        for request in [first, second] {
            let reply = client.kv_prewrite(request).await.unwrap().into_inner();
            assert!(reply.region_error.is_none() && reply.errors.is_empty(), "{reply:?}");
        }
    });
    let commit = kvproto::kvrpcpb::CommitRequest {
        context,
        start_version: start,
        keys: vec![primary.to_vec()],
        commit_version: cluster.timestamp(),
        ..Default::default()
    };
    cluster.block_on(async {
        let mut client = TikvClient::connect(format!("http://{}", cluster.host())).await.unwrap();
        let reply = client.kv_commit(commit).await.unwrap().into_inner();
        assert!(reply.region_error.is_none() && reply.error.is_none(), "{reply:?}");
    });
}

#[test]
fn a_transaction_whose_primary_is_committed_is_not_split() {
    let (cluster, _) = filled();
    let both = || Some(b"both".to_vec());
    half_committed(&cluster, b"half-p", b"z-half-s");
    let version = cluster.timestamp().to_string();
    half_committed(&cluster, b"late-p", b"z-late-s");
    let dir = tempfile::tempdir().unwrap();
    let undo = dir.path().join("undo.json").to_str().unwrap().to_owned();
    let pd = cluster.pd();
    let args = ["--pd", &pd, "flashback", "-v", &version, "--yes", "--undo-file", &undo];
    let (code, out, err) = ctl(&args);
    assert_eq!(code, 0, "{out}{err}");
    assert!(err.contains("2 keys were committed first"), "{err}");
    assert_eq!((cluster.read(b"half-p"), cluster.read(b"z-half-s")), (both(), both()));
    assert_eq!((cluster.read(b"late-p"), cluster.read(b"z-late-s")), (None, None));
    // A transaction that has not ended, with its primary outside of the flashback's range.
    let (region, start) = (region_of(&cluster, b"x").id.to_string(), cluster.timestamp());
    let prewrite = |key: &[u8]| PrewriteRequest {
        context: Some(context(&region_of(&cluster, key))),
        mutations: vec![Mutation { op: Op::Put.into(), key: key.to_vec(), ..Default::default() }],
        primary_lock: b"a-open".to_vec(),
        start_version: start,
        lock_ttl: 60_000,
        ..Default::default()
    };
    let (left, right) = (prewrite(b"a-open"), prewrite(b"x-open"));
    cluster.block_on(async {
        let mut client = TikvClient::connect(format!("http://{}", cluster.host())).await.unwrap();
        for request in [left, right] {
            let reply = client.kv_prewrite(request).await.unwrap().into_inner();
            assert!(reply.region_error.is_none() && reply.errors.is_empty(), "{reply:?}");
        }
    });
    let args =
        ["--pd", &pd, "flashback", "-v", &version, "--yes", "-r", &region, "--undo-file", "/dev/null/x"];
    let (code, out, err) = ctl(&args);
    assert!(code == 1 && err.contains("include the primary"), "{out}{err}");
}

/// Prewrites `prewritten`, keys of one transaction with async commit, whose primary is the first key.
fn prewritten_async(cluster: &Cluster, keys: &[&[u8]], prewritten: &[&[u8]]) {
    let start = cluster.timestamp();
    for key in prewritten {
        let is_primary = *key == keys[0];
        let secondaries =
            if is_primary { keys[1..].iter().map(|k| k.to_vec()).collect() } else { Vec::new() };
        let mutation =
            Mutation { op: Op::Put.into(), key: key.to_vec(), value: b"both".to_vec(), ..Default::default() };
        let request = PrewriteRequest {
            context: Some(context(&region_of(cluster, key))),
            mutations: vec![mutation],
            primary_lock: keys[0].to_vec(),
            start_version: start,
            lock_ttl: 60_000,
            use_async_commit: true,
            secondaries,
            ..Default::default()
        };
        cluster.block_on(async {
            let mut client = TikvClient::connect(format!("http://{}", cluster.host())).await.unwrap();
            let reply = client.kv_prewrite(request).await.unwrap().into_inner();
            assert!(reply.region_error.is_none() && reply.errors.is_empty(), "{reply:?}");
            assert_ne!(reply.min_commit_ts, 0, "the server fell back to two phases: {reply:?}");
        });
    }
}

#[test]
fn an_async_commit_with_all_keys_prewritten_is_committed() {
    let (cluster, _) = filled();
    prewritten_async(&cluster, &[b"whole-p", b"z-whole-s"], &[b"whole-p", b"z-whole-s"]);
    prewritten_async(&cluster, &[b"part-p", b"z-part-s"], &[b"part-p"]);
    let version = cluster.timestamp().to_string();
    let dir = tempfile::tempdir().unwrap();
    let undo = dir.path().join("undo.json").to_str().unwrap().to_owned();
    let (code, out, err) =
        ctl(&["--pd", &cluster.pd(), "flashback", "-v", &version, "--yes", "--undo-file", &undo]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(err.contains("2 keys were committed first"), "{err}");
    let both = || Some(b"both".to_vec());
    assert_eq!((cluster.read(b"whole-p"), cluster.read(b"z-whole-s")), (both(), both()));
    assert_eq!((cluster.read(b"part-p"), cluster.read(b"z-part-s")), (None, None));
}

#[test]
fn regions_outside_of_the_selection_stay_unchanged() {
    let (cluster, then) = filled();
    let (pd, version) = (cluster.pd(), then.to_string());
    let right = region_of(&cluster, b"x").id.to_string();
    let dir = tempfile::tempdir().unwrap();
    let run = |n: u32, args: &[&str]| {
        let undo = dir.path().join(n.to_string());
        let undo = undo.to_str().unwrap();
        let (code, out, err) =
            ctl(&[&["--pd", &pd, "flashback", "-v", &version, "--yes", "--undo-file", undo], args].concat());
        assert_eq!(code, 0, "{out}{err}");
    };
    run(1, &["-r", &right]);
    assert_eq!((cluster.read(b"x"), cluster.read(b"a")), (Some(b"9".to_vec()), Some(b"2".to_vec())));
    let bound = |key: &[u8]| keys::hex_upper(txn_types::Key::from_raw(key).as_encoded());
    run(2, &["--start", &bound(b"big"), "--end", &bound(b"c")]);
    assert_eq!((cluster.read(b"big"), cluster.read(b"a")), (Some(BIG.to_vec()), Some(b"2".to_vec())));
    let (code, _, err) = ctl(&["--pd", &pd, "flashback", "-v", &version, "-r", "4711", "--yes"]);
    assert!(code == 1 && err.contains("4711"), "{err}");
}

/// Checks that the region refuses everything but reads below the flashback's start.
async fn check_closed(mut client: TikvClient<Channel>, region: &Region, start_ts: u64) {
    let context = Some(context(region));
    let get =
        |version| GetRequest { context: context.clone(), key: b"a".to_vec(), version, ..Default::default() };
    let refused = client.kv_get(get(start_ts + 100)).await.unwrap().into_inner().region_error.unwrap();
    let progress = refused.flashback_in_progress.unwrap();
    assert_eq!((progress.region_id, progress.flashback_start_ts), (region.id, start_ts));
    let raw = RawGetRequest { context: context.clone(), key: b"a".to_vec(), ..Default::default() };
    let refused = client.raw_get(raw).await.unwrap().into_inner().region_error.unwrap();
    assert!(refused.flashback_in_progress.is_some());
    let put = Mutation { op: Op::Put.into(), key: b"a".to_vec(), ..Default::default() };
    let write = PrewriteRequest {
        context: context.clone(),
        mutations: vec![put],
        primary_lock: b"a".to_vec(),
        start_version: start_ts + 1,
        ..Default::default()
    };
    let refused = client.kv_prewrite(write).await.unwrap().into_inner().region_error.unwrap();
    assert!(refused.flashback_in_progress.is_some());
    let past = client.kv_get(get(start_ts - 1)).await.unwrap().into_inner();
    assert_eq!((past.region_error, past.value), (None, b"2".to_vec()));
}

#[test]
fn a_closed_region_serves_only_old_reads_and_is_finished_later() {
    let (cluster, then) = filled();
    let region = region_of(&cluster, b"a");
    let start_ts = cluster.timestamp();
    let request = |commit_ts| FlashbackToVersionRequest {
        version: then,
        region_id: region.id,
        start_key: region.start_key.clone(),
        end_key: region.end_key.clone(),
        start_ts,
        commit_ts,
        ..Default::default()
    };
    cluster.block_on(async {
        let address = format!("http://{}", cluster.host());
        let mut debug = DebugClient::connect(address.clone()).await.unwrap();
        let early = debug.flashback_to_version(request(start_ts + 1)).await.unwrap_err();
        assert_eq!(early.message(), "not in flashback state");
        debug.flashback_to_version(request(0)).await.unwrap();
        // A repeated request changes nothing.
        debug.flashback_to_version(request(0)).await.unwrap();

        let client = TikvClient::connect(address).await.unwrap();
        check_closed(client, &region, start_ts).await;
    });
    let (code, out, _) =
        ctl(&["--pd", &cluster.pd(), "split-region", "-r", &region.id.to_string(), "-k", "b"]);
    assert!(code != 0 || out.contains("flashback"), "{out}");

    // The tool continues a flashback that another client started.
    let dir = tempfile::tempdir().unwrap();
    let undo = dir.path().join("undo.json");
    let version = then.to_string();
    let args =
        ["--pd", &cluster.pd(), "flashback", "-v", &version, "--yes", "--undo-file", undo.to_str().unwrap()];
    let (code, out, err) = ctl(&args);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(all(&cluster), old());
}
