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

fn about(pane: Pane) -> &'static str {
    match pane {
        Pane::Path => {
            "The path of one client operation: its requests, their stages, and the lanes of the replicas between \
             them. Right of a stage: its duration and its share of the operation. ▶ is the current step, ‖ held is where \
             the live request is held, ● gate is a stage that will hold it, ◆ is on the critical path, which determines \
             the operation's time. j and k move in the tree, n and p move in time."
        }
        Pane::Source => {
            "Our code at the stage, from the copy in this program. ▶ marks the statement that the stage stands for; │ its \
             further lines; the stamp itself is dim. j and k move the cursor, h and l choose a name on its line. g or Enter \
             goes to the name's definition, G lists the callers of this function, Ctrl-o goes back, Esc returns to the \
             stage. t shows TiKV's function for the stage, and its source with --tikv-src. o opens the line in $EDITOR."
        }
        Pane::Stack => {
            "The logical stack joins what threads separate: the client operation, its RPC, the command, the Raft entry and \
             the apply batch that led to this step. Then the call stack of the thread, innermost first; i marks a function \
             compiled into the one below it, (3) three frames of one function, +3 folded frames of runtimes, which u \
             unfolds. j and k select a row and show its source, Enter opens it."
        }
        Pane::State => {
            "The engine's state as published at this step: the Raft group on all stores, the rows of the key \
             in CF lock, write and default, latches, RocksDB's counters. ▸ marks the leader and the version the read \
             returns; * marks changes since the previous step."
        }
        Pane::Log => {
            "All events in order: requests, holds and releases, gates, the scenario's output, errors."
        }
    }
}

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
        text::wrap(about(pane), width).into_iter().map(|l| Line::from(format!(" {l}"))).collect();
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
