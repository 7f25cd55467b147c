//! The mouse: a click selects a step, a frame, a pane or a tab; the wheel scrolls.
use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};

use super::Screen;
use crate::state::{overlay::Overlay, panes::Pane, stack};

/// Lines that the wheel scrolls at a time.
const WHEEL: isize = 3;

impl Screen {
    /// Handles a mouse event; ignored under an overlay.
    pub fn on_mouse(&mut self, mouse: MouseEvent) {
        if self.overlay != Overlay::None {
            return;
        }
        let (x, y) = (mouse.column, mouse.row);
        if mouse.kind == MouseEventKind::Down(MouseButton::Left)
            && let Some(pane) = self.panes.tab_at(x, y)
        {
            return self.panes.focus_on(pane);
        }
        let Some(pane) = self.panes.pane_at(x, y) else { return };
        match mouse.kind {
            MouseEventKind::ScrollDown => self.panes.scroll_by(pane, WHEEL),
            MouseEventKind::ScrollUp => self.panes.scroll_by(pane, -WHEEL),
            MouseEventKind::Down(MouseButton::Left) => self.click(pane, y),
            _ => {}
        }
    }

    fn click(&mut self, pane: Pane, y: u16) {
        self.panes.focus_on(pane);
        let drawn = self.panes.drawn(pane);
        let line = drawn.offset + usize::from(y - drawn.area.1);
        match pane {
            Pane::Path => {
                if let Some(row) = self.timeline.rows_in(line..line.saturating_add(1)).first() {
                    self.jump(row.step.unwrap_or(row.span.0));
                }
            }
            Pane::Stack => {
                if let Some(pick) = self.stack_rows().get(line).and_then(stack::Row::pick) {
                    self.panes.select(Some(pick));
                }
            }
            Pane::Source => self.put_cursor(line),
            _ => {}
        }
    }
}
