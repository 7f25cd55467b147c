//! The terminal: taken on start, given back however the program ends, and whenever its job stops.
mod job;
pub mod keyboard;
pub mod signals;

use std::{
    io::{self, BufWriter, Write},
    sync::{
        Arc, Mutex, Once, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use crossterm::{
    cursor::{Hide, MoveTo, Show},
    event::{DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture},
    execute,
    style::ResetColor,
    terminal::{
        Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
    },
};
use ratatui::{Frame, TerminalOptions, Viewport, backend::CrosstermBackend, layout::Rect};

use signals::Signals;

/// The largest screen that is drawn on; a terminal may claim 65535 by 65535, which would need gigabytes.
const LARGEST: (u16, u16) = (1000, 500);

/// Whether the terminal is taken. Locked while it is taken or given back, so that nobody ends the program halfway.
static TAKEN: Mutex<bool> = Mutex::new(false);
/// Panics of other threads, while the screen is taken: reported in the log, not written over the panes.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

type Drawing = ratatui::Terminal<CrosstermBackend<Out>>;

/// Standard output, a frame a write.
struct Out {
    inner: BufWriter<io::Stdout>,
    /// Errors do not matter any more: ratatui prints them on standard error when it is dropped, which panics where the
    /// terminal has gone.
    quiet: Arc<AtomicBool>,
}

impl Out {
    fn judge<T>(&self, done: io::Result<T>, otherwise: T) -> io::Result<T> {
        if self.quiet.load(Ordering::Relaxed) { Ok(done.unwrap_or(otherwise)) } else { done }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let done = self.inner.write(bytes);
        self.judge(done, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let done = self.inner.flush();
        self.judge(done, ())
    }
}

/// Holds the terminal; dropping it gives the terminal back.
pub struct Terminal {
    drawing: Drawing,
    quiet: Arc<AtomicBool>,
    size: (u16, u16),
    signals: &'static Signals,
}

/// Panics of background threads since the last call.
pub fn background_panics() -> Vec<String> {
    std::mem::take(&mut *PANICS.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Terminal {
    /// Takes the terminal for the whole screen. A panic of the thread that draws gives it back before it prints.
    ///
    /// # Errors
    /// If it is no terminal, or has gone.
    pub fn take() -> Result<Self> {
        let signals = signals::listen_on_screen().context("cannot listen for signals")?;
        report_panics();
        job::until_in_foreground(signals);
        let (size, quiet) = (size(), Arc::new(AtomicBool::new(false)));
        let drawing = drawing(size, &quiet).context("cannot draw on this terminal")?;
        let terminal = Self { drawing, quiet, size, signals };
        // If that fails, dropping the terminal gives it back.
        enter()?;
        Ok(terminal)
    }

    /// The signals that come meanwhile.
    #[must_use]
    pub fn signals(&self) -> &'static Signals {
        self.signals
    }

    /// Draws a frame, as large as the terminal is now.
    ///
    /// # Errors
    /// If the terminal has gone.
    pub fn draw(&mut self, frame: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        if size() != self.size {
            self.redraw()?;
        }
        self.drawing.draw(frame).map(drop)
    }

    /// Does what signals ask for: stops, takes the terminal again after a stop, follows a new size. True if the screen must be
    /// drawn.
    ///
    /// # Errors
    /// If the terminal cannot be taken again.
    pub fn attend(&mut self) -> Result<bool> {
        if self.signals.take_stop() {
            self.suspend(false)?;
            return Ok(true);
        }
        if self.signals.take_continued() {
            // Whoever had the terminal meanwhile may have set it otherwise.
            job::until_in_foreground(self.signals);
            give_back_modes();
            self.retake()?;
            return Ok(true);
        }
        Ok(self.signals.take_resized())
    }

    /// Stops this process, or its whole job, with the terminal given back; returns when it goes on.
    ///
    /// # Errors
    /// If the terminal cannot be taken again.
    pub fn suspend(&mut self, job: bool) -> Result<()> {
        give_back();
        job::stop(job).context("cannot stop")?;
        job::until_in_foreground(self.signals);
        self.signals.take_continued();
        self.retake()
    }

    /// Lends the terminal to another program, which runs in `f`: Ctrl-C and Ctrl-Z are that program's.
    ///
    /// # Errors
    /// If the terminal cannot be taken again.
    pub fn lend<T>(&mut self, f: impl FnOnce() -> T) -> Result<T> {
        give_back();
        self.signals.lend(true);
        let out = job::with_default_stop(f).context("cannot lend the terminal");
        self.signals.lend(false);
        self.signals.take_continued();
        job::until_in_foreground(self.signals);
        self.retake()?;
        out
    }

    fn retake(&mut self) -> Result<()> {
        enter()?;
        self.redraw().context("cannot draw on this terminal")
    }

    /// From an empty screen of the size it has now.
    fn redraw(&mut self) -> io::Result<()> {
        self.size = size();
        self.drawing = drawing(self.size, &self.quiet)?;
        execute!(io::stdout(), Clear(ClearType::All), MoveTo(0, 0))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.quiet.store(true, Ordering::Relaxed);
        give_back();
    }
}

/// What a terminal has that does not know its size, such as a serial line.
const USUAL: (u16, u16) = (80, 24);

/// The size that standard output has; nothing if it is no terminal any more.
fn size() -> (u16, u16) {
    // SAFETY: all zero is a valid `winsize`, and the call fills it or fails.
    let (code, size) = unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        (libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size), size)
    };
    match (code, size.ws_col, size.ws_row) {
        (0, 0, 0) => USUAL,
        (0, columns, rows) => (columns.min(LARGEST.0), rows.min(LARGEST.1)),
        _ => (0, 0),
    }
}

fn drawing((width, height): (u16, u16), quiet: &Arc<AtomicBool>) -> io::Result<Drawing> {
    let out = Out { inner: BufWriter::with_capacity(1 << 16, io::stdout()), quiet: quiet.clone() };
    let viewport = Viewport::Fixed(Rect::new(0, 0, width, height));
    Drawing::with_options(CrosstermBackend::new(out), TerminalOptions { viewport })
}

fn report_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        let drawing = std::thread::current().id();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().id() == drawing || !is_taken() {
                give_back();
                return before(info);
            }
            let name = std::thread::current().name().unwrap_or("unnamed").to_owned();
            PANICS.lock().unwrap_or_else(PoisonError::into_inner).push(format!("thread {name}: {info}"));
        }));
    });
}

fn is_taken() -> bool {
    *TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the terminal (again).
fn enter() -> Result<()> {
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
        // Nothing better can be done if the terminal is gone.
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

/// The modes only, so that raw mode is set again and not believed to be set.
fn give_back_modes() {
    // Nothing better can be done if the terminal is gone.
    let _ = disable_raw_mode();
}

/// As [`give_back`], for a thread that must not wait for a terminal that takes nothing (Ctrl-S).
fn give_back_within(limit: Duration) {
    let (done, wait) = mpsc::channel();
    // Without the thread the program ends as it is.
    let _ = std::thread::Builder::new().name("give-back".into()).spawn(move || {
        give_back();
        // The program may have stopped waiting.
        let _ = done.send(());
    });
    let _ = wait.recv_timeout(limit);
}

/// Copies text to the clipboard by OSC 52, which works over ssh too if the terminal allows it.
///
/// # Errors
/// If the terminal has gone.
pub fn copy(text: &str) -> io::Result<()> {
    let encoded = base64::engine::general_purpose::STANDARD.encode(text);
    let mut out = io::stdout();
    write!(out, "\x1b]52;c;{encoded}\x07")?;
    out.flush()
}
