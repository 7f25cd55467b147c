//! `sst PATH layout`: prints every block of the file, in order.
use keys::escape;
use serde_json::{Value, json};

use super::properties::plain;
use crate::{
    Result,
    lsm::{BlockHandle, Table},
    print::output::Output,
};

pub fn run(table: &Table, out: &mut Output<'_>) -> Result<()> {
    let mut rows = Vec::new();
    let index = table.index()?;
    let mut row = |name: String, handle: BlockHandle, up_to: String| {
        let compression = table.block_compression(handle).unwrap_or("unreadable");
        rows.push(json!({
            "block": name, "offset": handle.offset, "size": handle.size,
            "compression": compression, "up_to": up_to,
        }));
    };
    for at in 0..index.len() {
        row(format!("data {at}"), index.handle(at), escape(index.separator(at)));
    }
    for block in table.meta_blocks() {
        row(block.name.clone(), block.handle, String::new());
    }
    // Up to format_version 5, the footer, not the meta index, points to the index.
    if !table.meta_blocks().iter().any(|block| block.name == "rocksdb.index") {
        row("index".to_owned(), table.index_handle()?, String::new());
    }
    row("metaindex".to_owned(), table.metaindex_handle(), String::new());
    rows.sort_by_key(|row| row["offset"].as_u64());
    if out.is_json() { out.json(&rows) } else { text(table, &rows, out) }
}

fn text(table: &Table, rows: &[Value], out: &mut Output<'_>) -> Result<()> {
    out.line(format!("{:>12} {:>10} {:<14} block", "offset", "size", "compression"))?;
    for row in rows {
        let of = |field: &str| plain(&row[field]);
        let up_to = Some(of("up_to")).filter(|key| !key.is_empty()).map(|key| format!(", keys up to {key}"));
        out.line(format!(
            "{:>12} {:>10} {:<14} {}{}",
            of("offset"),
            of("size"),
            of("compression"),
            of("block"),
            up_to.unwrap_or_default()
        ))?;
    }
    let (at, version) = (table.footer_offset(), table.format_version());
    out.line(format!(
        "{at:>12} {:>10} {:<14} footer, format_version {version}",
        table.file().size() - at,
        "none"
    ))
}
