//! Signals: which one asked the program to end, and what happened to its job and its window.
//!
//! The handlers stand before the terminal is taken: a signal in between would end the program and leave the terminal as it is.
//! signal-hook, which crossterm has as well, only notes a signal in its handler; all else is done by threads.
use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
    time::Duration,
};

use signal_hook::{
    consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGWINCH},
    flag,
    iterator::Signals as Pending,
};

/// How long the program may take to end by itself once it was asked to.
const GRACE: Duration = Duration::from_secs(2);
const SLICE: Duration = Duration::from_millis(20);

/// What came since the program began.
#[derive(Debug, Default)]
pub struct Signals {
    /// The signal that asked to end; 0: none.
    end: AtomicI32,
    /// Another program has the terminal: its Ctrl-C is not for this one.
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
        signal != SIGINT || !self.lent.load(Ordering::SeqCst)
    }
}

/// Listens for what asks the program to end: SIGTERM, SIGHUP, SIGINT. The program then ends by itself, with [`Stopped::exit_code`]; if
/// it does not within 2 s, or is asked again, it is ended.
///
/// # Errors
/// If the system refuses a handler or a thread.
pub fn listen() -> io::Result<&'static Signals> {
    static SIGNALS: OnceLock<Signals> = OnceLock::new();
    if let Some(signals) = SIGNALS.get() {
        return Ok(signals);
    }
    let pending = Pending::new([SIGTERM, SIGHUP, SIGINT])?;
    let signals = SIGNALS.get_or_init(Signals::default);
    std::thread::Builder::new().name("signals".into()).spawn(move || end_at_last(pending, signals))?;
    Ok(signals)
}

/// Listens as well for what happens to a program that holds the terminal: SIGTSTP, SIGCONT, SIGWINCH.
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
    /// What shells report of a program that a signal ended: 128 + N.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        u8::try_from(128 + self.0).unwrap_or(u8::MAX)
    }
}

/// Notes the first signal, and ends a program that is stuck.
fn end_at_last(mut pending: Pending, signals: &'static Signals) {
    let Some(first) = pending.forever().find(|s| signals.is_for_us(*s)) else { return };
    signals.end.store(first, Ordering::SeqCst);
    for _ in 0..GRACE.as_millis() / SLICE.as_millis() {
        std::thread::sleep(SLICE);
        if pending.pending().any(|s| signals.is_for_us(s)) {
            break;
        }
    }
    super::give_back_within(Duration::from_secs(1));
    #[cfg(feature = "embedded")]
    recipes::temporary::remove_own();
    std::process::exit(Stopped(first).exit_code().into());
}
