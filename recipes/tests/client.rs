//! Async commit and one-phase commit with the real client on three stores: commits are never lost.
use std::{collections::BTreeMap, future::Future, time::Duration};

use recipes::{
    cluster::{Cluster, ClusterConfig},
    directive::Who,
};
use tikv_client::{CheckLevel, Timestamp, TimestampExt, TransactionClient, TransactionOptions};
use tokio::runtime::Runtime;

/// Upper bound of each operation.
const BOUND: Duration = Duration::from_secs(120);
/// Longer than the time to live of the client's locks.
const LOCK_TTL: Duration = Duration::from_secs(4);

struct Client {
    client: TransactionClient,
    runtime: Runtime,
}

impl Client {
    fn connect(cluster: &Cluster) -> Self {
        let runtime = Runtime::new().unwrap();
        let client = TransactionClient::new(vec![cluster.pd_endpoint()]);
        let client = runtime.block_on(async { tokio::time::timeout(BOUND, client).await }).unwrap().unwrap();
        Self { client, runtime }
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { tokio::time::timeout(BOUND, future).await.expect("within the bound") })
    }

    /// Writes pairs in one transaction; returns its commit timestamp, or None if it failed.
    fn write(&self, options: TransactionOptions, pairs: &[(Vec<u8>, Vec<u8>)]) -> Option<u64> {
        self.block_on(async {
            let mut txn = self.client.begin_with_options(options.drop_check(CheckLevel::None)).await.unwrap();
            for (key, value) in pairs {
                txn.put(key.clone(), value.clone()).await.unwrap();
            }
            match txn.commit().await {
                Ok(commit_ts) => Some(commit_ts.expect("something was written").version()),
                // The caller retries: a new leader's max_ts is not synchronised, or there is no leader.
                Err(e) => {
                    println!("not committed: {e}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    None
                }
            }
        })
    }

    fn read(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.block_on(async {
            let ts = self.client.current_timestamp().await.unwrap();
            let options = TransactionOptions::new_optimistic().drop_check(CheckLevel::None);
            self.client.snapshot(ts, options).get(key.to_vec()).await.unwrap()
        })
    }

    fn read_at(&self, key: &[u8], ts: u64) -> Option<Vec<u8>> {
        let options = TransactionOptions::new_optimistic().drop_check(CheckLevel::None);
        let mut snapshot = self.client.snapshot(Timestamp::from_version(ts), options);
        self.block_on(snapshot.get(key.to_vec())).unwrap()
    }
}

fn kinds() -> [TransactionOptions; 3] {
    let new = TransactionOptions::new_optimistic;
    [new().use_async_commit(), new().try_one_pc(), new().use_async_commit().try_one_pc()]
}

#[test]
fn acknowledged_writes_are_visible_after_locks_expire() {
    let cluster = Cluster::start(ClusterConfig::default()).unwrap();
    let client = Client::connect(&cluster);
    let mut committed = BTreeMap::new();
    for (n, options) in kinds().into_iter().enumerate() {
        let pairs: Vec<_> =
            (0..3).map(|i| (format!("k{n}-{i}").into_bytes(), vec![n as u8 + 1; 10])).collect();
        let commit_ts = (0..100).find_map(|_| client.write(options.clone(), &pairs)).expect("a commit");
        assert!(commit_ts > 0, "the client took a zero for a timestamp");
        committed.extend(pairs.into_iter().map(|(key, value)| (key, (value, commit_ts))));
    }
    std::thread::sleep(LOCK_TTL);
    for (key, (value, commit_ts)) in &committed {
        assert_eq!(client.read(key).as_ref(), Some(value), "{}", key.escape_ascii());
        assert_eq!(client.read_at(key, *commit_ts).as_ref(), Some(value));
        assert_eq!(client.read_at(key, commit_ts - 1), None, "not before it was committed");
    }
}

#[test]
fn acknowledged_writes_survive_leader_changes() {
    let mut cluster = Cluster::start(ClusterConfig::default()).unwrap();
    let client = Client::connect(&cluster);
    let mut committed: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for round in 0..4u8 {
        for (n, options) in kinds().into_iter().enumerate() {
            let pairs = vec![
                (format!("a{n}").into_bytes(), vec![round; 3]),
                (format!("b{n}-{round}").into_bytes(), vec![round; 300]),
            ];
            // The first transaction of a round finds the new leader.
            (0..100).find_map(|_| client.write(options.clone(), &pairs)).expect("a commit");
            committed.extend(pairs);
        }
        cluster.transfer_leader(Who::Follower).unwrap();
    }
    for (key, value) in &committed {
        assert_eq!(client.read(key).as_ref(), Some(value), "{}", key.escape_ascii());
    }
}
