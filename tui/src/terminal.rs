//! The terminal: taken on start, given back however the program ends.
use std::{
    io::{self, Write},
    sync::{
        Arc, Mutex, Once, PoisonError,
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

/// How long the screen may take to end by itself once it was asked to.
const GRACE: std::time::Duration = std::time::Duration::from_secs(2);

static TAKEN: AtomicBool = AtomicBool::new(false);
/// Panics of other threads, while the screen is taken: told in the log, not written over the panes.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Holds the terminal; dropping it gives the terminal back.
pub struct Guard(());

/// Panics of background threads since the last call.
pub fn background_panics() -> Vec<String> {
    std::mem::take(&mut *PANICS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Takes the terminal for the whole screen. A panic of the thread that draws gives it back before it prints.
pub fn take() -> Result<(Screen, Guard)> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        let drawing = std::thread::current().id();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().id() == drawing || !TAKEN.load(Ordering::SeqCst) {
                give_back();
                return before(info);
            }
            let name = std::thread::current().name().unwrap_or("unnamed").to_owned();
            PANICS.lock().unwrap_or_else(PoisonError::into_inner).push(format!("thread {name}: {info}"));
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

/// Becomes true when the program is asked to end from outside (SIGTERM, SIGHUP, SIGINT).
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
        let kinds = (SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt());
        let (Ok(mut term), Ok(mut hup), Ok(mut int)) = (signal(kinds.0), signal(kinds.1), signal(kinds.2))
        else {
            return;
        };
        tokio::select! {
            _ = term.recv() => {}
            _ = hup.recv() => {}
            _ = int.recv() => {}
        }
        flag.store(true, Ordering::SeqCst);
        // A terminal that has gone away reads as an endless end of file, in which the event reader turns for ever.
        tokio::time::sleep(GRACE).await;
        give_back();
        #[cfg(feature = "embedded")]
        recipes::cluster::remove_temporary();
        std::process::exit(1);
    });
}
