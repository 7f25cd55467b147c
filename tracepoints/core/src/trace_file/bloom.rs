//! A Bloom filter over the keys and regions of one chunk of the request table.

/// Bits per item; with four probes about 2.4 % of the absent items look present.
const BITS: usize = 8;
const PROBES: u64 = 4;

pub(super) struct Filter(Vec<u8>);

impl Filter {
    pub(super) fn for_items(items: usize) -> Self {
        Self(vec![0; (items * BITS).div_ceil(8).max(8)])
    }

    pub(super) fn insert(&mut self, hash: u64) {
        for (byte, bit) in probes(hash, self.0.len()) {
            self.0[byte] |= bit;
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Whether the filter may contain the item; true without a filter.
pub(super) fn may_hold(filter: &[u8], hash: u64) -> bool {
    filter.is_empty() || probes(hash, filter.len()).all(|(byte, bit)| filter[byte] & bit != 0)
}

fn probes(hash: u64, bytes: usize) -> impl Iterator<Item = (usize, u8)> {
    let (mut at, step) = (hash, hash.rotate_left(32) | 1);
    (0..PROBES).map(move |_| {
        at = at.wrapping_add(step);
        let bit = at % (bytes as u64 * 8);
        ((bit / 8) as usize, 1 << (bit % 8))
    })
}

/// FNV-1a with an extra mixing step: equal on every machine and in every version.
fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    let fnv = bytes.fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (fnv ^ fnv >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 29
}

pub(super) fn of_key(head: &[u8], len: u32) -> u64 {
    hash(b"k".iter().chain(head).copied().chain(len.to_le_bytes()))
}

pub(super) fn of_region(region: u64) -> u64 {
    hash(b"r".iter().copied().chain(region.to_le_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inserted_items_are_found_and_few_others() {
        let mut filter = Filter::for_items(2000);
        (0..1000u64).for_each(|i| filter.insert(of_region(i)));
        (0..1000u32).for_each(|i| filter.insert(of_key(&i.to_be_bytes(), 4)));
        let bytes = filter.into_bytes();
        assert!((0..1000u64).all(|i| may_hold(&bytes, of_region(i))));
        let wrong = (1000..11_000u64).filter(|i| may_hold(&bytes, of_region(*i))).count();
        assert!(wrong < 500, "{wrong} of 10000");
        assert!(may_hold(&[], 7));
    }
}
