//! Puts entries into data blocks of another size, by the rules of RocksDB's `BlockBuilder` and `FlushBlockPolicy`.
use keys::codec::encode_var_u64;

/// Number of entries from one full key to the next.
const RESTART_INTERVAL: usize = 16;
/// A block that is at least this full ends before an entry that would exceed its size.
const FULL_PERCENT: usize = 90;

/// Collects entries in their order.
pub(super) struct Blocks {
    /// Intended size of a block in bytes.
    size: usize,
    block: Vec<u8>,
    restarts: Vec<u32>,
    /// Number of entries since the last full key.
    since: usize,
    last_key: Vec<u8>,
}

impl Blocks {
    pub fn new(size: usize) -> Blocks {
        Blocks { size, block: Vec::new(), restarts: Vec::new(), since: 0, last_key: Vec::new() }
    }

    /// Adds an entry; returns the block before it if that is complete.
    pub fn add(&mut self, key: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        let complete = if self.ends_before(key.len() + value.len()) { self.take() } else { None };
        let shared = if self.restarts.is_empty() || self.since == RESTART_INTERVAL {
            self.restarts.push(self.block.len() as u32);
            self.since = 0;
            0
        } else {
            key.iter().zip(&self.last_key).take_while(|(a, b)| a == b).count()
        };
        for len in [shared, key.len() - shared, value.len()] {
            encode_var_u64(&mut self.block, len as u64);
        }
        self.block.extend_from_slice(&key[shared..]);
        self.block.extend_from_slice(value);
        self.since += 1;
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        complete
    }

    /// Takes the block with the entries so far.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        if self.restarts.is_empty() {
            return None;
        }
        let mut block = std::mem::take(&mut self.block);
        let restarts = std::mem::take(&mut self.restarts);
        restarts.iter().chain([&(restarts.len() as u32)]).for_each(|n| block.extend(n.to_le_bytes()));
        Some(block)
    }

    /// Whether the block is complete before another entry of `len` bytes.
    fn ends_before(&self, len: usize) -> bool {
        let now = self.block.len() + 4 * (self.restarts.len() + 1);
        let exceeds = now + len > self.size && now * 100 > self.size * FULL_PERCENT;
        !self.restarts.is_empty() && (now >= self.size || exceeds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsm::compress_with;

    /// Splits entries into blocks of about `size` bytes.
    fn split(size: usize) -> Vec<Vec<u8>> {
        let (mut blocks, mut all) = (Blocks::new(size), Vec::new());
        for n in 0..100u32 {
            all.extend(blocks.add(format!("key{n:05}").as_bytes(), b"value"));
        }
        all.extend(blocks.take());
        assert_eq!(blocks.take(), None);
        all
    }

    #[test]
    fn blocks_have_the_given_size() {
        let (small, one) = (split(1), split(1 << 20));
        assert_eq!((small.len(), one.len()), (100, 1));
        // Lengths, the key, the value, one restart point and their number.
        assert_eq!(small[0].len(), 3 + 8 + 5 + 8);
        let middle = split(256);
        assert!(middle.len() > 2 && middle.iter().all(|block| block.len() <= 256), "{}", middle.len());
        // Full keys are at every 16th entry.
        assert_eq!(one[0][one[0].len() - 4..], 7u32.to_le_bytes());
        assert!(compress_with("zstd-3", &one[0]).is_some());
    }
}
