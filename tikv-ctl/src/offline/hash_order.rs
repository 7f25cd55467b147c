//! Iteration order of a C++ hash map of strings (libstdc++'s `unordered_map`). TiKV's tool lists SSTs in this
//! order.

/// Bucket counts of a map that grows key by key.
const BUCKETS: [usize; 14] =
    [13, 29, 59, 127, 257, 541, 1109, 2357, 5087, 10273, 20753, 42043, 85229, 172_933];
const SEED: u64 = 0xc70f_6907;
const MUL: u64 = 0xc6a4_a793_5bd1_e995;

/// Returns `items` in the iteration order of a map that had them inserted in their order by `key`. Keys must
/// be unique.
pub fn hash_order<T>(items: Vec<T>, key: impl Fn(&T) -> Vec<u8>) -> Vec<T> {
    let hashes: Vec<u64> = items.iter().map(|item| hash(&key(item))).collect();
    let mut counts = BUCKETS.iter().copied();
    let mut map = Map::new(&hashes, counts.next().unwrap_or(1));
    for node in 1..=items.len() {
        if node > map.buckets.len() {
            let old = map.order();
            map = Map::new(&hashes, counts.next().unwrap_or(map.buckets.len() * 2 + 1));
            old.into_iter().for_each(|node| map.insert(node));
        }
        map.insert(node);
    }
    let order = map.order();
    let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
    order.into_iter().filter_map(|node| items[node - 1].take()).collect()
}

/// The map's single list. Nodes are numbered from 1; node 0 is the list's head.
struct Map<'a> {
    hashes: &'a [u64],
    next: Vec<usize>,
    /// For each bucket, the node before its first one.
    buckets: Vec<Option<usize>>,
}

impl<'a> Map<'a> {
    fn new(hashes: &'a [u64], buckets: usize) -> Map<'a> {
        Map { hashes, next: vec![0; hashes.len() + 1], buckets: vec![None; buckets] }
    }

    fn bucket(&self, node: usize) -> usize {
        (self.hashes[node - 1] % self.buckets.len() as u64) as usize
    }

    /// Inserts a key before the others of its bucket; the first key of a bucket goes to the start of the
    /// list.
    fn insert(&mut self, node: usize) {
        let bucket = self.bucket(node);
        let before = self.buckets[bucket].unwrap_or(0);
        let after = std::mem::replace(&mut self.next[before], node);
        self.next[node] = after;
        if self.buckets[bucket].is_none() {
            self.buckets[bucket] = Some(0);
            if after != 0 {
                let moved = self.bucket(after);
                self.buckets[moved] = Some(node);
            }
        }
    }

    fn order(&self) -> Vec<usize> {
        let next = |node: &usize| Some(self.next[*node]).filter(|node| *node != 0);
        std::iter::successors(next(&0), next).collect()
    }
}

fn mix(v: u64) -> u64 {
    v ^ (v >> 47)
}

/// The hash of a string (MurmurHash64A).
fn hash(bytes: &[u8]) -> u64 {
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(MUL);
    let words = bytes.chunks_exact(8);
    let rest = words.remainder();
    for word in words {
        let word = word.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        hash = (hash ^ mix(word.wrapping_mul(MUL)).wrapping_mul(MUL)).wrapping_mul(MUL);
    }
    if !rest.is_empty() {
        let word = rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        hash = (hash ^ word).wrapping_mul(MUL);
    }
    mix(mix(hash).wrapping_mul(MUL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_libstdcxx() {
        for (text, expected) in [
            ("", 0x553e_9390_1e46_2a6e),
            ("a", 0x454d_dee4_88c1_ed6b),
            ("12345678", 0x8c5b_90a3_3a04_dca5),
            ("/data/tikv/db/000013.sst", 0x3bb2_3541_cf57_af36),
        ] {
            assert_eq!(hash(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn the_order_is_that_of_libstdcxx() {
        let order = |count: u32| {
            hash_order((1..=count).collect(), |n| format!("/data/tikv/db/{n:06}.sst").into_bytes())
        };
        assert_eq!(order(3), [3, 2, 1]);
        assert_eq!(order(5), [4, 5, 3, 2, 1]);
        assert_eq!(order(14), [2, 5, 1, 4, 6, 14, 9, 11, 10, 7, 12, 8, 3, 13]);
        let many = [
            31, 13, 8, 12, 10, 11, 30, 7, 9, 6, 1, 20, 22, 5, 2, 15, 16, 3, 17, 25, 18, 19, 27, 21, 28, 14,
            23, 24, 4, 26, 29,
        ];
        assert_eq!(order(31), many);
    }
}
