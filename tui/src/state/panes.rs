//! The panes of the screen: the focus, what they show, how far they are scrolled and where they were drawn.
use super::{
    cursor::{Cursor, Spot},
    stack::Pick,
};

/// A pane of the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pane {
    /// The tree of requests and stages.
    #[default]
    Path,
    /// The code of the step.
    Source,
    /// The call stack of the step.
    Stack,
    /// The engine's state at the step.
    State,
    /// All events.
    Log,
}

impl Pane {
    /// All panes in the order of their keys.
    pub const ALL: [Pane; 5] = [Pane::Path, Pane::Source, Pane::Stack, Pane::State, Pane::Log];

    /// The pane's title.
    pub fn name(self) -> &'static str {
        match self {
            Pane::Path => "Path",
            Pane::Source => "Source",
            Pane::Stack => "Stack",
            Pane::State => "State",
            Pane::Log => "Log",
        }
    }
}

/// The drawn position of a pane, for the mouse and for scrolling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drawn {
    /// Inner area: x, y, width, height. All zero: not drawn.
    pub area: (u16, u16, u16, u16),
    /// First drawn line.
    pub offset: usize,
    /// Maximum offset.
    pub max_offset: usize,
}

impl Drawn {
    fn contains(&self, x: u16, y: u16) -> bool {
        let (left, top, width, height) = self.area;
        (left..left + width).contains(&x) && (top..top + height).contains(&y)
    }
}

/// The drawn position of a pane's tab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tab {
    /// The pane that a click shows.
    pub pane: Pane,
    /// The first column.
    pub x: u16,
    /// The row.
    pub y: u16,
    /// Number of columns.
    pub width: u16,
}

/// The result of drawing: the positions of panes and tabs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    /// By pane.
    pub panes: [Drawn; 5],
    /// From left to right.
    pub tabs: Vec<Tab>,
}

/// Maximum number of columns that a pane is moved to the side.
const MAX_SIDEWAYS: usize = 400;

/// The state of the panes.
#[derive(Debug, Default)]
pub struct Panes {
    focus: Pane,
    /// The pane next to the path if there is room for only one.
    tab: Pane,
    /// The pane under the source if there is room for both.
    under: Pane,
    zoom: bool,
    /// The source pane shows TiKV's function.
    tikv: bool,
    /// The row of the stack whose source is shown, if not the stage's own.
    pick: Option<Pick>,
    /// Each frame has a row.
    unfolded: bool,
    /// The file that the user went to, if not the step's.
    visit: Option<Spot>,
    cursor: Option<Cursor>,
    scroll: [Option<usize>; 5],
    sideways: [usize; 5],
    drawn: Positions,
}

impl Panes {
    /// Panes with the focus on the path, and the source next to it.
    pub fn new() -> Self {
        Self { tab: Pane::Source, under: Pane::Stack, ..Self::default() }
    }

    /// The pane with the focus.
    pub fn focus(&self) -> Pane {
        self.focus
    }

    /// The pane next to the path if there is room for only one.
    pub fn tab(&self) -> Pane {
        self.tab
    }

    /// Whether the pane with the focus fills the screen.
    pub fn is_zoomed(&self) -> bool {
        self.zoom
    }

    /// Whether the source pane shows TiKV's function.
    pub fn shows_tikv(&self) -> bool {
        self.tikv
    }

    /// The selected frame of the stack, from 0; None: that of the stamp.
    pub fn frame(&self) -> Option<usize> {
        match self.pick {
            Some(Pick::Frame(frame)) => Some(frame),
            _ => None,
        }
    }

    /// The selected row of the stack.
    pub fn pick(&self) -> Option<Pick> {
        self.pick
    }

    /// Whether each frame has a row.
    pub fn is_unfolded(&self) -> bool {
        self.unfolded
    }

    /// The file and line that the user went to, if not the step's.
    pub fn visit(&self) -> Option<&Spot> {
        self.visit.as_ref()
    }

    /// The cursor of the source pane; None: at the current line.
    pub fn cursor(&self) -> Option<Cursor> {
        self.cursor
    }

    /// The pane under the source if there is room for both.
    pub fn under(&self) -> Pane {
        self.under
    }

    /// The first line to show; None: the pane shows its current line.
    pub fn scroll(&self, pane: Pane) -> Option<usize> {
        self.scroll[pane as usize]
    }

    /// Number of columns by which the pane is moved to the side.
    pub fn sideways(&self, pane: Pane) -> usize {
        self.sideways[pane as usize]
    }

    /// The last drawn position of a pane.
    pub fn drawn(&self, pane: Pane) -> Drawn {
        self.drawn.panes[pane as usize]
    }

    /// The last drawn tabs.
    pub fn tabs(&self) -> &[Tab] {
        &self.drawn.tabs
    }

    /// The pane whose tab is at this position.
    pub(super) fn tab_at(&self, x: u16, y: u16) -> Option<Pane> {
        let hit = |tab: &&Tab| y == tab.y && (tab.x..tab.x + tab.width).contains(&x);
        self.drawn.tabs.iter().find(hit).map(|tab| tab.pane)
    }

    /// The pane that was drawn at this position.
    pub(super) fn pane_at(&self, x: u16, y: u16) -> Option<Pane> {
        Pane::ALL.into_iter().find(|pane| self.drawn(*pane).contains(x, y))
    }

    pub(super) fn set_drawn(&mut self, drawn: Positions) {
        self.drawn = drawn;
    }

    /// Moves the focus; a pane other than the path also becomes the tab.
    pub(super) fn focus_on(&mut self, pane: Pane) {
        self.focus = pane;
        if pane != Pane::Path {
            self.tab = pane;
        }
        if !matches!(pane, Pane::Path | Pane::Source) {
            self.under = pane;
        }
    }

    /// Moves the focus by a number of panes.
    pub(super) fn focus_by(&mut self, by: usize) {
        self.focus_on(Pane::ALL[(self.focus as usize + by) % Pane::ALL.len()]);
    }

    pub(super) fn set_zoom(&mut self, zoom: bool) {
        self.zoom = zoom;
    }

    /// Switches between our code and TiKV's, and shows the source pane.
    pub(super) fn toggle_tikv(&mut self) {
        self.tikv = !self.tikv;
        self.show(None, None);
        self.tab = Pane::Source;
        if self.focus != Pane::Path {
            self.focus = Pane::Source;
        }
    }

    /// Selects a row of the stack, and shows its source from its line on.
    pub(super) fn select(&mut self, pick: Option<Pick>) {
        self.pick = pick;
        self.tikv = false;
        self.show(None, None);
    }

    /// Shows a file, or the step's own, with the cursor in it.
    pub(super) fn show(&mut self, visit: Option<Spot>, cursor: Option<Cursor>) {
        (self.visit, self.cursor) = (visit, cursor);
        self.scroll[Pane::Source as usize] = None;
        self.sideways[Pane::Source as usize] = 0;
    }

    pub(super) fn set_tikv(&mut self, tikv: bool) {
        self.tikv = tikv;
    }

    pub(super) fn set_cursor(&mut self, cursor: Cursor) {
        self.cursor = Some(cursor);
        self.scroll[Pane::Source as usize] = None;
    }

    pub(super) fn toggle_unfolded(&mut self) {
        self.unfolded = !self.unfolded;
        self.pick = None;
    }

    /// Half the height of the pane with the focus, at least 1.
    pub(super) fn half_page(&self) -> isize {
        (self.drawn(self.focus).area.3 as isize / 2).max(1)
    }

    pub(super) fn scroll_to(&mut self, pane: Pane, line: usize) {
        self.scroll[pane as usize] = Some(line);
    }

    /// Scrolls by lines from the drawn position, up to the last page.
    pub(super) fn scroll_by(&mut self, pane: Pane, by: isize) {
        let Drawn { offset, max_offset, .. } = self.drawn(pane);
        self.scroll_to(pane, offset.saturating_add_signed(by).min(max_offset));
    }

    /// Moves the pane with the focus to the side, by columns.
    pub(super) fn move_sideways(&mut self, by: isize) {
        let at = &mut self.sideways[self.focus as usize];
        *at = at.saturating_add_signed(by).min(MAX_SIDEWAYS);
    }

    /// Resets the panes that follow the cursor, after the cursor has moved.
    pub(super) fn follow_cursor(&mut self) {
        self.pick = None;
        self.show(None, None);
        for pane in [Pane::Path, Pane::Source, Pane::Stack] {
            self.scroll[pane as usize] = None;
        }
    }

    /// Resets all panes for another operation.
    pub(super) fn begin(&mut self) {
        self.pick = None;
        self.show(None, None);
        self.scroll = [None; 5];
    }
}
