//! One ring of stamps per thread: its thread writes, the collector reads; when full, stamps are dropped and counted.
use std::{
    cell::UnsafeCell,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;

use crate::recorder::Stamp;

/// Stamps a ring holds: 256 KiB a thread.
pub const CAPACITY: usize = 4096;

/// A single-producer, single-consumer ring.
pub struct Ring {
    slots: Box<[UnsafeCell<Stamp>]>,
    /// Next slot to write; only the owner thread stores it.
    head: AtomicUsize,
    /// Next slot to read; only the collector stores it.
    tail: AtomicUsize,
    dropped: AtomicU64,
    pub thread: u16,
}

// SAFETY: a slot between tail and head is read only by the consumer, any other only by the producer;
// head and tail are published with release and read with acquire.
unsafe impl Sync for Ring {}
unsafe impl Send for Ring {}

impl Ring {
    pub fn new(capacity: usize, thread: u16) -> Self {
        let slots = (0..capacity.next_power_of_two()).map(|_| UnsafeCell::new(Stamp::EMPTY)).collect();
        Self {
            slots,
            head: AtomicUsize::new(0),
            tail: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            thread,
        }
    }

    /// Only the ring's owner thread may call this.
    #[inline(always)]
    pub fn push(&self, stamp: Stamp) {
        let head = self.head.load(Ordering::Relaxed);
        if head.wrapping_sub(self.tail.load(Ordering::Acquire)) >= self.slots.len() {
            self.dropped.store(self.dropped.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            return;
        }
        // SAFETY: the slot is free (checked above) and this thread is the only producer.
        unsafe { *self.slots[head & (self.slots.len() - 1)].get() = stamp };
        self.head.store(head.wrapping_add(1), Ordering::Release);
    }

    /// Takes what is there. Only one thread at a time may call this.
    pub fn drain(&self, mut sink: impl FnMut(Stamp)) -> usize {
        let (tail, head) = (self.tail.load(Ordering::Relaxed), self.head.load(Ordering::Acquire));
        let n = head.wrapping_sub(tail);
        for i in 0..n {
            // SAFETY: slots between tail and head were published by the producer and are not written until tail moves.
            sink(unsafe { *self.slots[tail.wrapping_add(i) & (self.slots.len() - 1)].get() });
        }
        self.tail.store(head, Ordering::Release);
        n
    }

    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

static RINGS: Mutex<Vec<Arc<Ring>>> = Mutex::new(Vec::new());

thread_local! {
    static RING: Arc<Ring> = {
        let ring = Arc::new(Ring::new(CAPACITY, crate::thread::id()));
        RINGS.lock().push(ring.clone());
        ring
    };
}

/// Makes this thread's ring, so that its first stamp need not.
pub fn prepare() {
    let _ = RING.try_with(|_| ());
}

/// Writes into this thread's ring; a thread that is ending drops its stamp.
#[inline(always)]
pub fn push(stamp: Stamp) {
    let _ = RING.try_with(|ring| ring.push(stamp));
}

/// All rings, for the collector.
pub fn rings() -> Vec<Arc<Ring>> {
    RINGS.lock().clone()
}

/// Forgets rings whose threads ended and whose stamps are read.
pub fn sweep() {
    RINGS.lock().retain(|r| {
        Arc::strong_count(r) > 1 || r.head.load(Ordering::Acquire) != r.tail.load(Ordering::Acquire)
    });
}

/// Stamps dropped by all threads so far.
pub fn dropped() -> u64 {
    RINGS.lock().iter().map(|r| r.dropped()).sum()
}
