//! Draws the help: a description of the pane with the focus, and all keys.
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::{Block, Clear},
};

use super::{text, theme::Theme};
use crate::{
    input::action::{BINDINGS, Group},
    state::{Pane, Screen},
};

/// A sign or a key of a pane, and its meaning; an empty sign begins a sentence about the whole pane.
type About = &'static [(&'static str, &'static str)];

fn about(pane: Pane) -> About {
    match pane {
        Pane::Path => &[
            (
                "",
                "The requests of one client operation, their stages, and the lanes of the replicas between them.",
            ),
            ("", "Right of a stage: its duration and its share of the operation."),
            ("▶", "the current step"),
            ("‖", "the live request is held here"),
            ("●", "a gate that will hold the request"),
            ("◆", "on the critical path, which determines the operation's time"),
            ("·", "of another request, while one was held"),
            ("j k", "move in the tree"),
            ("n p", "move in time"),
        ],
        Pane::Source => &[
            ("", "Our code at the stage, from the copy in this program. The stamp itself is dim."),
            ("▶", "the statement that the stage stands for"),
            ("│", "further lines of the statement"),
            ("j k h l", "move the cursor to a line, and to a name on it"),
            ("g Enter", "to the definition of the name"),
            ("G", "lists the callers of this function"),
            ("Ctrl-o", "back to the place before"),
            ("Esc", "back to the stage"),
            ("t", "TiKV's function for the stage, and its source with --tikv-src"),
            ("o", "opens the line in $EDITOR"),
        ],
        Pane::Stack => &[
            (
                "",
                "First the logical stack over threads: client operation, RPC, command, Raft entry, apply batch.",
            ),
            ("", "Then the call stack of the thread, innermost first."),
            ("i", "a function compiled into the one below it"),
            ("(3)", "three frames of one function"),
            ("+3", "folded frames of runtimes"),
            ("u", "unfolds them"),
            ("j k", "select a row and show its source"),
            ("Enter", "opens the row"),
        ],
        Pane::State => &[
            (
                "",
                "The state as published at this step: the Raft group on all stores, latches, RocksDB's counters.",
            ),
            ("", "Of the key: its rows in CF lock, write and default."),
            ("▸", "the leader, and the version that the read returns"),
            ("*", "changed since the previous step"),
        ],
        Pane::Log => &[(
            "",
            "All events in order: requests, holds and releases, gates, the scenario's output, errors.",
        )],
    }
}

/// The lines of one entry: its sign, and its meaning beside it.
fn entry((sign, meaning): (&'static str, &'static str), theme: Theme, width: usize) -> Vec<Line<'static>> {
    let column = if sign.is_empty() { 1 } else { SIGNS };
    let lines = text::wrap(meaning, width.saturating_sub(column)).into_iter().enumerate();
    let sign = |first: bool| text::pad(&format!(" {}", if first { sign } else { "" }), column);
    lines.map(|(i, l)| Line::from(vec![Span::styled(sign(i == 0), theme.key()), Span::raw(l)])).collect()
}

/// Columns of a sign and the space around it.
const SIGNS: usize = 10;

/// Draws an empty box in the middle of `area`; returns its inner area.
pub fn popup(frame: &mut Frame<'_>, area: Rect, width: u16, height: u16, title: &str, theme: Theme) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    let at =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    let block = Block::bordered()
        .border_style(theme.strong())
        .title(Line::styled(format!(" {title} "), theme.strong()));
    let inner = block.inner(at);
    frame.render_widget(Clear, at);
    frame.render_widget(block, at);
    inner
}

/// Draws the help, scrolled by `scroll` lines.
pub fn draw(frame: &mut Frame<'_>, area: Rect, screen: &Screen, theme: Theme, scroll: usize) {
    let width = area.width.min(84);
    let lines = lines(screen.panes().focus(), theme, usize::from(width.saturating_sub(4)));
    let height = (lines.len() as u16 + 2).min(area.height);
    let title = format!("Help: {}", screen.panes().focus().name().to_lowercase());
    let inner = popup(frame, area, width, height, &title, theme);
    let last = lines.len().saturating_sub(inner.height.into());
    frame.render_widget(text::paragraph(lines).scroll((scroll.min(last) as u16, 0)), inner);
}

fn lines(pane: Pane, theme: Theme, width: usize) -> Vec<Line<'static>> {
    let mut out: Vec<Line<'static>> =
        about(pane).iter().flat_map(|part| entry(*part, theme, width)).collect();
    let groups =
        [(Group::Step, "Step"), (Group::Look, "Look"), (Group::Move, "Move"), (Group::Program, "Program")];
    for (group, title) in groups {
        out.push(Line::default());
        out.push(Line::styled(format!(" {title}"), theme.strong()));
        for b in BINDINGS.iter().filter(|b| b.group == group) {
            let keys = if b.keys.is_empty() { "palette".into() } else { b.keys.join(" ") };
            out.push(Line::from(vec![
                Span::styled(format!("   {keys:<16}"), theme.key()),
                Span::raw(text::fit(b.title, width.saturating_sub(18))),
            ]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sign_of_a_pane_has_a_line_of_its_own() {
        let shown: Vec<String> =
            lines(Pane::Path, Theme::new(true), 40).iter().map(|line| line.to_string()).collect();
        let at = |text: &str| {
            shown.iter().position(|l| l.starts_with(text)).unwrap_or_else(|| panic!("{shown:?}"))
        };
        assert_eq!(at(" ‖        the live request") + 1, at(" ●        a gate"));
        let wrapped = at(" ◆        on the critical path");
        assert!(
            shown[wrapped + 1].starts_with("          "),
            "the meaning continues in its column: {shown:?}"
        );
        for pane in Pane::ALL {
            let about = about(pane);
            assert!(about[0].0.is_empty() && about.iter().all(|(sign, _)| text::width(sign) + 2 <= SIGNS));
        }
    }
}
