//! The terminal: taken at the start, and given back at every end of the program and whenever its job stops.
mod job;
pub mod keyboard;
mod modes;
pub mod signals;

use std::{
    io::{self, BufWriter, Write},
    sync::{
        Arc, Mutex, Once, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use crossterm::{
    cursor::MoveTo,
    execute,
    terminal::{Clear, ClearType},
};
use ratatui::{Frame, TerminalOptions, Viewport, backend::CrosstermBackend, layout::Rect};

use modes::{enter, give_back_modes, is_taken};
use signals::Signals;

pub use modes::give_back;

/// Maximum columns and rows. A terminal may report 65535 by 65535, which would need gigabytes.
const MAX_SIZE: (u16, u16) = (1000, 500);

/// Panics of other threads while the screen is taken. The log shows them, to keep the panes intact.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

type Drawing = ratatui::Terminal<CrosstermBackend<Out>>;

/// Standard output, buffered so that a frame is one write.
struct Out {
    inner: BufWriter<io::Stdout>,
    /// Hides errors: ratatui prints them when it is dropped, which panics if the terminal has closed.
    quiet: Arc<AtomicBool>,
}

impl Out {
    /// Replaces an error by `otherwise` if errors are hidden.
    fn hide_error<T>(&self, done: io::Result<T>, otherwise: T) -> io::Result<T> {
        if self.quiet.load(Ordering::Relaxed) { Ok(done.unwrap_or(otherwise)) } else { done }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let done = self.inner.write(bytes);
        self.hide_error(done, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let done = self.inner.flush();
        self.hide_error(done, ())
    }
}

/// The taken terminal; dropping it gives the terminal back.
pub struct Terminal {
    drawing: Drawing,
    quiet: Arc<AtomicBool>,
    size: (u16, u16),
    signals: &'static Signals,
}

/// Returns the panics of background threads since the last call.
pub fn background_panics() -> Vec<String> {
    std::mem::take(&mut *PANICS.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Terminal {
    /// Takes the terminal for the whole screen. A panic of the drawing thread gives it back before it prints.
    ///
    /// # Errors
    /// If standard output is not a terminal, or the terminal has closed.
    pub fn take() -> Result<Self> {
        let signals = signals::listen_on_screen().context("cannot listen for signals")?;
        report_panics();
        job::until_in_foreground(signals);
        let (size, quiet) = (size(), Arc::new(AtomicBool::new(false)));
        let drawing = drawing(size, &quiet).context("cannot draw on this terminal")?;
        let terminal = Self { drawing, quiet, size, signals };
        // If this fails, dropping `terminal` gives the terminal back.
        enter()?;
        Ok(terminal)
    }

    /// The signals of the process.
    #[must_use]
    pub fn signals(&self) -> &'static Signals {
        self.signals
    }

    /// Draws a frame of the terminal's current size.
    ///
    /// # Errors
    /// If the terminal has closed.
    pub fn draw(&mut self, frame: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        if size() != self.size {
            self.redraw()?;
        }
        self.drawing.draw(frame).map(drop)
    }

    /// Handles signals: a stop, a continuation, a new size. Returns whether the screen must be drawn.
    ///
    /// # Errors
    /// If the terminal cannot be taken again.
    pub fn attend(&mut self) -> Result<bool> {
        if self.signals.take_stop() {
            self.suspend(false)?;
            return Ok(true);
        }
        if self.signals.take_continued() {
            // Another program may have changed the terminal's modes during the stop.
            job::until_in_foreground(self.signals);
            give_back_modes();
            self.retake()?;
            return Ok(true);
        }
        Ok(self.signals.take_resized())
    }

    /// Gives the terminal back and stops this process, or its whole job; returns when it continues.
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

    /// Gives the terminal to the program that `f` runs: Ctrl-C, Ctrl-\ and Ctrl-Z are that program's.
    ///
    /// # Errors
    /// If the terminal cannot be taken again.
    pub fn lend<T>(&mut self, f: impl FnOnce() -> T) -> Result<T> {
        give_back();
        self.signals.lend(true);
        let out = job::with_default_stop(f).context("cannot give the terminal to another program");
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

    /// Clears the screen and adopts the terminal's current size.
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

/// Size of a terminal that does not report one, such as a serial line.
const DEFAULT_SIZE: (u16, u16) = (80, 24);

/// The size of standard output's terminal; 0 by 0 if it has closed.
fn size() -> (u16, u16) {
    // SAFETY: all zero is a valid `winsize`, and the call fills it or fails.
    let (code, size) = unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        (libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size), size)
    };
    match (code, size.ws_col, size.ws_row) {
        (0, 0, 0) => DEFAULT_SIZE,
        (0, columns, rows) => (columns.min(MAX_SIZE.0), rows.min(MAX_SIZE.1)),
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

/// Copies text to the clipboard by OSC 52, which also works over ssh if the terminal allows it.
///
/// # Errors
/// If the terminal has closed.
pub fn copy(text: &str) -> io::Result<()> {
    let encoded = base64::engine::general_purpose::STANDARD.encode(text);
    let mut out = io::stdout();
    write!(out, "\x1b]52;c;{encoded}\x07")?;
    out.flush()
}
