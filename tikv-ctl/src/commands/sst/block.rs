//! `sst PATH block`: prints the entries of one data block and their offsets in its decompressed bytes.
use std::sync::Arc;

use api_version::KvFormat;
use serde_json::json;

use super::keys::{add_raw_line, entry_json};
use crate::{
    Error, Result,
    lsm::Table,
    print::{
        entry_lines::{EntryLines, Form},
        line::Line,
        output::Output,
    },
};

pub fn run(table: &Arc<Table>, number: usize, rows: KvFormat, out: &mut Output<'_>) -> Result<()> {
    let index = table.index()?;
    if number >= index.len() {
        let what = format!(
            "expected the number of a data block, below {}, found {number}: `tikv-ctl sst FILE layout` lists them",
            index.len()
        );
        return Err(Error::other(format!("{}: {what}", table.file().path().display())));
    }
    let handle = index.handle(number);
    let mut entries = Vec::new();
    let (mut text, mut lines) = (Line::default(), EntryLines::new(Form::Escaped));
    let plain = table.read_block(handle)?.len();
    let mut iter = table.iter_block(number)?;
    while iter.advance()? {
        let restart = if iter.shared() == 0 { "restart" } else { "       " };
        text.format(format_args!("{restart} shared {:>3}  ", iter.shared()));
        if out.is_json() {
            let mut entry = entry_json(rows, iter.key(), iter.value());
            entry["shared"] = json!(iter.shared());
            entries.push(entry);
        } else {
            lines.add(iter.key(), iter.shared(), iter.value(), &mut text);
            add_raw_line(rows, iter.key(), iter.value(), &mut text);
        }
    }
    let compression = table.block_compression(handle)?;
    if out.is_json() {
        return out.json(&json!({
            "block": number, "offset": handle.offset, "size": handle.size, "plain_size": plain,
            "compression": compression, "entries": entries,
        }));
    }
    out.line(format!(
        "data block {number} at byte {}: {} bytes, {plain} plain, {compression}",
        handle.offset, handle.size
    ))?;
    out.bytes(text.as_bytes())
}
