//! Keys of the comparison with another run.
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{Effect, Screen};
use crate::state::{compare::Pair, overlay::Overlay};

impl Screen {
    /// Opens the comparison at the current step, or closes it.
    pub fn toggle_compare(&mut self) {
        if matches!(self.overlay, Overlay::Compare { .. }) {
            self.overlay = Overlay::None;
            return;
        }
        if self.other.is_none() {
            return self.say(
                "no other run to compare with: step a second operation, or start with `tikv-tui compare A B`",
            );
        }
        let cursor = Some(self.timeline.cursor());
        let selected = self.pairs().iter().position(|p| p.after == cursor).unwrap_or(0);
        self.overlay = Overlay::Compare { selected };
    }

    /// Handles a key of the comparison.
    pub(super) fn compare_key(&mut self, key: KeyEvent) -> Effect {
        let Overlay::Compare { selected } = self.overlay else { return Effect::None };
        let pairs = self.pairs();
        let last = pairs.len().saturating_sub(1);
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let to = match key.code {
            KeyCode::Char('j' | 'n') | KeyCode::Down => (selected + 1).min(last),
            KeyCode::Char('k' | 'p') | KeyCode::Up => selected.saturating_sub(1),
            KeyCode::Char('d') if control => (selected + 10).min(last),
            KeyCode::Char('u') if control => selected.saturating_sub(10),
            KeyCode::PageDown => (selected + 10).min(last),
            KeyCode::PageUp => selected.saturating_sub(10),
            KeyCode::Char(']') => next_difference(&pairs, selected, true),
            KeyCode::Char('[') => next_difference(&pairs, selected, false),
            KeyCode::Enter => {
                self.overlay = Overlay::None;
                self.go_to_pair(pairs.get(selected));
                return Effect::None;
            }
            KeyCode::Esc | KeyCode::Char('q' | 'd') => {
                self.overlay = Overlay::None;
                return Effect::None;
            }
            _ => selected,
        };
        self.overlay = Overlay::Compare { selected: to };
        Effect::None
    }

    fn go_to_pair(&mut self, pair: Option<&Pair>) {
        match pair.map(|p| p.after) {
            Some(Some(step)) => self.jump(step),
            Some(None) => self.say("only the other run has this step"),
            None => {}
        }
    }
}

fn next_difference(pairs: &[Pair], from: usize, forward: bool) -> usize {
    let mut all = pairs.iter().enumerate().filter(|(_, p)| p.differs()).map(|(i, _)| i);
    let found = if forward { all.find(|i| *i > from) } else { all.rfind(|i| *i < from) };
    found.unwrap_or(from)
}
