//! Threads that stamp: every thread has a name and, if it belongs to a store, that store's id.
use std::collections::HashMap;

use parking_lot::RwLock;

use crate::local;

/// A thread that stamps. Threads with equal name and store share an id, so that short-lived threads do not
/// fill the table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ThreadInfo {
    pub name: String,
    pub store: u64,
}

#[derive(Default)]
struct Table {
    infos: Vec<ThreadInfo>,
    ids: HashMap<ThreadInfo, u16>,
}

static THREADS: RwLock<Option<Table>> = RwLock::new(None);

/// Names this thread and binds it to a store (0: none). Call it first in a thread of the engine.
pub fn register_thread(name: &str, store: u64) {
    let id = intern(ThreadInfo { name: name.to_owned(), store });
    local::set_identity(id, store.min(u64::from(u16::MAX)) as u16);
    local::prepare();
}

/// Assigns an id; after 65,534 names all later ones share the last id.
fn intern(info: ThreadInfo) -> u16 {
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

/// Returns this thread's id and store; registers an unregistered thread under its operating system name.
pub(crate) fn identity() -> (u16, u16) {
    local::identity().unwrap_or_else(|| {
        register_thread(std::thread::current().name().unwrap_or("unnamed"), 0);
        local::identity().unwrap_or_default()
    })
}

/// Returns this thread's id.
pub fn id() -> u16 {
    identity().0
}

/// Returns the store this thread belongs to, or 0.
pub fn store() -> u16 {
    local::identity().map_or(0, |(_, store)| store)
}

/// Returns name and store of a thread id.
pub fn info(id: u16) -> ThreadInfo {
    let found = THREADS.read().as_ref().and_then(|t| t.infos.get(usize::from(id)).cloned());
    found.unwrap_or_else(|| ThreadInfo { name: format!("thread-{id}"), store: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_with_one_name_share_an_id() {
        let named = || {
            register_thread("raftstore-9-0", 9);
            (id(), store())
        };
        let a = std::thread::spawn(named).join().unwrap();
        let b = std::thread::spawn(named).join().unwrap();
        assert_eq!((a, a.1), (b, 9));
        assert_eq!(info(a.0), ThreadInfo { name: "raftstore-9-0".into(), store: 9 });
        let other = std::thread::spawn(|| (id(), store())).join().unwrap();
        assert_eq!((info(other.0).name.as_str(), other.1), ("unnamed", 0));
    }
}
