//! Threads that stamp: every thread has a name and, if it belongs to a store, that store's id.
use crate::local;
pub use crate::thread_table::{ThreadInfo, info, stores};
pub(crate) use crate::thread_table::{intern_as, sum_by_name};

/// Names this thread and binds it to a store (0: none). Call it first in a thread of the engine.
pub fn register_thread(name: &str, store: u64) {
    local::register(name, store);
}

/// Returns this thread's id.
pub fn id() -> u16 {
    local::identity_or_register().0
}

/// Returns the store this thread belongs to, or 0.
pub fn store() -> u16 {
    local::identity().map_or(0, |(_, store)| store)
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
