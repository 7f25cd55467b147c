//! The first and the last line of the screen.
use ratatui::{
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{text, theme::Theme};
use crate::state::{Screen, overlay::Overlay, path::wall_ns, screen::Phase, units};

/// What is stepped, how it stands, and where the person is in it.
pub fn head(screen: &Screen, theme: Theme, width: u16) -> Paragraph<'static> {
    let mut spans = vec![Span::styled(format!(" {} ", screen.title), theme.strong())];
    if screen.operation != screen.title {
        spans.push(Span::raw(format!("· {} ", screen.operation)));
    }
    let (sign, word, more, style) = phase(screen, theme);
    spans.push(Span::styled(format!(" {sign} {word}"), style));
    let used = Line::from(spans.clone()).width() + 1;
    let room = usize::from(width).saturating_sub(used);
    let (long, short) = place(screen);
    // What does not fit whole gives way: first the time, then what is said of the phase.
    let right = if more.chars().count() + long.chars().count() + 2 <= room { long } else { short };
    let room = room.saturating_sub(right.chars().count());
    spans.push(Span::raw(text::pad(&text::fit(&more, room.saturating_sub(2)), room)));
    spans.push(Span::styled(format!("{right} "), theme.strong()));
    Paragraph::new(Line::from(spans))
}

fn phase(screen: &Screen, theme: Theme) -> (&'static str, String, String, ratatui::style::Style) {
    match screen.phase() {
        Phase::Starting => ("○", "starting".into(), starting(screen), theme.strong()),
        Phase::Running => ("▷", "running".into(), String::new(), theme.good()),
        Phase::Held => {
            let hold = &screen.holds[0];
            let others = match screen.holds.len() {
                1 => String::new(),
                n => format!(", {} more held", n - 1),
            };
            let word = format!("held at {}", hold.stage);
            ("‖", word, format!("{others} · engine time stands still"), theme.held())
        }
        Phase::Finished => ("■", "ended".into(), ended(screen), theme.good()),
        Phase::Failed => ("!", "failed".into(), failed(screen), theme.bad()),
    }
}

fn starting(screen: &Screen) -> String {
    screen.log.last().map(|l| format!(": {l}")).unwrap_or_default()
}

fn failed(screen: &Screen) -> String {
    screen.failure.as_ref().map(|f| format!(": {}", f.lines().next().unwrap_or_default())).unwrap_or_default()
}

fn ended(screen: &Screen) -> String {
    let Some(ending) = &screen.ending else { return String::new() };
    let s = &ending.summary;
    let wall = units::duration(s.wall_ns);
    let covered = format!("{wall}, {:.1} % in stages, {} dropped", s.accounted * 100.0, s.dropped);
    let outcome = if ending.outcome.is_empty() { String::new() } else { format!(": {}", ending.outcome) };
    format!("{outcome} · {covered}")
}

/// Where the person stands, with the time and without.
fn place(screen: &Screen) -> (String, String) {
    let Some(step) = screen.step() else { return Default::default() };
    let time = format!("{} of {}", units::duration(step.at_ns), units::duration(wall_ns(&screen.steps)));
    let place = format!("step {} of {}", screen.cursor + 1, screen.steps.len());
    (format!("{place} · {time}"), place)
}

/// A message, a search, or the keys that matter now.
pub fn foot(screen: &Screen, theme: Theme, width: u16) -> Paragraph<'static> {
    if let Overlay::Search { input } = &screen.overlay {
        let name = screen.focus.name().to_lowercase();
        let line = vec![
            Span::styled(" /", theme.key()),
            Span::raw(format!("{input}▏")),
            Span::styled(format!("  in {name}"), theme.dim()),
        ];
        return Paragraph::new(Line::from(line));
    }
    if let Some(message) = &screen.message {
        return Paragraph::new(Line::from(Span::styled(format!(" {message}"), theme.strong())));
    }
    if let Some(prefix) = screen.prefix {
        return Paragraph::new(Line::from(format!(" {prefix}…")));
    }
    let hints = match (&screen.overlay, screen.query.is_empty()) {
        (Overlay::Help { .. }, _) => HELP,
        (Overlay::Palette { .. }, _) => PALETTE,
        (Overlay::Flame { .. }, _) => FLAME,
        (_, false) => FOUND,
        _ => STEP,
    };
    let mut line = Line::default();
    for (key, word) in hints {
        let spans = [Span::styled(format!(" {key}"), theme.key()), Span::raw(format!(" {word} "))];
        if line.width() + spans.iter().map(Span::width).sum::<usize>() > width.into() {
            break;
        }
        line.extend(spans);
    }
    Paragraph::new(line)
}

type Hints = &'static [(&'static str, &'static str)];

const STEP: Hints = &[
    ("n", "next"),
    ("p", "back"),
    ("c", "to gate"),
    ("r", "run"),
    ("b", "gate"),
    ("t", "TiKV"),
    ("f", "flame"),
    ("Tab", "pane"),
    ("?", "help"),
    (":", "palette"),
    ("q", "quit"),
    ("z", "zoom"),
    ("/", "search"),
    ("o", "editor"),
    ("y", "copy"),
];
const HELP: Hints = &[("j k", "scroll"), ("Esc", "close")];
const PALETTE: Hints = &[("↑ ↓", "choose"), ("Enter", "do it"), ("Esc", "close")];
const FLAME: Hints = &[
    ("h l", "sideways"),
    ("j k", "down, up"),
    ("Enter", "go to the step"),
    (":", "save as SVG"),
    ("Esc", "close"),
];
const FOUND: Hints =
    &[("]", "next match"), ("[", "previous match"), ("/", "search again"), ("Esc", "end search")];
