//! Thread-local data for stamping: the thread's id, store and ring, in plain cells without a lazy check.
use std::{
    cell::{Cell, OnceCell},
    sync::Arc,
};

use crate::{
    req::Req,
    ring::{self, Ring},
    site::StampSite,
    stamp::{Label, Stamp},
    thread_table::{self, ThreadInfo},
};

/// An id that no thread has.
const UNKNOWN: u16 = u16::MAX;

pub(crate) struct Local {
    /// Null before the first stamp and after the thread's owner cell is dropped.
    ring: Cell<*const Ring>,
    /// Slot up to which the ring is known to be free.
    limit: Cell<usize>,
    id: Cell<u16>,
    store: Cell<u16>,
    /// The last stamp, see [`crate::label`]; a signal handler on this thread may read it at any time.
    req: Cell<Req>,
    site: Cell<Option<&'static StampSite>>,
    region: Cell<u64>,
}

/// Keeps the ring alive while its thread may stamp.
struct Owner(Arc<Ring>);

impl Drop for Owner {
    fn drop(&mut self) {
        LOCAL.with(|l| l.ring.set(std::ptr::null()));
    }
}

thread_local! {
    static LOCAL: Local = const { Local {
        ring: Cell::new(std::ptr::null()),
        limit: Cell::new(0),
        id: Cell::new(UNKNOWN),
        store: Cell::new(0),
        req: Cell::new(Req::NONE),
        site: Cell::new(None),
        region: Cell::new(0),
    } };
    static OWNER: OnceCell<Owner> = const { OnceCell::new() };
}

/// Returns this thread's id and store, if it is registered.
#[inline(always)]
pub(crate) fn identity() -> Option<(u16, u16)> {
    LOCAL.with(|l| (l.id.get() != UNKNOWN).then(|| (l.id.get(), l.store.get())))
}

/// Names this thread, binds it to a store and creates its ring.
pub(crate) fn register(name: &str, store: u64) {
    let id = thread_table::intern(ThreadInfo { name: name.to_owned(), store });
    LOCAL.with(|l| {
        l.id.set(id);
        l.store.set(store.min(u64::from(u16::MAX)) as u16);
    });
    prepare();
}

/// Returns this thread's id and store; registers an unregistered thread under its operating system name.
pub(crate) fn identity_or_register() -> (u16, u16) {
    identity().unwrap_or_else(|| {
        register(std::thread::current().name().unwrap_or("unnamed"), 0);
        identity().unwrap_or_default()
    })
}

#[inline(always)]
pub(crate) fn label() -> Label {
    LOCAL.with(|l| Label { req: l.req.get(), site: l.site.get(), region: l.region.get() })
}

#[inline(always)]
pub(crate) fn set_label(label: Label) {
    LOCAL.with(|l| {
        l.req.set(label.req);
        l.site.set(label.site);
        l.region.set(label.region);
    });
}

/// Creates this thread's ring ahead of its first stamp. Returns false if the thread is ending.
pub(crate) fn prepare() -> bool {
    // Registers the thread before the cell is entered: otherwise registration would recurse into this
    // function.
    let (id, _) = identity_or_register();
    let made = OWNER.try_with(|owner| {
        let ring = &owner.get_or_init(|| Owner(ring::new_for_thread(id))).0;
        LOCAL.with(|l| {
            if l.ring.get().is_null() {
                l.ring.set(Arc::as_ptr(ring));
                l.limit.set(ring.first_limit());
            }
        });
    });
    made.is_ok()
}

/// Adds thread and store to a stamp and writes it into the thread's ring.
#[inline(always)]
pub(crate) fn push(stamp: &mut Stamp) {
    LOCAL.with(|l| {
        let ring = l.ring.get();
        if ring.is_null() {
            return push_first(stamp);
        }
        stamp.thread = l.id.get();
        stamp.store = l.store.get();
        // SAFETY: OWNER keeps the ring alive and nulls the pointer before it drops the ring; this thread is
        // the only producer and `limit` is the cell of this ring.
        unsafe { (*ring).push(&l.limit, *stamp) };
    });
}

/// Pushes the first stamp of a thread, or one of an ending thread, which is lost and counted.
#[cold]
#[inline(never)]
fn push_first(stamp: &mut Stamp) {
    (stamp.thread, stamp.store) = identity_or_register();
    if prepare() {
        push(stamp);
    } else {
        ring::note_lost();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_while_the_thread_ends_is_counted_as_lost() {
        struct StampsAtTheEnd;
        impl Drop for StampsAtTheEnd {
            fn drop(&mut self) {
                push(&mut { Stamp::EMPTY });
            }
        }
        thread_local!(static LATE: StampsAtTheEnd = const { StampsAtTheEnd });
        let before = ring::lost();
        // Destructors run in no fixed order: the late stamp may come before or after the ring is dropped.
        let thread = std::thread::spawn(|| {
            LATE.with(|_| ());
            assert!(prepare(), "an unregistered thread works, too");
            register("ends-with-a-stamp", 0);
            identity_or_register().0
        });
        let id = thread.join().unwrap();
        let kept = ring::rings().iter().filter(|r| r.thread == id).map(|r| r.len()).sum::<usize>();
        assert!(ring::lost() > before || kept > 0, "the late stamp is either kept or counted");
    }
}
