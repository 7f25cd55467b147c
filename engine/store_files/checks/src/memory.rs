//! Limits of a reader: memory of four times its input and [`SPARE`] bytes, and processor time of
//! [`MAX_CPU_TIME`].
use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

/// Counts the allocated bytes and their maximum.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all calls go unchanged to the system's allocator; the rest only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(NOW.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(NOW.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc`, which is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc`, which is the same.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes in addition to four times the input, for buffers and for compressed blocks of a few bytes.
const SPARE: usize = 16 << 20;
/// Processor time, since a busy machine is not the reader's fault.
const MAX_CPU_TIME: Duration = Duration::from_secs(10);

/// Returns the processor time of this thread.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes only to `time`.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Returns the result of `run`, and the maximum of bytes that all threads allocated while it ran.
#[allow(dead_code)] // not every user of this file calls it
pub fn measure_peak<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    let result = run();
    (result, PEAK.load(Relaxed).saturating_sub(before))
}

/// Calls `read` with `data`, and panics if it exceeds the limits.
#[allow(dead_code)]
pub fn bounded(data: &[u8], read: fn(&[u8])) {
    let (before, start) = (NOW.load(Relaxed), cpu_time());
    PEAK.store(before, Relaxed);
    read(data);
    let (took, peak) = (cpu_time() - start, PEAK.load(Relaxed).saturating_sub(before));
    assert!(peak <= 4 * data.len() + SPARE, "{peak} bytes for an input of {}", data.len());
    assert!(took <= MAX_CPU_TIME, "{took:?} for an input of {} bytes", data.len());
}
