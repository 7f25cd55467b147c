//! Reads a history from text: one transaction a line, `p0 3..7 ok append x 1; list x [1]; write y 2; read y nil`.
use std::str::FromStr;

use crate::{History, Op, Outcome, Transaction};

/// Text that is not a history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: expected {expected}, found {found:?}")]
pub struct ParseError {
    /// Number of the line, from 1.
    pub line: usize,
    /// The expected text.
    pub expected: &'static str,
    /// The text that was found.
    pub found: String,
}

/// A failure before its line is known.
struct Unexpected(&'static str, String);

impl FromStr for History {
    type Err = ParseError;

    /// Reads one transaction from each line; skips empty lines and lines that begin with `#`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut history = History::default();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let transaction = transaction(line, &mut history)
                .map_err(|Unexpected(expected, found)| ParseError { line: at + 1, expected, found })?;
            history.transactions.push(transaction);
        }
        Ok(history)
    }
}

fn transaction(line: &str, history: &mut History) -> Result<Transaction, Unexpected> {
    const FORM: &str = "a transaction such as `p0 3..7 ok append x 1; list y [1 2]`";
    let mut words = line.splitn(4, ' ');
    let mut word = || words.next().ok_or_else(|| Unexpected(FORM, line.to_owned()));
    let (process, times, outcome) = (word()?, word()?, word()?);
    // A transaction that failed at once has no operations.
    let ops = words.next().unwrap_or_default().split(';').map(str::trim).filter(|op| !op.is_empty());
    let wrong = |expected, found: &str| Unexpected(expected, found.to_owned());
    let process = process.strip_prefix('p').and_then(|n| n.parse().ok());
    let (invoked, completed) = times
        .split_once("..")
        .and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)))
        .filter(|(from, to): &(u64, u64)| from <= to)
        .ok_or_else(|| wrong("times such as 3..7", times))?;
    Ok(Transaction {
        process: process.ok_or_else(|| wrong("a process such as p0", line))?,
        invoked,
        completed,
        outcome: match outcome {
            "ok" => Outcome::Ok,
            "fail" => Outcome::Fail,
            "unknown" => Outcome::Unknown,
            other => return Err(wrong("ok, fail or unknown", other)),
        },
        ops: ops.map(|text| op(text, history)).collect::<Result<_, _>>()?,
    })
}

fn op(text: &str, history: &mut History) -> Result<Op, Unexpected> {
    let wrong = || {
        let expected =
            "an operation such as `append x 1`, `list x [1 2]`, `write x 1`, `read x 1` or `read x nil`";
        Unexpected(expected, text.to_owned())
    };
    let mut words = text.splitn(3, ' ');
    let (Some(name), Some(key), Some(value)) = (words.next(), words.next(), words.next()) else {
        return Err(wrong());
    };
    let number = || value.parse::<u64>().map_err(|_| wrong());
    let key = history.key(key);
    Ok(match name {
        "append" => Op::Append(key, number()?),
        "write" => Op::Write(key, number()?),
        "read" if value == "nil" => Op::Read(key, None),
        "read" => Op::Read(key, Some(number()?)),
        "list" => {
            let inner = value.strip_prefix('[').and_then(|v| v.strip_suffix(']')).ok_or_else(wrong)?;
            let values = inner.split_whitespace().map(str::parse).collect::<Result<_, _>>();
            Op::List(key, values.map_err(|_| wrong())?)
        }
        _ => return Err(wrong()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_back_as_it_was() {
        let text = "p0 3..7 ok append x 1; list x [1]; write y 2; read y nil\np1 4..9 unknown read y 2\np2 5..6 fail\n";
        assert_eq!(text.parse::<History>().unwrap().to_string(), text);
    }

    #[test]
    fn a_wrong_line_is_named() {
        let error = "# a comment\n\np0 3..7 ok append x one".parse::<History>().unwrap_err();
        assert!(error.to_string().starts_with("line 3: expected an operation such as"), "{error}");
        for wrong in [
            "p0",
            "q0 1..2 ok read x 1",
            "p0 2..1 ok read x 1",
            "p0 1..2 maybe read x 1",
            "p0 1..2 ok list x 1",
        ] {
            assert!(wrong.parse::<History>().is_err(), "{wrong}");
        }
    }
}
