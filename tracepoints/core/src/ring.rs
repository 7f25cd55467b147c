//! One ring of stamps per thread: its thread writes, the collector reads; when full, stamps are dropped and counted.
use std::{
    cell::{Cell, UnsafeCell},
    collections::BTreeMap,
    mem::MaybeUninit,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use crossbeam::utils::CachePadded;
use parking_lot::Mutex;

use crate::recorder::Stamp;

/// Stamps of a ring's first lane: 64 KiB a thread. It is small so that its lines are still in the cache of their core when
/// they are written again.
pub(crate) const FIRST: usize = 1024;
/// Stamps of its second lane, which takes what the first has no room for: 512 KiB, of which the system gives only what is
/// written. Threads without a rest on all cores fill it while the collector waits for its turn.
const SECOND: usize = 8192;
/// Stamps that a thread may be ahead of the collector.
pub const CAPACITY: usize = FIRST + SECOND;

type Slot = UnsafeCell<MaybeUninit<Stamp>>;

/// Slots ahead of the writer that are fetched for it.
const AHEAD: usize = 2;

/// Asks for the cache line at an address, which another core had last, before it is written: a store that waits for its
/// line would hold up the next atomic operation of the stamping thread.
#[inline(always)]
pub(crate) fn own_soon<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch touches nothing; every x86-64 processor takes the instruction, old ones as a no-op.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) at, options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Slots ahead of the reader that are fetched for it; never beyond what is published, where the writer is at work.
const READ_AHEAD: usize = 8;
/// After so many slots the reader gives them back to the writer, also in the midst of a long round.
const GIVE_BACK: usize = 256;

/// Asks for the cache line at an address before it is read.
#[inline(always)]
pub(crate) fn read_soon<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch touches nothing, and SSE is part of x86-64.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Slots that one thread fills and the collector empties.
struct Lane {
    slots: Box<[Slot]>,
    /// Next slot to write; only the owner thread stores it.
    head: CachePadded<AtomicUsize>,
    /// Next slot to read; stored under `reader`.
    tail: CachePadded<AtomicUsize>,
}

impl Lane {
    fn new(capacity: usize) -> Self {
        let slots =
            (0..capacity.next_power_of_two()).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect();
        Self { slots, head: CachePadded::default(), tail: CachePadded::default() }
    }

    fn len(&self) -> usize {
        self.head.load(Ordering::Acquire).wrapping_sub(self.tail.load(Ordering::Acquire))
    }

    /// The position up to which slots are free, as the reader has come so far.
    fn free_until(&self) -> usize {
        self.tail.load(Ordering::Acquire).wrapping_add(self.slots.len())
    }

    /// # Safety
    /// Only the one producer may call it, and only if `head`, which is this lane's, is below [`Lane::free_until`].
    #[inline(always)]
    unsafe fn write(&self, head: usize, stamp: Stamp) {
        let mask = self.slots.len() - 1;
        // SAFETY: the mask keeps the index in bounds; the slot is free and the caller is the only producer.
        unsafe { (*self.slots.get_unchecked(head & mask).get()).write(stamp) };
        self.head.store(head.wrapping_add(1), Ordering::Release);
        own_soon(self.slots[head.wrapping_add(AHEAD) & mask].get());
    }

    /// # Safety
    /// Only one reader at a time.
    unsafe fn drain(&self, sink: &mut impl FnMut(&Stamp)) -> usize {
        let (tail, head) = (self.tail.load(Ordering::Relaxed), self.head.load(Ordering::Acquire));
        let n = head.wrapping_sub(tail);
        let slot = |i: usize| &self.slots[tail.wrapping_add(i) & (self.slots.len() - 1)];
        for i in 0..n {
            if i + READ_AHEAD < n {
                read_soon(slot(i + READ_AHEAD).get());
            }
            if i % GIVE_BACK == 0 {
                self.tail.store(tail.wrapping_add(i), Ordering::Release);
            }
            let slot = slot(i);
            // SAFETY: slots between tail and head were written and published by the producer, which leaves them alone
            // until tail moves; the caller keeps other readers out.
            sink(unsafe { (*slot.get()).assume_init_ref() });
        }
        self.tail.store(head, Ordering::Release);
        n
    }
}

/// A single-producer ring; any number of readers take turns.
pub struct Ring {
    first: Lane,
    /// What comes while `first` is full.
    second: Lane,
    dropped: AtomicU64,
    reader: Mutex<()>,
    /// The owner's thread id.
    pub thread: u16,
}

// SAFETY: a slot between tail and head is read only by the one reader that holds `reader`, any other is written only by
// the producer; head and tail are published with release and read with acquire.
unsafe impl Sync for Ring {}
// SAFETY: a stamp is plain data.
unsafe impl Send for Ring {}

impl Ring {
    /// Room in the two lanes, each rounded up to a power of two.
    pub fn new(first: usize, second: usize, thread: u16) -> Self {
        Self {
            first: Lane::new(first),
            second: Lane::new(second),
            dropped: AtomicU64::new(0),
            reader: Mutex::new(()),
            thread,
        }
    }

    /// What a writer may fill before it asks how far the reader has come.
    pub fn first_limit(&self) -> usize {
        self.first.slots.len()
    }

    /// Stamps that wait to be read.
    pub fn len(&self) -> usize {
        self.first.len() + self.second.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes a stamp, or drops and counts it if both lanes are full.
    ///
    /// # Safety
    /// Only one thread may ever push, always with the same `limit`, which begins as [`Ring::first_limit`].
    #[inline(always)]
    pub unsafe fn push(&self, limit: &Cell<usize>, stamp: Stamp) {
        let head = self.first.head.load(Ordering::Relaxed);
        if head == limit.get() && !self.make_room(head, limit) {
            // SAFETY: the caller is the only producer.
            return unsafe { self.push_second(stamp) };
        }
        // SAFETY: the caller is the only producer, and the limit says that the slot is free.
        unsafe { self.first.write(head, stamp) };
    }

    /// Looks how far the reader has come; the writer asks only when it has used up what it knew of.
    #[inline(never)]
    fn make_room(&self, head: usize, limit: &Cell<usize>) -> bool {
        limit.set(self.first.free_until());
        limit.get() != head
    }

    /// # Safety
    /// Only the one producer may call it.
    #[inline(never)]
    unsafe fn push_second(&self, stamp: Stamp) {
        let head = self.second.head.load(Ordering::Relaxed);
        if head == self.second.free_until() {
            self.dropped.store(self.dropped.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        } else {
            // SAFETY: the caller is the only producer, and the slot is free.
            unsafe { self.second.write(head, stamp) };
        }
    }

    /// Shows what is there and takes it; each lane's stamps in the order in which they were written.
    pub fn drain(&self, mut sink: impl FnMut(&Stamp)) -> usize {
        let _reader = self.reader.lock();
        // SAFETY: `reader` keeps other readers out.
        unsafe { self.first.drain(&mut sink) + self.second.drain(&mut sink) }
    }

    /// Stamps dropped because both lanes were full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

static RINGS: Mutex<Vec<Arc<Ring>>> = Mutex::new(Vec::new());
/// What rings that are gone had dropped, by thread id.
static DROPPED_BEFORE: Mutex<BTreeMap<u16, u64>> = Mutex::new(BTreeMap::new());

pub(crate) fn new_for_thread(thread: u16) -> Arc<Ring> {
    let ring = Arc::new(Ring::new(FIRST, SECOND, thread));
    RINGS.lock().push(ring.clone());
    ring
}

/// All rings, for the collector.
pub fn rings() -> Vec<Arc<Ring>> {
    RINGS.lock().clone()
}

/// Forgets rings whose threads ended and whose stamps are read.
pub fn sweep() {
    RINGS.lock().retain(|r| {
        let keep = Arc::strong_count(r) > 1 || !r.is_empty();
        if !keep && r.dropped() > 0 {
            *DROPPED_BEFORE.lock().entry(r.thread).or_default() += r.dropped();
        }
        keep
    });
}

/// Stamps dropped by all threads so far.
pub fn dropped() -> u64 {
    let rings = RINGS.lock();
    let now: u64 = rings.iter().map(|r| r.dropped()).sum();
    now + DROPPED_BEFORE.lock().values().sum::<u64>() + crate::local::lost()
}

/// Stamps dropped so far by each thread id that dropped any, also by threads that have ended.
pub fn dropped_by_thread() -> BTreeMap<u16, u64> {
    let rings = RINGS.lock();
    let mut out = DROPPED_BEFORE.lock().clone();
    for ring in rings.iter().filter(|r| r.dropped() > 0) {
        *out.entry(ring.thread).or_default() += ring.dropped();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(at: u64) -> Stamp {
        Stamp { at, fields: [at, !at, at * 3, 7], ..Stamp::EMPTY }
    }

    #[test]
    fn a_full_ring_drops_the_newest_and_counts_them() {
        let ring = Ring::new(8, 4, 0);
        let limit = Cell::new(ring.first_limit());
        // SAFETY: this thread is the only producer.
        (0..15).for_each(|at| unsafe { ring.push(&limit, stamp(at)) });
        assert_eq!((ring.len(), ring.dropped()), (12, 3));
        let mut seen = Vec::new();
        assert_eq!(ring.drain(|s| seen.push(s.at)), 12);
        assert_eq!(seen, (0..12).collect::<Vec<_>>());
        // SAFETY: as above.
        unsafe { ring.push(&limit, stamp(20)) };
        assert_eq!((ring.len(), ring.dropped()), (1, 3), "room again after reading");
    }

    #[test]
    fn the_second_lane_loses_nothing_beside_a_reader_that_is_late() {
        const N: u64 = 200_000;
        let ring = Arc::new(Ring::new(16, 64, 0));
        let writer = std::thread::spawn({
            let ring = ring.clone();
            move || {
                let limit = Cell::new(ring.first_limit());
                for at in 1..=N {
                    while ring.second.len() == 64 {
                        std::thread::yield_now();
                    }
                    // SAFETY: this thread is the only producer.
                    unsafe { ring.push(&limit, stamp(at)) };
                }
            }
        });
        let (mut sum, mut count) = (0, 0);
        while count < N {
            let n = ring.drain(|s| {
                assert_eq!(s.fields, stamp(s.at).fields);
                sum += s.at;
            });
            count += n as u64;
            if n == 0 {
                std::thread::yield_now();
            }
        }
        writer.join().unwrap();
        assert_eq!((sum, ring.dropped()), (N * (N + 1) / 2, 0), "each once");
    }

    #[test]
    fn a_reader_beside_the_writer_sees_every_stamp_whole_and_in_order() {
        const N: u64 = 200_000;
        let ring = Arc::new(Ring::new(64, 0, 0));
        let writer = std::thread::spawn({
            let ring = ring.clone();
            move || {
                let limit = Cell::new(ring.first_limit());
                for at in 1..=N {
                    while ring.len() == ring.first_limit() {
                        std::thread::yield_now();
                    }
                    // SAFETY: this thread is the only producer.
                    unsafe { ring.push(&limit, stamp(at)) };
                }
            }
        });
        let mut last = 0;
        while last < N {
            let n = ring.drain(|s| {
                assert_eq!((s.at, s.fields), (last + 1, stamp(last + 1).fields));
                last = s.at;
            });
            if n == 0 {
                std::thread::yield_now();
            }
        }
        writer.join().unwrap();
        assert_eq!(ring.dropped(), 0);
    }
}
