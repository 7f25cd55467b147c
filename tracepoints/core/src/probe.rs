//! State that its owner attaches to a stamp of a stepped request.
use serde::{Deserialize, Serialize};

/// The state that an owner publishes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    Raft(RaftProbe),
    Mvcc(MvccProbe),
    Latches(LatchesProbe),
    Perf(PerfProbe),
    Note(String),
}

/// One peer of a Raft group, as the peer itself reports it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RaftProbe {
    pub store: u64,
    pub region: u64,
    pub peer: u64,
    /// `Leader`, `Follower`, `Candidate`, `PreCandidate`; `Stopped`: its store was stopped and the other
    /// fields are empty.
    pub role: String,
    pub term: u64,
    pub vote: u64,
    /// Peer id of the leader, as far as this peer knows; or 0.
    pub leader: u64,
    pub first_index: u64,
    pub last_index: u64,
    pub persisted: u64,
    pub commit: u64,
    pub applied: u64,
    pub lease: Option<LeaseProbe>,
    /// Progress of each peer; only a leader has it.
    pub progress: Vec<ProgressProbe>,
}

impl RaftProbe {
    /// Makes the probe of a peer on a stopped store, as reported by the caller that stopped it.
    pub fn stopped(store: u64, region: u64) -> Self {
        Self { store, region, role: "Stopped".into(), ..Self::default() }
    }

    pub fn is_stopped(&self) -> bool {
        self.role == "Stopped"
    }
}

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

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProgressProbe {
    pub peer: u64,
    pub store: u64,
    pub matched: u64,
    pub next: u64,
    /// `Probe`, `Replicate`, `Snapshot`.
    pub state: String,
}

/// The rows of one key in the three column families, from one snapshot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MvccProbe {
    pub store: u64,
    /// The user key, escaped as tikv-ctl prints it.
    pub key: String,
    /// Read timestamp of the reader, or 0.
    pub read_ts: u64,
    pub lock: Option<LockRow>,
    pub writes: Vec<WriteRow>,
    pub defaults: Vec<DefaultRow>,
    /// commit_ts of the version the reader returns.
    pub chosen: Option<u64>,
    /// Whether more rows exist.
    pub more: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LockRow {
    /// `Put`, `Delete`, `Lock`, `Pessimistic`.
    pub kind: String,
    pub start_ts: u64,
    pub primary: String,
    pub ttl_ms: u64,
    pub for_update_ts: u64,
    pub min_commit_ts: u64,
    pub short_value: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WriteRow {
    pub commit_ts: u64,
    pub start_ts: u64,
    /// `Put`, `Delete`, `Lock`, `Rollback`.
    pub kind: String,
    pub short_value: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DefaultRow {
    pub start_ts: u64,
    pub value_len: u64,
    /// The first bytes of the value, escaped.
    pub value: String,
}

/// The latches that a command waits for or holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatchesProbe {
    pub store: u64,
    pub slots: Vec<LatchSlot>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatchSlot {
    pub slot: u64,
    /// Queue of command ids; the first one holds the latch.
    pub queue: Vec<u64>,
}

/// RocksDB's perf context of one read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PerfProbe {
    pub block_cache_hit_count: u64,
    pub block_read_count: u64,
    pub block_read_byte: u64,
    pub block_read_nanos: u64,
    pub get_from_memtable_count: u64,
    pub internal_key_skipped_count: u64,
    pub internal_delete_skipped_count: u64,
}
