//! `sst PATH keys`: prints every entry, one per line.
use std::sync::Arc;

use api_version::KvFormat;
use keys::CF_DEFAULT;
use serde_json::{Value, json};

use super::args::SstArgs;
use crate::{
    Error, Result,
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
    let entries = Entries { iter, to: to.as_deref(), limit, count: 0, damages: 0 };
    if out.is_json() { as_json(entries, rows, out) } else { as_text(entries, rows, out) }
}

/// The entries to print: those below `to`, up to `limit` of them.
struct Entries<'a> {
    iter: TableIter,
    to: Option<&'a [u8]>,
    limit: u64,
    count: u64,
    damages: usize,
}

impl Entries<'_> {
    /// Moves to the next readable entry; reports the damage on the way.
    #[inline]
    fn advance(&mut self, out: &mut Output<'_>) -> bool {
        if self.count == self.limit {
            return false;
        }
        let moved = loop {
            match self.iter.advance() {
                Ok(moved) => break moved,
                Err(e) => {
                    self.damages += 1;
                    out.note(&e.to_string());
                }
            }
        };
        let found = moved && self.to.is_none_or(|to| self.iter.key().user_key < to);
        self.count += u64::from(found);
        found
    }

    /// Fails if entries were damaged.
    fn finish(&self) -> Result<()> {
        if self.damages > 0 { Err(Error::Damaged(self.damages)) } else { Ok(()) }
    }
}

fn as_text(mut entries: Entries<'_>, rows: KvFormat, out: &mut Output<'_>) -> Result<()> {
    let mut text = Line::default();
    let mut lines = EntryLines::new(Form::Escaped);
    while entries.advance(out) {
        let iter = &entries.iter;
        lines.add(iter.key(), iter.shared(), iter.value(), &mut text);
        add_raw_line(rows, iter.key(), iter.value(), &mut text);
        if text.len() >= FLUSH_AT {
            out.bytes(text.as_bytes())?;
            text.clear();
        }
    }
    out.bytes(text.as_bytes())?;
    out.line(format!("\nTotal keys: {}", entries.count))?;
    entries.finish()
}

fn as_json(mut entries: Entries<'_>, rows: KvFormat, out: &mut Output<'_>) -> Result<()> {
    let mut list = out.list();
    while entries.advance(out) {
        list.push(out, &entry_json(rows, entries.iter.key(), entries.iter.value()))?;
    }
    list.end(out)?;
    entries.finish()
}

/// Adds the line of a raw row that has bytes of the store.
pub(super) fn add_raw_line(rows: KvFormat, key: InternalKey<'_>, value: &[u8], text: &mut Line) {
    if let Some(row) = RawRow::decode(row_format(rows, key), CF_DEFAULT, key.user_key, value) {
        text.format(format_args!("  {}\n", raw_row::text(&row)));
    }
}

/// Returns the encoding of an entry's row: V1, which has no bytes of the store, if the entry puts no value. An SST does
/// not name its column family, so callers decode its rows as those of CF default; API V2 has raw rows only there.
fn row_format(rows: KvFormat, key: InternalKey<'_>) -> KvFormat {
    if key.value_type() == ValueType::Value { rows } else { KvFormat::V1 }
}

pub(super) fn entry_json(rows: KvFormat, key: InternalKey<'_>, value: &[u8]) -> Value {
    let mut object = stored_json(row_format(rows, key), CF_DEFAULT, key.user_key, value);
    object["seq"] = json!(key.sequence());
    object["type"] = json!(type_name(key.value_type()));
    object
}

/// Returns a type's name in JSON.
pub fn type_name(kind: ValueType) -> String {
    match kind {
        ValueType::Other(byte) => format!("type {byte}"),
        known => format!("{known:?}"),
    }
}
