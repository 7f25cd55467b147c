//! Directives of a scenario, and the client operations that can be stepped.
mod op;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use api_version::KvFormat;
use tracepoints::{Gate, gates::Names};

pub use op::{Begin, Change, Commit, Op};
pub use words::parse_operation;
use words::{
    OPS, OTHERS, in_pairs, is_operation, number, on_off, option, parse_change, parse_commit, parse_op,
    parse_value, split_gate, wrong,
};

use crate::scenario::{Block, Scenario, ScenarioError, split_words};

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

/// The leases of the leaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// Leaders read by their lease, and renew it before it ends.
    On,
    /// Leaders read by their lease. Only commits and reads renew it, as in a region that hibernates.
    OnDemand,
    /// No lease: every read asks a quorum.
    Off,
}

/// A parsed directive.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "a variant's comment names its fields")]
pub enum Directive {
    /// Start the cluster with this number of stores; `api`: encoding of the stores' keys and values.
    Cluster { stores: usize, lease: Lease, log_gc: bool, api: KvFormat },
    /// Run an operation and print its result.
    Run(Op),
    /// Run an operation and print its stages; `inside`: also the steps inside of a stage.
    Step { op: Op, inside: bool },
    /// Begin an operation and wait until the gate holds it.
    Hold { gate: String, op: Op },
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
    /// Prewrite without a commit, which leaves locks; the first key is the primary. `async_commit`: the locks are those
    /// of an async commit.
    Lock { pairs: Vec<(Vec<u8>, Vec<u8>)>, ttl_ms: u64, async_commit: bool },
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
    /// Split the region of the key at the key.
    Split { key: Vec<u8> },
    /// Compare where the logs of the replicas begin.
    Logs,
    /// Move PD's GC safe point to a named timestamp, and compact the versions of all stores.
    Gc { name: String },
}

/// Parses every directive before the first one runs.
///
/// # Errors
/// The first mistake, with file and line.
pub fn check(scenario: &Scenario) -> Result<(), ScenarioError> {
    let (mut named, mut held, mut begun) = (BTreeMap::new(), false, BTreeSet::new());
    for block in &scenario.blocks {
        let fail = |problem| scenario.error(block.line, problem);
        let directive = parse(&block.words).map_err(fail)?;
        if matches!(directive, Directive::Release | Directive::Continue { .. }) && !held {
            let text = format!("expected `hold GATE OP` or `waiting OP` before `{}`, found none", block.text);
            return Err(fail(text));
        }
        if let Directive::Hold { gate, .. } = &directive {
            let names = Names { timestamps: Some(&named), ..Names::default() };
            Gate::parse(gate, &names).map_err(|e| fail(e.to_string()))?;
        }
        held = match directive {
            Directive::Hold { .. } | Directive::Waiting(_) => true,
            Directive::Step { .. } | Directive::Continue { .. } => false,
            _ => held,
        };
        match directive {
            Directive::Ts { name } => {
                named.insert(name, 0);
            }
            Directive::Gc { name } if !named.contains_key(&name) => {
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
                if let Some(txn) = op.named_txns().into_iter().find(|txn| !begun.contains(*txn)) {
                    return Err(fail(format!("expected `begin {txn}` before `{}`, found none", block.text)));
                }
                if let Some(name) = op.named_timestamps().into_iter().find(|name| !named.contains_key(*name))
                {
                    return Err(fail(format!("expected `ts {name}` before `at={name}`, found none")));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Makes a scenario that steps one operation, such as `get k1`, and expects no output.
///
/// # Errors
/// The text is not an operation.
pub fn scenario_of(operation: &str) -> Result<Scenario, String> {
    let op = parse_operation(operation)?;
    let words = std::iter::once("step".to_owned()).chain(split_words(operation)?).collect();
    let (comment, expected) = (String::new(), String::new());
    let block = Block { line: 1, comment, text: format!("step {operation}"), words, expected };
    let name = op.to_string();
    let path = "operation".into();
    Ok(Scenario { path, title: name.clone(), name, about: String::new(), blocks: vec![block] })
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
        ["hold", rest @ ..] => {
            let (gate, op) = split_gate(rest);
            if gate.is_empty() {
                return Err(wrong(&words, OTHERS));
            }
            Directive::Hold { gate, op: parse_op(op, OPS)? }
        }
        ["release"] => Directive::Release,
        ["continue"] => Directive::Continue { brief: false },
        ["continue", "brief"] => Directive::Continue { brief: true },
        ["new-leader"] => Directive::NewLeader,
        ["pause", ms] => Directive::Pause { ms: number(ms, "milliseconds")? },
        ["ts", name] => Directive::Ts { name: (*name).into() },
        ["lock", pairs @ .., ttl, "async-commit"] if in_pairs(pairs) => lock(pairs, ttl, true)?,
        ["lock", pairs @ .., ttl] if in_pairs(pairs) => lock(pairs, ttl, false)?,
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
        ["begin", ..] if is_operation(&words) => Directive::Run(parse_op(&words, OPS)?),
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
        ["split", key] => Directive::Split { key: (*key).into() },
        ["logs"] => Directive::Logs,
        ["gc", name] => Directive::Gc { name: (*name).into() },
        op => Directive::Run(parse_op(op, &[OPS, OTHERS].concat())?),
    })
}

fn lock(pairs: &[&str], ttl: &str, async_commit: bool) -> Result<Directive, String> {
    Ok(Directive::Lock {
        pairs: pairs.chunks(2).map(|pair| (pair[0].into(), pair[1].into())).collect(),
        ttl_ms: number(option(ttl, "ttl")?, "ttl in milliseconds")?,
        async_commit,
    })
}

fn cluster(args: &[&str]) -> Result<Directive, String> {
    let (mut stores, mut lease, mut log_gc, mut api) = (3, Lease::On, false, KvFormat::V1);
    for arg in args {
        match arg.split_once('=') {
            Some(("stores", n)) => stores = number(n, "a number of stores")? as usize,
            Some(("lease", "on")) => lease = Lease::On,
            Some(("lease", "on-demand")) => lease = Lease::OnDemand,
            Some(("lease", "off")) => lease = Lease::Off,
            Some(("log-gc", v)) => log_gc = on_off(v)?,
            Some(("api", "v1")) => api = KvFormat::V1,
            Some(("api", "v1ttl")) => api = KvFormat::V1ttl,
            Some(("api", "v2")) => api = KvFormat::V2,
            _ => {
                let options = "stores=N, lease=on|on-demand|off, log-gc=on|off or api=v1|v1ttl|v2";
                return Err(format!("expected {options}, found `{arg}`"));
            }
        }
    }
    if !(1..=7).contains(&stores) {
        return Err(format!("expected 1 to 7 stores, found {stores}"));
    }
    Ok(Directive::Cluster { stores, lease, log_gc, api })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn an_error_names_the_expected_and_the_found_word() {
        let wrong = |t: &str| parse(&words(t)).unwrap_err();
        assert!(wrong("stop s-one").contains("leader, follower or a store"));
        assert_eq!(wrong("hold"), "expected `hold GATE OP`, found `hold`");
        assert!(wrong("hold raft_propose if term > 1").contains("an operation (get KEY"));
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
        assert!(wrong("cluster lease=maybe").contains("lease=on|on-demand|off"));
        assert_eq!(wrong("split"), "expected `split KEY`, found `split`");
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
    fn a_gate_is_checked_before_anything_runs() {
        let check = |text: &str| check(&Scenario::parse(std::path::Path::new("t.txt"), text).unwrap());
        check("ts a\n----\n\nhold write_cf_found#2 if commit_ts > a and key == get get k\n----\n").unwrap();
        for (gate, expected) in [
            ("rft_propose", "did you mean raft_propose"),
            ("zzz", "grpc_receive, grpc_decode"),
            ("raft_ack", "only observed"),
            ("raft_propose#0", "from 1, found `0`"),
            ("raft_propose#x", "from 1, found `x`"),
            ("grpc_decode if rgion == 1", "its fields are"),
            ("grpc_decode if ts(b) == 1", "one of a"),
        ] {
            let error = check(&format!("ts a\n----\n\nhold {gate} put k v\n----\n")).unwrap_err().to_string();
            assert!(error.starts_with("t.txt:4: expected") && error.contains(expected), "{gate}: {error}");
        }
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
        assert!(
            matches!(lock, Directive::Lock { ttl_ms: 5, pairs, async_commit: false } if pairs.len() == 2)
        );
        let lock = parse(&words("lock k v ttl=5 async-commit")).unwrap();
        assert!(matches!(lock, Directive::Lock { pairs, async_commit: true, .. } if pairs.len() == 1));
        let op = |text: &str| match parse(&words(text)) {
            Ok(Directive::Step { op, .. }) => op.to_string(),
            other => format!("{other:?}"),
        };
        assert_eq!(op("step flashback before a z"), "flashback before a z");
        assert_eq!(op("step recover k"), "recover k");
        assert!(parse(&words("lock k ttl=5")).unwrap_err().contains("lock KEY VALUE"));
        assert!(parse(&words("in t scan")).unwrap_err().contains("get KEY, put KEY VALUE"));
    }

    #[test]
    fn an_operation_is_also_a_transaction_or_two_clients() {
        for text in [
            "get k1",
            "begin pessimistic get a; put b 2; delete c; commit",
            "begin put a 1; rollback",
            "begin put a 1; commit one-pc",
            "put k v | raw-get k",
            "begin put a 1; commit | commit t",
        ] {
            assert_eq!(parse_operation(text).unwrap().to_string(), text);
            let directive = parse(&words(text)).unwrap();
            assert!(matches!(directive, Directive::Run(op) if op.to_string() == text), "{text}");
        }
        let named = parse(&words("begin pessimistic pessimistic")).unwrap();
        assert!(
            matches!(named, Directive::Begin { kind: Begin::Pessimistic, .. }),
            "no operation without `;`"
        );
        let wrong = |text: &str| parse_operation(text).unwrap_err();
        assert!(wrong("begin put a 1").contains("expected `commit` or `rollback`"));
        assert!(wrong("begin commit").contains("found none"));
        assert!(wrong("begin put a; commit").contains("found `put a`"));
        assert!(wrong("begin put a 1; commit; get a").contains("nothing after commit"));
        assert!(wrong("get a | get b | get c").contains("expected one `|`"));
        assert!(wrong("pessimistic-lock t k | get k").contains("expected operations of a client"));
        assert!(wrong("fetch k").contains("get KEY") && wrong("").contains("an operation"));
        let hold = parse(&words("hold change of commit if store == 2 put k v")).unwrap();
        assert!(matches!(hold, Directive::Hold { gate, .. } if gate == "change of commit if store == 2"));
    }
}
