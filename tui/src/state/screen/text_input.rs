//! Text input: of a search, and of the palette's filter.
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tracepoints::printable::needs_escape;

use super::{Effect, Screen};
use crate::state::{
    overlay::{self, Choice, Overlay},
    panes::Pane,
    search, stack,
};

impl Screen {
    pub(super) fn go_to_match(&mut self, forward: bool) {
        if self.query.is_empty() {
            return self.say("no search yet; / searches in this pane");
        }
        let lines = self.lines(self.panes.focus());
        let from = self.search_from();
        let Some(found) = search::next(&lines, &self.query, from, forward) else {
            return self.say(format!(
                "no match for `{}` in {}",
                self.query,
                self.panes.focus().name().to_lowercase()
            ));
        };
        match self.panes.focus() {
            Pane::Path => {
                let rows = self.timeline.rows_in(found..found.saturating_add(1));
                let step = rows.first().map(|r| r.step.unwrap_or(r.span.0));
                self.go_to(step.unwrap_or(self.timeline.cursor()));
            }
            Pane::Stack => {
                if let Some(pick) = self.stack_rows().get(found).and_then(stack::Row::pick) {
                    self.panes.select(Some(pick));
                }
            }
            Pane::Source => self.put_cursor(found),
            pane => self.panes.scroll_to(pane, found),
        }
    }

    /// The index of the selected row of the stack, otherwise of the stamp's frame.
    pub(super) fn picked_row(&self) -> usize {
        let rows = self.stack_rows();
        let picked = rows.iter().position(|r| r.pick().is_some() && r.pick() == self.panes.pick());
        picked.or_else(|| rows.iter().position(|r| matches!(r, stack::Row::Frame { .. }))).unwrap_or(0)
    }

    fn search_from(&self) -> usize {
        let cursor = self.timeline.cursor();
        match self.panes.focus() {
            Pane::Path => self.timeline.tree().position(cursor, cursor).unwrap_or(0),
            Pane::Stack => self.picked_row(),
            Pane::Source => self.code_cursor().map_or(0, |c| c.line),
            pane => self.panes.scroll(pane).unwrap_or(self.panes.drawn(pane).offset),
        }
    }

    pub(super) fn search_key(&mut self, key: KeyEvent) -> Effect {
        let Overlay::Search { input } = &mut self.overlay else { return Effect::None };
        match typed(input, key) {
            Typed::Open => {}
            Typed::Closed => self.overlay = Overlay::None,
            Typed::Done => {
                self.query = std::mem::take(input);
                self.overlay = Overlay::None;
                if !self.query.is_empty() {
                    self.go_to_match(true);
                }
            }
        }
        Effect::None
    }

    /// Inserts pasted text into the open line of input. Ignores it elsewhere: a paste is never a command.
    pub fn on_paste(&mut self, text: &str) {
        self.message = None;
        let input = match &mut self.overlay {
            Overlay::Search { input } => input,
            Overlay::Palette { query, selected } => {
                *selected = 0;
                query
            }
            Overlay::Flame(view) if view.typing => &mut view.query,
            Overlay::Operation(typing) | Overlay::Gates { input: Some(typing), .. } => {
                typing.problem = None;
                &mut typing.text
            }
            _ => return self.say("pasted text is ignored here; / searches for text, : filters actions"),
        };
        let room = MAX_INPUT.saturating_sub(input.chars().count());
        input.extend(one_line(text).take(room));
        self.clamp_palette();
    }

    /// Lists the entries of the palette that match the query, best first.
    pub fn palette_entries(&self, query: &str) -> Vec<overlay::Entry> {
        let stages: Vec<&str> = self.timeline.steps().iter().map(|s| s.stage.as_str()).collect();
        let gates: Vec<&str> = self.gates.iter().map(|state| state.gate.text()).collect();
        overlay::entries(query, &stages, &gates)
    }

    pub(super) fn palette_key(&mut self, key: KeyEvent) -> Effect {
        let Overlay::Palette { query, selected } = &mut self.overlay else { return Effect::None };
        match key.code {
            KeyCode::Down => *selected += 1,
            KeyCode::Up => *selected = selected.saturating_sub(1),
            _ => match typed(query, key) {
                Typed::Open => *selected = 0,
                Typed::Closed => self.overlay = Overlay::None,
                Typed::Done => return self.choose(),
            },
        }
        self.clamp_palette();
        Effect::None
    }

    fn clamp_palette(&mut self) {
        let Overlay::Palette { query, selected } = &self.overlay else { return };
        let last = self.palette_entries(query).len().saturating_sub(1);
        self.overlay = Overlay::Palette { query: query.clone(), selected: (*selected).min(last) };
    }

    fn choose(&mut self) -> Effect {
        let Overlay::Palette { query, selected } = std::mem::take(&mut self.overlay) else {
            return Effect::None;
        };
        match self.palette_entries(&query).into_iter().nth(selected).map(|e| e.choice) {
            Some(Choice::Action(action)) => return self.act(action),
            Some(Choice::Gate(stage)) => self.toggle_gate(stage),
            Some(Choice::RunTo(stage)) => self.run_to_stage(stage),
            Some(Choice::Step(step)) => self.jump(step),
            None => self.say(format!("no action fits `{query}`")),
        }
        Effect::None
    }
}

/// Maximum number of characters in a line of input.
const MAX_INPUT: usize = 1_000;

/// Converts pasted text to one line: line ends and tabs become spaces, other control characters are removed.
fn one_line(text: &str) -> impl Iterator<Item = char> {
    let spaced = text.trim_end().chars().map(|c| if matches!(c, '\n' | '\t') { ' ' } else { c });
    spaced.filter(|c| !needs_escape(*c))
}

pub(super) enum Typed {
    Open,
    Closed,
    Done,
}

/// Edits one line of input.
pub(super) fn typed(input: &mut String, key: KeyEvent) -> Typed {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Esc => return Typed::Closed,
        KeyCode::Enter => return Typed::Done,
        KeyCode::Backspace if input.is_empty() => return Typed::Closed,
        KeyCode::Backspace => {
            input.pop();
        }
        KeyCode::Char('u') if control => input.clear(),
        KeyCode::Char(c) if !control => input.push(c),
        _ => {}
    }
    Typed::Open
}
