//! Tracks: a process for each store, a track for each thread, and child rows where the thread's spans
//! overlap.
use std::collections::HashMap;

use super::proto::{CounterDescriptor, ProcessDescriptor, ThreadDescriptor, TrackDescriptor};
use crate::lanes::Lanes;

/// Process id for spans without a store: 0 is the system's.
const NO_STORE: i32 = i32::MAX;

#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Process(u64),
    Requests(u64, usize),
    Thread(u64, String, usize),
    Counter(u64, String),
}

#[derive(Default)]
pub(super) struct Tracks {
    /// Track ids, from 1.
    known: HashMap<Key, u64>,
    threads: HashMap<(u64, String), Lanes>,
    requests: HashMap<u64, Lanes>,
}

/// A track's id, and the descriptors to write before it is used.
type NewTrack = (u64, Vec<TrackDescriptor>);

impl Tracks {
    pub fn thread(&mut self, store: u64, name: &str, (start, end): (u64, u64), owner: u64) -> NewTrack {
        let row = self.threads.entry((store, name.to_owned())).or_default().place(start, end, owner);
        let key = |row| Key::Thread(store, name.to_owned(), row);
        // Rows are children of the thread, so the thread comes first.
        let (process, mut new) = self.process(store);
        let (thread, is_new) = self.number(key(0));
        if is_new {
            new.push(thread_track(thread, process, store, name));
        }
        if row == 0 {
            return (thread, new);
        }
        let (uuid, is_new) = self.number(key(row));
        new.extend(is_new.then(|| below(uuid, thread, name)));
        (uuid, new)
    }

    pub fn requests(&mut self, store: u64, start: u64, end: u64, owner: u64) -> NewTrack {
        let row = self.requests.entry(store).or_default().place(start, end, owner);
        let (process, mut new) = self.process(store);
        let (uuid, is_new) = self.number(Key::Requests(store, row));
        new.extend(is_new.then(|| below(uuid, process, "requests")));
        (uuid, new)
    }

    pub fn counter(&mut self, store: u64, name: &str) -> NewTrack {
        let (process, mut new) = self.process(store);
        let (uuid, is_new) = self.number(Key::Counter(store, name.to_owned()));
        if is_new {
            let counter = Some(CounterDescriptor { unit_name: Some("index".into()) });
            new.push(TrackDescriptor { counter, ..below(uuid, process, name) });
        }
        (uuid, new)
    }

    fn process(&mut self, store: u64) -> NewTrack {
        let (uuid, is_new) = self.number(Key::Process(store));
        let name = if store == 0 { "client".into() } else { format!("store {store}") };
        let process = Some(ProcessDescriptor { pid: Some(pid(store)), process_name: Some(name) });
        let track = TrackDescriptor { uuid: Some(uuid), process, ..TrackDescriptor::default() };
        (uuid, if is_new { vec![track] } else { Vec::new() })
    }

    fn number(&mut self, key: Key) -> (u64, bool) {
        let next = self.known.len() as u64 + 1;
        let uuid = *self.known.entry(key).or_insert(next);
        (uuid, uuid == next)
    }
}

fn pid(store: u64) -> i32 {
    if store == 0 { NO_STORE } else { i32::try_from(store).unwrap_or(NO_STORE - 1) }
}

fn thread_track(uuid: u64, process: u64, store: u64, name: &str) -> TrackDescriptor {
    let thread = ThreadDescriptor {
        pid: Some(pid(store)),
        tid: Some(uuid as i64),
        thread_name: Some(name.to_owned()),
    };
    TrackDescriptor {
        uuid: Some(uuid),
        parent_uuid: Some(process),
        thread: Some(thread),
        ..TrackDescriptor::default()
    }
}

/// Describes a child track. Viewers merge tracks with one name and parent.
fn below(uuid: u64, parent: u64, name: &str) -> TrackDescriptor {
    TrackDescriptor {
        uuid: Some(uuid),
        parent_uuid: Some(parent),
        name: Some(name.to_owned()),
        ..TrackDescriptor::default()
    }
}
