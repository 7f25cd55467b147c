//! The loop: hears the keys and the source, draws when something changed.
use std::{
    io,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use crossterm::event::{Event, KeyEventKind, MouseEventKind};

use crate::{
    editor,
    state::{Effect, Screen, screen::Phase},
    terminal::{self, Terminal, keyboard::Keyboard},
    view,
};

/// How long to wait for a key before the source is asked; shorter while a request runs.
const IDLE: Duration = Duration::from_millis(50);
const BUSY: Duration = Duration::from_millis(10);
/// A frame takes no longer than this to be due, however many keys come.
const FRAME: Duration = Duration::from_millis(16);

/// How the screen ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// The person quit; with the source's failure and a scenario's mistakes, if there are any.
    Quit(Option<String>),
    /// A signal asked for it; SIGHUP also where the terminal has gone away.
    Signal(i32),
}

/// Steps on the screen until the person quits.
///
/// # Errors
/// If the terminal cannot be used.
pub fn run(mut screen: Screen) -> Result<Ended> {
    let mut terminal = Terminal::take()?;
    match steps(&mut screen, &mut terminal) {
        Ok(Some(signal)) => Ok(Ended::Signal(signal)),
        Ok(None) => Ok(Ended::Quit(screen.error())),
        Err(e) if has_gone(&e) => Ok(Ended::Signal(signal_hook::consts::SIGHUP)),
        Err(e) => Err(e),
    }
}

/// Whether the error is that the terminal has gone away.
fn has_gone(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|e| e.downcast_ref::<io::Error>()).any(|e| {
        let gone = [Some(libc::EIO), Some(libc::ENXIO), Some(libc::EBADF), Some(libc::ENODEV)];
        matches!(e.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe)
            || e.raw_os_error().is_some() && gone.contains(&e.raw_os_error())
    })
}

/// Until the person quits (None) or a signal asks to end.
fn steps(screen: &mut Screen, terminal: &mut Terminal) -> Result<Option<i32>> {
    let signals = terminal.signals();
    let mut keyboard = Keyboard::default();
    let mut dirty = true;
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
            terminal.draw(|frame| view::draw(frame, screen)).context("cannot draw")?;
            dirty = false;
        }
        let wait = if matches!(screen.phase(), Phase::Running | Phase::Starting) { BUSY } else { IDLE };
        let deadline = Instant::now() + FRAME;
        let mut event = keyboard.next(wait).context("cannot read the keyboard")?;
        while let Some(heard) = event {
            let effect = on_event(screen, heard, &mut dirty);
            if effect == Effect::Quit {
                return Ok(None);
            }
            dirty |= act(screen, terminal, effect)? | screen.poll();
            if Instant::now() >= deadline {
                break;
            }
            event = keyboard.next(Duration::ZERO).context("cannot read the keyboard")?;
        }
    }
}

/// Does what only the program around the screen can do. True if the screen must be drawn.
fn act(screen: &mut Screen, terminal: &mut Terminal, effect: Effect) -> Result<bool> {
    match effect {
        Effect::None | Effect::Quit => return Ok(false),
        Effect::Suspend => terminal.suspend(true)?,
        Effect::Edit { path, line } => screen.message = Some(terminal.lend(|| edit(&path, line))?),
        Effect::Copy(text) => terminal::copy(&text).context("cannot write to the terminal")?,
        Effect::Save(files) => screen.message = Some(save(&files)),
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
            // Moving the mouse changes nothing.
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

/// Opens the file in the editor at the line; says how that went.
fn edit(path: &Path, line: u32) -> String {
    let editor = editor::wanted();
    let mut command = match editor::command(&editor, path, line) {
        Ok(command) => command,
        Err(why) => return why,
    };
    match command.status() {
        Ok(status) if status.success() => format!("back from {}:{line}", path.display()),
        Ok(status) => format!("{editor} ended with {status}"),
        Err(e) => format!("cannot start the editor `{editor}`: {e}; set EDITOR to one that is installed"),
    }
}

/// Writes files into the working directory, never over another one.
fn save(files: &[(String, String)]) -> String {
    let mut said = Vec::new();
    for (name, text) in files {
        match write_new(name, text) {
            Ok(name) => said.push(name),
            Err(e) => return format!("cannot save {name} here: {e}"),
        }
    }
    format!("saved {}", said.join(" and "))
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
    Err(std::io::Error::other("a thousand files of that name are here already"))
}
