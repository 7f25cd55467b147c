//! Evaluates a Ribbon filter (RocksDB `util/ribbon_impl.h`, `util/ribbon_alg.h`: 128-bit rows, interleaved).
const REHASH: u64 = 0x6193_d459_236a_3a0d;
const SEED: u64 = 0xc782_19a2_3eea_dd03;
const SEED_MASK: u64 = 0xf0f0_f0f0_f0f0_f0f0;
const COEFFICIENTS: u64 = 0xc28f_8282_2b65_0bed;
const COEFFICIENTS_XOR: u64 = 0xc367_844a_6e52_731d;
/// Bits of a row.
const ROW: u32 = 128;
/// Bytes of a segment.
const SEGMENT: usize = 16;
/// Maximum number of columns: a result has 32 bits.
const MAX_COLUMNS: u32 = 32;

/// Whether the key with the hash `key_hash` may be in the filter `bits` of `blocks` blocks.
pub fn may_contain(key_hash: u64, seed: u8, blocks: u32, bits: &[u8]) -> bool {
    let segments = (bits.len() / SEGMENT) as u32;
    if blocks < 2 {
        return true;
    }
    // Blocks before the upper ones have one column less.
    let columns = segments.div_ceil(blocks);
    let (columns, upper) = match columns {
        0..=MAX_COLUMNS => (columns, columns * blocks - segments),
        _ => (MAX_COLUMNS, 0),
    };
    let hash = (key_hash ^ u64::from(raw_seed(seed))).wrapping_mul(REHASH);
    let starts = u64::from(blocks - 1) * u64::from(ROW) + 1;
    let start = ((u128::from(hash) * u128::from(starts)) >> 64) as u32;
    let (block, bit) = (start / ROW, start % ROW);
    let first = (block * columns - block.min(upper)) as usize;
    let columns = if block < upper { columns - 1 } else { columns };
    let mixed = hash.wrapping_mul(COEFFICIENTS);
    let row = u128::from(mixed) << 64 | u128::from(mixed ^ COEFFICIENTS_XOR) | 1;
    let expected = mixed.swap_bytes() as u32;
    (0..columns).all(|column| {
        let at = first + column as usize;
        let left = segment(bits, at) & (row << bit);
        let right = match bit {
            0 => 0,
            _ => segment(bits, at + columns as usize) & (row >> (ROW - bit)),
        };
        (left ^ right).count_ones() & 1 == expected >> column & 1
    })
}

fn raw_seed(ordinal: u8) -> u32 {
    let seed = u64::from(ordinal).wrapping_mul(SEED);
    (seed ^ ((seed & SEED_MASK) >> 4)) as u32
}

/// Reads segment number `at`; 0 if there is none, which the calculation of the columns excludes.
fn segment(bits: &[u8], at: usize) -> u128 {
    bits.get(at * SEGMENT..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u128::from_le_bytes(*bytes))
}
