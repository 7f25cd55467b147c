//! What a reader may take: four times its input, and some for buffers; and how long it may be at it.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

/// Counts what is allocated, and the most of it.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all calls go to the system's allocator as they came; only numbers are kept beside.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        MOST.fetch_max(NOW.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        MOST.fetch_max(NOW.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Beside four times the input: buffers, and what a compressed block of a few bytes may rightly hold.
const SPARE: usize = 16 << 20;
/// Of processor time: a busy machine is no fault of the reader's.
const LONGEST: Duration = Duration::from_secs(10);

/// What this thread has run for.
fn ran() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes only to the place that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What `run` returns, and how much it had allocated at most; of other threads, too.
#[allow(dead_code)] // not every user of this file asks
pub fn most_of<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = NOW.load(Relaxed);
    MOST.store(before, Relaxed);
    let result = run();
    (result, MOST.load(Relaxed).saturating_sub(before))
}

/// Reads `data`; panics where that takes too long or too much.
#[allow(dead_code)]
pub fn bounded(data: &[u8], read: fn(&[u8])) {
    let (before, start) = (NOW.load(Relaxed), ran());
    MOST.store(before, Relaxed);
    read(data);
    let (took, most) = (ran() - start, MOST.load(Relaxed).saturating_sub(before));
    assert!(most <= 4 * data.len() + SPARE, "{most} bytes for an input of {}", data.len());
    assert!(took <= LONGEST, "{took:?} for an input of {} bytes", data.len());
}
