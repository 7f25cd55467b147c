//! Filters of SSTs: their kinds, and whether a key may be in a table (RocksDB
//! `table/block_based/filter_policy.cc`, `util/bloom_impl.h`). A filter block is the filter's bits and 5
//! bytes of metadata:
//!
//! ```text
//! kind          byte 0        byte 1           byte 2         byte 3   byte 4
//! legacy bloom  probes (> 0)  number of cache lines, 4 bytes, little-endian
//! always        0
//! fast bloom    -1            0                probes (1-30)
//! ribbon        -2            seed             number of blocks, 3 bytes, little-endian
//! ```
use super::{format::BlockHandle, index::Index, ribbon, table::Table, xxph3::hash64};
use crate::io::{Cursor, Result};

/// Binary logarithm of the bytes of a cache line: RocksDB writes tables for 64 bytes on common machines.
const CACHE_LINE_BITS: u32 = 6;
/// Bytes of the metadata at the end of a filter block.
const METADATA: usize = 5;
/// A suffix greater than any timestamp that follows a row's key.
const AFTER_ALL_TS: [u8; 9] = [0xff; 9];
const BLOOM_SEED: u32 = 0xbc9f_1d34;

/// The filter of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Bits in cache lines, in tables up to format_version 4.
    LegacyBloom {
        /// Number of bits tested for a key.
        probes: u32,
        /// Number of cache lines.
        lines: u32,
        /// The bits.
        bits: Vec<u8>,
    },
    /// Bits in cache lines, located with XXH3, in tables from format_version 5 on.
    FastBloom {
        /// Number of bits tested for a key.
        probes: u32,
        /// The bits.
        bits: Vec<u8>,
    },
    /// A Ribbon filter.
    Ribbon {
        /// Number of blocks of 128 slots.
        blocks: u32,
        /// Ordinal of the seed that is mixed into the hash.
        seed: u8,
        /// The solution rows.
        bits: Vec<u8>,
    },
    /// A filter that admits every key.
    Always,
    /// A filter without keys, which admits none.
    Never,
    /// A filter of another implementation, by the first byte of its metadata.
    Unknown(u8),
}

impl Filter {
    /// Reads the plain bytes of a filter block.
    pub fn parse(data: &[u8]) -> Filter {
        let Some(len) = data.len().checked_sub(METADATA).filter(|len| *len > 0) else { return Filter::Never };
        let (bits, meta) = data.split_at(len);
        match meta[0] as i8 {
            probes @ 1.. => {
                let lines = Cursor::new(&meta[1..]).u32().unwrap_or_default();
                let fits = lines > 0 && u64::from(lines) << CACHE_LINE_BITS == len as u64;
                if !fits {
                    return Filter::Always;
                }
                Filter::LegacyBloom { probes: probes.unsigned_abs().into(), lines, bits: bits.to_vec() }
            }
            0 => Filter::Always,
            // RocksDB reserves cache lines of other sizes, and 0 and 31 probes, for later versions.
            -1 if meta[1] == 0 && (1..31).contains(&meta[2]) => {
                Filter::FastBloom { probes: meta[2].into(), bits: bits.to_vec() }
            }
            -2 => {
                let blocks = u32::from_le_bytes([meta[2], meta[3], meta[4], 0]);
                Filter::Ribbon { blocks, seed: meta[1], bits: bits.to_vec() }
            }
            _ => Filter::Unknown(meta[0]),
        }
    }

    /// Whether `key` may be in the table; true if this filter cannot be evaluated.
    pub fn may_contain(&self, key: &[u8]) -> bool {
        match self {
            Filter::LegacyBloom { probes, lines, bits } => legacy_match(key, *probes, *lines, bits),
            Filter::FastBloom { probes, bits } => {
                hash64(key).is_none_or(|hash| fast_match(hash, *probes, bits))
            }
            Filter::Ribbon { blocks, seed, bits } => {
                hash64(key).is_none_or(|hash| ribbon::may_contain(hash, *seed, *blocks, bits))
            }
            Filter::Never => false,
            _ => true,
        }
    }

    fn text(&self, of: &str) -> String {
        match self {
            Filter::LegacyBloom { probes, bits, .. } => {
                format!("{of} bloom, {probes} probes, {} bytes", bits.len())
            }
            Filter::FastBloom { probes, bits } => {
                format!("{of} fast bloom, {probes} probes, {} bytes", bits.len())
            }
            Filter::Ribbon { blocks, bits, .. } => {
                format!("{of} ribbon, {blocks} blocks, {} bytes", bits.len())
            }
            Filter::Always => format!("{of}, admits every key"),
            Filter::Never => format!("{of}, empty"),
            Filter::Unknown(kind) => format!("{of}, of unknown kind {kind:#x}"),
        }
    }
}

/// Computes LevelDB's hash of a key.
fn hash(data: &[u8], seed: u32) -> u32 {
    const M: u32 = 0xc6a4_a793;
    let mut h = seed ^ (data.len() as u32).wrapping_mul(M);
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        h = h.wrapping_add(u32::from_le_bytes(*word)).wrapping_mul(M);
        h ^= h >> 16;
    }
    // LevelDB adds the last bytes as signed numbers.
    let signed = |at: usize| rest.get(at).map_or(0, |byte| *byte as i8 as u32);
    if !rest.is_empty() {
        h = h.wrapping_add(signed(2) << 16).wrapping_add(signed(1) << 8).wrapping_add(signed(0));
        h = h.wrapping_mul(M);
        h ^= h >> 24;
    }
    h
}

fn legacy_match(key: &[u8], probes: u32, lines: u32, bits: &[u8]) -> bool {
    let mut h = hash(key, BLOOM_SEED);
    let delta = h.rotate_right(17);
    let line = ((h % lines) as usize) << CACHE_LINE_BITS;
    let line = bits.get(line..line + (1 << CACHE_LINE_BITS)).unwrap_or(&[0xff; 1 << CACHE_LINE_BITS]);
    (0..probes).all(|_| {
        let bit = h & ((8 << CACHE_LINE_BITS) - 1);
        h = h.wrapping_add(delta);
        line[bit as usize / 8] & (1 << (bit % 8)) != 0
    })
}

/// Tests a fast bloom filter: the lower half of the hash selects the cache line, the upper half its bits.
fn fast_match(hash: u64, probes: u32, bits: &[u8]) -> bool {
    let lines = (bits.len() >> CACHE_LINE_BITS) as u64;
    let line = (((hash & 0xffff_ffff) * lines) >> 32 << CACHE_LINE_BITS) as usize;
    let Some(line) = bits.get(line..line + (1 << CACHE_LINE_BITS)) else { return true };
    let mut h = (hash >> 32) as u32;
    (0..probes).all(|_| {
        let bit = h >> (32 - 3 - CACHE_LINE_BITS);
        h = h.wrapping_mul(0x9e37_79b9);
        line[bit as usize / 8] & (1 << (bit % 8)) != 0
    })
}

impl Table {
    /// Returns the handle of the filter block, and whether it is the index of a partitioned filter.
    fn filter_block(&self) -> Option<(BlockHandle, bool)> {
        self.meta_blocks().iter().find_map(|block| {
            let partitioned = block.name.starts_with("partitionedfilter.");
            (partitioned || block.name.starts_with("fullfilter.")).then_some((block.handle, partitioned))
        })
    }

    /// Whether the filter admits `key`, the key or prefix of keys up to `last`.
    fn filter_admits(&self, key: &[u8], last: &[u8]) -> Result<bool> {
        let Some((handle, partitioned)) = self.filter_block() else { return Ok(true) };
        if !partitioned {
            return Ok(Filter::parse(&self.read_block(handle)?).may_contain(key));
        }
        let partitions = Index::read_top(self.blocks(), self.properties(), handle)?;
        // There is no key after the last partition.
        for at in partitions.find(key)..(partitions.find(last) + 1).min(partitions.len()) {
            if Filter::parse(&self.read_block(partitions.handle(at))?).may_contain(key) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Describes the table's filter in words.
    pub fn filter_text(&self) -> Result<String> {
        let of = match (self.whole_keys_filtered(), self.prefixes_filtered()) {
            (true, true) => "of whole keys and prefixes:",
            (false, true) => "of prefixes:",
            _ => "of whole keys:",
        };
        if self.meta_blocks().iter().any(|block| block.name.starts_with("filter.")) {
            return Ok("a filter for each block (RocksDB before version 7)".to_owned());
        }
        match self.filter_block() {
            None => Ok("none".to_owned()),
            Some((_, true)) => Ok(format!("{of} in partitions")),
            Some((handle, false)) => Ok(Filter::parse(&self.read_block(handle)?).text(of)),
        }
    }

    fn whole_keys_filtered(&self) -> bool {
        self.properties().get("rocksdb.block.based.table.whole.key.filtering") != Some(b"0")
    }

    fn prefixes_filtered(&self) -> bool {
        self.properties().get("rocksdb.block.based.table.prefix.filtering") == Some(b"1")
    }

    /// Whether the table may contain the whole key `user_key` or, if the filter is of prefixes without TiKV's
    /// timestamps, any version of `row`. True if no filter can answer.
    pub fn may_hold(&self, user_key: Option<&[u8]>, row: &[u8]) -> Result<bool> {
        if self.prefixes_filtered()
            && self.properties().get("rocksdb.prefix.extractor.name").is_some_and(is_without_timestamp)
        {
            return self.filter_admits(row, &[row, &AFTER_ALL_TS].concat());
        }
        match user_key {
            Some(key) if self.whole_keys_filtered() => self.filter_admits(key, key),
            _ => Ok(true),
        }
    }
}

/// Whether the prefix extractor is TiKV's for CF write: the key without its last 8 bytes.
fn is_without_timestamp(name: &[u8]) -> bool {
    name.starts_with(b"FixedSuffixSliceTransform")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_matches_rocksdb() {
        // RocksDB keeps these values stable: util/hash_test.cc, HashTest.Values.
        let known: [(&[u8], u32); 9] = [
            (b"", 3164544308),
            (b"\x08", 422599524),
            (b"\x9a", 3195034349),
            (b"\x4d\x76", 2447836956),
            (b"\x91\xf7", 31066776),
            (b"\x56\xdc\xd6", 2157698265),
            (b"\x69\xb8\xc0\x88", 3416318611),
            (b"\x86\x83\xd5\xa4\xd8", 2390603402),
            (b"\xd3\xa5\x7c\x0e\xc0\x02\x07", 2030937252),
        ];
        for (data, value) in known {
            assert_eq!(hash(data, BLOOM_SEED), value, "{data:x?}");
        }
    }

    #[test]
    fn arbitrary_bytes_parse_without_a_panic() {
        for len in 0..200 {
            for byte in [0, 1, 6, 127, 128, 254, 255] {
                let filter = Filter::parse(&vec![byte; len]);
                filter.may_contain(b"key");
                filter.text("");
            }
        }
    }
}
