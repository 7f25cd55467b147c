//! Hashes a region's data. Mirrors `raftstore::store::worker::consistency_check` and
//! `coprocessor::consistency_check`.
use engine_rocks::{CF_RAFT, DATA_CFS, IterOptions, RocksSnapshot};
use kvproto::metapb::Region;

use crate::Result;

/// Computes the CRC-32 of the region's keys and values in every column family, and of its state (TiKV:
/// `ConsistencyCheckMethod::Raw`). Peers with equal data at the same index have equal hashes.
pub fn compute_hash(snapshot: &RocksSnapshot, region: &Region) -> Result<u32> {
    let (start, end) = (keys::enc_start_key(region), keys::enc_end_key(region));
    let mut digest = crc32fast::Hasher::new();
    let mut cfs = DATA_CFS.to_vec();
    cfs.sort_unstable();
    for cf in cfs {
        let mut iter = snapshot.iterator_cf(cf, IterOptions::range(&start, &end))?;
        iter.seek(&start)?;
        while iter.valid()? {
            digest.update(iter.key());
            digest.update(iter.value());
            iter.next()?;
        }
    }
    let key = keys::region_state_key(region.id);
    digest.update(&key);
    if let Some(value) = snapshot.get_value_cf(CF_RAFT, &key)? {
        digest.update(&value);
    }
    Ok(digest.finalize())
}
