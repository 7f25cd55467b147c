//! Random commands on three Raft stores, compared with a model of Percolator, while leaders move, the region splits
//! and stores are killed.
#[path = "../harness/mod.rs"]
mod harness;

mod caller;
mod percolator;
mod reads;
mod transactions;

use std::collections::BTreeMap;

use caller::Caller;
use kvproto::kvrpcpb::SplitRegionRequest;
use percolator::{Key, Model, Write};
use rand::{Rng, SeedableRng, rngs::StdRng};
use transactions::Txn;

const KEYS: [Key; 6] = [b"a", b"b", b"c", b"d", b"e", b"f"];
const STEPS: u32 = 400;
/// Maximum number of steps, if a result has not been seen before.
const MAX_STEPS: u32 = 4_000;

/// Place of the pessimistic locks of the stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LockPlace {
    /// In Raft: they survive a kill.
    Raft,
    /// In the leader's memory: transfers and splits keep them, a kill would lose them.
    Memory,
}

/// The cluster, its model, and the transactions that have begun.
struct Run {
    caller: Caller,
    model: Model,
    rng: StdRng,
    open: Vec<Txn>,
    /// Number of commands by result: a run without a conflict or a fault must fail.
    seen: BTreeMap<&'static str, u32>,
    locks: LockPlace,
    /// The event, for the message of a failure.
    context: String,
}

/// Results that every run must reach.
const MUST_SEE: [&str; 13] = [
    "split",
    "transfer",
    "one-phase commit",
    "promised commit",
    "commit",
    "rollback",
    "pessimistic lock",
    "locked",
    "conflict",
    "recovered promise",
    "recovered rollback",
    "blocked read",
    "follower read",
];

impl Run {
    fn count(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    /// Returns a result that has not been seen.
    fn missing(&self) -> Option<&'static str> {
        MUST_SEE.into_iter().find(|what| !self.seen.contains_key(what))
    }

    fn choose_keys(&mut self) -> Vec<Key> {
        let count = self.rng.random_range(1..4);
        let mut keys: Vec<Key> =
            rand::seq::IndexedRandom::choose_multiple(&KEYS[..], &mut self.rng, count).copied().collect();
        keys.sort_unstable();
        keys
    }

    fn choose_write(&mut self, ts: u64) -> Write {
        match self.rng.random_range(0..10) {
            0..6 => Write::Set(Some(ts.to_string().into_bytes())),
            // Too long for the write record: it goes to CF default.
            6 => Write::Set(Some(vec![b'x'; 300 + ts as usize % 50])),
            7 | 8 => Write::Set(None),
            _ => Write::Lock,
        }
    }

    fn fault(&mut self) {
        match self.rng.random_range(0..4) {
            0 => self.split(),
            1 if self.locks == LockPlace::Raft => self.kill_a_store(),
            _ => self.transfer_leader(),
        }
    }

    fn transfer_leader(&mut self) {
        let key = KEYS[self.rng.random_range(0..KEYS.len())];
        let region = self.caller.region_of(key);
        let to = self.rng.random_range(0..region.peers.len());
        for store in self.caller.h.stores.iter().flatten() {
            // Only the leader obeys. The next command waits for the new one.
            let _ = store.router().transfer_leader(region.id, region.peers[to]);
        }
        self.count("transfer");
    }

    fn split(&mut self) {
        let key = KEYS[self.rng.random_range(1..KEYS.len())];
        let start = txn_types::Key::from_raw(key).into_encoded();
        if self.caller.region_of(key).start_key == start {
            return;
        }
        let reply = self.caller.call(key, false, async |mut client, context| {
            let split_keys = vec![key.to_vec()];
            let request = SplitRegionRequest { context: Some(context), split_keys, ..Default::default() };
            client.split_region(request).await
        });
        assert_eq!(reply.regions.len(), 2, "{}: {reply:?}", self.context);
        self.caller.h.until("PD knows the split", async || {
            let found = self.caller.h.client.get_region(&start).await.ok()?;
            (found.region.start_key == start).then_some(())
        });
        self.count("split");
    }

    fn kill_a_store(&mut self) {
        let n = self.rng.random_range(0..3);
        self.caller.h.stores[n].take().unwrap().kill();
        self.caller.h.start_store(n);
        self.count("kill");
    }

    fn step(&mut self) {
        match self.rng.random_range(0..20) {
            0..4 => self.begin(),
            4..8 => self.advance(),
            8..12 => self.finish(),
            12 => self.crash(),
            13..16 => self.read_keys(),
            16..19 => self.scan(),
            _ => self.heart_beat(),
        }
    }
}

fn run(seed: u64, locks: LockPlace) {
    let caller = Caller::start(move |config| {
        // A pipelined lock is answered before Raft has it, and a lock in memory never reaches Raft.
        config.pessimistic_txn.pipelined = locks == LockPlace::Memory;
        if locks == LockPlace::Memory {
            // A busy machine must not cause an election, which loses the locks.
            config.raft_store.raft_election_timeout_ticks = 300;
        }
    });
    let (rng, context) = (StdRng::seed_from_u64(seed), String::new());
    let (model, open, seen) = (Model::default(), Vec::new(), BTreeMap::new());
    let mut run = Run { caller, model, rng, open, seen, locks, context };
    for step in 0..MAX_STEPS {
        if step >= STEPS && run.missing().is_none() {
            break;
        }
        run.context = format!("seed {seed}, step {step}");
        if step % 40 == 39 {
            run.fault();
        }
        run.step();
    }
    run.context = format!("seed {seed}, at the end");
    run.check_locks();
    while !run.open.is_empty() {
        run.crash();
    }
    run.check_locks();
    for _ in 0..3 {
        run.read_keys();
        run.scan();
    }
    assert_eq!(run.missing(), None, "seed {seed}: expected every result, found {:?}", run.seen);
    assert!(locks == LockPlace::Raft || !run.seen.contains_key("kill"), "seed {seed}: {:?}", run.seen);
}

#[test]
fn random_commands_match_the_model() {
    run(1, LockPlace::Raft);
}

#[test]
fn random_commands_with_locks_in_memory_match_the_model() {
    run(2, LockPlace::Memory);
}
