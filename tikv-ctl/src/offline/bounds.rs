//! The range of a region.
use kvproto::metapb::Region;

/// Returns a region's range in RocksDB.
pub fn bounds(region: Option<&Region>) -> (Vec<u8>, Vec<u8>) {
    let (start, end) = region.map_or((&[][..], &[][..]), |r| (&r.start_key, &r.end_key));
    (keys::data_key(start), keys::data_end_key(end))
}
