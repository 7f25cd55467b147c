//! Compares random transactions with a model, sequentially and concurrently.
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use kvproto::kvrpcpb::{self, Op};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tracepoints::Req;
use txn_types::Key;

use super::store::{TestStore, at_ms, key_error, op, put, range, wait};
use crate::{
    Result, ScanRange, TxnStatus,
    txn::commands::{CheckTxnStatus, Commit, typed_prewrite, typed_resolve_lock},
};

const KEYS: [&[u8]; 6] = [b"a", b"b", b"c", b"d", b"e", b"f"];

type Value = Option<Vec<u8>>;

/// Expected content of the store.
#[derive(Default)]
struct Model {
    /// Committed versions by key and commit_ts.
    versions: BTreeMap<&'static [u8], BTreeMap<u64, Value>>,
    /// Timestamp of each key's newest record, including rollbacks.
    newest: BTreeMap<&'static [u8], u64>,
    /// start_ts of the key's lock, and whether the lock blocks readers.
    locks: BTreeMap<&'static [u8], (u64, bool)>,
}

/// Writes of a transaction; `None`: only lock the key.
type Writes = Vec<(&'static [u8], Option<Value>)>;

impl Model {
    fn read(&self, key: &[u8], ts: u64) -> std::result::Result<Value, u64> {
        match self.locks.get(key) {
            Some((start, true)) if *start <= ts => Err(*start),
            _ => Ok(self
                .versions
                .get(key)
                .and_then(|v| v.range(..=ts).next_back())
                .and_then(|(_, v)| v.clone())),
        }
    }

    /// Returns `Some(true)` if prewritten, `Some(false)` if another lock exists, `None` for a conflict.
    fn prewrite(&mut self, writes: &Writes, start: u64) -> Option<bool> {
        let mut locked = false;
        for (key, _) in writes {
            if self.locks.contains_key(key) {
                locked = true;
            } else if self.newest.get(key).is_some_and(|ts| *ts > start) {
                return None;
            }
        }
        if !locked {
            self.locks.extend(writes.iter().map(|(key, w)| (*key, (start, w.is_some()))));
        }
        Some(!locked)
    }

    fn finish(&mut self, writes: &Writes, start: u64, commit: Option<u64>) {
        for (key, write) in writes {
            self.locks.remove(key);
            let newest = self.newest.entry(key).or_default();
            *newest = commit.unwrap_or(start).max(*newest);
            if let (Some(commit), Some(value)) = (commit, write) {
                self.versions.entry(key).or_default().insert(commit, value.clone());
            }
        }
    }
}

fn random_writes(rng: &mut StdRng, ts: u64) -> Writes {
    let count = rng.random_range(1..4);
    let mut keys: Vec<_> = KEYS.choose_multiple(rng, count).copied().collect();
    keys.sort_unstable();
    let write = |rng: &mut StdRng| match rng.random_range(0..10) {
        0..6 => Some(Some(format!("{ts}").into_bytes())),
        6 => Some(Some(vec![b'x'; 300 + ts as usize])),
        7 | 8 => Some(None),
        _ => None,
    };
    keys.into_iter().map(|k| (k, write(rng))).collect()
}

fn mutation(key: &[u8], write: &Option<Value>) -> kvrpcpb::Mutation {
    match write {
        Some(Some(value)) => put(key, value),
        Some(None) => op(Op::Del, key),
        None => op(Op::Lock, key),
    }
}

fn check_reads(store: &TestStore, model: &Model, ts: u64, context: &str) {
    for key in KEYS {
        let got = store.get(key, ts).map_err(|e| key_error(&e).locked.map(|l| l.lock_version));
        let want = model.read(key, ts).map_err(Some);
        assert_eq!(got, want, "{context}: get {key:?} at {ts}");
    }
    let mut want: Vec<_> = KEYS
        .iter()
        .filter_map(|k| match model.read(k, ts) {
            Ok(value) => value.map(|v| Some((k.to_vec(), v))),
            Err(_) => Some(None),
        })
        .collect();
    assert_eq!(store.scan(range(b"", b"", 100), ts), want, "{context}: scan at {ts}");
    want.reverse();
    let backward = store.scan(ScanRange { limit: 100, reverse: true, ..Default::default() }, ts);
    assert_eq!(backward, want, "{context}: reverse scan at {ts}");
}

#[test]
fn random_interleavings_match_the_model() {
    for seed in 0..4 {
        let store = TestStore::new();
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut model, mut ts) = (Model::default(), 10);
        let mut begun: Vec<u64> = Vec::new();
        let mut prewritten: Vec<(u64, Writes)> = Vec::new();
        for step in 0..400 {
            let context = format!("seed {seed}, step {step}");
            ts += 1;
            match rng.random_range(0..10) {
                0..3 => begun.push(ts),
                3..6 if !begun.is_empty() => {
                    let start = begun.swap_remove(rng.random_range(0..begun.len()));
                    let writes = random_writes(&mut rng, start);
                    let mutations = writes.iter().map(|(k, w)| mutation(k, w)).collect();
                    let got = store.prewrite(mutations, start);
                    match model.prewrite(&writes, start) {
                        Some(true) => {
                            assert!(got.unwrap().locks.is_empty(), "{context}");
                            prewritten.push((start, writes));
                        }
                        Some(false) => assert!(!got.unwrap().locks.is_empty(), "{context}"),
                        None => assert!(key_error(&got.unwrap_err()).conflict.is_some(), "{context}"),
                    }
                }
                6..9 if !prewritten.is_empty() => {
                    let (start, writes) = prewritten.swap_remove(rng.random_range(0..prewritten.len()));
                    let keys: Vec<&[u8]> = writes.iter().map(|(k, _)| *k).collect();
                    let commit = rng.random_bool(0.7).then_some(ts);
                    match commit {
                        Some(commit) => drop(store.commit(&keys, start, commit).unwrap()),
                        None => store.rollback(&keys, start).unwrap(),
                    }
                    model.finish(&writes, start, commit);
                }
                _ => check_reads(&store, &model, rng.random_range(1..ts + 1), &context),
            }
        }
        for at in [1, ts / 2, ts, ts + 100] {
            check_reads(&store, &model, at, "the end");
        }
        store.must_become_idle();
    }
}

/// Client that transfers money and resolves locks like a real client.
struct Client {
    store: TestStore,
    tso: Arc<AtomicU64>,
}

const ACCOUNTS: usize = 5;
const BALANCE: u64 = 100;

fn account(i: usize) -> Vec<u8> {
    format!("account{i}").into_bytes()
}

impl Client {
    fn ts(&self) -> u64 {
        at_ms(self.tso.fetch_add(1, Ordering::SeqCst))
    }

    /// Resolves the transaction of a lock, if possible.
    async fn resolve(&self, lock: kvrpcpb::LockInfo) {
        let query = kvrpcpb::CheckTxnStatusRequest {
            primary_key: lock.primary_lock.clone(),
            lock_ts: lock.lock_version,
            caller_start_ts: 0,
            current_ts: self.ts(),
            rollback_if_not_exist: true,
            ..Default::default()
        };
        let status = self.store.storage.sched_txn_command(CheckTxnStatus::from(query), Req::NONE).await.0;
        let commit_version = match status.unwrap() {
            TxnStatus::Committed { commit_ts } => commit_ts.into_inner(),
            TxnStatus::Uncommitted { .. } => return tokio::task::yield_now().await,
            _ => 0,
        };
        let req = kvrpcpb::ResolveLockRequest {
            start_version: lock.lock_version,
            commit_version,
            ..Default::default()
        };
        self.store.storage.sched_txn_command(typed_resolve_lock(req), Req::NONE).await.0.unwrap();
    }

    async fn read(&self, i: usize, ts: u64) -> u64 {
        loop {
            let get =
                self.store.storage.get(Default::default(), Key::from_raw(&account(i)), ts.into(), Req::NONE);
            match get.await {
                Ok((value, _)) => {
                    return value.map_or(BALANCE, |v| String::from_utf8(v).unwrap().parse().unwrap());
                }
                Err(e) => self.resolve(key_error(&e).locked.expect("expected a lock")).await,
            }
        }
    }

    /// Returns true if committed. A dying client stops between the phases.
    async fn transfer(&self, from: usize, to: usize, amount: u64, dies: bool) -> Result<bool> {
        let start = self.ts();
        let (a, b) = (self.read(from, start).await, self.read(to, start).await);
        if a < amount {
            return Ok(false);
        }
        let write = |i, balance: u64| put(&account(i), balance.to_string().as_bytes());
        let mut req =
            super::store::prewrite_request(vec![write(from, a - amount), write(to, b + amount)], start);
        req.lock_ttl = 20;
        let result = self.store.storage.sched_txn_command(typed_prewrite(req)?, Req::NONE).await.0;
        let locked = match result {
            Ok(result) => result.locks.into_iter().next(),
            Err(e) if key_error(&e).conflict.is_some() => return Ok(false),
            Err(e) => return Err(e),
        };
        if let Some(Err(e)) = locked {
            self.resolve(key_error(&e).locked.unwrap()).await;
            return Ok(false);
        }
        if dies {
            return Ok(false);
        }
        let commit = |i| kvrpcpb::CommitRequest {
            keys: vec![account(i)],
            start_version: start,
            commit_version: self.ts(),
            ..Default::default()
        };
        // The primary decides; the secondary is committed at the same timestamp.
        let primary = commit(from);
        let secondary = kvrpcpb::CommitRequest { keys: vec![account(to)], ..primary.clone() };
        match self.store.storage.sched_txn_command(Commit::from(primary), Req::NONE).await.0 {
            Ok(_) => {}
            Err(e) if key_error(&e).txn_lock_not_found.is_some() => return Ok(false),
            Err(e) => return Err(e),
        }
        self.store.storage.sched_txn_command(Commit::from(secondary), Req::NONE).await.0?;
        Ok(true)
    }
}

#[test]
fn transfers_keep_the_total_balance() {
    let store = TestStore::new();
    let tso = Arc::new(AtomicU64::new(1000));
    let run = |seed: u64| {
        let client = Client { store: store.clone(), tso: tso.clone() };
        async move {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut committed = 0;
            for _ in 0..60 {
                let from = rng.random_range(0..ACCOUNTS);
                let to = (from + rng.random_range(1..ACCOUNTS)) % ACCOUNTS;
                let (amount, dies) = (rng.random_range(1..30), rng.random_bool(0.1));
                committed += usize::from(client.transfer(from, to, amount, dies).await.unwrap());
                if rng.random_bool(0.3) {
                    let ts = client.ts();
                    let mut sum = 0;
                    for i in 0..ACCOUNTS {
                        sum += client.read(i, ts).await;
                    }
                    assert_eq!(sum, ACCOUNTS as u64 * BALANCE, "at {ts}");
                }
            }
            committed
        }
    };
    let committed: usize = wait(futures::future::join_all((0..6).map(run))).into_iter().sum();
    assert!(committed > 20, "only {committed} transfers were committed");
    store.must_become_idle();
}
