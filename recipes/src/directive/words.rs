//! Parses operations and the values of directives. An error gives the expected form and the text that was found.
use tracepoints::similar;

use super::op::{ABSENT, Change, Commit, Op};

/// Operations that can be stepped, as error messages list them.
pub(super) const OPS: &[&str] = &[
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
    "raw-coprocessor PLUGIN VERSION FROM TO",
    "batch-get KEY...",
    "scan FROM TO limit=N",
    "scan-reverse FROM TO limit=N",
    "pessimistic-lock TXN KEY [wait=MS|no-wait] [fair] [shared]",
    "gc NAME KEY",
    "flashback NAME FROM TO",
    "recover KEY",
    "follower-get KEY",
    "commit NAME",
    "rollback NAME",
    "heart-beat NAME",
    "flush TXN [generation=N] KEY VALUE|bytes=N|(none) [KEY VALUE|bytes=N|(none)]...",
    "buffer-get TXN KEY...",
    "commit-secondaries KEY...",
    "begin [pessimistic] OP; OP; ... commit [async-commit|one-pc]|rollback",
    "OP | OP",
];

/// All other directives, as error messages list them.
pub(super) const OTHERS: &[&str] = &[
    "cluster [stores=N] [lease=on|on-demand|off] [log-gc=on|off] [api=v1|v1ttl|v2]",
    "step [inside] OP",
    "hold GATE OP",
    "release",
    "continue [brief]",
    "new-leader",
    "pause MS",
    "ts NAME",
    "lock KEY VALUE [KEY VALUE]... ttl=MS [async-commit]",
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
    "split KEY",
    "logs",
    "gc NAME",
];

/// Parses an operation, such as `get k1`.
///
/// # Errors
/// The expected form and the text that was found.
pub fn parse_operation(text: &str) -> Result<Op, String> {
    let words = crate::scenario::split_words(text)?;
    parse_op(&words.iter().map(String::as_str).collect::<Vec<_>>(), OPS)
}

/// Whether the words after `begin` are a whole transaction, not the name of one.
pub(super) fn is_operation(words: &[&str]) -> bool {
    words.iter().any(|word| word.contains(';'))
}

/// Parses the words of an operation. `known`: the usages that an error names.
pub(super) fn parse_op(words: &[&str], known: &[&str]) -> Result<Op, String> {
    if let Some(at) = words.iter().position(|word| *word == "|") {
        return parse_two_clients(&words[..at], &words[at + 1..]);
    }
    Ok(match words {
        ["begin", "pessimistic", rest @ ..] => parse_txn(rest, true)?,
        ["begin", rest @ ..] => parse_txn(rest, false)?,
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
        ["raw-batch-put", pairs @ ..] if in_pairs(pairs) => Op::RawBatchPut { pairs: parse_pairs(pairs)? },
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
        ["raw-batch-scan", ranges @ .., limit] if in_pairs(ranges) => Op::RawBatchScan {
            ranges: ranges.chunks(2).map(|range| (range[0].into(), range[1].into())).collect(),
            limit: parse_limit(limit)?,
        },
        ["raw-coprocessor", plugin, version, from, to] => Op::RawCoprocessor {
            plugin: (*plugin).into(),
            version: (*version).into(),
            from: (*from).into(),
            to: (*to).into(),
        },
        ["batch-get", keys @ ..] if !keys.is_empty() => Op::BatchGet { keys: owned(keys) },
        ["flush", txn, changes @ ..] if changes.len() > 1 => parse_flush(txn, changes)?,
        ["buffer-get", txn, keys @ ..] if !keys.is_empty() => {
            Op::BufferGet { txn: (*txn).into(), keys: owned(keys) }
        }
        ["commit-secondaries", keys @ ..] if !keys.is_empty() => Op::CommitSecondaries { keys: owned(keys) },
        ["gc", at, key] => Op::Gc { key: (*key).into(), at: (*at).into() },
        ["flashback", at, from, to] => {
            Op::Flashback { at: (*at).into(), from: (*from).into(), to: (*to).into() }
        }
        ["recover", key] => Op::Recover { key: (*key).into() },
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

pub(super) fn in_pairs(words: &[&str]) -> bool {
    !words.is_empty() && words.len().is_multiple_of(2)
}

/// Keys with their values.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Parses keys, each with its value.
fn parse_pairs(words: &[&str]) -> Result<Pairs, String> {
    words.chunks(2).map(|pair| Ok((pair[0].into(), parse_value(pair[1])?))).collect()
}

fn owned(keys: &[&str]) -> Vec<Vec<u8>> {
    keys.iter().map(|key| (*key).into()).collect()
}

/// Parses the operations on both sides of `|`.
fn parse_two_clients(first: &[&str], second: &[&str]) -> Result<Op, String> {
    let (first, second) = (parse_op(first, OPS)?, parse_op(second, OPS)?);
    if matches!(second, Op::TwoClients(..)) {
        return Err("expected one `|`, for two clients, found more".into());
    }
    // The runner makes their requests, and only one at a time.
    if let Some(own) = [&first, &second].into_iter().find(|op| op.is_the_runners()) {
        return Err(format!("expected operations of a client on both sides of `|`, found `{own}`"));
    }
    Ok(Op::TwoClients(Box::new(first), Box::new(second)))
}

/// Parses the operations of a transaction after `begin`.
fn parse_txn(words: &[&str], pessimistic: bool) -> Result<Op, String> {
    const USAGE: &str = "begin [pessimistic] put KEY VALUE; get KEY; delete KEY; commit|rollback";
    let text = words.join("\u{0}");
    let mut changes = Vec::new();
    let mut end = None;
    for part in text.split(';') {
        let words: Vec<&str> = part.split('\u{0}').filter(|word| !word.is_empty()).collect();
        if end.is_some() {
            return Err(format!("expected nothing after commit or rollback, found `{}`", words.join(" ")));
        }
        match words.as_slice() {
            ["commit", how @ ..] => end = Some(Some(parse_commit(how)?)),
            ["rollback"] => end = Some(None),
            other => match parse_change(other) {
                Ok(change) => changes.push(change),
                Err(_) => return Err(format!("expected `{USAGE}`, found `{}`", other.join(" "))),
            },
        }
    }
    match (changes.is_empty(), end) {
        (false, Some(end)) => Ok(Op::Txn { changes, pessimistic, end }),
        (true, _) => Err(format!("expected an operation in the transaction, `{USAGE}`, found none")),
        (false, None) => Err(format!("expected `commit` or `rollback` at the end of `{USAGE}`, found none")),
    }
}

/// The error for an unknown directive: names the usage of the word, the nearest word, or all directives.
pub(super) fn wrong(words: &[&str], known: &[&str]) -> String {
    let name = |usage: &str| usage.split(' ').next().unwrap_or_default().to_owned();
    let found = words.join(" ");
    let Some(word) = words.first() else {
        return format!("expected an operation ({}), found none", known.join(", "));
    };
    if let Some(usage) = known.iter().find(|usage| name(usage) == *word) {
        return format!("expected `{usage}`, found `{found}`");
    }
    let names: Vec<String> = known.iter().map(|usage| name(usage)).collect();
    let near = similar::names(word, names.iter().map(String::as_str)).first().copied();
    match near.and_then(|near| known.iter().find(|usage| name(usage) == near)) {
        Some(usage) => format!("expected a directive such as `{usage}`, found `{found}`"),
        None => format!("expected one of: {}; found `{found}`", known.join(", ")),
    }
}

fn parse_lock(txn: &str, key: &str, how: &[&str]) -> Result<Op, String> {
    let (mut wait_ms, mut fair, mut shared) = (0, false, false);
    for word in how {
        match *word {
            "no-wait" => wait_ms = -1,
            "fair" => fair = true,
            "shared" => shared = true,
            _ => {
                let ms = option(word, "wait")
                    .map_err(|_| format!("expected wait=MS, no-wait, fair or shared, found `{word}`"))?;
                wait_ms = i64::try_from(number(ms, "milliseconds")?)
                    .map_err(|_| format!("expected fewer milliseconds, found `{word}`"))?;
            }
        }
    }
    Ok(Op::PessimisticLock { txn: txn.into(), key: key.into(), wait_ms, fair, shared })
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

pub(super) fn parse_change(words: &[&str]) -> Result<Change, String> {
    match words {
        ["get", key] => Ok(Change::Get { key: (*key).into() }),
        ["put", key, value] => Ok(Change::Put { key: (*key).into(), value: parse_value(value)? }),
        ["delete", key] => Ok(Change::Delete { key: (*key).into() }),
        other => Err(format!("expected get KEY, put KEY VALUE or delete KEY, found `{}`", other.join(" "))),
    }
}

fn parse_limit(word: &str) -> Result<u32, String> {
    u32::try_from(number(option(word, "limit")?, "a number of pairs")?)
        .map_err(|_| format!("expected a limit up to {}, found `{word}`", u32::MAX))
}

pub(super) fn parse_commit(words: &[&str]) -> Result<Commit, String> {
    match words {
        [] => Ok(Commit::TwoPhase),
        ["async-commit"] => Ok(Commit::Async),
        ["one-pc"] => Ok(Commit::OnePc),
        other => Err(format!("expected async-commit, one-pc or nothing, found `{}`", other.join(" "))),
    }
}

/// Parses a value: the text itself, or N bytes of `x` for `bytes=N`.
pub(super) fn parse_value(word: &str) -> Result<Vec<u8>, String> {
    match word.strip_prefix("bytes=") {
        Some(n) => match number(n, "a number of bytes")? {
            n if n <= 1 << 20 => Ok(vec![b'x'; n as usize]),
            n => Err(format!("expected at most 1048576 bytes, found {n}")),
        },
        None => Ok(word.into()),
    }
}

/// Splits the words after `hold`: the gate ends before the name of an operation, which is not a side of a
/// comparison.
pub(super) fn split_gate<'a>(words: &'a [&'a str]) -> (String, &'a [&'a str]) {
    let is_op = |word: &str| OPS.iter().any(|usage| usage.split(' ').next() == Some(word));
    // `change of commit` and `key == get` name no operation.
    let names = |word: &str| word == "of" || word.ends_with(['=', '<', '>']);
    let at = (1..words.len()).find(|i| is_op(words[*i]) && !names(words[*i - 1])).unwrap_or(words.len());
    (words[..at].join(" "), &words[at..])
}

pub(super) fn option<'a>(word: &'a str, name: &str) -> Result<&'a str, String> {
    word.strip_prefix(name)
        .and_then(|rest| rest.strip_prefix('='))
        .ok_or_else(|| format!("expected {name}=..., found `{word}`"))
}

pub(super) fn number(word: &str, what: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("expected {what}, found `{word}`"))
}

pub(super) fn on_off(word: &str) -> Result<bool, String> {
    match word {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("expected on or off, found `{word}`")),
    }
}
