//! The signal handler. It takes no lock, allocates nothing and reads nothing of the interrupted thread
//! itself: the kernel copies the stack, and another thread walks the copy later.
//!
//! It runs on the interrupted stack, not on an alternate one: Rust's alternate stacks may be as small as the
//! frame that the kernel pushes. The interrupted code may itself run on an alternate stack; its registers
//! show where.
use std::{
    mem::MaybeUninit,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use tracepoints::label;

use super::{
    buffer::{BUFFER, Raw, STACK_BYTES},
    memory,
    regs::Regs,
};
use crate::error::SamplerError;

/// Whether sampling is active; later signals are ignored.
static ACTIVE: AtomicBool = AtomicBool::new(false);
/// Number of running handlers.
static INSIDE: AtomicUsize = AtomicUsize::new(0);

/// A timer's siginfo in Linux's layout.
#[repr(C)]
struct TimerInfo {
    _head: [libc::c_int; 3],
    _pad: libc::c_int,
    _timer: libc::c_int,
    /// Additional periods that passed before the signal was delivered.
    overrun: libc::c_int,
}

extern "C" fn handle(_: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    INSIDE.fetch_add(1, Ordering::Acquire);
    // SAFETY: the system passes a valid info.
    if ACTIVE.load(Ordering::Acquire) && unsafe { (*info).si_code } == libc::SI_TIMER {
        // SAFETY: the C library's own errno of this thread, which the interrupted code may be about to read.
        let errno = unsafe { *libc::__errno_location() };
        // SAFETY: a timer's info and the handler's own context.
        unsafe { sample(&*info.cast::<TimerInfo>(), context) };
        // SAFETY: as above.
        unsafe { *libc::__errno_location() = errno };
    }
    INSIDE.fetch_sub(1, Ordering::Release);
}

/// # Safety
/// In a signal handler, with its arguments.
unsafe fn sample(info: &TimerInfo, context: *const libc::c_void) {
    // SAFETY: as promised.
    let regs = unsafe { Regs::from_context(context) };
    let weight = 1 + u32::try_from(info.overrun).unwrap_or(0);
    BUFFER.put(weight, |raw| {
        // SAFETY: the slot is this handler's.
        unsafe { fill(raw, regs, weight) }
    });
}

/// # Safety
/// In a signal handler.
unsafe fn fill(raw: &mut MaybeUninit<Raw>, regs: Regs, weight: u32) {
    let at = label::current();
    let (kind, region) = at.request();
    let raw = raw.as_mut_ptr();
    // SAFETY: every field but the uncopied rest of the stack is written, and of that only copied words are
    // read.
    unsafe {
        (&raw mut (*raw).tid).write(libc::syscall(libc::SYS_gettid) as i32);
        (&raw mut (*raw).weight).write(weight);
        (&raw mut (*raw).thread).write(label::thread());
        (&raw mut (*raw).stage).write(at.site.map(|s| s.stage));
        (&raw mut (*raw).kind).write(kind);
        (&raw mut (*raw).req).write(at.req.id());
        (&raw mut (*raw).region).write(region);
        (&raw mut (*raw).regs).write(regs);
        let copied = memory::copy(regs.stack_from(), (&raw mut (*raw).stack).cast(), STACK_BYTES);
        (&raw mut (*raw).words).write(copied / 8);
    }
}

/// Installs the handler permanently: a late signal must not reach the default action, which ends the process.
///
/// # Errors
/// If another handler is installed.
pub fn install() -> Result<(), SamplerError> {
    let own = handle as extern "C" fn(_, _, _) as usize;
    // SAFETY: plain system calls on structures of this frame; a zeroed sigaction is valid.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGPROF, std::ptr::null(), &mut old);
        if old.sa_sigaction == own {
            return Ok(());
        }
        if old.sa_sigaction != libc::SIG_DFL && old.sa_sigaction != libc::SIG_IGN {
            return Err(SamplerError::Taken);
        }
        let mut new: libc::sigaction = std::mem::zeroed();
        new.sa_sigaction = own;
        // Interrupted system calls restart automatically.
        new.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        libc::sigemptyset(&mut new.sa_mask);
        if libc::sigaction(libc::SIGPROF, &new, std::ptr::null_mut()) != 0 {
            return Err(SamplerError::Timer(std::io::Error::last_os_error()));
        }
    }
    Ok(())
}

pub fn activate() {
    ACTIVE.store(true, Ordering::Release);
}

/// Stops sampling; no handler takes a sample after the return.
pub fn deactivate() {
    ACTIVE.store(false, Ordering::SeqCst);
    // A handler takes microseconds; if its thread cannot run, the sample stays for the next profile.
    let patience = Instant::now() + Duration::from_millis(200);
    while INSIDE.load(Ordering::SeqCst) != 0 && Instant::now() < patience {
        std::thread::sleep(Duration::from_micros(200));
    }
}
