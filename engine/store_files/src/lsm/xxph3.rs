//! The hash of keys in filters: the preview of XXH3 that RocksDB froze (`util/xxph3.h`). It differs from the
//! final XXH3.
const PRIME32_1: u64 = 0x9e37_79b1;
const PRIME64_1: u64 = 0x9e37_79b1_85eb_ca87;
const PRIME64_2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const PRIME64_3: u64 = 0x1656_67b1_9e37_79f9;
/// Maximum bytes of a key. Longer keys use another algorithm, which no key of TiKV needs.
const MAX_LEN: usize = 240;

/// The part of the algorithm's constant secret for keys up to [`MAX_LEN`].
const SECRET: [u8; 136] = [
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c, 0xde,
    0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f, 0xcb, 0x79,
    0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21, 0xb8, 0x08, 0x46,
    0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c, 0x3c, 0x28, 0x52, 0xbb,
    0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3, 0x71, 0x64, 0x48, 0x97, 0xa2,
    0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8, 0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c,
    0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d, 0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59,
    0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64, 0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3,
];

/// Computes the 64-bit hash of `key`. Returns `None` for an empty key or one longer than 240 bytes.
pub fn hash64(key: &[u8]) -> Option<u64> {
    match key.len() {
        1..=3 => Some(up_to_3(key)),
        4..=8 => Some(up_to_8(key)),
        9..=16 => Some(up_to_16(key)),
        17..=128 => Some(up_to_128(key)),
        129..=MAX_LEN => Some(up_to_240(key)),
        _ => None,
    }
}

/// Reads the little-endian number at `at`; all callers stay within `data`.
fn u64_at(data: &[u8], at: usize) -> u64 {
    data.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn u32_at(data: &[u8], at: usize) -> u64 {
    data.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_le_bytes(*bytes).into())
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

fn avalanche(h: u64) -> u64 {
    let h = (h ^ (h >> 37)).wrapping_mul(PRIME64_3);
    h ^ (h >> 32)
}

fn up_to_3(key: &[u8]) -> u64 {
    let len = key.len();
    let combined = u32::from_le_bytes([key[0], key[len / 2], key[len - 1], len as u8]);
    avalanche((u64::from(combined) ^ u32_at(&SECRET, 0)).wrapping_mul(PRIME64_1))
}

fn up_to_8(key: &[u8]) -> u64 {
    let both = u32_at(key, 0) | u32_at(key, key.len() - 4) << 32;
    let keyed = both ^ u64_at(&SECRET, 0);
    let mixed = (keyed ^ (keyed >> 51)).wrapping_mul(PRIME32_1).wrapping_add(key.len() as u64);
    avalanche((mixed ^ (mixed >> 47)).wrapping_mul(PRIME64_2))
}

fn up_to_16(key: &[u8]) -> u64 {
    let low = u64_at(key, 0) ^ u64_at(&SECRET, 0);
    let high = u64_at(key, key.len() - 8) ^ u64_at(&SECRET, 8);
    avalanche((key.len() as u64).wrapping_add(low).wrapping_add(high).wrapping_add(fold(low, high)))
}

/// Mixes 16 bytes of the key at `at` with the secret at `secret`.
fn mix(key: &[u8], at: usize, secret: usize) -> u64 {
    fold(u64_at(key, at) ^ u64_at(&SECRET, secret), u64_at(key, at + 8) ^ u64_at(&SECRET, secret + 8))
}

fn up_to_128(key: &[u8]) -> u64 {
    let len = key.len();
    // Pairs of 16 bytes from both ends towards the middle.
    let pairs = len.div_ceil(32);
    let mixed =
        (0..pairs).map(|i| mix(key, 16 * i, 32 * i).wrapping_add(mix(key, len - 16 * (i + 1), 32 * i + 16)));
    avalanche(mixed.fold((len as u64).wrapping_mul(PRIME64_1), u64::wrapping_add))
}

fn up_to_240(key: &[u8]) -> u64 {
    let len = key.len();
    let sum = |from: u64, terms: &mut dyn Iterator<Item = u64>| terms.fold(from, u64::wrapping_add);
    let first = sum((len as u64).wrapping_mul(PRIME64_1), &mut (0..8).map(|i| mix(key, 16 * i, 16 * i)));
    let rest = sum(avalanche(first), &mut (8..len / 16).map(|i| mix(key, 16 * i, 16 * (i - 8) + 3)));
    avalanche(rest.wrapping_add(mix(key, len - 16, SECRET.len() - 17)))
}
