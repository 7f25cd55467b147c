//! Finds writes that the Raft log has and a tablet does not: a server replays them when it starts.
use std::collections::BTreeMap;

use keys::{CF_DEFAULT, CF_LOCK, CF_WRITE};
use kvproto::{
    eraftpb::{Entry, EntryType},
    raft_cmdpb::{RaftCmdRequest, Request},
};
use prost::Message;

use super::Offline;
use crate::{Result, raft_engine::RaftEngineDir, simple_write};

/// Prefix of the keys with the index up to which a column family of a tablet is flushed (TiKV
/// `raft_log_engine`).
const FLUSHED: u8 = 0x06;

impl Offline {
    /// Returns the regions, among those `wanted`, with the first and last index of entries whose writes their
    /// tablets lack.
    pub(crate) fn unflushed(&self, wanted: &dyn Fn(u64) -> bool) -> Result<BTreeMap<u64, (u64, u64)>> {
        let mut found: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        let Some(engine) = self.state_engine() else { return Ok(found) };
        engine.each_entry(&mut |region, bytes| {
            let entry = Entry::decode(bytes).ok().filter(|_| wanted(region));
            if let Some(entry) = entry.filter(|entry| is_unflushed(engine, region, entry)) {
                let span = found.entry(region).or_insert((entry.index, entry.index));
                *span = (span.0.min(entry.index), span.1.max(entry.index));
            }
        })?;
        Ok(found)
    }
}

fn is_unflushed(engine: &RaftEngineDir, region: u64, entry: &Entry) -> bool {
    if entry.entry_type() != EntryType::EntryNormal || entry.data.is_empty() {
        return false;
    }
    let simple = simple_write::is_simple(&entry.data).then(|| simple_write::decode(&entry.data)).flatten();
    let Some(command) = simple.or_else(|| RaftCmdRequest::decode(entry.data.as_slice()).ok()) else {
        return false;
    };
    let mut families = command.requests.iter().filter_map(family);
    families.any(|cf| entry.index > flushed(engine, region, cf))
}

/// Returns the column family that a request writes to.
fn family(request: &Request) -> Option<&str> {
    let put = request.put.as_ref().map(|put| put.cf.as_str());
    let delete = request.delete.as_ref().map(|delete| delete.cf.as_str());
    let range = request.delete_range.as_ref().map(|range| range.cf.as_str());
    let sst = request.ingest_sst.as_ref().and_then(|ingest| ingest.sst.as_ref());
    put.or(delete).or(range).or(sst.map(|sst| sst.cf_name.as_str()))
}

/// Returns the index up to which the region's newest tablet has flushed a column family.
fn flushed(engine: &RaftEngineDir, region: u64, cf: &str) -> u64 {
    let id = match cf {
        "" | CF_DEFAULT => 0,
        CF_LOCK => 1,
        CF_WRITE => 2,
        _ => return 0,
    };
    let newest = engine.group(region).and_then(|group| group.last_with(&[FLUSHED, id]));
    newest.and_then(|value| Some(u64::from_be_bytes(value.try_into().ok()?))).unwrap_or(0)
}
