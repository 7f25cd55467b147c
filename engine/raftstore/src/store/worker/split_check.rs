//! Finds split keys of a region. Mirrors `raftstore::store::worker::split_check` with
//! `coprocessor::split_check::{size, keys}`.
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use engine_rocks::{CF_DEFAULT, CF_WRITE, IterOptions, RocksEngine, RocksEngineIterator};
use kvproto::metapb::Region;

use super::{Scheduler, Worker};
use crate::{
    RaftRouter, Result,
    store::{callback::Callback, config::Config, msg::CasualMessage},
};

/// Limits of a region's size and keys, and the targets for each region after a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    max_size: u64,
    split_size: u64,
    max_keys: u64,
    split_keys: u64,
    /// Maximum number of keys of one split.
    batch: usize,
}

impl Limits {
    /// Takes the limits from the configuration.
    pub fn new(config: &Config) -> Self {
        Self {
            max_size: config.region_max_size.0,
            split_size: config.region_split_size.0,
            max_keys: config.region_max_keys(),
            split_keys: config.region_split_keys(),
            batch: config.batch_split_limit,
        }
    }

    /// Whether a region of this size and number of keys may need a split.
    pub fn exceeded(&self, size: u64, keys: u64) -> bool {
        size >= self.max_size || keys >= self.max_keys
    }
}

/// Region to scan.
pub struct SplitCheckTask {
    /// The region.
    pub region: Region,
    /// Limits of the region, and targets of a split.
    pub limits: Limits,
    /// Ends the mark when dropped.
    pub running: Running,
}

/// Guard that marks a region as being scanned.
pub struct Running(Arc<AtomicBool>);

impl Running {
    /// Starts a scan; returns `None` if one is running.
    pub fn begin(flag: &Arc<AtomicBool>) -> Option<Self> {
        (!flag.swap(true, Ordering::AcqRel)).then(|| Self(flag.clone()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Schedules scans for split keys.
pub type SplitCheckScheduler = Scheduler<SplitCheckTask>;

/// Starts the thread `split-check-0`.
pub fn spawn(kv: RocksEngine, router: RaftRouter, store_id: u64) -> io::Result<Worker<SplitCheckTask>> {
    Worker::spawn("split-check", store_id, 1, || {
        let (kv, router) = (kv.clone(), router.clone());
        move |task| check(&kv, &router, task)
    })
}

fn check(kv: &RocksEngine, router: &RaftRouter, task: SplitCheckTask) {
    let SplitCheckTask { region, limits, running: _running } = task;
    match find_keys(kv, &region, limits) {
        Ok(split_keys) if split_keys.is_empty() => {}
        Ok(split_keys) => {
            let (region_epoch, callback) = (region.epoch(), Callback::None);
            let message = CasualMessage::SplitRegion { region_epoch, peer: None, split_keys, callback };
            // A peer that is gone needs no split.
            let _ = router.send_casual_msg(region.id, message);
        }
        Err(err) => log::warn!("region {}: cannot find split keys: {err}", region.id),
    }
}

/// Cuts the timestamp off an encoded key, so that all versions of a user key stay in one region.
fn user_key(key: &[u8]) -> &[u8] {
    let len = keys::codec::encoded_prefix_len(key).unwrap_or(key.len());
    &key[..len.min(key.len())]
}

/// Finds encoded keys, in order, that split the region into parts near the target size or key count.
fn find_keys(kv: &RocksEngine, region: &Region, limits: Limits) -> Result<Vec<Vec<u8>>> {
    let mut size = Checker::new(limits.max_size, limits.split_size, limits.batch);
    let mut count = Checker::new(limits.max_keys, limits.split_keys, limits.batch);
    let (start, end) = (keys::enc_start_key(region), keys::enc_end_key(region));
    let cursor = |cf| -> Result<RocksEngineIterator> {
        let mut iter = kv.iterator_cf(cf, IterOptions::range(&start, &end))?;
        iter.seek(&start)?;
        Ok(iter)
    };
    let (mut default, mut write) = (cursor(CF_DEFAULT)?, cursor(CF_WRITE)?);
    loop {
        let from_write = match (default.valid()?, write.valid()?) {
            (false, false) => break,
            (true, true) => write.key() < default.key(),
            (_, write) => write,
        };
        let at = if from_write { &mut write } else { &mut default };
        let key = keys::origin_key(at.key()).unwrap_or_default();
        let by_size = size.add(key, (at.key().len() + at.value().len()) as u64);
        // Only committed versions count as keys, as in TiKV.
        let by_count = from_write && count.add(key, 1);
        if by_size && (by_count || count.full()) {
            break;
        }
        at.next()?;
    }
    let by_size = size.finish(region);
    Ok(if by_size.is_empty() { count.finish(region) } else { by_size })
}

/// Accumulates sizes or keys until a part is full.
/// TiKV: `split_check::size::Checker`, `split_check::keys::Checker`.
struct Checker {
    max: u64,
    part: u64,
    batch: usize,
    current: u64,
    keys: Vec<Vec<u8>>,
}

impl Checker {
    fn new(max: u64, part: u64, batch: usize) -> Self {
        Self { max, part, batch, current: 0, keys: Vec::new() }
    }

    /// Whether further entries cannot change the split keys.
    fn full(&self) -> bool {
        self.keys.len() >= self.batch && self.current.saturating_add(self.part) >= self.max
    }

    /// Adds an entry; returns whether the checker is full.
    fn add(&mut self, key: &[u8], amount: u64) -> bool {
        self.current = self.current.saturating_add(amount);
        if self.current > self.part && self.keys.len() < self.batch {
            self.keys.push(user_key(key).to_vec());
            // The entry at which a part ends is the first of the next part.
            self.current = amount;
        }
        self.full()
    }

    /// Merges the last part into the previous one if both together are within the limit.
    fn finish(mut self, region: &Region) -> Vec<Vec<u8>> {
        if self.current.saturating_add(self.part) < self.max {
            self.keys.pop();
        }
        self.keys.dedup();
        self.keys.retain(|key| region.contains(key) && *key != region.start_key);
        self.keys
    }
}

#[cfg(test)]
mod tests {
    use engine_rocks::DbConfig;
    use txn_types::Key;

    use super::*;

    fn limits(size: (u64, u64), keys: (u64, u64), batch: usize) -> Limits {
        Limits { max_size: size.0, split_size: size.1, max_keys: keys.0, split_keys: keys.1, batch }
    }

    fn region() -> Region {
        Region { id: 1, ..Default::default() }
    }

    fn raw(n: u8) -> Vec<u8> {
        vec![b'k', n]
    }

    #[test]
    fn a_region_is_split_into_parts_of_a_size() {
        let dir = tempfile::tempdir().unwrap();
        let kv = RocksEngine::open(dir.path(), &DbConfig::small()).unwrap();
        // A hundred bytes each, with the data prefix.
        (0..100).for_each(|n| kv.put_cf(CF_DEFAULT, &keys::data_key(&raw(n)), &[0; 97]).unwrap());
        let keys = |max, split, batch| {
            find_keys(&kv, &region(), limits((max, split), (u64::MAX, u64::MAX), batch)).unwrap()
        };
        assert_eq!(keys(3000, 2000, 10), [raw(20), raw(40), raw(60), raw(80)]);
        assert_eq!(keys(6000, 3000, 10), [raw(30), raw(60)], "the last two parts stay together");
        assert_eq!(keys(3000, 2000, 2), [raw(20), raw(40)], "no more keys than one split takes");
        assert!(keys(20_000, 10_000, 10).is_empty());
        let half = Region { start_key: raw(50), ..region() };
        let limits = limits((3000, 2000), (u64::MAX, u64::MAX), 10);
        assert_eq!(find_keys(&kv, &half, limits).unwrap(), [raw(70), raw(90)]);
    }

    #[test]
    fn a_split_by_versions_never_divides_a_user_key() {
        let dir = tempfile::tempdir().unwrap();
        let kv = RocksEngine::open(dir.path(), &DbConfig::small()).unwrap();
        for n in 0..10 {
            for ts in 1..4_u64 {
                let key = Key::from_raw(&raw(n)).append_ts(ts.into());
                kv.put_cf(CF_WRITE, &keys::data_key(key.as_encoded()), b"w").unwrap();
                kv.put_cf(CF_DEFAULT, &keys::data_key(key.as_encoded()), b"v").unwrap();
            }
        }
        let of = |max, split| limits((u64::MAX, u64::MAX), (max, split), 10);
        let at = |n| Key::from_raw(&raw(n)).as_encoded().clone();
        assert_eq!(find_keys(&kv, &region(), of(10, 7)).unwrap(), [at(2), at(4), at(7)]);
        assert_eq!(
            find_keys(&kv, &region(), of(2, 1)).unwrap().len(),
            4,
            "ten keys of one split, less those that repeat"
        );
        assert!(find_keys(&kv, &region(), of(100, 50)).unwrap().is_empty());
    }

    #[test]
    fn a_region_has_one_scan_at_a_time() {
        let flag = Arc::new(AtomicBool::new(false));
        let first = Running::begin(&flag).unwrap();
        assert!(Running::begin(&flag).is_none());
        drop(first);
        assert!(Running::begin(&flag).is_some());
    }
}
