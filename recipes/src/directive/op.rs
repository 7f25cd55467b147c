//! Client operations that can be stepped, and their form in a scenario.
use std::fmt;

use keys::escape;

/// A client operation, run by the real TiKV client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "a variant's comment names its fields")]
pub enum Op {
    /// A snapshot point get at the current timestamp, or at one named by `ts`.
    Get { key: Vec<u8>, at: Option<String> },
    /// An optimistic transaction of one put.
    Put { key: Vec<u8>, value: Vec<u8>, commit: Commit },
    /// An optimistic transaction of one delete.
    Delete { key: Vec<u8> },
    /// A raw get.
    RawGet { key: Vec<u8> },
    /// A raw put; `ttl` in seconds, 0 for none.
    RawPut { key: Vec<u8>, value: Vec<u8>, ttl: u64 },
    /// A raw put of several keys in one request for each region.
    RawBatchPut { pairs: Vec<(Vec<u8>, Vec<u8>)> },
    /// The remaining time to live of a raw key.
    RawTtl { key: Vec<u8> },
    /// A raw scan of `from..to`, up to `limit` pairs; backward from the end if `reverse`.
    RawScan { from: Vec<u8>, to: Vec<u8>, limit: u32, reverse: bool },
    /// A raw delete.
    RawDelete { key: Vec<u8> },
    /// A raw compare-and-swap: writes `value` if the key has the value `previous`, or has no value for None.
    RawCas { key: Vec<u8>, previous: Option<Vec<u8>>, value: Vec<u8> },
    /// A raw scan of several ranges, up to `limit` pairs from each.
    RawBatchScan { ranges: Vec<(Vec<u8>, Vec<u8>)>, limit: u32 },
    /// A request to the plugin `plugin` of a version that fulfils `version`, for the keys of `from..to`.
    RawCoprocessor { plugin: String, version: String, from: Vec<u8>, to: Vec<u8> },
    /// Collects the garbage below the timestamp `at` on the store that leads the region of `key`.
    Gc { key: Vec<u8>, at: String },
    /// Returns the keys `from..to`, which are in one region, to their values at the timestamp `at`.
    Flashback { at: String, from: Vec<u8>, to: Vec<u8> },
    /// Completes the async commit that the last `lock` abandoned, as another client does; `key`: its primary.
    Recover { key: Vec<u8> },
    /// Locks a key for the pessimistic transaction `txn`. `wait_ms`: as `wait_timeout` of the request; `fair`:
    /// fair locking; `shared`: other transactions may share the lock.
    PessimisticLock { txn: String, key: Vec<u8>, wait_ms: i64, fair: bool, shared: bool },
    /// A snapshot get of several keys.
    BatchGet { keys: Vec<Vec<u8>> },
    /// A get that a follower answers: a request of the runner itself, since the client has no such option.
    FollowerGet { key: Vec<u8> },
    /// Commits the transaction that `begin` began.
    Commit { txn: String },
    /// Rolls back the transaction that `begin` began.
    Rollback { txn: String },
    /// Extends the time to live of the transaction's primary lock.
    HeartBeat { txn: String },
    /// Flushes changes of the pipelined transaction `txn`: values, or None for deleted keys. `generation`: the number
    /// of an earlier flush, which is sent again; None for the next one.
    Flush { txn: String, generation: Option<u64>, changes: Vec<(Vec<u8>, Option<Vec<u8>>)> },
    /// Reads what the pipelined transaction has flushed of these keys.
    BufferGet { txn: String, keys: Vec<Vec<u8>> },
    /// Commits keys of the transaction whose primary `commit-primary` committed.
    CommitSecondaries { keys: Vec<Vec<u8>> },
    /// A snapshot scan of `from..to`, up to `limit` pairs; backward from the end if `reverse`.
    Scan { from: Vec<u8>, to: Vec<u8>, limit: u32, reverse: bool },
    /// A transaction of several operations; `end`: how it commits, None for a rollback.
    Txn { changes: Vec<Change>, pessimistic: bool, end: Option<Commit> },
    /// Two clients at the same time.
    TwoClients(Box<Op>, Box<Op>),
}

/// The word for no value: a compare-and-swap then expects an absent key, a flush deletes the key, and a read has found
/// no value.
pub(super) const ABSENT: &str = "(none)";

/// The commit protocol of a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Commit {
    /// Two phases: prewrite, then commit.
    #[default]
    TwoPhase,
    /// Async commit: the prewrite decides; the client commits in the background.
    Async,
    /// One phase: the prewrite writes the commit record.
    OnePc,
}

/// The kind of a transaction that `begin` begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Locks keys when it commits.
    Optimistic(Commit),
    /// Locks keys when it writes.
    Pessimistic,
}

/// An operation within a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "a variant has the name of its operation")]
pub enum Change {
    Get { key: Vec<u8> },
    Put { key: Vec<u8>, value: Vec<u8> },
    Delete { key: Vec<u8> },
}

impl Change {
    /// The key.
    pub fn key(&self) -> &[u8] {
        match self {
            Change::Get { key } | Change::Put { key, .. } | Change::Delete { key } => key,
        }
    }
}

impl Op {
    /// Name of the operation: the directive's, with underscores for hyphens.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Get { .. } => "get",
            Op::Put { .. } => "put",
            Op::Delete { .. } => "delete",
            Op::RawGet { .. } => "raw_get",
            Op::RawPut { .. } => "raw_put",
            Op::RawBatchPut { .. } => "raw_batch_put",
            Op::RawTtl { .. } => "raw_ttl",
            Op::RawScan { reverse: false, .. } => "raw_scan",
            Op::RawScan { reverse: true, .. } => "raw_scan_reverse",
            Op::RawDelete { .. } => "raw_delete",
            Op::RawCas { .. } => "raw_cas",
            Op::RawBatchScan { .. } => "raw_batch_scan",
            Op::RawCoprocessor { .. } => "raw_coprocessor",
            Op::PessimisticLock { .. } => "pessimistic_lock",
            Op::BatchGet { .. } => "batch_get",
            Op::FollowerGet { .. } => "follower_get",
            Op::Commit { .. } => "commit",
            Op::Rollback { .. } => "rollback",
            Op::HeartBeat { .. } => "heart_beat",
            Op::Gc { .. } => "gc",
            Op::Flashback { .. } => "flashback",
            Op::Recover { .. } => "recover",
            Op::Flush { .. } => "flush",
            Op::BufferGet { .. } => "buffer_get",
            Op::CommitSecondaries { .. } => "commit_secondaries",
            Op::Scan { reverse: false, .. } => "scan",
            Op::Scan { reverse: true, .. } => "scan_reverse",
            Op::Txn { .. } => "txn",
            Op::TwoClients(..) => "two_clients",
        }
    }

    /// Whether the runner of recipes makes the request, not the client.
    pub fn is_the_runners(&self) -> bool {
        matches!(
            self,
            Op::PessimisticLock { .. }
                | Op::FollowerGet { .. }
                | Op::Flush { .. }
                | Op::BufferGet { .. }
                | Op::CommitSecondaries { .. }
                | Op::Gc { .. }
                | Op::Flashback { .. }
                | Op::Recover { .. }
        )
    }

    /// The transactions of `begin` that the operation ends or extends.
    pub(super) fn named_txns(&self) -> Vec<&str> {
        match self {
            Op::Commit { txn } | Op::Rollback { txn } | Op::HeartBeat { txn } => vec![txn],
            Op::TwoClients(first, second) => [first.named_txns(), second.named_txns()].concat(),
            _ => Vec::new(),
        }
    }

    /// The timestamps that the operation names.
    pub(super) fn named_timestamps(&self) -> Vec<&str> {
        match self {
            Op::Get { at: Some(name), .. } | Op::Gc { at: name, .. } | Op::Flashback { at: name, .. } => {
                vec![name]
            }
            Op::TwoClients(first, second) => [first.named_timestamps(), second.named_timestamps()].concat(),
            _ => Vec::new(),
        }
    }

    /// The first key of the operation.
    pub fn key(&self) -> &[u8] {
        match self {
            Op::TwoClients(first, _) => first.key(),
            _ => self.keys_in_order().first().copied().unwrap_or_default(),
        }
    }

    /// The different keys of the operation, sorted; of a range, both ends. A client sorts the keys and sends a request
    /// for each region, so that a request may begin with any of them.
    pub fn keys(&self) -> Vec<&[u8]> {
        let mut keys = self.keys_in_order();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    fn keys_in_order(&self) -> Vec<&[u8]> {
        match self {
            Op::BatchGet { keys } | Op::BufferGet { keys, .. } | Op::CommitSecondaries { keys } => {
                keys.iter().map(Vec::as_slice).collect()
            }
            Op::Flush { changes, .. } => changes.iter().map(|(key, _)| key.as_slice()).collect(),
            Op::RawBatchPut { pairs } => pairs.iter().map(|(key, _)| key.as_slice()).collect(),
            Op::RawBatchScan { ranges, .. } => {
                ranges.iter().flat_map(|(from, to)| [from.as_slice(), to.as_slice()]).collect()
            }
            Op::Scan { from, to, .. }
            | Op::RawScan { from, to, .. }
            | Op::RawCoprocessor { from, to, .. }
            | Op::Flashback { from, to, .. } => {
                vec![from, to]
            }
            Op::Txn { changes, .. } => changes.iter().map(Change::key).collect(),
            Op::TwoClients(first, second) => [first.keys_in_order(), second.keys_in_order()].concat(),
            // The keys of a transaction are in the client.
            Op::Commit { .. } | Op::Rollback { .. } | Op::HeartBeat { .. } => Vec::new(),
            Op::RawTtl { key }
            | Op::RawDelete { key }
            | Op::PessimisticLock { key, .. }
            | Op::Gc { key, .. }
            | Op::Recover { key }
            | Op::Get { key, .. }
            | Op::Put { key, .. }
            | Op::Delete { key }
            | Op::RawGet { key }
            | Op::FollowerGet { key }
            | Op::RawPut { key, .. }
            | Op::RawCas { key, .. } => vec![key],
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Get { key } => write!(f, "get {}", escape(key)),
            Change::Put { key, value } => write!(f, "put {} {}", escape(key), value_text(value)),
            Change::Delete { key } => write!(f, "delete {}", escape(key)),
        }
    }
}

/// Formats the protocol as the end of `put` and of `commit`, with the space before it.
impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Commit::TwoPhase => "",
            Commit::Async => " async-commit",
            Commit::OnePc => " one-pc",
        })
    }
}

fn value_text(value: &[u8]) -> String {
    if value.len() > 64 { format!("bytes={}", value.len()) } else { escape(value) }
}

fn value_or_absent(value: &Option<Vec<u8>>) -> String {
    value.as_deref().map_or_else(|| ABSENT.to_owned(), value_text)
}

fn keys_text(keys: &[Vec<u8>]) -> String {
    keys.iter().map(|key| escape(key)).collect::<Vec<_>>().join(" ")
}

/// Formats the operation as a scenario does; a value over 64 bytes by its length.
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name().replace('_', "-");
        match self {
            Op::TwoClients(first, second) => write!(f, "{first} | {second}"),
            Op::Txn { changes, pessimistic, end } => {
                f.write_str(if *pessimistic { "begin pessimistic" } else { "begin" })?;
                changes.iter().try_for_each(|change| write!(f, " {change};"))?;
                match end {
                    Some(commit) => write!(f, " commit{commit}"),
                    None => f.write_str(" rollback"),
                }
            }
            Op::Get { key, at: Some(at) } => write!(f, "{name} {} at={at}", escape(key)),
            Op::Put { key, value, commit } => {
                write!(f, "{name} {} {}{commit}", escape(key), value_text(value))
            }
            Op::PessimisticLock { txn, key, wait_ms, fair, shared } => {
                let wait = match wait_ms {
                    0 => String::new(),
                    ms if *ms < 0 => " no-wait".into(),
                    ms => format!(" wait={ms}"),
                };
                let (fair, shared) = (if *fair { " fair" } else { "" }, if *shared { " shared" } else { "" });
                write!(f, "{name} {txn} {}{wait}{fair}{shared}", escape(key))
            }
            Op::Gc { key, at } => write!(f, "{name} {at} {}", escape(key)),
            Op::Flashback { at, from, to } => write!(f, "{name} {at} {} {}", escape(from), escape(to)),
            Op::Commit { txn } | Op::Rollback { txn } | Op::HeartBeat { txn } => write!(f, "{name} {txn}"),
            Op::RawPut { key, value, ttl } => {
                write!(f, "{name} {} {}", escape(key), value_text(value))?;
                if *ttl > 0 { write!(f, " ttl={ttl}") } else { Ok(()) }
            }
            Op::RawBatchPut { pairs } => {
                f.write_str(&name)?;
                pairs.iter().try_for_each(|(key, v)| write!(f, " {} {}", escape(key), value_text(v)))
            }
            Op::RawCas { key, previous, value } => {
                write!(f, "{name} {} {} {}", escape(key), value_or_absent(previous), value_text(value))
            }
            Op::RawBatchScan { ranges, limit } => {
                f.write_str(&name)?;
                ranges.iter().try_for_each(|(from, to)| write!(f, " {} {}", escape(from), escape(to)))?;
                write!(f, " limit={limit}")
            }
            Op::RawCoprocessor { plugin, version, from, to } => {
                write!(f, "{name} {plugin} {version} {} {}", escape(from), escape(to))
            }
            Op::BatchGet { keys } | Op::CommitSecondaries { keys } => {
                write!(f, "{name} {}", keys_text(keys))
            }
            Op::Flush { txn, generation, changes } => {
                write!(f, "{name} {txn}")?;
                generation.iter().try_for_each(|n| write!(f, " generation={n}"))?;
                changes.iter().try_for_each(|(key, v)| write!(f, " {} {}", escape(key), value_or_absent(v)))
            }
            Op::BufferGet { txn, keys } => write!(f, "{name} {txn} {}", keys_text(keys)),
            Op::Scan { from, to, limit, .. } | Op::RawScan { from, to, limit, .. } => {
                write!(f, "{name} {} {} limit={limit}", escape(from), escape(to))
            }
            Op::Get { key, at: None }
            | Op::Delete { key }
            | Op::FollowerGet { key }
            | Op::Recover { key }
            | Op::RawGet { key }
            | Op::RawTtl { key }
            | Op::RawDelete { key } => write!(f, "{name} {}", escape(key)),
        }
    }
}
