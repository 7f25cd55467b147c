//! Who stamps: every thread has a name and, if it belongs to a store, that store's id.
use std::cell::Cell;

use parking_lot::RwLock;

/// A thread that stamps.
#[derive(Clone, Debug)]
pub struct ThreadInfo {
    pub name: String,
    pub store: u64,
}

static THREADS: RwLock<Vec<ThreadInfo>> = RwLock::new(Vec::new());

thread_local! {
    static ID: Cell<u16> = const { Cell::new(u16::MAX) };
    static STORE: Cell<u16> = const { Cell::new(0) };
}

/// Names this thread and binds it to a store (0: none). Call it first thing in a thread of the engine.
pub fn register_thread(name: &str, store: u64) {
    let id = insert(ThreadInfo { name: name.to_owned(), store });
    ID.with(|c| c.set(id));
    STORE.with(|c| c.set(store.min(u64::from(u16::MAX)) as u16));
    crate::ring::prepare();
}

fn insert(info: ThreadInfo) -> u16 {
    let mut threads = THREADS.write();
    let id = threads.len().min(usize::from(u16::MAX) - 1);
    if id == threads.len() {
        threads.push(info);
    }
    id as u16
}

/// This thread's id, registering it under its operating system name if nobody did.
#[inline(always)]
pub fn id() -> u16 {
    let id = ID.with(Cell::get);
    if id != u16::MAX { id } else { register_unnamed() }
}

#[cold]
fn register_unnamed() -> u16 {
    register_thread(std::thread::current().name().unwrap_or("unnamed"), 0);
    ID.with(Cell::get)
}

/// The store this thread belongs to, or 0.
#[inline(always)]
pub fn store() -> u16 {
    STORE.with(Cell::get)
}

pub fn info(id: u16) -> ThreadInfo {
    let unknown = || ThreadInfo { name: format!("thread-{id}"), store: 0 };
    THREADS.read().get(usize::from(id)).cloned().unwrap_or_else(unknown)
}
