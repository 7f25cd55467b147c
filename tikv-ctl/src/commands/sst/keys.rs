//! `sst PATH keys`: prints every entry, one per line.

use std::sync::Arc;

use keys::hex_upper;
use serde_json::{Value, json};

use super::{SstArgs, damaged, type_name};
use crate::{
    Result,
    commands::data::key_json,
    key::{KeyFormat, KeyUse, parse_key},
    lsm::{InternalKey, Table, TableIter},
    print::{
        entry_lines::{EntryLines, Form},
        line::Line,
        output::Output,
    },
};

/// Buffered lines are written out at this size, in bytes.
const FLUSH_AT: usize = 64 << 10;

pub fn run(table: &Arc<Table>, args: &SstArgs, format: KeyFormat, out: &mut Output<'_>) -> Result<()> {
    let mut bound = |text: &Option<String>| -> Result<Option<Vec<u8>>> {
        let Some(text) = text else { return Ok(None) };
        let parsed = parse_key(text, format, KeyUse::Raw)?;
        parsed.note.iter().for_each(|note| out.note(note));
        Ok(Some(parsed.key))
    };
    let (from, to) = (bound(&args.from)?, bound(&args.to)?);
    let limit = if args.limit == 0 { u64::MAX } else { args.limit };
    let iter = match &from {
        Some(from) => table.iter_from(from)?,
        None => table.iter()?,
    };
    if out.is_json() {
        as_json(iter, to.as_deref(), limit, out)
    } else {
        as_text(iter, to.as_deref(), limit, out)
    }
}

/// Moves to the next readable entry; reports the damage on the way.
#[inline]
fn advance(iter: &mut TableIter, damages: &mut usize, out: &mut Output<'_>) -> bool {
    loop {
        match iter.advance() {
            Ok(moved) => return moved,
            Err(e) => {
                *damages += 1;
                out.note(&e.to_string());
            }
        }
    }
}

fn as_text(mut iter: TableIter, to: Option<&[u8]>, limit: u64, out: &mut Output<'_>) -> Result<()> {
    let (mut text, mut count, mut damages) = (Line::default(), 0, 0);
    let mut lines = EntryLines::new(Form::Escaped);
    while count < limit && advance(&mut iter, &mut damages, out) {
        let key = iter.key();
        if to.is_some_and(|to| key.user_key >= to) {
            break;
        }
        count += 1;
        lines.add(key, iter.shared(), iter.value(), &mut text);
        if text.len() >= FLUSH_AT {
            out.bytes(text.as_bytes())?;
            text.clear();
        }
    }
    out.bytes(text.as_bytes())?;
    out.line(format!("\nTotal keys: {count}"))?;
    if damages > 0 { Err(damaged(damages)) } else { Ok(()) }
}

fn as_json(mut iter: TableIter, to: Option<&[u8]>, limit: u64, out: &mut Output<'_>) -> Result<()> {
    let (mut list, mut count, mut damages) = (out.list(), 0, 0);
    while count < limit && advance(&mut iter, &mut damages, out) {
        if to.is_some_and(|to| iter.key().user_key >= to) {
            break;
        }
        count += 1;
        list.push(out, &entry_json(iter.key(), iter.value()))?;
    }
    list.end(out)?;
    if damages > 0 { Err(damaged(damages)) } else { Ok(()) }
}

pub(super) fn entry_json(key: InternalKey<'_>, value: &[u8]) -> Value {
    let mut object = key_json(key.user_key);
    object["seq"] = json!(key.sequence());
    object["type"] = json!(type_name(key.value_type()));
    object["value"] = json!(hex_upper(value));
    object
}
