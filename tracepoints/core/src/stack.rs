//! Captures a call stack by walking frame pointers, within the bounds of the thread's own stack.
use std::cell::Cell;

/// Maximum number of frames.
const MAX_FRAMES: usize = 96;

thread_local! {
    static BOUNDS: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// Lowest and highest address of this thread's stack, requested from the C library once per thread.
fn bounds() -> (usize, usize) {
    let known = BOUNDS.with(Cell::get);
    if known.1 != 0 {
        return known;
    }
    let found = ask_bounds().unwrap_or((1, 1));
    BOUNDS.with(|b| b.set(found));
    found
}

#[cfg(target_os = "linux")]
fn ask_bounds() -> Option<(usize, usize)> {
    // SAFETY: the attribute object is initialised by pthread_getattr_np before it is read, and destroyed
    // after.
    unsafe {
        let mut attr: libc::pthread_attr_t = std::mem::zeroed();
        if libc::pthread_getattr_np(libc::pthread_self(), &mut attr) != 0 {
            return None;
        }
        let (mut low, mut size) = (std::ptr::null_mut(), 0);
        let found = libc::pthread_attr_getstack(&attr, &mut low, &mut size) == 0;
        libc::pthread_attr_destroy(&mut attr);
        found.then_some((low as usize, low as usize + size))
    }
}

#[cfg(target_vendor = "apple")]
fn ask_bounds() -> Option<(usize, usize)> {
    // SAFETY: both calls only read the C library's data about the calling thread.
    let (high, size) = unsafe {
        let own = libc::pthread_self();
        (libc::pthread_get_stackaddr_np(own) as usize, libc::pthread_get_stacksize_np(own))
    };
    Some((high.checked_sub(size)?, high))
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn ask_bounds() -> Option<(usize, usize)> {
    None
}

#[inline(always)]
fn frame_pointer() -> usize {
    let fp: usize;
    // SAFETY: only copies a register.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!("mov {}, rbp", out(reg) fp, options(nomem, nostack, preserves_flags));
    }
    // SAFETY: only copies a register.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!("mov {}, x29", out(reg) fp, options(nomem, nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        fp = 0;
    }
    fp
}

/// Returns the return addresses of the calling thread, innermost first. Needs `-C force-frame-pointers`.
#[inline(never)]
pub fn capture() -> Vec<usize> {
    let (low, high) = bounds();
    let mut frames = Vec::with_capacity(MAX_FRAMES);
    let mut fp = frame_pointer();
    while frames.len() < MAX_FRAMES && fp >= low && fp.saturating_add(16) <= high && fp.is_multiple_of(8) {
        // SAFETY: fp and fp + 8 are within this thread's own stack and aligned.
        let (next, ret) = unsafe { (*(fp as *const usize), *((fp + 8) as *const usize)) };
        if ret == 0 {
            break;
        }
        frames.push(ret);
        if next <= fp {
            break;
        }
        fp = next;
    }
    frames
}
