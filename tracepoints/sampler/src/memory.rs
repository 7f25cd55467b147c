//! Reads memory that may be unmapped: the kernel copies, and reports how much. Safe in a signal handler.
use std::sync::atomic::{AtomicBool, Ordering};

const PAGE: usize = 4096;

/// Whether the system refused the copying call, as some sandboxes do.
static REFUSED: AtomicBool = AtomicBool::new(false);

/// Copies `len` bytes at `from` in this process to `to`, up to the first unreadable page; returns the number
/// of bytes.
///
/// # Safety
/// `to` must have space for `len` bytes that nothing else uses during the call. `from` may be any address.
pub unsafe fn copy(from: usize, to: *mut u8, len: usize) -> usize {
    if !REFUSED.load(Ordering::Relaxed) {
        let local = libc::iovec { iov_base: to.cast(), iov_len: len };
        let remote = libc::iovec { iov_base: from as *mut libc::c_void, iov_len: len };
        // SAFETY: the kernel checks both ranges; it writes only to `to`.
        let copied = unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) };
        if copied >= 0 {
            return copied as usize;
        }
        // SAFETY: the C library's own errno of this thread.
        let errno = unsafe { *libc::__errno_location() };
        if !matches!(errno, libc::EPERM | libc::ENOSYS) {
            return 0;
        }
        REFUSED.store(true, Ordering::Relaxed);
    }
    // SAFETY: as promised by the caller.
    unsafe { copy_by_page(from, to, len) }
}

/// Fallback: checks each page before reading it. Another thread could unmap the page in between.
///
/// # Safety
/// As [`copy`].
unsafe fn copy_by_page(from: usize, to: *mut u8, len: usize) -> usize {
    let mut done = 0;
    while done < len {
        let at = from.wrapping_add(done);
        let n = (PAGE - at % PAGE).min(len - done);
        if at < PAGE || at.checked_add(n).is_none() || !readable(at) {
            break;
        }
        // SAFETY: the page of `at` is readable and contains all `n` bytes; `to` has space.
        unsafe { std::ptr::copy_nonoverlapping(at as *const u8, to.add(done), n) };
        done += n;
    }
    done
}

/// Whether the page of an address can be read. The kernel reads the signal set there before it checks the
/// invalid first argument: the result is EFAULT or EINVAL, and no set changes.
fn readable(address: usize) -> bool {
    const NOTHING: libc::c_int = !0;
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: the kernel checks the address; with this first argument it changes nothing.
    let result =
        unsafe { libc::syscall(libc::SYS_rt_sigprocmask, NOTHING, address & !7, none, size_of::<u64>()) };
    // SAFETY: the C library's own errno of this thread.
    result == 0 || unsafe { *libc::__errno_location() } != libc::EFAULT
}

/// Returns a copy of `len` bytes at `from`; `None` if not all of them can be read.
pub fn read(from: usize, len: usize) -> Option<Vec<u8>> {
    // A size from a damaged header must not allocate all memory.
    const MAX: usize = 1 << 30;
    if len > MAX {
        return None;
    }
    let mut out: Vec<u8> = vec![0; len];
    let mut done = 0;
    while done < len {
        // SAFETY: the vector has space for the remaining bytes.
        let n = unsafe { copy(from.wrapping_add(done), out.as_mut_ptr().add(done), len - done) };
        if n == 0 {
            return None;
        }
        done += n;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Maps two pages, the second one unreadable.
    fn half() -> (usize, impl Drop) {
        struct Unmap(usize);
        impl Drop for Unmap {
            fn drop(&mut self) {
                // SAFETY: the mapping is this test's own.
                unsafe { libc::munmap(self.0 as *mut _, 2 * PAGE) };
            }
        }
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping of its own; its second page is made unreadable.
        let at = unsafe {
            let at =
                libc::mmap(std::ptr::null_mut(), 2 * PAGE, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            assert_ne!(at, libc::MAP_FAILED);
            assert_eq!(libc::mprotect(at.byte_add(PAGE), PAGE, libc::PROT_NONE), 0);
            at.cast::<u64>().write(0x1122_3344_5566_7788);
            at as usize
        };
        (at, Unmap(at))
    }

    #[test]
    fn both_copies_stop_where_memory_ends() {
        let (at, _unmap) = half();
        for copy in [copy, copy_by_page] {
            let mut out = [0u8; 2 * PAGE];
            // SAFETY: `out` has space.
            let mut copied = |from: usize, len: usize| unsafe { copy(from, out.as_mut_ptr(), len) };
            assert_eq!(copied(at, 2 * PAGE), PAGE);
            assert_eq!(copied(at + PAGE - 16, 64), 16);
            assert_eq!(copied(at + PAGE, 8), 0);
            for nowhere in [0, 8, 0x10_0000, usize::MAX - 64, 0x8000_0000_0000, !7] {
                assert_eq!(copied(nowhere, 32), 0, "{nowhere:#x}");
            }
            assert_eq!(copied(at, 8), 8);
            assert_eq!(u64::from_ne_bytes(out[..8].try_into().unwrap()), 0x1122_3344_5566_7788);
        }
        assert!(read(at, PAGE).is_some() && read(at, PAGE + 1).is_none() && read(at, usize::MAX).is_none());
    }
}
