//! `sst PATH histogram`: prints the distribution of sizes.
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::{Error, Result, lsm::Table, print::output::Output};

/// Counts values by powers of two: bucket `n` has the values of `n` bits.
#[derive(Debug)]
struct Histogram {
    buckets: [u64; 65],
    sum: u128,
    most: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: [0; 65], sum: 0, most: 0 }
    }
}

impl Histogram {
    fn add(&mut self, value: u64) {
        self.buckets[64 - value.leading_zeros() as usize] += 1;
        self.sum += u128::from(value);
        self.most = self.most.max(value);
    }

    fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    fn mean(&self) -> f64 {
        if self.count() == 0 { 0.0 } else { self.sum as f64 / self.count() as f64 }
    }

    /// Returns first value, last value and count of each non-empty bucket.
    fn rows(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        let used = self.buckets.iter().enumerate().filter(|(_, count)| **count > 0);
        used.map(|(bits, count)| match bits {
            0 => (0, 0, *count),
            bits => (1 << (bits - 1), ((1u128 << bits) - 1) as u64, *count),
        })
    }

    fn json(&self) -> Value {
        let buckets: Vec<Value> =
            self.rows().map(|(from, to, count)| json!({ "from": from, "to": to, "count": count })).collect();
        json!({ "count": self.count(), "mean": self.mean(), "max": self.most, "buckets": buckets })
    }
}

pub fn run(table: &Arc<Table>, out: &mut Output<'_>) -> Result<()> {
    let mut of_keys = Histogram::default();
    let mut of_values = Histogram::default();
    let (mut of_blocks, mut of_entries, mut of_versions) =
        (Histogram::default(), Histogram::default(), Histogram::default());
    let (mut in_block, mut block, mut damages) = (0, usize::MAX, 0);
    let (mut row, mut versions) = (Vec::new(), 0);
    let mut iter = table.iter()?;
    loop {
        match iter.advance() {
            Ok(true) => {}
            Ok(false) => break,
            Err(e) => {
                damages += 1;
                out.note(&e.to_string());
                continue;
            }
        }
        let key = iter.key().user_key;
        of_keys.add(key.len() as u64);
        of_values.add(iter.value().len() as u64);
        if iter.block() != block {
            (in_block > 0).then(|| of_entries.add(in_block));
            (in_block, block) = (0, iter.block());
        }
        in_block += 1;
        // Versions of one row differ only in the timestamp, the last 8 bytes.
        let of_row = key.split_last_chunk::<8>().map_or(key, |(row, _)| row);
        if of_row != row.as_slice() {
            (versions > 0).then(|| of_versions.add(versions));
            row.clear();
            row.extend_from_slice(of_row);
            versions = 0;
        }
        versions += 1;
    }
    (in_block > 0).then(|| of_entries.add(in_block));
    (versions > 0).then(|| of_versions.add(versions));
    let index = table.index()?;
    (0..index.len()).for_each(|at| of_blocks.add(index.handle(at).size));
    print(
        [
            ("bytes of keys", &of_keys),
            ("bytes of values", &of_values),
            ("bytes of data blocks as stored", &of_blocks),
            ("entries of a data block", &of_entries),
            ("entries of keys equal but for their last 8 bytes", &of_versions),
        ],
        out,
    )?;
    if damages > 0 { Err(Error::Damaged(damages)) } else { Ok(()) }
}

fn print(all: [(&str, &Histogram); 5], out: &mut Output<'_>) -> Result<()> {
    const WIDTH: u64 = 40;
    if out.is_json() {
        let object: Map<String, Value> =
            all.into_iter().map(|(name, histogram)| (name.replace(' ', "_"), histogram.json())).collect();
        return out.json(&object);
    }
    for (name, histogram) in all {
        out.line(format!(
            "{name}: {}, mean {:.1}, max {}",
            histogram.count(),
            histogram.mean(),
            histogram.most
        ))?;
        let most = histogram.rows().map(|(_, _, count)| count).max().unwrap_or(1);
        for (from, to, count) in histogram.rows() {
            let bar = "#".repeat((count.saturating_mul(WIDTH)).div_ceil(most) as usize);
            out.line(format!("  {:>10} - {:<10} {count:>10} {bar}", from, to))?;
        }
    }
    Ok(())
}
