//! `sst PATH recompress`: prints the size of the data blocks with other compressions, and the time it takes.
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use store_files::io::Context;

use super::reblock::Blocks;
use crate::{
    Error, Result,
    lsm::{Table, compress_with, compressions},
    print::output::Output,
};

/// The compressions to try, and the size of the blocks.
pub struct Recompress {
    /// Names of [`compressions`].
    pub with: Vec<&'static str>,
    /// Size of the data blocks in bytes; `None`: as in the file.
    pub block_size: Option<usize>,
}

impl Default for Recompress {
    fn default() -> Self {
        Self { with: compressions().collect(), block_size: None }
    }
}

/// Name of a compression, compressed size in bytes, and time.
type Total = (&'static str, u64, Duration);

pub fn run(table: &Arc<Table>, wanted: &Recompress, out: &mut Output<'_>) -> Result<()> {
    let index = table.index()?;
    let mut totals: Vec<Total> = wanted.with.iter().map(|name| (*name, 0, Duration::ZERO)).collect();
    let mut blocks = wanted.block_size.map(Blocks::new);
    let (mut stored, mut plain, mut damages) = (0, 0, 0);
    for at in 0..index.len() {
        let handle = index.handle(at);
        let block = match table.read_block(handle) {
            Ok(block) => block,
            Err(e) => {
                damages += 1;
                out.note(
                    &e.context(Context::Lost { after: index.before(at), up_to: index.separator(at) })
                        .to_string(),
                );
                continue;
            }
        };
        stored += handle.size;
        plain += block.len() as u64;
        match &mut blocks {
            None => compress(&block, &mut totals),
            Some(blocks) => {
                if let Err(e) = put(table, at, blocks, &mut totals) {
                    damages += 1;
                    out.note(&e.to_string());
                }
            }
        }
    }
    if let Some(last) = blocks.as_mut().and_then(Blocks::take) {
        compress(&last, &mut totals);
    }
    let ratio = |size: u64| if size == 0 { 1.0 } else { plain as f64 / size as f64 };
    if out.is_json() {
        let rows: Vec<Value> = totals
            .iter()
            .map(|(name, size, took)| {
                json!({ "compression": name, "bytes": size, "ratio": ratio(*size), "seconds": took.as_secs_f64() })
            })
            .collect();
        out.json(&json!({ "plain_bytes": plain, "stored_bytes": stored, "with": rows }))?;
    } else {
        out.line(format!("{:<14} {:>14} {:>8} {:>9}", "compression", "bytes", "ratio", "took"))?;
        out.line(format!("{:<14} {stored:>14} {:>8.2}", "as stored", ratio(stored)))?;
        for (name, size, took) in &totals {
            out.line(format!("{name:<14} {size:>14} {:>8.2} {:>8.2}s", ratio(*size), took.as_secs_f64()))?;
        }
    }
    if damages > 0 { Err(Error::Damaged(damages)) } else { Ok(()) }
}

/// Puts the entries of data block `at` into new blocks, and compresses those that are complete.
fn put(table: &Arc<Table>, at: usize, blocks: &mut Blocks, totals: &mut [Total]) -> Result<()> {
    let (mut entries, mut internal_key) = (table.iter_block(at)?, Vec::new());
    while entries.advance()? {
        let key = entries.key();
        internal_key.clear();
        internal_key.extend_from_slice(key.user_key);
        internal_key.extend_from_slice(&key.packed.to_le_bytes());
        if let Some(block) = blocks.add(&internal_key, entries.value()) {
            compress(&block, totals);
        }
    }
    Ok(())
}

fn compress(block: &[u8], totals: &mut [Total]) {
    for (name, size, took) in totals {
        let start = Instant::now();
        // RocksDB keeps a block plain when compression saves less than an eighth.
        let packed = compress_with(name, block).map_or(block.len(), |packed| packed.len());
        *size += if packed > block.len() - block.len() / 8 { block.len() } else { packed } as u64;
        *took += start.elapsed();
    }
}
