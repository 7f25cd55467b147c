//! `sst PATH keys`: prints every entry, one per line.

use std::sync::Arc;

use api_version::KvFormat;
use keys::CF_DEFAULT;
use serde_json::{Value, json};

use super::{SstArgs, damaged, type_name};
use crate::{
    Result,
    commands::data::stored_json,
    key::{KeyFormat, KeyUse, parse_key},
    lsm::{InternalKey, Table, TableIter, ValueType},
    print::{
        entry_lines::{EntryLines, Form},
        line::Line,
        output::Output,
    },
    raw_row::{self, RawRow},
};

/// Buffered lines are written out at this size, in bytes.
const FLUSH_AT: usize = 64 << 10;

pub fn run(
    table: &Arc<Table>,
    args: &SstArgs,
    (format, rows): (KeyFormat, KvFormat),
    out: &mut Output<'_>,
) -> Result<()> {
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
        as_json(iter, to.as_deref(), limit, rows, out)
    } else {
        as_text(iter, to.as_deref(), limit, rows, out)
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

fn as_text(
    mut iter: TableIter,
    to: Option<&[u8]>,
    limit: u64,
    rows: KvFormat,
    out: &mut Output<'_>,
) -> Result<()> {
    let (mut text, mut count, mut damages) = (Line::default(), 0, 0);
    let mut lines = EntryLines::new(Form::Escaped);
    while count < limit && advance(&mut iter, &mut damages, out) {
        let key = iter.key();
        if to.is_some_and(|to| key.user_key >= to) {
            break;
        }
        count += 1;
        lines.add(key, iter.shared(), iter.value(), &mut text);
        add_raw_line(rows, key, iter.value(), &mut text);
        if text.len() >= FLUSH_AT {
            out.bytes(text.as_bytes())?;
            text.clear();
        }
    }
    out.bytes(text.as_bytes())?;
    out.line(format!("\nTotal keys: {count}"))?;
    if damages > 0 { Err(damaged(damages)) } else { Ok(()) }
}

fn as_json(
    mut iter: TableIter,
    to: Option<&[u8]>,
    limit: u64,
    rows: KvFormat,
    out: &mut Output<'_>,
) -> Result<()> {
    let (mut list, mut count, mut damages) = (out.list(), 0, 0);
    while count < limit && advance(&mut iter, &mut damages, out) {
        if to.is_some_and(|to| iter.key().user_key >= to) {
            break;
        }
        count += 1;
        list.push(out, &entry_json(rows, iter.key(), iter.value()))?;
    }
    list.end(out)?;
    if damages > 0 { Err(damaged(damages)) } else { Ok(()) }
}

/// Adds the line of a raw row that has bytes of the store.
pub(super) fn add_raw_line(rows: KvFormat, key: InternalKey<'_>, value: &[u8], text: &mut Line) {
    if let Some(row) = decode(rows, key, value) {
        text.format(format_args!("  {}\n", raw_row::text(&row)));
    }
}

/// Decodes the row of an entry that puts a value. An SST does not name its column family; raw rows of API V2 are
/// in CF default only.
fn decode<'a>(
    rows: KvFormat,
    key: InternalKey<'_>,
    value: &'a [u8],
) -> Option<api_version::Result<RawRow<'a>>> {
    (key.value_type() == ValueType::Value).then(|| RawRow::decode(rows, CF_DEFAULT, key.user_key, value))?
}

pub(super) fn entry_json(rows: KvFormat, key: InternalKey<'_>, value: &[u8]) -> Value {
    let rows = if key.value_type() == ValueType::Value { rows } else { KvFormat::V1 };
    let mut object = stored_json(rows, CF_DEFAULT, key.user_key, value);
    object["seq"] = json!(key.sequence());
    object["type"] = json!(type_name(key.value_type()));
    object
}
