//! Signals that end the program, and signals about its job and its window.
//!
//! The handlers are installed before the terminal is taken; otherwise an early signal would end the program
//! without giving the terminal back. signal-hook, which crossterm also uses, only records a signal in its
//! handler; threads do the rest.
use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
    time::Duration,
};

use signal_hook::{
    consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH},
    flag,
    iterator::Signals as Pending,
};

use super::modes::give_back_within;

/// Time for the program to end by itself after a signal.
const GRACE: Duration = Duration::from_secs(2);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The signals since the start of the program.
#[derive(Debug, Default)]
pub struct Signals {
    /// The signal that asked the program to end; 0: none.
    end: AtomicI32,
    /// Another program has the terminal, so Ctrl-C and Ctrl-\ are for that program.
    lent: AtomicBool,
    stop: Arc<AtomicBool>,
    continued: Arc<AtomicBool>,
    resized: Arc<AtomicBool>,
}

impl Signals {
    /// The signal that asked the program to end, if one did.
    #[must_use]
    pub fn end(&self) -> Option<i32> {
        Some(self.end.load(Ordering::SeqCst)).filter(|s| *s != 0)
    }

    pub(super) fn lend(&self, lent: bool) {
        self.lent.store(lent, Ordering::SeqCst);
    }

    pub(super) fn take_stop(&self) -> bool {
        self.stop.swap(false, Ordering::SeqCst)
    }

    pub(super) fn take_continued(&self) -> bool {
        self.continued.swap(false, Ordering::SeqCst)
    }

    pub(super) fn take_resized(&self) -> bool {
        self.resized.swap(false, Ordering::SeqCst)
    }

    fn is_for_us(&self, signal: i32) -> bool {
        !matches!(signal, SIGINT | SIGQUIT) || !self.lent.load(Ordering::SeqCst)
    }
}

/// Installs the handlers of SIGTERM, SIGHUP, SIGINT and SIGQUIT, which ask the program to end with
/// [`Stopped::exit_code`]. A thread ends the program if it has not ended after 2 s, or at a second signal. A
/// SIGHUP that the caller ignores stays ignored, so that `nohup` keeps the program alive.
///
/// # Errors
/// If the system refuses a handler or a thread.
pub fn listen() -> io::Result<&'static Signals> {
    static SIGNALS: OnceLock<Signals> = OnceLock::new();
    if let Some(signals) = SIGNALS.get() {
        return Ok(signals);
    }
    let mut ends = vec![SIGTERM, SIGINT, SIGQUIT];
    if !is_ignored(SIGHUP) {
        ends.push(SIGHUP);
    }
    let pending = Pending::new(ends)?;
    let signals = SIGNALS.get_or_init(Signals::default);
    std::thread::Builder::new().name("signals".into()).spawn(move || end_at_last(pending, signals))?;
    Ok(signals)
}

/// Whether the program that started this one ignores the signal.
fn is_ignored(signal: i32) -> bool {
    // SAFETY: all zero is a valid `sigaction`; the pointer is to a local, and no new action is set.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut now) == 0 && now.sa_sigaction == libc::SIG_IGN
    }
}

/// Also installs the handlers for a program with a screen: SIGTSTP, SIGCONT, SIGWINCH.
pub(super) fn listen_on_screen() -> io::Result<&'static Signals> {
    static ONCE: OnceLock<()> = OnceLock::new();
    let signals = listen()?;
    if ONCE.set(()).is_ok() {
        flag::register(SIGTSTP, signals.stop.clone())?;
        flag::register(SIGCONT, signals.continued.clone())?;
        flag::register(SIGWINCH, signals.resized.clone())?;
    }
    Ok(signals)
}

/// The error of a command that a signal ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stopped by {} before the end", signal_hook::low_level::signal_name(*.0).unwrap_or("a signal"))]
pub struct Stopped(pub i32);

impl Stopped {
    /// The exit code that shells report after a signal: 128 + N.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        u8::try_from(128 + self.0).unwrap_or(u8::MAX)
    }
}

/// Records the first signal, and ends the program if it does not end by itself.
fn end_at_last(mut pending: Pending, signals: &'static Signals) {
    let Some(first) = pending.forever().find(|s| signals.is_for_us(*s)) else { return };
    signals.end.store(first, Ordering::SeqCst);
    for _ in 0..GRACE.as_millis() / POLL_INTERVAL.as_millis() {
        std::thread::sleep(POLL_INTERVAL);
        if pending.pending().any(|s| signals.is_for_us(s)) {
            break;
        }
    }
    give_back_within(Duration::from_secs(1));
    #[cfg(feature = "embedded")]
    recipes::temporary::remove_own();
    std::process::exit(Stopped(first).exit_code().into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lent_terminal_keeps_the_signals_of_its_keys() {
        let signals = Signals::default();
        let ours = || [SIGINT, SIGQUIT, SIGTERM, SIGHUP].map(|signal| signals.is_for_us(signal));
        assert_eq!(ours(), [true; 4]);
        signals.lend(true);
        assert_eq!(ours(), [false, false, true, true]);
        signals.lend(false);
        assert_eq!(ours(), [true; 4]);
    }
}
