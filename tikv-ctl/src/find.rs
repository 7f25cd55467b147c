//! `find`: finds every place that stores a version of a key, and what a read of the key would return.
mod hit;
mod lsm_places;
mod raft_places;
mod read_at;

use store_files::io::Damage;
use txn_types::{Lock, LockOrSharedLocks, TimeStamp, WriteRef, parse_lock};

pub use hit::{Hit, HitPlace, Kind, Target};
pub use read_at::{ReadResult, RecordParts, VersionVerdict, read_at};

use crate::{Offline, Result};

/// A record and all the places that contain it.
#[derive(Clone, Debug)]
pub struct Event {
    /// The record in the first of its places.
    pub hit: Hit,
    /// All places of the record.
    pub places: Vec<HitPlace>,
}

/// All records of a key.
#[derive(Debug, Default)]
pub struct FindResult {
    /// Records, ordered by time.
    pub events: Vec<Event>,
    /// Unreadable places, with the reason.
    pub damages: Vec<Damage>,
}

/// Searches all files of `store` for `target`.
pub fn find(store: &Offline, target: &Target) -> Result<FindResult> {
    let mut found = FindResult::default();
    let mut hits = Vec::new();
    raft_places::add(store, target, &mut hits, &mut found.damages);
    lsm_places::add_wal(store, target, &mut hits, &mut found.damages)?;
    lsm_places::add_ssts(store, target, &mut hits, &mut found.damages)?;
    guess_times(&mut hits);
    found.events = group(hits);
    Ok(found)
}

/// Gives records without a timestamp the time of an earlier record: by Raft index, or by sequence number.
fn guess_times(hits: &mut [Hit]) {
    let before = |all: &[Hit], hit: &Hit| {
        let earlier = all.iter().filter(|other| match (&hit.place, &other.place) {
            (
                HitPlace::RaftLog { region, index, .. },
                HitPlace::RaftLog { region: other_region, index: other_index, .. },
            ) => region == other_region && other_index <= index,
            (a, b) => match (a.sequence(), b.sequence()) {
                // Sequence number 0 only says that the record is old.
                (Some(a), Some(b)) => b <= a && a > 0,
                _ => false,
            },
        });
        earlier.filter_map(|other| other.time).max()
    };
    let guesses: Vec<Option<u64>> =
        hits.iter().map(|hit| if hit.time.is_some() { hit.time } else { before(hits, hit) }).collect();
    hits.iter_mut().zip(guesses).for_each(|(hit, guess)| hit.time = guess);
}

/// Groups hits of the same record, ordered by time. At equal times, values come before the records that point
/// to them.
fn group(hits: Vec<Hit>) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    for hit in hits {
        let same = |event: &&mut Event| {
            let of = |hit: &Hit| (hit.cf.clone(), hit.kind, hit.key_ts, hit.time);
            let values = (&event.hit.value, &hit.value);
            of(&event.hit) == of(&hit) && (values.0 == values.1 || is_by_reference(&event.hit, &hit))
        };
        match events.iter_mut().find(same) {
            Some(event) => {
                if event.hit.value.is_empty() {
                    event.hit.value.clone_from(&hit.value);
                }
                if !event.places.contains(&hit.place) {
                    event.places.push(hit.place);
                }
            }
            None => events.push(Event { places: vec![hit.place.clone()], hit }),
        }
    }
    let rank = |event: &Event| match (event.hit.cf.as_str(), event.hit.kind) {
        ("default", _) => 0,
        ("lock", Kind::Put) => 1,
        ("write", _) => 2,
        _ => 3,
    };
    events.sort_by_key(|event| (event.hit.time.unwrap_or(0), rank(event)));
    events
}

/// Whether one of the two hits is only the index of the other's value in a blob file.
fn is_by_reference(a: &Hit, b: &Hit) -> bool {
    let blob = |hit: &Hit| matches!(hit.place, HitPlace::Blob { .. });
    a.cf == "default"
        && a.kind == Kind::Put
        && (blob(a) || blob(b))
        && (a.value.is_empty() || b.value.is_empty())
}

/// Returns the meaning of a record in words.
pub fn meaning(hit: &Hit) -> String {
    let what = match hit.kind {
        Kind::Delete => "removed",
        Kind::DeleteRange => "removed by a range deletion",
        Kind::Ingest => "ingested as an SST",
        Kind::Put => match hit.cf.as_str() {
            "lock" => return lock_meaning(&hit.value),
            "write" => return write_meaning(&hit.value),
            _ if hit.key_ts.is_some() => "the value that this transaction wrote",
            _ => "a raw value",
        },
    };
    what.to_owned()
}

fn lock_meaning(value: &[u8]) -> String {
    match parse_lock(value) {
        Ok(LockOrSharedLocks::Lock(lock)) => one_lock(&lock),
        Ok(LockOrSharedLocks::Shared(shared)) => {
            let joins = if shared.is_shrink_only() { ", no other may join" } else { "" };
            let holders = shared.iter().map(|lock| format!("; of {}: {}", lock.ts, one_lock(lock)));
            format!("shared by {}{joins}{}", shared.len(), holders.collect::<String>())
        }
        Err(e) => format!("cannot decode the lock: {e}"),
    }
}

fn one_lock(lock: &Lock) -> String {
    let kind = format!("{:?}", lock.lock_type);
    let mut text = format!("{kind} lock, primary {}, ttl {} ms", keys::escape(&lock.primary), lock.ttl);
    if lock.use_async_commit {
        text.push_str(&format!(", async commit with {} secondaries", lock.secondaries.len()));
    }
    if lock.for_update_ts != TimeStamp::zero() {
        text.push_str(&format!(", pessimistic, for_update_ts {}", lock.for_update_ts));
    }
    text
}

fn write_meaning(value: &[u8]) -> String {
    let write = match WriteRef::parse(value) {
        Ok(write) => write,
        Err(e) => return format!("cannot decode the write record: {e}"),
    };
    let mut text = format!("{:?} of the transaction that started at {}", write.write_type, write.start_ts);
    if write.short_value.is_some() {
        text.push_str(", value here");
    }
    if write.has_overlapped_rollback {
        text.push_str(", and a rollback at this timestamp");
    }
    if let Some(fence) = write.gc_fence {
        text.push_str(&format!(", GC fence {fence}"));
    }
    text
}
