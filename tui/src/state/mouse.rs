//! The mouse: a click selects a step, a frame, a pane or a tab; the wheel scrolls.
use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};

use super::{
    overlay::Overlay,
    screen::{Drawn, Pane, Screen},
};

impl Screen {
    /// Handles a mouse event; ignored under an overlay.
    pub fn on_mouse(&mut self, mouse: MouseEvent) {
        if self.overlay != Overlay::None {
            return;
        }
        let (x, y) = (mouse.column, mouse.row);
        if mouse.kind == MouseEventKind::Down(MouseButton::Left)
            && let Some((pane, ..)) =
                self.tabs.iter().find(|(_, tx, ty, w)| y == *ty && (*tx..*tx + *w).contains(&x))
        {
            return self.focus_on(*pane);
        }
        let inside = |d: &Drawn| {
            (d.area.0..d.area.0 + d.area.2).contains(&x) && (d.area.1..d.area.1 + d.area.3).contains(&y)
        };
        let Some(pane) = Pane::ALL.into_iter().find(|p| inside(&self.drawn[*p as usize])) else { return };
        match mouse.kind {
            MouseEventKind::ScrollDown => self.scroll_pane(pane, 3),
            MouseEventKind::ScrollUp => self.scroll_pane(pane, -3),
            MouseEventKind::Down(MouseButton::Left) => self.click(pane, y),
            _ => {}
        }
    }

    pub(super) fn click(&mut self, pane: Pane, y: u16) {
        self.focus_on(pane);
        let drawn = self.drawn[pane as usize];
        let line = drawn.offset + usize::from(y - drawn.area.1);
        match pane {
            Pane::Path => {
                if let Some(row) = self.rows().get(line) {
                    self.jump(row.step.unwrap_or(row.span.0));
                }
            }
            Pane::Stack if line < self.lines(Pane::Stack).len() => {
                self.frame = Some(line);
                self.scroll[Pane::Source as usize] = None;
            }
            _ => {}
        }
    }
}
