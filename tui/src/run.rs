//! The event loop: reads the keys and the source, and draws after changes.
use std::{
    io,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use crossterm::event::{Event, KeyEventKind, MouseEventKind};
use tracepoints::printable::note;

use crate::{
    editor,
    export::{self, Export},
    state::{self, Effect, Phase, Positions, Screen, overlay::Overlay},
    terminal::{self, Terminal, keyboard::Keyboard},
    view,
};

/// Wait for a key before the source is polled; [`BUSY`] while a request runs.
const IDLE: Duration = Duration::from_millis(50);
const BUSY: Duration = Duration::from_millis(10);
/// Time after which the offer to save ends the program without saving, so that a script is never blocked.
const LEAVE: Duration = Duration::from_secs(10);
/// Time between two frames while a request is held.
const TICK: Duration = Duration::from_secs(1);
/// Maximum time between two frames while keys arrive.
const FRAME: Duration = Duration::from_millis(16);

/// The end of the screen.
#[derive(Debug, PartialEq, Eq)]
pub enum ScreenEnd {
    /// The user quit; with the source's failure and the scenario's mistakes, if any.
    Quit(Option<String>),
    /// A signal asked the program to end; SIGHUP also if the terminal has closed.
    Signal(i32),
}

/// Shows the screen until the user quits.
///
/// # Errors
/// If the terminal cannot be used.
pub fn run(mut screen: Screen) -> Result<ScreenEnd> {
    let mut terminal = Terminal::take()?;
    state::index::prepare();
    let mut saved = None;
    let ended = steps(&mut screen, &mut terminal, &mut saved);
    drop(terminal);
    if let Some(saved) = saved {
        note(saved);
    }
    match ended {
        Ok(Some(signal)) => Ok(ScreenEnd::Signal(signal)),
        Ok(None) => Ok(ScreenEnd::Quit(screen.error())),
        Err(e) if has_gone(&e) => Ok(ScreenEnd::Signal(signal_hook::consts::SIGHUP)),
        Err(e) => Err(e),
    }
}

/// Whether the error means that the terminal has closed.
fn has_gone(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|e| e.downcast_ref::<io::Error>()).any(|e| {
        let gone = [Some(libc::EIO), Some(libc::ENXIO), Some(libc::EBADF), Some(libc::ENODEV)];
        matches!(e.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe)
            || e.raw_os_error().is_some() && gone.contains(&e.raw_os_error())
    })
}

/// Runs the loop until the user quits (None) or a signal asks the program to end.
/// `saved` gets a message about steps that were saved at the end.
fn steps(screen: &mut Screen, terminal: &mut Terminal, saved: &mut Option<String>) -> Result<Option<i32>> {
    let signals = terminal.signals();
    let mut offered: Option<Instant> = None;
    let mut keyboard = Keyboard::default();
    let (mut dirty, mut ticked) = (true, Instant::now());
    loop {
        if let Some(signal) = signals.end() {
            return Ok(Some(signal));
        }
        dirty |= terminal.attend()?;
        dirty |= screen.poll();
        for panic in terminal::background_panics() {
            screen.warn(format!("a thread of the engine panicked: {panic}"));
            dirty = true;
        }
        if dirty {
            let mut drawn = Positions::default();
            terminal.draw(|frame| drawn = view::draw(frame, screen)).context("cannot draw")?;
            screen.set_drawn(drawn);
            dirty = false;
        }
        let offers = *screen.overlay() == Overlay::Leave;
        offered = offers.then(|| offered.unwrap_or_else(Instant::now));
        if offered.is_some_and(|since| since.elapsed() >= LEAVE) {
            return Ok(None);
        }
        // The head line shows for how long a request has been held.
        if screen.ticks() && ticked.elapsed() >= TICK {
            screen.tick();
            (dirty, ticked) = (true, Instant::now());
        }
        let wait = if matches!(screen.phase(), Phase::Running | Phase::Starting) { BUSY } else { IDLE };
        let deadline = Instant::now() + FRAME;
        let mut event = keyboard.next(wait).context("cannot read the keyboard")?;
        while let Some(heard) = event {
            let effect = on_event(screen, heard, &mut dirty);
            match effect {
                Effect::Quit => return Ok(None),
                Effect::SaveAndQuit => {
                    *saved = Some(save_steps(screen));
                    return Ok(None);
                }
                _ => {}
            }
            dirty |= act(screen, terminal, effect)? | screen.poll();
            if Instant::now() >= deadline {
                break;
            }
            event = keyboard.next(Duration::ZERO).context("cannot read the keyboard")?;
        }
    }
}

/// Performs an effect that the screen cannot do itself. Returns whether the screen must be drawn.
fn act(screen: &mut Screen, terminal: &mut Terminal, effect: Effect) -> Result<bool> {
    match effect {
        Effect::None | Effect::Quit | Effect::SaveAndQuit => return Ok(false),
        Effect::Suspend => terminal.suspend(true)?,
        Effect::Edit { path, line } => screen.say(terminal.lend(|| edit(&path, line))?),
        Effect::Copy(text) => terminal::copy(&text).context("cannot write to the terminal")?,
        Effect::SaveTrace => {
            let said = save_steps(screen);
            screen.say(said);
        }
        Effect::SaveFlame => screen.say(save(&export::flame(screen)).0),
    }
    Ok(true)
}

fn on_event(screen: &mut Screen, event: Event, dirty: &mut bool) -> Effect {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => {
            *dirty = true;
            screen.on_key(key)
        }
        Event::Mouse(mouse) => {
            // The screen does not react to mouse moves.
            if !matches!(mouse.kind, MouseEventKind::Moved | MouseEventKind::Drag(_)) {
                *dirty = true;
                screen.on_mouse(mouse);
            }
            Effect::None
        }
        Event::Paste(text) => {
            *dirty = true;
            screen.on_paste(&text);
            Effect::None
        }
        _ => Effect::None,
    }
}

/// Opens the file in the editor at the line; returns a message about the result.
fn edit(path: &Path, line: u32) -> String {
    let editor = editor::wanted();
    let mut command = match editor::command(&editor, path, line) {
        Ok(command) => command,
        Err(why) => return why,
    };
    match command.status() {
        Ok(status) if status.success() => format!("back from {}:{line}", path.display()),
        Ok(status) => format!("{editor} ended with {status}"),
        Err(e) => format!("cannot start the editor `{editor}`: {e}; set EDITOR to an installed editor"),
    }
}

/// Writes the steps into the working directory; returns a message about the result.
fn save_steps(screen: &mut Screen) -> String {
    match export::steps(screen) {
        Ok(export) => {
            let (said, saved) = save(&export);
            if saved {
                screen.note_saved();
            }
            said
        }
        Err(e) => format!("{e:#}"),
    }
}

/// Writes files into the working directory under new names; returns a message about the result, and whether
/// all were written.
fn save(export: &Export) -> (String, bool) {
    let mut said = Vec::new();
    for (name, text) in &export.files {
        match write_new(name, text) {
            Ok(name) => said.push(name),
            Err(e) => return (format!("cannot save {name} in the working directory: {e}"), false),
        }
    }
    let saved = format!("saved {}", said.join(" and "));
    (std::iter::once(saved).chain(export.problems.iter().cloned()).collect::<Vec<_>>().join("; "), true)
}

fn write_new(name: &str, text: &str) -> std::io::Result<String> {
    use std::io::Write as _;
    let (stem, end) = name.rsplit_once('.').unwrap_or((name, "txt"));
    for i in 0..1000 {
        let name = if i == 0 { format!("{stem}.{end}") } else { format!("{stem}-{i}.{end}") };
        match std::fs::OpenOptions::new().write(true).create_new(true).open(&name) {
            Ok(mut file) => return file.write_all(text.as_bytes()).map(|()| name),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Err(std::io::Error::other("1,000 files of this name already exist: remove some"))
}
