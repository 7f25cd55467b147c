//! The table of threads that stamp, by their id.
use std::collections::{BTreeSet, HashMap};

use parking_lot::RwLock;

/// A thread that stamps. Threads with equal name and store share an id, so that short-lived threads do not
/// fill the table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ThreadInfo {
    /// The thread's name.
    pub name: String,
    /// The thread's store; 0: none.
    pub store: u64,
}

#[derive(Default)]
struct Table {
    infos: Vec<ThreadInfo>,
    ids: HashMap<ThreadInfo, u16>,
}

static THREADS: RwLock<Option<Table>> = RwLock::new(None);

/// Assigns an id; after 65,534 names all later ones share the last id.
pub(crate) fn intern(info: ThreadInfo) -> u16 {
    let mut threads = THREADS.write();
    let table = threads.get_or_insert_default();
    if let Some(id) = table.ids.get(&info) {
        return *id;
    }
    let id = table.infos.len().min(usize::from(u16::MAX) - 1) as u16;
    if usize::from(id) == table.infos.len() {
        table.infos.push(info.clone());
        table.ids.insert(info, id);
    }
    id
}

/// Assigns an id to a thread of a recording.
pub(crate) fn intern_as(name: String, store: u64) -> u16 {
    intern(ThreadInfo { name, store })
}

/// Returns name and store of a thread id.
pub fn info(id: u16) -> ThreadInfo {
    let found = THREADS.read().as_ref().and_then(|t| t.infos.get(usize::from(id)).cloned());
    found.unwrap_or_else(|| ThreadInfo { name: format!("thread-{id}"), store: 0 })
}

/// Returns the stores of which this process has threads.
pub fn stores() -> BTreeSet<u64> {
    let threads = THREADS.read();
    let infos = threads.iter().flat_map(|table| &table.infos);
    infos.map(|info| info.store).filter(|store| *store != 0).collect()
}

/// Sums the counts by name; leaves out zeros.
pub(crate) fn sum_by_name(mut counts: Vec<(String, u64)>) -> Vec<(String, u64)> {
    counts.retain(|(_, n)| *n > 0);
    counts.sort();
    counts.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        kept.1 += if same { next.1 } else { 0 };
        same
    });
    counts
}
