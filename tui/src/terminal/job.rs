//! Job control: stops and continues the program as an editor does.
use std::{io, time::Duration};

use super::signals::Signals;

/// Whether this process is in the terminal's foreground; true also if the terminal is not its session's.
fn in_foreground() -> bool {
    // SAFETY: both calls take and give plain numbers.
    let (group, own) = unsafe { (libc::tcgetpgrp(libc::STDIN_FILENO), libc::getpgrp()) };
    group == -1 || group == own
}

/// Waits until the shell gives this job the terminal: a background job must not read it or set its modes.
pub(super) fn until_in_foreground(signals: &Signals) {
    while !in_foreground() && signals.end().is_none() {
        // Stops the job, which its shell reports. Without a shell nothing happens.
        // SAFETY: the signal's action is the default, no handler of ours runs.
        unsafe { libc::raise(libc::SIGTTOU) };
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Stops this process as SIGTSTP does by default, and its whole job if `job` is set (Ctrl-Z: `./run` and
/// cargo belong to the job). Returns when the process continues, or at once if no shell could continue it.
///
/// # Errors
/// If the system refuses.
pub(super) fn stop(job: bool) -> io::Result<()> {
    if job {
        // This process ignores the signal to its group, because it stops below.
        let before = action(libc::SIGTSTP, libc::SIG_IGN)?;
        // SAFETY: a signal to the own process group.
        let sent = unsafe { libc::kill(0, libc::SIGTSTP) };
        restore(libc::SIGTSTP, &before)?;
        if sent != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    with_default_stop(|| {
        // SAFETY: `raise` is to this thread: it has its effect before it returns.
        unsafe { libc::raise(libc::SIGTSTP) };
    })
}

/// Runs `f` with SIGTSTP's default action, as in a program without a screen.
///
/// # Errors
/// If the system refuses.
pub(super) fn with_default_stop<T>(f: impl FnOnce() -> T) -> io::Result<T> {
    let before = action(libc::SIGTSTP, libc::SIG_DFL)?;
    let out = f();
    restore(libc::SIGTSTP, &before)?;
    Ok(out)
}

fn action(signal: i32, handler: libc::sighandler_t) -> io::Result<libc::sigaction> {
    // SAFETY: all zero is a valid `sigaction`; both pointers are to locals.
    unsafe {
        let mut new: libc::sigaction = std::mem::zeroed();
        let mut before: libc::sigaction = std::mem::zeroed();
        new.sa_sigaction = handler;
        match libc::sigaction(signal, &new, &mut before) {
            0 => Ok(before),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

fn restore(signal: i32, before: &libc::sigaction) -> io::Result<()> {
    // SAFETY: the pointer is to an action that the system returned; the old action is not requested.
    match unsafe { libc::sigaction(signal, before, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
