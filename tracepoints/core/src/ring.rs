//! One ring of stamps per thread: its thread writes, the collector reads; when full, stamps are dropped and
//! counted.
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

use crate::stamp::Stamp;

/// Stamps in a ring's first lane: 64 KiB per thread. It is small so that its lines are still in their core's
/// cache when they are written again.
pub(crate) const FIRST: usize = 1024;
/// Stamps in a ring's second lane, used while the first one is full: 512 KiB, of which the system only
/// allocates what is written. Threads that stamp without a pause on all cores fill it while the collector
/// waits for a core.
const SECOND: usize = 8192;
/// Maximum number of unread stamps of one thread.
pub const CAPACITY: usize = FIRST + SECOND;

type Slot = UnsafeCell<MaybeUninit<Stamp>>;

/// Number of slots prefetched ahead of the writer.
const AHEAD: usize = 2;

/// Prefetches a cache line for writing, which another core owned last: a store that waits for its line would
/// delay the stamping thread's next atomic operation.
#[inline(always)]
pub(crate) fn prefetch_for_write<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch touches nothing; every x86-64 processor has the instruction, old ones as a no-op.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) at, options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Number of slots prefetched ahead of the reader; never beyond the published ones, where the writer works.
const READ_AHEAD: usize = 8;
/// Number of slots after which the reader returns them to the writer, even within a long round.
const GIVE_BACK: usize = 256;

/// Prefetches a cache line for reading.
#[inline(always)]
pub(crate) fn prefetch_for_read<T>(at: *const T) {
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

    /// Returns the position up to which slots are free, by the reader's current position.
    fn free_until(&self) -> usize {
        self.tail.load(Ordering::Acquire).wrapping_add(self.slots.len())
    }

    /// # Safety
    /// Only the one producer may call it, and only if `head` is this lane's head and below
    /// [`Lane::free_until`].
    #[inline(always)]
    unsafe fn write(&self, head: usize, stamp: Stamp) {
        let mask = self.slots.len() - 1;
        // SAFETY: the mask keeps the index in bounds; the slot is free and the caller is the only producer.
        unsafe { (*self.slots.get_unchecked(head & mask).get()).write(stamp) };
        self.head.store(head.wrapping_add(1), Ordering::Release);
        prefetch_for_write(self.slots[head.wrapping_add(AHEAD) & mask].get());
    }

    /// # Safety
    /// Only one reader at a time.
    unsafe fn drain(&self, sink: &mut impl FnMut(&Stamp)) -> usize {
        let (tail, head) = (self.tail.load(Ordering::Relaxed), self.head.load(Ordering::Acquire));
        let n = head.wrapping_sub(tail);
        let slot = |i: usize| &self.slots[tail.wrapping_add(i) & (self.slots.len() - 1)];
        for i in 0..n {
            if i + READ_AHEAD < n {
                prefetch_for_read(slot(i + READ_AHEAD).get());
            }
            if i % GIVE_BACK == 0 {
                self.tail.store(tail.wrapping_add(i), Ordering::Release);
            }
            let slot = slot(i);
            // SAFETY: the producer wrote and published the slots between tail and head and does not touch
            // them until tail moves; the caller keeps other readers out.
            sink(unsafe { (*slot.get()).assume_init_ref() });
        }
        self.tail.store(head, Ordering::Release);
        n
    }
}

/// A single-producer ring; any number of readers take turns.
pub struct Ring {
    first: Lane,
    /// Takes the stamps that arrive while `first` is full.
    second: Lane,
    dropped: AtomicU64,
    reader: Mutex<()>,
    /// The owner's thread id.
    pub thread: u16,
}

// SAFETY: a slot between tail and head is read only by the one reader that holds `reader`, any other slot is
// written only by the producer; head and tail are published with release and read with acquire.
unsafe impl Sync for Ring {}
// SAFETY: a stamp is plain data.
unsafe impl Send for Ring {}

impl Ring {
    /// Creates a ring; both capacities are rounded up to a power of two.
    pub fn new(first: usize, second: usize, thread: u16) -> Self {
        Self {
            first: Lane::new(first),
            second: Lane::new(second),
            dropped: AtomicU64::new(0),
            reader: Mutex::new(()),
            thread,
        }
    }

    /// Returns the writer's initial limit: the slots it may fill before it must check the reader's position.
    pub fn first_limit(&self) -> usize {
        self.first.slots.len()
    }

    /// Number of unread stamps.
    pub fn len(&self) -> usize {
        self.first.len() + self.second.len()
    }

    /// Whether all stamps have been read.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes a stamp, or drops and counts it if both lanes are full.
    ///
    /// # Safety
    /// Only one thread may ever push, always with the same `limit`, whose initial value is
    /// [`Ring::first_limit`].
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

    /// Reads the reader's position and raises the limit; called only when the limit is used up.
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

    /// Passes all stamps to `sink` and removes them; each lane's stamps come in the order of writing.
    pub fn drain(&self, mut sink: impl FnMut(&Stamp)) -> usize {
        let _reader = self.reader.lock();
        // SAFETY: `reader` keeps other readers out.
        unsafe { self.first.drain(&mut sink) + self.second.drain(&mut sink) }
    }

    /// Number of stamps dropped because both lanes were full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Number of stamps from threads that had already dropped their ring.
static LOST: AtomicU64 = AtomicU64::new(0);

pub(crate) fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Counts a stamp from a thread that has already dropped its ring.
pub(crate) fn note_lost() {
    LOST.fetch_add(1, Ordering::Relaxed);
}

static RINGS: Mutex<Vec<Arc<Ring>>> = Mutex::new(Vec::new());
/// Drops of removed rings, by thread id.
static DROPPED_BEFORE: Mutex<BTreeMap<u16, u64>> = Mutex::new(BTreeMap::new());

pub(crate) fn new_for_thread(thread: u16) -> Arc<Ring> {
    let ring = Arc::new(Ring::new(FIRST, SECOND, thread));
    RINGS.lock().push(ring.clone());
    ring
}

/// Returns all rings, for the collector.
pub fn rings() -> Vec<Arc<Ring>> {
    RINGS.lock().clone()
}

/// Removes the empty rings of ended threads.
pub fn sweep() {
    RINGS.lock().retain(|r| {
        let keep = Arc::strong_count(r) > 1 || !r.is_empty();
        if !keep && r.dropped() > 0 {
            *DROPPED_BEFORE.lock().entry(r.thread).or_default() += r.dropped();
        }
        keep
    });
}

/// Number of stamps dropped by all threads so far.
pub fn dropped() -> u64 {
    let rings = RINGS.lock();
    let now: u64 = rings.iter().map(|r| r.dropped()).sum();
    now + DROPPED_BEFORE.lock().values().sum::<u64>() + lost()
}

/// Number of stamps dropped so far by thread id, including ended threads; only ids with drops.
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
        assert_eq!((ring.len(), ring.dropped()), (1, 3), "free slots again after reading");
    }

    #[test]
    fn the_second_lane_loses_nothing_with_a_late_reader() {
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
    fn a_concurrent_reader_sees_whole_stamps_in_order() {
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
