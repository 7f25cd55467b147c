//! The modes of the terminal: whether they are set, and giving the terminal back from any thread.
use std::{
    io,
    sync::{Mutex, PoisonError, mpsc},
    time::Duration,
};

use anyhow::{Context as _, Result};
use crossterm::{
    cursor::{Hide, Show},
    event::{DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture},
    execute,
    style::ResetColor,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};

/// Whether the terminal is taken. Locked during the change, so that no thread ends the program halfway.
static TAKEN: Mutex<bool> = Mutex::new(false);

pub(super) fn is_taken() -> bool {
    *TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets the terminal's modes, at the start or again.
pub(super) fn enter() -> Result<()> {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    *taken = true;
    enable_raw_mode().context("cannot put the terminal into raw mode; use --plain for a table")?;
    execute!(io::stdout(), EnterAlternateScreen, EnableMouseCapture, EnableBracketedPaste, Hide)
        .context("cannot set up the terminal")
}

/// Gives the terminal back; safe to call twice.
pub fn give_back() {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    if std::mem::take(&mut *taken) {
        // An error means that the terminal has closed; there is nothing to restore then.
        let _ = disable_raw_mode();
        let _ = execute!(
            io::stdout(),
            DisableBracketedPaste,
            DisableMouseCapture,
            ResetColor,
            LeaveAlternateScreen,
            Show
        );
    }
}

/// Resets the modes only, so that crossterm sets raw mode again instead of assuming that it is set.
pub(super) fn give_back_modes() {
    // An error means that the terminal has closed.
    let _ = disable_raw_mode();
}

/// As [`give_back`], but waits at most `limit`, because a terminal may not accept output (Ctrl-S).
pub(super) fn give_back_within(limit: Duration) {
    let (done, wait) = mpsc::channel();
    // If no thread can be started, the program ends without giving the terminal back.
    let _ = std::thread::Builder::new().name("give-back".into()).spawn(move || {
        give_back();
        // The receiver is gone after the timeout.
        let _ = done.send(());
    });
    let _ = wait.recv_timeout(limit);
}
