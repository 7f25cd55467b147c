//! Directives of a scenario, and the client operations that can be stepped.
use std::{collections::BTreeSet, fmt};

use api_version::KvFormat;
use keys::escape;
use tracepoints::{Hold, Stage, find_stage};

use crate::scenario::{Block, Scenario, ScenarioError};

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
}

/// The previous value of a compare-and-swap whose key must be absent. A read prints it for an absent key.
const ABSENT: &str = "(none)";

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
}

/// Formats the operation as a scenario does; a value over 64 bytes by its length.
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |v: &[u8]| if v.len() > 64 { format!("bytes={}", v.len()) } else { escape(v) };
        match self {
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

/// The store that a directive names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The store that leads the region.
    Leader,
    /// The running follower with the smallest store id.
    Follower,
    /// The store with this id.
    Store(u64),
}

/// A parsed directive.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "a variant's comment names its fields")]
pub enum Directive {
    /// Start the cluster with this number of stores; `lease`: leaders may read by lease; `api`: encoding of the
    /// stores' keys and values.
    Cluster { stores: usize, lease: bool, log_gc: bool, api: KvFormat },
    /// Run an operation and print its result.
    Run(Op),
    /// Run an operation and print its stages; `inside`: also the steps inside of a stage.
    Step { op: Op, inside: bool },
    /// Begin an operation and wait until it is held at its `nth` visit of the stage.
    Hold { stage: &'static Stage, nth: usize, op: Op },
    /// Release the held operation, without waiting for its end.
    Release,
    /// Release the held operation, wait for its end and print what `step` prints; `brief`: only its result.
    Continue { brief: bool },
    /// Wait until a store leads that did not lead when the last operation began.
    NewLeader,
    /// Wait in real time and print whether engine time moved.
    Pause { ms: u64 },
    /// Take a timestamp from PD and give it a name.
    Ts { name: String },
    /// Begin a pessimistic transaction, whose requests the runner makes.
    PessimisticBegin { txn: String },
    /// Begin an operation that is stepped, and return once it waits for a lock.
    Waiting(Op),
    /// As `Waiting`, but the operation is not stepped.
    Aside(Op),
    /// Wait for the end of the operation of `Aside`, and print its result.
    Join,
    /// Print who waits for whom, as all stores see it.
    LockWaits,
    /// Write the value to all keys that the transaction has locked, and commit it.
    PessimisticCommit { txn: String, value: Vec<u8> },
    /// Release all locks of the transaction.
    PessimisticRollback { txn: String },
    /// Begin a pipelined transaction, whose requests the runner makes.
    PipelinedBegin { txn: String },
    /// Commit the primary of the pipelined transaction, then all of its other flushed keys.
    PipelinedCommit { txn: String },
    /// Prewrite without a commit, which leaves locks; the first key is the primary.
    Lock { pairs: Vec<(Vec<u8>, Vec<u8>)>, ttl_ms: u64 },
    /// Commit the primary of the last `lock`, and leave its other locks.
    CommitPrimary,
    /// Begin a transaction of the TiKV client and give it a name.
    Begin { txn: String, kind: Begin },
    /// Read or write in a transaction that `begin` began.
    In { txn: String, change: Change },
    /// Print the key's rows in the three column families of its leader, or of the store that is held.
    Rows { key: Vec<u8> },
    /// Stop a store.
    Stop(Who),
    /// Start a stopped store.
    Start(Who),
    /// Transfer the leadership to a store.
    TransferLeader(Who),
    /// Drop all messages between a store and the others.
    Partition(Who),
    /// End all partitions.
    Heal,
    /// Run `count` raw puts, to make the log grow.
    Load { count: u64 },
    /// Wait until all running stores have applied what the leader has.
    CaughtUp,
    /// Truncate the leader's log up to the applied entries.
    CompactLog,
    /// Move PD's GC safe point to a named timestamp, and compact the versions of all stores.
    Gc { name: String },
}

/// Operations that can be stepped, as error messages list them.
const OPS: &[&str] = &[
    "get KEY [at=NAME]",
    "put KEY VALUE|bytes=N [async-commit|one-pc]",
    "delete KEY",
    "raw-get KEY",
    "raw-put KEY VALUE|bytes=N [ttl=SECONDS]",
    "raw-batch-put KEY VALUE|bytes=N [KEY VALUE|bytes=N]...",
    "raw-ttl KEY",
    "raw-scan FROM TO limit=N",
    "raw-scan-reverse FROM TO limit=N",
    "raw-delete KEY",
    "raw-cas KEY PREVIOUS|(none) VALUE|bytes=N",
    "raw-batch-scan FROM TO [FROM TO]... limit=N",
    "batch-get KEY...",
    "scan FROM TO limit=N",
    "scan-reverse FROM TO limit=N",
    "pessimistic-lock TXN KEY [wait=MS|no-wait] [fair]",
    "follower-get KEY",
    "commit NAME",
    "rollback NAME",
    "heart-beat NAME",
    "flush TXN [generation=N] KEY VALUE|bytes=N|(none) [KEY VALUE|bytes=N|(none)]...",
    "buffer-get TXN KEY...",
];

/// All other directives, as error messages list them.
const OTHERS: &[&str] = &[
    "cluster [stores=N] [lease=on|off] [log-gc=on|off] [api=v1|v1ttl|v2]",
    "step [inside] OP",
    "hold STAGE[#NTH] OP",
    "release",
    "continue [brief]",
    "new-leader",
    "pause MS",
    "ts NAME",
    "lock KEY VALUE [KEY VALUE]... ttl=MS",
    "commit-primary",
    "begin NAME [async-commit|one-pc|pessimistic]",
    "in NAME get KEY|put KEY VALUE|delete KEY",
    "pessimistic-begin TXN",
    "waiting OP",
    "aside OP",
    "join",
    "lock-waits",
    "pessimistic-commit TXN VALUE|bytes=N",
    "pessimistic-rollback TXN",
    "pipelined-begin TXN",
    "pipelined-commit TXN",
    "rows KEY",
    "stop WHO",
    "start WHO",
    "transfer-leader WHO",
    "partition WHO",
    "heal",
    "load COUNT",
    "caught-up",
    "compact-log",
    "gc NAME",
];

/// Parses every directive before the first one runs.
///
/// # Errors
/// The first mistake, with file and line.
pub fn check(scenario: &Scenario) -> Result<(), ScenarioError> {
    let (mut named, mut held, mut begun) = (BTreeSet::new(), false, BTreeSet::new());
    for block in &scenario.blocks {
        let fail = |problem| scenario.error(block.line, problem);
        let directive = parse(&block.words).map_err(fail)?;
        if matches!(directive, Directive::Release | Directive::Continue { .. }) && !held {
            let text =
                format!("expected `hold STAGE OP` or `waiting OP` before `{}`, found none", block.text);
            return Err(fail(text));
        }
        held = match directive {
            Directive::Hold { .. } | Directive::Waiting(_) => true,
            Directive::Step { .. } | Directive::Continue { .. } => false,
            _ => held,
        };
        match directive {
            Directive::Ts { name } => {
                named.insert(name);
            }
            Directive::Gc { name } if !named.contains(&name) => {
                return Err(fail(format!("expected `ts {name}` before `gc {name}`, found none")));
            }
            Directive::Begin { txn, .. } => {
                begun.insert(txn);
            }
            Directive::In { txn, .. } if !begun.contains(&txn) => {
                return Err(fail(format!("expected `begin {txn}` before `in {txn}`, found none")));
            }
            Directive::Run(op)
            | Directive::Step { op, .. }
            | Directive::Hold { op, .. }
            | Directive::Waiting(op)
            | Directive::Aside(op) => {
                if let Some(txn) = txn_of(&op).filter(|txn| !begun.contains(*txn)) {
                    return Err(fail(format!("expected `begin {txn}` before `{}`, found none", block.text)));
                }
                if let Op::Get { at: Some(name), .. } = op
                    && !named.contains(&name)
                {
                    return Err(fail(format!("expected `ts {name}` before `at={name}`, found none")));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether the directive steps an operation.
pub fn is_stepped(block: &Block) -> bool {
    block.words.first().is_some_and(|word| matches!(word.as_str(), "step" | "hold" | "waiting"))
}

/// Parses a directive. The error gives the expected form and the text that was found.
pub fn parse(words: &[String]) -> Result<Directive, String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Ok(match words.as_slice() {
        ["cluster", args @ ..] => cluster(args)?,
        ["step", "inside", op @ ..] => Directive::Step { op: parse_op(op, OPS)?, inside: true },
        ["step", op @ ..] => Directive::Step { op: parse_op(op, OPS)?, inside: false },
        ["hold", stage, op @ ..] => {
            let (stage, nth) = stage.split_once('#').unwrap_or((stage, "1"));
            let nth = match number(nth, "the number of a visit of the stage, from 1")? {
                0 => return Err("expected the number of a visit of the stage, from 1, found `0`".into()),
                nth => nth as usize,
            };
            Directive::Hold { stage: parse_gate(stage)?, nth, op: parse_op(op, OPS)? }
        }
        ["release"] => Directive::Release,
        ["continue"] => Directive::Continue { brief: false },
        ["continue", "brief"] => Directive::Continue { brief: true },
        ["new-leader"] => Directive::NewLeader,
        ["pause", ms] => Directive::Pause { ms: number(ms, "milliseconds")? },
        ["ts", name] => Directive::Ts { name: (*name).into() },
        ["lock", pairs @ .., ttl] if !pairs.is_empty() && pairs.len() % 2 == 0 => Directive::Lock {
            pairs: pairs.chunks(2).map(|pair| (pair[0].into(), pair[1].into())).collect(),
            ttl_ms: number(option(ttl, "ttl")?, "ttl in milliseconds")?,
        },
        ["pessimistic-begin", txn] => Directive::PessimisticBegin { txn: (*txn).into() },
        ["waiting", op @ ..] => Directive::Waiting(parse_op(op, OPS)?),
        ["aside", op @ ..] => Directive::Aside(parse_op(op, OPS)?),
        ["join"] => Directive::Join,
        ["lock-waits"] => Directive::LockWaits,
        ["pessimistic-commit", txn, value] => {
            Directive::PessimisticCommit { txn: (*txn).into(), value: parse_value(value)? }
        }
        ["pessimistic-rollback", txn] => Directive::PessimisticRollback { txn: (*txn).into() },
        ["pipelined-begin", txn] => Directive::PipelinedBegin { txn: (*txn).into() },
        ["pipelined-commit", txn] => Directive::PipelinedCommit { txn: (*txn).into() },
        ["commit-primary"] => Directive::CommitPrimary,
        ["begin", txn, "pessimistic"] => Directive::Begin { txn: (*txn).into(), kind: Begin::Pessimistic },
        ["begin", txn, how @ ..] => {
            Directive::Begin { txn: (*txn).into(), kind: Begin::Optimistic(parse_commit(how)?) }
        }
        ["in", txn, change @ ..] => Directive::In { txn: (*txn).into(), change: parse_change(change)? },
        ["rows", key] => Directive::Rows { key: (*key).into() },
        ["stop", who] => Directive::Stop(parse_who(who)?),
        ["start", who] => Directive::Start(parse_who(who)?),
        ["transfer-leader", who] => Directive::TransferLeader(parse_who(who)?),
        ["partition", who] => Directive::Partition(parse_who(who)?),
        ["heal"] => Directive::Heal,
        ["load", count] => Directive::Load { count: number(count, "a number of puts")? },
        ["caught-up"] => Directive::CaughtUp,
        ["compact-log"] => Directive::CompactLog,
        ["gc", name] => Directive::Gc { name: (*name).into() },
        op => Directive::Run(parse_op(op, &[OPS, OTHERS].concat())?),
    })
}

fn cluster(args: &[&str]) -> Result<Directive, String> {
    let (mut stores, mut lease, mut log_gc, mut api) = (3, true, false, KvFormat::V1);
    for arg in args {
        match arg.split_once('=') {
            Some(("stores", n)) => stores = number(n, "a number of stores")? as usize,
            Some(("lease", v)) => lease = on_off(v)?,
            Some(("log-gc", v)) => log_gc = on_off(v)?,
            Some(("api", "v1")) => api = KvFormat::V1,
            Some(("api", "v1ttl")) => api = KvFormat::V1ttl,
            Some(("api", "v2")) => api = KvFormat::V2,
            _ => {
                let options = "stores=N, lease=on|off, log-gc=on|off or api=v1|v1ttl|v2";
                return Err(format!("expected {options}, found `{arg}`"));
            }
        }
    }
    if !(1..=7).contains(&stores) {
        return Err(format!("expected 1 to 7 stores, found {stores}"));
    }
    Ok(Directive::Cluster { stores, lease, log_gc, api })
}

fn parse_op(words: &[&str], known: &[&str]) -> Result<Op, String> {
    Ok(match words {
        ["get", key] => Op::Get { key: (*key).into(), at: None },
        ["get", key, at] => Op::Get { key: (*key).into(), at: Some(option(at, "at")?.into()) },
        ["put", key, value, how @ ..] => {
            Op::Put { key: (*key).into(), value: parse_value(value)?, commit: parse_commit(how)? }
        }
        ["delete", key] => Op::Delete { key: (*key).into() },
        ["follower-get", key] => Op::FollowerGet { key: (*key).into() },
        ["commit", txn] => Op::Commit { txn: (*txn).into() },
        ["rollback", txn] => Op::Rollback { txn: (*txn).into() },
        ["heart-beat", txn] => Op::HeartBeat { txn: (*txn).into() },
        ["raw-get", key] => Op::RawGet { key: (*key).into() },
        ["raw-put", key, value] => Op::RawPut { key: (*key).into(), value: parse_value(value)?, ttl: 0 },
        ["raw-put", key, value, ttl] => Op::RawPut {
            key: (*key).into(),
            value: parse_value(value)?,
            ttl: number(option(ttl, "ttl")?, "a TTL in seconds")?,
        },
        ["raw-batch-put", pairs @ ..] if !pairs.is_empty() && pairs.len() % 2 == 0 => Op::RawBatchPut {
            pairs: pairs
                .chunks(2)
                .map(|pair| Ok((pair[0].into(), parse_value(pair[1])?)))
                .collect::<Result<_, String>>()?,
        },
        ["raw-ttl", key] => Op::RawTtl { key: (*key).into() },
        [name @ ("raw-scan" | "raw-scan-reverse"), from, to, limit] => Op::RawScan {
            from: (*from).into(),
            to: (*to).into(),
            limit: parse_limit(limit)?,
            reverse: *name == "raw-scan-reverse",
        },
        ["raw-delete", key] => Op::RawDelete { key: (*key).into() },
        ["raw-cas", key, previous, value] => Op::RawCas {
            key: (*key).into(),
            previous: if *previous == ABSENT { None } else { Some(parse_value(previous)?) },
            value: parse_value(value)?,
        },
        ["raw-batch-scan", ranges @ .., limit] if !ranges.is_empty() && ranges.len() % 2 == 0 => {
            Op::RawBatchScan {
                ranges: ranges.chunks(2).map(|range| (range[0].into(), range[1].into())).collect(),
                limit: parse_limit(limit)?,
            }
        }
        ["batch-get", keys @ ..] if !keys.is_empty() => {
            Op::BatchGet { keys: keys.iter().map(|key| (*key).into()).collect() }
        }
        ["flush", txn, changes @ ..] if changes.len() > 1 => parse_flush(txn, changes)?,
        ["buffer-get", txn, keys @ ..] if !keys.is_empty() => {
            Op::BufferGet { txn: (*txn).into(), keys: keys.iter().map(|key| (*key).into()).collect() }
        }
        ["pessimistic-lock", txn, key, how @ ..] => parse_lock(txn, key, how)?,
        [name @ ("scan" | "scan-reverse"), from, to, limit] => Op::Scan {
            from: (*from).into(),
            to: (*to).into(),
            limit: parse_limit(limit)?,
            reverse: *name == "scan-reverse",
        },
        other => return Err(wrong(other, known)),
    })
}

/// The error for an unknown directive: names the usage of the word, the nearest word, or all directives.
fn wrong(words: &[&str], known: &[&str]) -> String {
    let name = |usage: &str| usage.split(' ').next().unwrap_or_default().to_owned();
    let found = words.join(" ");
    let Some(word) = words.first() else {
        return format!("expected an operation ({}), found none", known.join(", "));
    };
    if let Some(usage) = known.iter().find(|usage| name(usage) == *word) {
        return format!("expected `{usage}`, found `{found}`");
    }
    let likeness = |usage: &&str| strsim::jaro_winkler(word, &name(usage));
    let near = known.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match near.filter(|usage| likeness(usage) > 0.8) {
        Some(usage) => format!("expected a directive such as `{usage}`, found `{found}`"),
        None => format!("expected one of: {}; found `{found}`", known.join(", ")),
    }
}

fn parse_lock(txn: &str, key: &str, how: &[&str]) -> Result<Op, String> {
    let (mut wait_ms, mut fair) = (0, false);
    for word in how {
        match *word {
            "no-wait" => wait_ms = -1,
            "fair" => fair = true,
            _ => {
                let ms = option(word, "wait")
                    .map_err(|_| format!("expected wait=MS, no-wait or fair, found `{word}`"))?;
                wait_ms = i64::try_from(number(ms, "milliseconds")?)
                    .map_err(|_| format!("expected fewer milliseconds, found `{word}`"))?;
            }
        }
    }
    Ok(Op::PessimisticLock { txn: txn.into(), key: key.into(), wait_ms, fair })
}

fn parse_flush(txn: &str, words: &[&str]) -> Result<Op, String> {
    let (generation, words) = match words.split_first() {
        Some((first, rest)) if first.starts_with("generation=") => {
            (Some(number(option(first, "generation")?, "the number of a flush")?), rest)
        }
        _ => (None, words),
    };
    let change = |pair: &[&str]| match pair {
        [key, value] if *value == ABSENT => Ok((key.as_bytes().to_vec(), None)),
        [key, value] => Ok((key.as_bytes().to_vec(), Some(parse_value(value)?))),
        other => Err(format!("expected a value or (none) after each key, found `{}`", other.join(" "))),
    };
    let changes = words.chunks(2).map(change).collect::<Result<_, String>>()?;
    Ok(Op::Flush { txn: txn.into(), generation, changes })
}

fn parse_change(words: &[&str]) -> Result<Change, String> {
    match words {
        ["get", key] => Ok(Change::Get { key: (*key).into() }),
        ["put", key, value] => Ok(Change::Put { key: (*key).into(), value: parse_value(value)? }),
        ["delete", key] => Ok(Change::Delete { key: (*key).into() }),
        other => Err(format!("expected get KEY, put KEY VALUE or delete KEY, found `{}`", other.join(" "))),
    }
}

/// The transaction of `begin` that an operation ends or extends.
fn txn_of(op: &Op) -> Option<&str> {
    match op {
        Op::Commit { txn } | Op::Rollback { txn } | Op::HeartBeat { txn } => Some(txn),
        _ => None,
    }
}

fn parse_limit(word: &str) -> Result<u32, String> {
    u32::try_from(number(option(word, "limit")?, "a number of pairs")?)
        .map_err(|_| format!("expected a limit up to {}, found `{word}`", u32::MAX))
}

fn parse_commit(words: &[&str]) -> Result<Commit, String> {
    match words {
        [] => Ok(Commit::TwoPhase),
        ["async-commit"] => Ok(Commit::Async),
        ["one-pc"] => Ok(Commit::OnePc),
        other => Err(format!("expected async-commit, one-pc or nothing, found `{}`", other.join(" "))),
    }
}

/// Parses a value: the text itself, or N bytes of `x` for `bytes=N`.
fn parse_value(word: &str) -> Result<Vec<u8>, String> {
    match word.strip_prefix("bytes=") {
        Some(n) => match number(n, "a number of bytes")? {
            n if n <= 1 << 20 => Ok(vec![b'x'; n as usize]),
            n => Err(format!("expected at most 1048576 bytes, found {n}")),
        },
        None => Ok(word.into()),
    }
}

/// Finds a stage of the catalogue; the error lists similar names.
pub fn parse_stage(word: &str) -> Result<&'static Stage, String> {
    find_stage(word).ok_or_else(|| {
        let all = || tracepoints::catalogue::STAGES.iter().map(|s| s.name);
        let near = |n: &&str| n.split('_').any(|part| part.len() > 2 && word.contains(part));
        let near: Vec<&str> = all().filter(near).collect();
        let hint = if near.is_empty() {
            format!("the stages are {}", all().collect::<Vec<_>>().join(", "))
        } else {
            format!("near: {}", near.join(", "))
        };
        format!("expected a stage of the catalogue, found `{word}` ({hint})")
    })
}

/// Finds a stage that can hold a request.
fn parse_gate(word: &str) -> Result<&'static Stage, String> {
    match parse_stage(word)? {
        stage if stage.hold == Hold::None => Err(format!(
            "expected a stage that can hold a request, found `{}`, which is only observed; choose one before or after it",
            stage.name
        )),
        stage => Ok(stage),
    }
}

fn parse_who(word: &str) -> Result<Who, String> {
    match word {
        "leader" => Ok(Who::Leader),
        "follower" => Ok(Who::Follower),
        s => s
            .strip_prefix('s')
            .and_then(|n| n.parse().ok())
            .map(Who::Store)
            .ok_or_else(|| format!("expected leader, follower or a store such as s1, found `{word}`")),
    }
}

fn option<'a>(word: &'a str, name: &str) -> Result<&'a str, String> {
    word.strip_prefix(name)
        .and_then(|rest| rest.strip_prefix('='))
        .ok_or_else(|| format!("expected {name}=..., found `{word}`"))
}

fn number(word: &str, what: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("expected {what}, found `{word}`"))
}

fn on_off(word: &str) -> Result<bool, String> {
    match word {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("expected on or off, found `{word}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn an_error_names_the_expected_and_the_found_word() {
        let wrong = |t: &str| parse(&words(t)).unwrap_err();
        assert!(wrong("hold rft_propose put k v").contains("near: "));
        assert!(wrong("stop s-one").contains("leader, follower or a store"));
        assert!(wrong("hold zzz put k v").contains("grpc_receive, grpc_decode"));
        assert!(wrong("hold raft_ack put k v").contains("only observed"));
        assert!(wrong("hold raft_propose#0 put k v").contains("from 1, found `0`"));
        assert!(wrong("hold raft_propose#x put k v").contains("from 1, found `x`"));
        assert!(wrong("fetch k").contains("get KEY"));
        assert_eq!(
            wrong("stpe get k1"),
            "expected a directive such as `step [inside] OP`, found `stpe get k1`"
        );
        assert_eq!(wrong("step get"), "expected `get KEY [at=NAME]`, found `get`");
        assert_eq!(wrong("pause"), "expected `pause MS`, found `pause`");
        assert!(wrong("step stop s1").contains("raw-put KEY"), "only operations can be stepped");
        assert!(wrong("step").contains("an operation (get KEY"));
        assert!(wrong("put k bytes=99999999").contains("at most"));
        assert!(wrong("cluster stores=0").contains("1 to 7"));
    }

    #[test]
    fn a_timestamp_must_be_named_before_its_use() {
        let check = |text: &str| check(&Scenario::parse(std::path::Path::new("t.txt"), text).unwrap());
        check("ts a\n----\n\nget k at=a\n----\n").unwrap();
        let error = check("ts a\n----\n\nstep get k at=b\n----\n").unwrap_err().to_string();
        assert_eq!(error, "t.txt:4: expected `ts b` before `at=b`, found none");
        let error = check("commit t\n----\n").unwrap_err().to_string();
        assert_eq!(error, "t.txt:1: expected `begin t` before `commit t`, found none");
        let error = check("get k\n----\n\nstpe get k\n----\n").unwrap_err().to_string();
        assert!(error.starts_with("t.txt:4: expected a directive such as `step [inside] OP`"), "{error}");
    }

    #[test]
    fn operations_and_options_are_read() {
        assert!(
            matches!(parse(&words("get k at=t1")).unwrap(), Directive::Run(Op::Get { at: Some(t), .. }) if t == "t1")
        );
        assert!(
            matches!(parse(&words("put k bytes=300")).unwrap(), Directive::Run(Op::Put { value, .. }) if value.len() == 300)
        );
        let commit = |text: &str| match parse(&words(text)) {
            Ok(Directive::Step { op: Op::Put { commit, .. }, .. }) => Ok(commit),
            other => Err(format!("{other:?}")),
        };
        assert_eq!(commit("step put k v"), Ok(Commit::TwoPhase));
        assert_eq!(commit("step put k v async-commit"), Ok(Commit::Async));
        assert_eq!(commit("step put k v one-pc"), Ok(Commit::OnePc));
        assert!(commit("step put k v 2pc").unwrap_err().contains("async-commit, one-pc or nothing"));
        let lock = parse(&words("lock k v l w ttl=5")).unwrap();
        assert!(matches!(lock, Directive::Lock { ttl_ms: 5, pairs } if pairs.len() == 2));
        assert!(parse(&words("lock k ttl=5")).unwrap_err().contains("lock KEY VALUE"));
        assert!(parse(&words("in t scan")).unwrap_err().contains("get KEY, put KEY VALUE"));
    }
}
