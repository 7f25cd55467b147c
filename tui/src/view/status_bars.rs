//! Draws the first and the last line of the screen.
use ratatui::{
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{text, theme::Theme};
use crate::state::{Pane, Phase, Screen, overlay::Overlay, units};

/// Formats the head line: the operation, its phase, and the position of the cursor.
pub fn head(screen: &Screen, theme: Theme, width: u16) -> Paragraph<'static> {
    let mut spans = vec![Span::styled(format!(" {} ", screen.title()), theme.strong())];
    if screen.timeline().operation() != screen.title() {
        spans.push(Span::raw(format!("· {} ", screen.timeline().operation())));
    }
    let (sign, word, more, style) = phase(screen, theme);
    spans.push(Span::styled(format!(" {sign} {word}"), style));
    let (long, short) = place(screen);
    let used = |spans: &[Span<'_>]| spans.iter().map(Span::width).sum::<usize>() + 1;
    let held = held_for(screen);
    if used(&spans) + text::width(&held) + text::width(&short) + 2 <= width.into() {
        spans.push(Span::styled(held, style));
    }
    let room = usize::from(width).saturating_sub(used(&spans));
    // If the line is too narrow, the time is dropped first, then the parts of the phase's text.
    let whole: usize = more.iter().map(|m| text::width(m)).sum();
    let right = if whole + text::width(&long) + 2 <= room { long } else { short };
    let room = room.saturating_sub(text::width(&right));
    let mut said = String::new();
    for part in &more {
        if text::width(&said) + text::width(part) + 2 <= room {
            said.push_str(part);
        }
    }
    if said.is_empty() && screen.phase() == Phase::Held {
        let short = match screen.client_time_runs() {
            true => [" · the client's timeouts continue", " · client timeouts run", " · client runs"],
            false => [" · time stands still", " · clock stopped", ""],
        };
        said = short.into_iter().find(|s| text::width(s) + 2 <= room).unwrap_or_default().to_owned();
    } else if said.is_empty() {
        said = text::fit(more.first().map_or("", String::as_str), room.saturating_sub(2));
    }
    spans.push(Span::raw(text::pad(&said, room)));
    spans.push(Span::styled(format!("{right} "), theme.strong()));
    text::paragraph(vec![Line::from(spans)])
}

/// The time for which the request has been held; empty below one second.
fn held_for(screen: &Screen) -> String {
    let hold = screen.timeline().holds().first().filter(|_| screen.phase() == Phase::Held);
    let held = hold.map(|hold| units::held(screen.timeline().held_for(hold))).unwrap_or_default();
    if held.is_empty() { held } else { format!(" {held}") }
}

/// A sign and a word for the phase, and further texts, the most important first.
fn phase(screen: &Screen, theme: Theme) -> (&'static str, String, Vec<String>, ratatui::style::Style) {
    match screen.phase() {
        Phase::Starting => {
            ("○", "starting".into(), first_line(screen.log().last().map(String::as_str)), theme.strong())
        }
        Phase::Running => ("▷", "running".into(), Vec::new(), theme.good()),
        Phase::Held => {
            let hold = &screen.timeline().holds()[0];
            let stands = match screen.client_time_runs() {
                true => " · engine time stands still, the client's timeouts continue",
                false => " · engine time stands still",
            };
            let mut more = vec![stands.to_owned()];
            if screen.is_scripted() {
                more.push(" · by the scenario: n continues".to_owned());
            }
            if screen.timeline().holds().len() > 1 {
                more.insert(0, format!(", {} more held", screen.timeline().holds().len() - 1));
            }
            ("‖", format!("held at {}", hold.stage), more, theme.held())
        }
        Phase::Finished if !screen.mistakes().is_empty() => ("■", "ended".into(), ended(screen), theme.bad()),
        Phase::Finished => ("■", "ended".into(), ended(screen), theme.good()),
        Phase::Failed => ("!", "failed".into(), first_line(screen.failure()), theme.bad()),
    }
}

fn first_line(text: Option<&str>) -> Vec<String> {
    text.and_then(|t| t.lines().next()).map(|l| format!(": {}", l.trim())).into_iter().collect()
}

fn ended(screen: &Screen) -> Vec<String> {
    let Some(ending) = screen.timeline().ending() else { return Vec::new() };
    let s = &ending.summary;
    let outcome = if ending.outcome.is_empty() {
        String::new()
    } else {
        format!(": {}", screen.timestamps().apply(&ending.outcome))
    };
    let wall = units::duration(s.wall_ns);
    let more = if ending.more { " · N continues" } else { "" };
    let covered = format!(" · {wall}, {:.1} % in stages", s.accounted * 100.0);
    let dropped = if s.dropped == 0 { String::new() } else { format!(", {} stamps dropped", s.dropped) };
    let wrong = if screen.mistakes().is_empty() { "" } else { " · not as the scenario expects" };
    vec![outcome, wrong.into(), covered, dropped, more.into()]
}

/// Formats the position of the cursor, with and without the time.
fn place(screen: &Screen) -> (String, String) {
    let Some(step) = screen.step() else { return Default::default() };
    let time = format!("{} of {}", units::duration(step.at_ns), units::duration(screen.timeline().wall_ns()));
    let place = format!("step {} of {}", screen.timeline().cursor() + 1, screen.timeline().steps().len());
    (format!("{place} · {time}"), place)
}

/// Formats the foot line: a message, the input of a search, or hints for keys.
pub fn foot(screen: &Screen, theme: Theme, width: u16) -> Paragraph<'static> {
    if let Overlay::Search { input } = screen.overlay() {
        let name = screen.panes().focus().name().to_lowercase();
        let line = vec![
            Span::styled(" /", theme.key()),
            Span::raw(format!("{input}▏")),
            Span::styled(format!("  in {name}"), theme.dim()),
        ];
        return text::paragraph(vec![Line::from(line)]);
    }
    if let Overlay::Flame(view) = screen.overlay()
        && view.typing
    {
        let line = vec![
            Span::styled(" /", theme.key()),
            Span::raw(format!("{}▏", view.query)),
            Span::styled("  in the flame", theme.dim()),
        ];
        return text::paragraph(vec![Line::from(line)]);
    }
    if let Some(message) = screen.message() {
        return text::paragraph(vec![Line::from(Span::styled(format!(" {message}"), theme.strong()))]);
    }
    if let Some(prefix) = screen.prefix() {
        return text::paragraph(vec![Line::from(format!(" {prefix}…"))]);
    }
    if *screen.overlay() == Overlay::Leave {
        let asked = Span::styled(" Save the steps into a file?", theme.strong());
        let keys = [(" s", " save and quit "), (" q", " quit "), (" Esc", " stay")];
        let keys = keys.into_iter().flat_map(|(key, word)| [Span::styled(key, theme.key()), Span::raw(word)]);
        return text::paragraph(vec![Line::from(std::iter::once(asked).chain(keys).collect::<Vec<_>>())]);
    }
    let hints = match (screen.overlay(), screen.query().is_empty()) {
        (Overlay::Help { .. }, _) => HELP,
        (Overlay::Palette { .. }, _) => PALETTE,
        (Overlay::Flame(view), _) if view.timeline => TIMELINE,
        (Overlay::Gates { input: None, .. }, _) => GATES,
        (Overlay::Gates { .. } | Overlay::Operation(_), _) => TYPING,
        (Overlay::Held { .. }, _) => HELD,
        (Overlay::Flame(_), _) => FLAME,
        (Overlay::Places(_), _) => PLACES,
        (Overlay::Compare { .. }, _) => COMPARE,
        (_, false) => FOUND,
        _ if screen.panes().focus() == Pane::Source => SOURCE,
        _ if screen.panes().focus() == Pane::Stack => STACK,
        _ => STEP,
    };
    hint_line(hints, theme, width.into())
}

/// Formats as many hints as fit; always includes those of [`ALWAYS_SHOWN`].
fn hint_line(hints: Hints, theme: Theme, width: usize) -> Paragraph<'static> {
    let spans = |(key, word): &(&'static str, &'static str)| {
        [Span::styled(format!(" {key}"), theme.key()), Span::raw(format!(" {word} "))]
    };
    let columns = |h| spans(h).iter().map(Span::width).sum::<usize>();
    let (out, rest): (Vec<_>, Vec<_>) = hints.iter().partition(|h| ALWAYS_SHOWN.contains(h));
    let mut room = width.saturating_sub(out.iter().copied().map(columns).sum());
    let fitting = rest.into_iter().take_while(|h| {
        let fits = columns(h) <= room;
        room = room.saturating_sub(columns(h));
        fits
    });
    let shown: Vec<_> = fitting.chain(out).flat_map(spans).collect();
    text::paragraph(vec![Line::from(shown)])
}

type Hints = &'static [(&'static str, &'static str)];

/// Hints that are never dropped; they are at the end.
const ALWAYS_SHOWN: [(&str, &str); 3] = [("?", "help"), ("Esc", "back"), ("q", "quit")];
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
const SOURCE: Hints = &[
    ("n", "next"),
    ("p", "back"),
    ("j k h l", "name"),
    ("g", "definition"),
    ("G", "callers"),
    ("Ctrl-o", "return"),
    ("?", "help"),
    (":", "palette"),
    ("q", "quit"),
    ("t", "TiKV"),
    ("o", "editor"),
    ("/", "search"),
    ("y", "copy"),
    ("Tab", "pane"),
];
const STACK: Hints = &[
    ("n", "next"),
    ("p", "back"),
    ("j k", "row"),
    ("Enter", "open"),
    ("u", "unfold"),
    ("Ctrl-o", "return"),
    ("?", "help"),
    (":", "palette"),
    ("q", "quit"),
    ("z", "zoom"),
    ("/", "search"),
    ("y", "copy"),
    ("Tab", "pane"),
];
const COMPARE: Hints =
    &[("j k", "row"), ("]", "next difference"), ("[", "previous"), ("Enter", "to the step"), ("Esc", "back")];
const PLACES: Hints = &[("j k", "choose"), ("Enter", "go there"), ("Esc", "back")];
const HELP: Hints = &[("j k", "scroll"), ("Esc", "close")];
const PALETTE: Hints = &[("↑ ↓", "choose"), ("Enter", "do it"), ("Esc", "close")];
const GATES: Hints = &[
    ("a", "add"),
    ("e", "edit"),
    ("Space", "on or off"),
    ("d", "remove"),
    ("j k", "choose"),
    ("Esc", "back"),
];
const TYPING: Hints = &[("Enter", "set"), ("Ctrl-u", "clear"), ("Esc", "back")];
const HELD: Hints =
    &[("j k", "choose"), ("Enter", "this one continues"), ("g", "to its step"), ("Esc", "back")];
const FLAME: Hints = &[
    ("h l j k", "move"),
    ("z", "zoom"),
    ("/", "search"),
    ("t", "timeline"),
    ("m", "legend"),
    ("Enter", "to the step"),
    ("?", "help"),
    ("Esc", "back"),
    ("s", "only this"),
    ("i", "invert"),
    (":", "save as SVG"),
];
const TIMELINE: Hints = &[
    ("h l j k", "move"),
    ("n p", "in time"),
    ("z", "zoom"),
    ("t", "flame"),
    ("m", "legend"),
    ("Enter", "to the step"),
    ("?", "help"),
    ("Esc", "back"),
];
const FOUND: Hints =
    &[("]", "next match"), ("[", "previous match"), ("/", "search again"), ("Esc", "end search")];
