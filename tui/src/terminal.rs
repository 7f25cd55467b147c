//! The terminal: taken on start, given back however the program ends.
use std::{
    io::{self, Write},
    sync::{
        Arc, Once,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use crossterm::{
    cursor::{Hide, Show},
    event::{DisableMouseCapture, EnableMouseCapture},
    execute,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};
use ratatui::{Terminal, backend::CrosstermBackend};

pub type Screen = Terminal<CrosstermBackend<io::Stdout>>;

static TAKEN: AtomicBool = AtomicBool::new(false);

/// Holds the terminal; dropping it gives the terminal back.
pub struct Guard(());

/// Takes the terminal for the whole screen. A panic anywhere gives it back before it prints.
pub fn take() -> Result<(Screen, Guard)> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            give_back();
            before(info);
        }));
    });
    let guard = Guard(());
    enter()?;
    let terminal =
        Terminal::new(CrosstermBackend::new(io::stdout())).context("cannot draw on this terminal")?;
    Ok((terminal, guard))
}

/// Takes the terminal (again).
pub fn enter() -> Result<()> {
    TAKEN.store(true, Ordering::SeqCst);
    enable_raw_mode().context("cannot put the terminal into raw mode; use --plain for a table")?;
    execute!(io::stdout(), EnterAlternateScreen, EnableMouseCapture, Hide)
        .context("cannot set up the terminal")
}

/// Gives the terminal back; safe to call twice.
pub fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // Nothing better can be done if the terminal is gone.
        let _ = disable_raw_mode();
        let _ = execute!(io::stdout(), DisableMouseCapture, LeaveAlternateScreen, Show);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        give_back();
    }
}

/// Copies text to the clipboard by OSC 52, which works over ssh too if the terminal allows it.
pub fn copy(text: &str) -> io::Result<()> {
    let encoded = base64::engine::general_purpose::STANDARD.encode(text);
    let mut out = io::stdout();
    write!(out, "\x1b]52;c;{encoded}\x07")?;
    out.flush()
}

/// Becomes true when the program is asked to end from outside (SIGTERM, SIGHUP).
pub fn asked_to_end() -> Arc<AtomicBool> {
    let asked = Arc::new(AtomicBool::new(false));
    #[cfg(unix)]
    {
        let flag = asked.clone();
        // Without the thread a signal ends the program at once, as it would without us.
        let _ = std::thread::Builder::new().name("signals".into()).spawn(move || wait_for_signal(&flag));
    }
    asked
}

#[cfg(unix)]
fn wait_for_signal(flag: &AtomicBool) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        let (Ok(mut term), Ok(mut hup)) = (signal(SignalKind::terminate()), signal(SignalKind::hangup()))
        else {
            return;
        };
        tokio::select! {
            _ = term.recv() => {}
            _ = hup.recv() => {}
        }
        flag.store(true, Ordering::SeqCst);
    });
}
