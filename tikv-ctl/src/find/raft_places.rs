//! Finds places in the Raft log: entries whose commands wrote the key.
use kvproto::{
    eraftpb::{Entry, EntryType},
    raft_cmdpb::{CmdType, RaftCmdRequest, Request},
};
use prost::Message;
use store_files::io::Damage;

use super::hit::{Hit, HitPlace, Kind, Target};
use crate::{DebugError, Offline, simple_write};

/// Adds the entries of all regions: before a split, another region's log had the key.
pub(super) fn add(store: &Offline, target: &Target, hits: &mut Vec<Hit>, damages: &mut Vec<Damage>) {
    let needle = needle(target);
    let walked = store.raft().each_entry(&mut |region, bytes| {
        // Most entries do not contain the key and need no decoding.
        if contains(bytes, needle) || may_be_range(bytes) {
            match Entry::decode(bytes) {
                Ok(entry) => add_entry(region, &entry, target, hits),
                Err(e) => {
                    let what = format!("cannot decode an entry of region {region}: {e}");
                    damages.push(Damage::whole(store.raft().dir(), what));
                }
            }
        }
    });
    match walked {
        Ok(more) => damages.extend(more),
        Err(DebugError::File(e)) => damages.push(e.into()),
        Err(e) => damages.push(Damage::whole(store.raft().dir(), e.to_string())),
    }
}

/// Returns bytes that every record of the key contains: the first group of the memcomparable form, or the
/// whole raw key if that is shorter.
fn needle(target: &Target) -> &[u8] {
    &target.user_key[..target.user_key.len().min(8)]
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    let Some((first, rest)) = needle.split_first() else { return true };
    let mut at = 0;
    while let Some(next) = haystack[at..].iter().position(|byte| byte == first) {
        at += next + 1;
        if haystack[at..].starts_with(rest) {
            return true;
        }
    }
    false
}

/// Commands on ranges do not contain the key, and are short.
fn may_be_range(bytes: &[u8]) -> bool {
    bytes.len() < 512
}

fn add_entry(region: u64, entry: &Entry, target: &Target, hits: &mut Vec<Hit>) {
    if entry.entry_type() != EntryType::EntryNormal || entry.data.is_empty() {
        return;
    }
    let simple = simple_write::is_simple(&entry.data).then(|| simple_write::decode(&entry.data)).flatten();
    let Some(command) = simple.or_else(|| RaftCmdRequest::decode(entry.data.as_slice()).ok()) else { return };
    let place = HitPlace::RaftLog { region, term: entry.term, index: entry.index };
    let first = hits.len();
    for request in &command.requests {
        hits.extend(hit_of_request(request, target, &place));
    }
    // A removal gets the time of the writes in the same command.
    let time = hits[first..].iter().filter_map(|hit| hit.time).max();
    hits[first..].iter_mut().for_each(|hit| hit.time = hit.time.or(time));
}

fn hit_of_request(request: &Request, target: &Target, place: &HitPlace) -> Option<Hit> {
    let cf_name = |cf: &str| if cf.is_empty() { "default" } else { cf }.to_owned();
    match request.cmd_type() {
        CmdType::Put => {
            let put = request.put.as_ref()?;
            let cf = cf_name(&put.cf);
            let ts = target.matches(&cf, &put.key)?;
            Some(Hit::new(place.clone(), &cf, Kind::Put, ts, &put.value))
        }
        CmdType::Delete => {
            let delete = request.delete.as_ref()?;
            let cf = cf_name(&delete.cf);
            let ts = target.matches(&cf, &delete.key)?;
            Some(Hit::new(place.clone(), &cf, Kind::Delete, ts, &[]))
        }
        CmdType::DeleteRange => {
            let range = request.delete_range.as_ref()?;
            let holds = |key: &[u8]| {
                range.start_key.as_slice() <= key
                    && (range.end_key.is_empty() || key < range.end_key.as_slice())
            };
            let held = holds(&target.encoded) || holds(&target.user_key);
            held.then(|| Hit::new(place.clone(), &cf_name(&range.cf), Kind::DeleteRange, None, &[]))
        }
        CmdType::IngestSst => {
            let sst = request.ingest_sst.as_ref()?.sst.as_ref()?;
            let range = sst.range.as_ref()?;
            let within = range.start <= target.encoded && target.encoded <= range.end;
            within.then(|| Hit::new(place.clone(), &cf_name(&sst.cf_name), Kind::Ingest, None, &[]))
        }
        _ => None,
    }
}
