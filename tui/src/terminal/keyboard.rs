//! Reads the terminal: waits for bytes and decodes them.
use std::{
    io,
    time::{Duration, Instant},
};

use crossterm::event::Event;

use crate::input::decode::Decoder;

/// An escape is the Escape key if no byte follows in this time; a sequence may arrive in two packets.
const ESCAPE_TIMEOUT: Duration = Duration::from_millis(25);
/// A paste without its end ends after this time without a byte.
const PASTE_TIMEOUT: Duration = Duration::from_secs(1);

/// The terminal at standard input.
#[derive(Debug, Default)]
pub struct Keyboard {
    decoder: Decoder,
    /// Time of the last read.
    last_read: Option<Instant>,
}

impl Keyboard {
    /// The next event, if one comes within `wait`. A signal ends the wait early.
    ///
    /// # Errors
    /// If the terminal has closed: its end of file, or the system's error.
    pub fn next(&mut self, wait: Duration) -> io::Result<Option<Event>> {
        if let Some(event) = self.decoder.next_event() {
            return Ok(Some(event));
        }
        let timeout = if self.decoder.is_pasting() { PASTE_TIMEOUT } else { ESCAPE_TIMEOUT };
        let left = |at: Instant| timeout.saturating_sub(at.elapsed());
        let until = self.last_read.filter(|_| self.decoder.is_waiting()).map(left);
        if readable(until.map_or(wait, |u| u.min(wait)))? {
            let mut bytes = [0; 4096];
            let n = read(&mut bytes)?;
            self.decoder.feed(&bytes[..n]);
            self.last_read = Some(Instant::now());
        } else if until.is_some() && self.last_read.is_some_and(|at| at.elapsed() >= timeout) {
            self.decoder.pause();
        }
        Ok(self.decoder.next_event())
    }
}

/// Waits with `select`, because macOS's `poll` does not support terminals.
fn readable(wait: Duration) -> io::Result<bool> {
    let mut timeout = libc::timeval {
        tv_sec: wait.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        // Less than a million, which fits the type of every system.
        tv_usec: wait.subsec_micros() as libc::suseconds_t,
    };
    // SAFETY: all zero is an empty set; standard input is below FD_SETSIZE; the pointers are to locals.
    let ready = unsafe {
        let mut set: libc::fd_set = std::mem::zeroed();
        libc::FD_SET(libc::STDIN_FILENO, &mut set);
        let none = std::ptr::null_mut;
        libc::select(libc::STDIN_FILENO + 1, &mut set, none(), none(), &mut timeout)
    };
    match ready {
        -1 => interrupted_is(false),
        n => Ok(n > 0),
    }
}

fn read(bytes: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and the length are those of one slice.
    let n = unsafe { libc::read(libc::STDIN_FILENO, bytes.as_mut_ptr().cast(), bytes.len()) };
    match usize::try_from(n) {
        // An end of file by Ctrl-D, before the terminal is in raw mode again.
        Ok(0) if is_canonical() => Ok(0),
        Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the terminal has closed")),
        Ok(n) => Ok(n),
        Err(_) => interrupted_is(0),
    }
}

/// Whether the terminal is open and in line mode.
fn is_canonical() -> bool {
    // SAFETY: all zero is a valid `termios`, and the call fills it or fails.
    unsafe {
        let mut modes: libc::termios = std::mem::zeroed();
        libc::tcgetattr(libc::STDIN_FILENO, &raw mut modes) == 0 && modes.c_lflag & libc::ICANON != 0
    }
}

/// Returns the last error, or `value` after an interruption by a signal or a read that would wait.
fn interrupted_is<T>(value: T) -> io::Result<T> {
    match io::Error::last_os_error() {
        e if matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => Ok(value),
        e => Err(e),
    }
}
