//! The loop: hears the keys and the source, draws when something changed.
use std::{
    path::Path,
    process::Command,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use crossterm::event::{self, Event, KeyEventKind};

use crate::{
    state::{Effect, Screen, screen::Phase},
    terminal, view,
};

/// How long to wait for a key before the source is asked; shorter while a request runs.
const IDLE: Duration = Duration::from_millis(50);
const BUSY: Duration = Duration::from_millis(10);
/// A frame takes no longer than this to be due, however many keys come.
const FRAME: Duration = Duration::from_millis(16);

/// Steps on the screen until the person quits. Returns the source's failure, if it had one.
pub fn run(mut screen: Screen) -> Result<Option<String>> {
    let asked = terminal::asked_to_end();
    let (mut term, guard) = terminal::take()?;
    let mut dirty = true;
    while !asked.load(Ordering::SeqCst) {
        dirty |= screen.poll();
        for panic in terminal::background_panics() {
            screen.warn(format!("a thread of the engine panicked: {panic}"));
            dirty = true;
        }
        if dirty {
            term.draw(|frame| view::draw(frame, &mut screen)).context("cannot draw")?;
            dirty = false;
        }
        let wait = if matches!(screen.phase(), Phase::Running | Phase::Starting) { BUSY } else { IDLE };
        let deadline = Instant::now() + FRAME;
        let mut ready = event::poll(wait).context("cannot read the keyboard")?;
        while ready {
            let effect =
                on_event(&mut screen, event::read().context("cannot read the keyboard")?, &mut dirty);
            dirty |= screen.poll();
            match effect {
                Effect::None => {}
                Effect::Quit => {
                    drop(guard);
                    return Ok(screen.failure);
                }
                Effect::Edit { path, line } => {
                    screen.message = Some(edit(&path, line)?);
                    term.clear().context("cannot draw")?;
                }
                Effect::Copy(text) => terminal::copy(&text).context("cannot write to the terminal")?,
                Effect::Save(files) => screen.message = Some(save(&files)),
            }
            ready = Instant::now() < deadline
                && event::poll(Duration::ZERO).context("cannot read the keyboard")?;
        }
    }
    Ok(screen.failure)
}

fn on_event(screen: &mut Screen, event: Event, dirty: &mut bool) -> Effect {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => {
            *dirty = true;
            screen.on_key(key)
        }
        Event::Mouse(mouse) => {
            // Moving the mouse changes nothing.
            if !matches!(mouse.kind, event::MouseEventKind::Moved | event::MouseEventKind::Drag(_)) {
                *dirty = true;
                screen.on_mouse(mouse);
            }
            Effect::None
        }
        Event::Resize(..) => {
            *dirty = true;
            Effect::None
        }
        _ => Effect::None,
    }
}

/// Opens the file in $VISUAL or $EDITOR (else vi) at the line, with the terminal given to it.
fn edit(path: &Path, line: u32) -> Result<String> {
    let named = |name| std::env::var(name).ok().filter(|v| !v.trim().is_empty());
    let editor = named("VISUAL").or_else(|| named("EDITOR")).unwrap_or_else(|| "vi".into());
    terminal::give_back();
    let result = editor_command(&editor, path, line).status();
    terminal::enter()?;
    Ok(match result {
        Ok(status) if status.success() => format!("back from {}:{line}", path.display()),
        Ok(status) => format!("{editor} ended with {status}"),
        Err(e) => format!("cannot start the editor `{editor}`: {e}; set EDITOR to one that is installed"),
    })
}

/// `EDITOR` may hold arguments. Most editors take `+LINE FILE`; a few want `--goto FILE:LINE` or `FILE:LINE`.
fn editor_command(editor: &str, path: &Path, line: u32) -> Command {
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let mut command = Command::new(program);
    command.args(words);
    let name = Path::new(program).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let at = format!("{}:{line}", path.display());
    match name.as_str() {
        "code" | "codium" | "cursor" => command.arg("--goto").arg(at),
        "hx" | "helix" | "subl" | "zed" => command.arg(at),
        _ => command.arg(format!("+{line}")).arg(path),
    };
    command
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editors_get_the_line_in_their_own_form() {
        let shown = |editor| format!("{:?}", editor_command(editor, Path::new("/a b.rs"), 7));
        assert_eq!(shown("vim"), r#""vim" "+7" "/a b.rs""#);
        assert_eq!(shown("code --wait"), r#""code" "--wait" "--goto" "/a b.rs:7""#);
        assert_eq!(shown("/usr/bin/hx"), r#""/usr/bin/hx" "/a b.rs:7""#);
    }
}
