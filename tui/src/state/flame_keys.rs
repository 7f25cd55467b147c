//! Moving in the flame.
use crossterm::event::{KeyCode, KeyEvent};

use super::{flame, overlay::Overlay, screen::Screen};

impl Screen {
    pub(super) fn toggle_flame(&mut self) {
        self.overlay = match self.overlay {
            Overlay::Flame { .. } => Overlay::None,
            _ => {
                let bars = flame::bars(&self.operation, &self.steps, &self.requests);
                Overlay::Flame {
                    selected: bars.iter().position(|b| b.step == Some(self.cursor)).unwrap_or(0),
                }
            }
        };
    }

    /// Moves in the flame; false if the key means something else.
    pub(super) fn flame_key(&mut self, key: KeyEvent) -> bool {
        let Overlay::Flame { selected } = self.overlay else { return false };
        let bars = flame::bars(&self.operation, &self.steps, &self.requests);
        let Some(bar) = bars.get(selected) else { return false };
        let level = |depth: usize| bars.iter().enumerate().filter(move |(_, b)| b.depth == depth);
        let over = |depth: usize| {
            let middle = bar.at + bar.width / 2.0;
            level(depth).rfind(|(_, b)| b.at <= middle).map(|(i, _)| i)
        };
        let to = match key.code {
            KeyCode::Char('l' | 'n') | KeyCode::Right => {
                level(bar.depth).map(|(i, _)| i).find(|i| *i > selected)
            }
            KeyCode::Char('h' | 'p') | KeyCode::Left => {
                level(bar.depth).map(|(i, _)| i).rfind(|i| *i < selected)
            }
            KeyCode::Char('j') | KeyCode::Down => {
                let inside = |b: &flame::Bar| b.at >= bar.at - 1e-9 && b.at <= bar.at + bar.width;
                level(bar.depth + 1).find(|(_, b)| inside(b)).map(|(i, _)| i)
            }
            KeyCode::Char('k') | KeyCode::Up => bar.depth.checked_sub(1).and_then(over),
            KeyCode::Enter => {
                if let Some(step) = bar.step {
                    self.overlay = Overlay::None;
                    self.jump(step);
                }
                return true;
            }
            _ => return false,
        };
        self.overlay = Overlay::Flame { selected: to.unwrap_or(selected) };
        true
    }
}
