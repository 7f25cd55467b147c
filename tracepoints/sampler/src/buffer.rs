//! The buffer for a signal handler's samples: preallocated slots, claimed without a lock.
use std::{
    cell::UnsafeCell,
    mem::MaybeUninit,
    sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
};

use tracepoints::{RequestKind, StageId};

use super::regs::Regs;

/// Maximum number of stack bytes in a sample, from the interrupted function outwards.
pub const STACK_BYTES: usize = 64 << 10;
pub const STACK_WORDS: usize = STACK_BYTES / 8;
/// Number of samples between two reads: 50 threads at 1000 Hz for 10 ms. The system allocates pages when they
/// are used.
const SLOTS: usize = 512;

/// One sample as taken by the handler.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Raw {
    pub tid: i32,
    /// Number of timer periods that it counts for.
    pub weight: u32,
    /// The thread's id in stamps.
    pub thread: Option<u16>,
    pub stage: Option<StageId>,
    pub kind: Option<RequestKind>,
    /// Id of the request; 0: none.
    pub req: u64,
    pub region: u64,
    pub regs: Regs,
    /// Number of words copied into `stack`.
    pub words: usize,
    /// The words from `regs.stack_from()` upwards.
    pub stack: [u64; STACK_WORDS],
}

const FREE: u8 = 0;
const WRITING: u8 = 1;
const FULL: u8 = 2;

struct Slot {
    state: AtomicU8,
    raw: UnsafeCell<MaybeUninit<Raw>>,
}

pub struct Buffer {
    slots: [Slot; SLOTS],
    /// Start of the search for a free slot.
    next: AtomicUsize,
    dropped: AtomicU64,
}

// SAFETY: `raw` belongs to the handler that moved `state` from FREE to WRITING, or to the one reader that
// found it FULL.
unsafe impl Sync for Buffer {}

/// The buffer of this process. It is never freed, since a late signal may come at any time.
pub static BUFFER: Buffer = Buffer {
    slots: [const { Slot { state: AtomicU8::new(FREE), raw: UnsafeCell::new(MaybeUninit::uninit()) } };
        SLOTS],
    next: AtomicUsize::new(0),
    dropped: AtomicU64::new(0),
};

impl Buffer {
    /// Fills a free slot, or drops the sample and counts `weight`. Safe in a signal handler.
    pub fn put(&self, weight: u32, fill: impl FnOnce(&mut MaybeUninit<Raw>)) {
        for _ in 0..SLOTS {
            let slot = &self.slots[self.next.fetch_add(1, Ordering::Relaxed) % SLOTS];
            let claim = slot.state.compare_exchange(FREE, WRITING, Ordering::Acquire, Ordering::Relaxed);
            if claim.is_ok() {
                // SAFETY: this handler claimed the slot.
                fill(unsafe { &mut *slot.raw.get() });
                slot.state.store(FULL, Ordering::Release);
                return;
            }
        }
        self.dropped.fetch_add(u64::from(weight), Ordering::Relaxed);
    }

    /// Passes each filled slot to `see` and frees it. One reader at a time.
    pub fn drain(&self, mut see: impl FnMut(&Raw)) {
        // Reuses the first slots first, so that a quiet program touches few of them.
        self.next.store(0, Ordering::Relaxed);
        for slot in &self.slots {
            if slot.state.load(Ordering::Acquire) == FULL {
                // SAFETY: a full slot is completely initialised and not changed until it is freed here.
                see(unsafe { (*slot.raw.get()).assume_init_ref() });
                slot.state.store(FREE, Ordering::Release);
            }
        }
    }

    /// Returns the number of timer periods dropped for lack of a slot since the last call.
    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(buffer: &Buffer, tid: i32) {
        buffer.put(3, |raw| {
            let at = raw.as_mut_ptr();
            // SAFETY: a zero is a value of every field but `kind`, which is set.
            unsafe {
                at.write_bytes(0, 1);
                (*at).kind = None;
                (*at).tid = tid;
            }
        });
    }

    #[test]
    fn samples_without_a_slot_are_counted_and_slots_are_reused() {
        // Too large for the stack of a test's thread.
        static OWN: Buffer = Buffer {
            slots: [const { Slot { state: AtomicU8::new(FREE), raw: UnsafeCell::new(MaybeUninit::uninit()) } };
                SLOTS],
            next: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
        };
        (0..SLOTS as i32 + 2).for_each(|tid| put(&OWN, tid));
        assert_eq!((OWN.take_dropped(), OWN.take_dropped()), (6, 0));
        let mut seen = Vec::new();
        OWN.drain(|raw| seen.push(raw.tid));
        assert_eq!(seen, (0..SLOTS as i32).collect::<Vec<_>>());
        put(&OWN, 7);
        seen.clear();
        OWN.drain(|raw| seen.push(raw.tid));
        assert_eq!(seen, [7]);
    }
}
