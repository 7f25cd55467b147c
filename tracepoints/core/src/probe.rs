//! State that its owner attaches to a stamp of a stepped request.
use serde::{Deserialize, Serialize};

use crate::facts::Facts;

/// The state that an owner publishes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// The state of a peer.
    Raft(RaftProbe),
    /// The rows of a key.
    Mvcc(MvccProbe),
    /// The latches of a command.
    Latches(LatchesProbe),
    /// The requests that wait for locks.
    LockWaits(LockWaitsProbe),
    /// The pessimistic locks in the memory of a leader.
    MemoryLocks(MemoryLocksProbe),
    /// The graph of the deadlock detector.
    WaitGraph(WaitGraphProbe),
    /// RocksDB's counters of a read.
    Perf(PerfProbe),
    /// Facts of this step: a request, an answer or a decision.
    Facts(Facts),
    /// A text.
    Note(String),
}

/// One peer of a Raft group, as the peer itself reports it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RaftProbe {
    /// The peer's store.
    pub store: u64,
    /// The peer's region.
    pub region: u64,
    /// The peer's id.
    pub peer: u64,
    /// `Leader`, `Follower`, `Candidate`, `PreCandidate`; `Stopped`: its store was stopped and the other
    /// fields are empty.
    pub role: String,
    /// The peer's current term.
    pub term: u64,
    /// Id of the peer it voted for in this term, or 0.
    pub vote: u64,
    /// Peer id of the leader, as far as this peer knows; or 0.
    pub leader: u64,
    /// Index of the first entry in its log.
    pub first_index: u64,
    /// Index of the last entry in its log.
    pub last_index: u64,
    /// Index of the last entry that is synced to its disk.
    pub persisted: u64,
    /// Index of the last entry that it knows to be committed.
    pub commit: u64,
    /// Index of the last entry that it has applied.
    pub applied: u64,
    /// The lease; only a leader has one.
    pub lease: Option<LeaseProbe>,
    /// Progress of each peer; only a leader has it.
    pub progress: Vec<ProgressProbe>,
}

impl RaftProbe {
    /// Makes the probe of a peer on a stopped store, as reported by the caller that stopped it.
    pub fn stopped(store: u64, region: u64) -> Self {
        Self { store, region, role: "Stopped".into(), ..Self::default() }
    }

    /// Whether its store was stopped.
    pub fn is_stopped(&self) -> bool {
        self.role == "Stopped"
    }
}

/// The lease of a leader.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LeaseProbe {
    /// `valid`, `expired`, `suspect`.
    pub state: String,
    /// Remaining engine time in ms.
    pub remaining_ms: u64,
    /// Engine time at which it ends, in ns of its store's process; 0: unknown.
    #[serde(default)]
    pub until_ns: u64,
}

impl LeaseProbe {
    /// Updates the remaining time for `now`, in ns of engine time.
    pub fn run_down(&mut self, now: u64) {
        if self.state == "valid" && self.until_ns != 0 {
            self.remaining_ms = self.until_ns.saturating_sub(now) / 1_000_000;
            if now >= self.until_ns {
                self.state = "expired".into();
            }
        }
    }
}

/// A leader's knowledge of a peer's log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProgressProbe {
    /// The peer's id.
    pub peer: u64,
    /// The peer's store.
    pub store: u64,
    /// Index up to which its log is the leader's.
    pub matched: u64,
    /// Index of the next entry to send.
    pub next: u64,
    /// `Probe`, `Replicate`, `Snapshot`.
    pub state: String,
}

/// The rows of one key in the three column families, from one snapshot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MvccProbe {
    /// The reader's store.
    pub store: u64,
    /// The user key, escaped as tikv-ctl prints it.
    pub key: String,
    /// Read timestamp of the reader; 0: a command saw the rows.
    pub read_ts: u64,
    /// The key's lock.
    pub lock: Option<LockRow>,
    /// The rows of the write column family, newest first.
    pub writes: Vec<WriteRow>,
    /// The rows of the default column family, newest first.
    pub defaults: Vec<DefaultRow>,
    /// commit_ts of the version the reader returns.
    pub chosen: Option<u64>,
    /// Whether more rows exist.
    pub more: bool,
}

/// A row of the lock column family.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LockRow {
    /// `Put`, `Delete`, `Lock`, `Pessimistic`, `Shared`.
    pub kind: String,
    /// The start timestamp of its transaction; of shared locks, the oldest transaction.
    pub start_ts: u64,
    /// The primary key of its transaction, escaped.
    pub primary: String,
    /// Time to live in ms, from the start of its transaction.
    pub ttl_ms: u64,
    /// The newest timestamp at which it was locked pessimistically, or 0.
    pub for_update_ts: u64,
    /// The lowest timestamp at which it may be committed, or 0.
    pub min_commit_ts: u64,
    /// The value if it is short enough for this row, escaped.
    pub short_value: Option<String>,
    /// The lock of each transaction that shares the lock.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<LockRow>,
    /// Whether no further transaction may share the lock.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shrink_only: bool,
}

/// A row of the write column family.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WriteRow {
    /// The commit timestamp in its key.
    pub commit_ts: u64,
    /// The start timestamp of its transaction.
    pub start_ts: u64,
    /// `Put`, `Delete`, `Lock`, `Rollback`.
    pub kind: String,
    /// The value if it is short enough for this row, escaped.
    pub short_value: Option<String>,
}

/// A row of the default column family.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DefaultRow {
    /// The start timestamp in its key.
    pub start_ts: u64,
    /// Length of the value in bytes.
    pub value_len: u64,
    /// The first bytes of the value, escaped.
    pub value: String,
}

/// The latches that a command waits for or holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatchesProbe {
    /// The store of the command.
    pub store: u64,
    /// The latches of the command's keys.
    pub slots: Vec<LatchSlot>,
    /// Id of the command.
    #[serde(default)]
    pub command: u64,
    /// Engine time in ns at which the command got its last latch, in a trace since its first step; 0: it waits.
    #[serde(default)]
    pub since_ns: u64,
    /// Engine time in ns for which the command held its latches; 0: it holds them, or waits.
    #[serde(default)]
    pub held_ns: u64,
}

/// One latch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatchSlot {
    /// Number of the latch.
    pub slot: u64,
    /// Queue of command ids; the first one holds the latch.
    pub queue: Vec<u64>,
    /// The command's keys on this latch, escaped.
    #[serde(default)]
    pub keys: Vec<String>,
}

/// Waits of transactions for each other's locks, from a store's queues or the deadlock detector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LockWaitsProbe {
    /// The store of the waiting requests.
    pub store: u64,
    /// The queues of the keys that requests wait for.
    pub queues: Vec<LockQueue>,
    /// The cycle of transactions that the detector found; its last wait is refused.
    #[serde(default)]
    pub chain: Vec<LockWaitEdge>,
}

/// The queue of one key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LockQueue {
    /// The user key, escaped as tikv-ctl prints it.
    pub key: String,
    /// start_ts of the transaction that has the lock; of shared locks, the oldest one.
    pub holder: u64,
    /// start_ts of the other transactions that share the lock.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_holders: Vec<u64>,
    /// The requests that wait, in the order in which they are woken.
    pub waiters: Vec<LockWaiter>,
}

/// A request that waits for a lock.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LockWaiter {
    /// start_ts of its transaction.
    pub start_ts: u64,
    /// Whether it uses fair locking.
    pub fair: bool,
}

/// A transaction that waits for another one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LockWaitEdge {
    /// start_ts of the transaction that waits.
    pub txn: u64,
    /// start_ts of the transaction that it waits for.
    pub wait_for: u64,
    /// The user key that it waits for, escaped.
    pub key: String,
}

/// The table of pessimistic locks in the memory of a region's leader.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MemoryLocksProbe {
    /// The leader's store.
    pub store: u64,
    /// The region.
    pub region: u64,
    /// The first locks, by key.
    pub locks: Vec<MemoryLock>,
    /// Number of further locks.
    pub more: u64,
}

/// A pessimistic lock in memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MemoryLock {
    /// The user key, escaped as tikv-ctl prints it.
    pub key: String,
    /// start_ts of its transaction.
    pub start_ts: u64,
    /// Versions up to this timestamp do not conflict.
    pub for_update_ts: u64,
    /// Milliseconds from the physical part of start_ts until others may resolve the lock.
    pub ttl_ms: u64,
}

/// The graph of the deadlock detector: all waits of the cluster that may become part of a cycle.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WaitGraphProbe {
    /// The store with the graph: the leader of the first region.
    pub store: u64,
    /// The first waits, by the transactions' start_ts.
    pub edges: Vec<LockWaitEdge>,
    /// Number of further waits.
    pub more: u64,
}

/// The lock tables of a store, for `tikv-ctl inflight`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LockTables {
    /// The regions with pessimistic locks in this store's memory.
    pub memory_locks: Vec<MemoryLocksProbe>,
    /// The graph of the deadlock detector; none on a store that does not have it.
    pub wait_graph: Option<WaitGraphProbe>,
}

impl LockTables {
    /// Formats one lock or wait a line, each table with a title; empty tables have no line.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        for table in self.memory_locks.iter().filter(|table| !table.locks.is_empty()) {
            out.push_str(&format!("locks in memory [store {} region {}]\n", table.store, table.region));
            for MemoryLock { key, start_ts, for_update_ts, ttl_ms } in &table.locks {
                let times = format!("start_ts {start_ts} for_update_ts {for_update_ts} ttl {ttl_ms} ms");
                out.push_str(&format!("    key {key} {times}\n"));
            }
            out.push_str(&more(table.more));
        }
        if let Some(graph) = self.wait_graph.as_ref().filter(|graph| !graph.edges.is_empty()) {
            out.push_str(&format!("waits that the deadlock detector of store {} knows\n", graph.store));
            for edge in &graph.edges {
                out.push_str(&format!("    {} waits for {} at key {}\n", edge.txn, edge.wait_for, edge.key));
            }
            out.push_str(&more(graph.more));
        }
        out
    }
}

fn more(more: u64) -> String {
    if more == 0 { String::new() } else { format!("    and {more} more\n") }
}

/// RocksDB's perf context of one read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PerfProbe {
    /// Blocks found in the block cache.
    pub block_cache_hit_count: u64,
    /// Blocks read from files.
    pub block_read_count: u64,
    /// Bytes of these blocks.
    pub block_read_byte: u64,
    /// Time in ns to read these blocks.
    pub block_read_nanos: u64,
    /// Searches in memtables.
    pub get_from_memtable_count: u64,
    /// Keys skipped by iterators.
    pub internal_key_skipped_count: u64,
    /// Tombstones skipped by iterators.
    pub internal_delete_skipped_count: u64,
    /// Seeks of iterators in memtables.
    #[serde(default)]
    pub seek_on_memtable_count: u64,
    /// Seeks of iterators in memtables and files.
    #[serde(default)]
    pub seek_child_seek_count: u64,
    /// Bloom filters of memtables that ruled a key out.
    #[serde(default)]
    pub bloom_memtable_miss_count: u64,
    /// Bloom filters of files that ruled a key out.
    #[serde(default)]
    pub bloom_sst_miss_count: u64,
}
