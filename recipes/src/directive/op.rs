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
    /// Locks a key for the pessimistic transaction `txn`. `wait_ms`: as `wait_timeout` of the request; `fair`:
    /// fair locking.
    PessimisticLock { txn: String, key: Vec<u8>, wait_ms: i64, fair: bool },
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
    /// A snapshot scan of `from..to`, up to `limit` pairs; backward from the end if `reverse`.
    Scan { from: Vec<u8>, to: Vec<u8>, limit: u32, reverse: bool },
    /// A transaction of several operations; `end`: how it commits, None for a rollback.
    Txn { changes: Vec<Change>, pessimistic: bool, end: Option<Commit> },
    /// Two clients at the same time.
    TwoClients(Box<Op>, Box<Op>),
}

/// The previous value of a compare-and-swap whose key must be absent. A read prints it for an absent key.
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
            Op::PessimisticLock { .. } => "pessimistic_lock",
            Op::BatchGet { .. } => "batch_get",
            Op::FollowerGet { .. } => "follower_get",
            Op::Commit { .. } => "commit",
            Op::Rollback { .. } => "rollback",
            Op::HeartBeat { .. } => "heart_beat",
            Op::Flush { .. } => "flush",
            Op::BufferGet { .. } => "buffer_get",
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
            Op::PessimisticLock { .. } | Op::FollowerGet { .. } | Op::Flush { .. } | Op::BufferGet { .. }
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
            Op::Get { at: Some(name), .. } => vec![name],
            Op::TwoClients(first, second) => [first.named_timestamps(), second.named_timestamps()].concat(),
            _ => Vec::new(),
        }
    }

    /// The first key of the operation.
    pub fn key(&self) -> &[u8] {
        match self {
            Op::BatchGet { keys } | Op::BufferGet { keys, .. } => keys.first().map_or(&[], Vec::as_slice),
            Op::Flush { changes, .. } => changes.first().map_or(&[], |(key, _)| key.as_slice()),
            Op::RawBatchScan { ranges, .. } => ranges.first().map_or(&[], |(from, _)| from.as_slice()),
            Op::RawBatchPut { pairs } => pairs.first().map_or(&[], |(key, _)| key.as_slice()),
            Op::Scan { from, .. } | Op::RawScan { from, .. } => from,
            Op::Txn { changes, .. } => changes.first().map_or(&[], Change::key),
            Op::TwoClients(first, _) => first.key(),
            // The keys of a transaction are in the client.
            Op::Commit { .. } | Op::Rollback { .. } | Op::HeartBeat { .. } => &[],
            Op::RawTtl { key }
            | Op::RawDelete { key }
            | Op::PessimisticLock { key, .. }
            | Op::Get { key, .. }
            | Op::Put { key, .. }
            | Op::Delete { key }
            | Op::RawGet { key }
            | Op::FollowerGet { key }
            | Op::RawPut { key, .. }
            | Op::RawCas { key, .. } => key,
        }
    }

    /// The different keys of the operation, sorted; of a range, both ends. A client sorts the keys and sends a request
    /// for each region, so that a request may begin with any of them.
    pub fn keys(&self) -> Vec<&[u8]> {
        let mut keys: Vec<&[u8]> = match self {
            Op::BatchGet { keys } | Op::BufferGet { keys, .. } => keys.iter().map(Vec::as_slice).collect(),
            Op::Flush { changes, .. } => changes.iter().map(|(key, _)| key.as_slice()).collect(),
            Op::RawBatchPut { pairs } => pairs.iter().map(|(key, _)| key.as_slice()).collect(),
            Op::RawBatchScan { ranges, .. } => {
                ranges.iter().flat_map(|(from, to)| [from.as_slice(), to.as_slice()]).collect()
            }
            Op::Scan { from, to, .. } | Op::RawScan { from, to, .. } => vec![from, to],
            Op::Txn { changes, .. } => changes.iter().map(Change::key).collect(),
            Op::TwoClients(first, second) => [first.keys(), second.keys()].concat(),
            Op::Commit { .. } | Op::Rollback { .. } | Op::HeartBeat { .. } => Vec::new(),
            _ => vec![self.key()],
        };
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

/// Formats the operation as a scenario does; a value over 64 bytes by its length.
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |v: &[u8]| if v.len() > 64 { format!("bytes={}", v.len()) } else { escape(v) };
        match self {
            Op::TwoClients(first, second) => write!(f, "{first} | {second}"),
            Op::Txn { changes, pessimistic, end } => {
                write!(f, "begin{}", if *pessimistic { " pessimistic" } else { "" })?;
                for change in changes {
                    match change {
                        Change::Get { key } => write!(f, " get {};", escape(key))?,
                        Change::Put { key, value: v } => write!(f, " put {} {};", escape(key), value(v))?,
                        Change::Delete { key } => write!(f, " delete {};", escape(key))?,
                    }
                }
                f.write_str(match end {
                    None => " rollback",
                    Some(Commit::TwoPhase) => " commit",
                    Some(Commit::Async) => " commit async-commit",
                    Some(Commit::OnePc) => " commit one-pc",
                })
            }
            Op::Get { key, at: None } => write!(f, "get {}", escape(key)),
            Op::Get { key, at: Some(at) } => write!(f, "get {} at={at}", escape(key)),
            Op::Put { key, value: v, commit } => {
                let how = match commit {
                    Commit::TwoPhase => "",
                    Commit::Async => " async-commit",
                    Commit::OnePc => " one-pc",
                };
                write!(f, "put {} {}{how}", escape(key), value(v))
            }
            Op::Delete { key } => write!(f, "delete {}", escape(key)),
            Op::PessimisticLock { txn, key, wait_ms, fair } => {
                let wait = match wait_ms {
                    0 => String::new(),
                    ms if *ms < 0 => " no-wait".into(),
                    ms => format!(" wait={ms}"),
                };
                write!(f, "pessimistic-lock {txn} {}{wait}{}", escape(key), if *fair { " fair" } else { "" })
            }
            Op::FollowerGet { key } => write!(f, "follower-get {}", escape(key)),
            Op::Commit { txn } => write!(f, "commit {txn}"),
            Op::Rollback { txn } => write!(f, "rollback {txn}"),
            Op::HeartBeat { txn } => write!(f, "heart-beat {txn}"),
            Op::RawGet { key } => write!(f, "raw-get {}", escape(key)),
            Op::RawPut { key, value: v, ttl: 0 } => write!(f, "raw-put {} {}", escape(key), value(v)),
            Op::RawPut { key, value: v, ttl } => {
                write!(f, "raw-put {} {} ttl={ttl}", escape(key), value(v))
            }
            Op::RawBatchPut { pairs } => {
                write!(f, "raw-batch-put")?;
                pairs.iter().try_for_each(|(key, v)| write!(f, " {} {}", escape(key), value(v)))
            }
            Op::RawTtl { key } => write!(f, "raw-ttl {}", escape(key)),
            Op::RawScan { from, to, limit, reverse } => {
                let name = if *reverse { "raw-scan-reverse" } else { "raw-scan" };
                write!(f, "{name} {} {} limit={limit}", escape(from), escape(to))
            }
            Op::RawDelete { key } => write!(f, "raw-delete {}", escape(key)),
            Op::RawCas { key, previous, value: v } => {
                let previous = previous.as_deref().map_or_else(|| ABSENT.to_owned(), value);
                write!(f, "raw-cas {} {previous} {}", escape(key), value(v))
            }
            Op::RawBatchScan { ranges, limit } => {
                write!(f, "raw-batch-scan")?;
                for (from, to) in ranges {
                    write!(f, " {} {}", escape(from), escape(to))?;
                }
                write!(f, " limit={limit}")
            }
            Op::BatchGet { keys } => {
                let keys: Vec<String> = keys.iter().map(|key| escape(key)).collect();
                write!(f, "batch-get {}", keys.join(" "))
            }
            Op::Flush { txn, generation, changes } => {
                write!(f, "flush {txn}")?;
                generation.iter().try_for_each(|n| write!(f, " generation={n}"))?;
                changes.iter().try_for_each(|(key, v)| {
                    write!(f, " {} {}", escape(key), v.as_deref().map_or_else(|| ABSENT.to_owned(), value))
                })
            }
            Op::BufferGet { txn, keys } => {
                let keys: Vec<String> = keys.iter().map(|key| escape(key)).collect();
                write!(f, "buffer-get {txn} {}", keys.join(" "))
            }
            Op::Scan { from, to, limit, reverse } => {
                let name = if *reverse { "scan-reverse" } else { "scan" };
                write!(f, "{name} {} {} limit={limit}", escape(from), escape(to))
            }
        }
    }
}
