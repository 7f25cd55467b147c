//! `sst PATH recompress`: prints the size of the data blocks with other compressions, and the time it takes.
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use store_files::io::Context;

use crate::{
    Error, Result,
    lsm::{Table, compress_with, compressions},
    print::output::Output,
};

pub fn run(table: &Table, out: &mut Output<'_>) -> Result<()> {
    let index = table.index()?;
    let mut totals: Vec<(String, u64, Duration)> =
        compressions().map(|name| (name.to_owned(), 0, Duration::ZERO)).collect();
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
        for (name, size, took) in &mut totals {
            let start = Instant::now();
            // RocksDB keeps a block plain when compression saves less than an eighth.
            let packed = compress_with(name, &block).map_or(block.len(), |packed| packed.len());
            *size += if packed > block.len() - block.len() / 8 { block.len() } else { packed } as u64;
            *took += start.elapsed();
        }
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
