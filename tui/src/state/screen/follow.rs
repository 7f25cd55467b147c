//! Goes through the code: to a definition, to callers, to a frame, and back.
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{Effect, Screen};
use crate::state::{
    code,
    cursor::{self, Cursor, Jump, Spot},
    index::{Definition, index},
    overlay::{Overlay, PlaceEntry, Places},
    panes::Pane,
    stack::{self, Pick},
};

/// Maximum number of places to go back to; older ones are dropped.
const MAX_JUMPS: usize = 100;
/// Maximum number of entries in a list of places.
const MAX_PLACES: usize = 200;

impl Screen {
    /// The cursor of the source pane: where the user moved it, otherwise at the current line.
    pub fn code_cursor(&self) -> Option<Cursor> {
        if let Some(cursor) = self.panes.cursor() {
            return Some(cursor);
        }
        let document = self.document();
        let line = document.current.filter(|line| *line < document.lines.len())?;
        let code = &document.lines[line];
        Some(Cursor { line, name: cursor::first_called(code, &cursor::names(code)) })
    }

    /// Moves the cursor of the source pane by lines.
    pub(super) fn move_in_code(&mut self, by: isize) {
        let lines = self.document().lines.len();
        let at = self.code_cursor().map_or(0, |c| c.line);
        self.put_cursor(at.saturating_add_signed(by).min(lines.saturating_sub(1)));
    }

    /// Puts the cursor of the source pane on the first called name of a line.
    pub(super) fn put_cursor(&mut self, line: usize) {
        let document = self.document();
        let Some(code) = document.lines.get(line) else { return };
        self.panes.set_cursor(Cursor { line, name: cursor::first_called(code, &cursor::names(code)) });
    }

    /// Moves the cursor to the next or previous name of its line. Returns false if there is none.
    pub(super) fn move_to_name(&mut self, forward: bool) -> bool {
        let Some(at) = self.code_cursor() else { return false };
        let names = self.document().lines.get(at.line).map_or(0, |l| cursor::names(l).len());
        let name = if forward { at.name.checked_add(1) } else { at.name.checked_sub(1) };
        match name.filter(|n| *n < names) {
            Some(name) => self.panes.set_cursor(Cursor { name, ..at }),
            None => return false,
        }
        true
    }

    /// Goes to the definition of the name at the cursor, or lists the definitions that it can mean.
    pub(super) fn follow_name(&mut self) {
        let document = self.document();
        let cursor = self.code_cursor();
        let code = cursor.and_then(|c| document.lines.get(c.line));
        let Some(name) = code.and_then(|line| cursor::name_at(line, cursor)) else {
            return self.say(
                "no name with a definition on this line: j and k move to another line, h and l to a name",
            );
        };
        let (file, line) = (self.shown_file(), cursor.map_or(0, |c| c.line as u32 + 1));
        let found = index().targets(&name.text, &name.qualifier, &file, line);
        match found.as_slice() {
            [] => {
                self.say(format!("this program's sources define no `{}` that is used like this", name.text))
            }
            [only] => self.visit(spot_of(only)),
            many => {
                let entries = many.iter().map(|d| definition_entry(d)).collect();
                self.list(format!("Definitions of {}", name.text), entries);
            }
        }
    }

    /// Lists the callers of the function at the cursor: on this path, then in the index.
    pub(super) fn list_callers(&mut self) {
        let line = self.code_cursor().map_or(0, |c| c.line as u32 + 1);
        let Some(function) = index().enclosing(&self.shown_file(), line) else {
            return self.say("the cursor is in no function of this program's sources");
        };
        let mut entries = self.callers_on_path(function);
        let on_path: Vec<Spot> = entries.iter().map(|e| e.spot.clone()).collect();
        for call in index().callers(function).into_iter().take(MAX_PLACES) {
            let spot = Spot { file: call.file.to_owned(), line: call.line };
            if !on_path.contains(&spot) {
                let name =
                    index().enclosing(call.file, call.line).map_or_else(String::new, Definition::title);
                let note = if call.qualifier == "." { "may call it" } else { "" };
                entries.push(PlaceEntry { name, note: note.into(), spot });
            }
        }
        if entries.is_empty() {
            return self.say(format!("no caller of {} is on this path or in the index", function.title()));
        }
        self.list(format!("Callers of {}", function.title()), entries);
    }

    /// The callers of a function on the stacks of all steps so far, with the first step of each.
    fn callers_on_path(&self, function: &Definition) -> Vec<PlaceEntry> {
        let mut out: Vec<PlaceEntry> = Vec::new();
        for step in self.timeline.steps() {
            let mut frames =
                step.stack.iter().skip_while(|f| index().enclosing(&f.file, f.line) != Some(function));
            let caller = frames.find_map(|f| {
                let found = index().enclosing(&f.file, f.line)?;
                (found != function).then_some((f, found))
            });
            let Some((frame, found)) = caller else { continue };
            let file = code::packed(&frame.file).map_or(frame.file.as_str(), |(name, _)| name);
            let spot = Spot { file: file.to_owned(), line: frame.line };
            if !out.iter().any(|e| e.spot == spot) {
                let note = format!("step {}", step.step + 1);
                out.push(PlaceEntry { name: found.title(), note, spot });
            }
        }
        out
    }

    fn list(&mut self, title: String, entries: Vec<PlaceEntry>) {
        self.overlay = Overlay::Places(Places { title, entries, selected: 0 });
    }

    /// Handles a key of the list of places.
    pub(super) fn places_key(&mut self, key: KeyEvent) -> Effect {
        let Overlay::Places(places) = &mut self.overlay else { return Effect::None };
        let last = places.entries.len().saturating_sub(1);
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('j') | KeyCode::Down => places.selected = (places.selected + 1).min(last),
            KeyCode::Char('k') | KeyCode::Up => places.selected = places.selected.saturating_sub(1),
            KeyCode::Char('d') if control => places.selected = (places.selected + 10).min(last),
            KeyCode::Char('u') if control => places.selected = places.selected.saturating_sub(10),
            KeyCode::Enter => {
                let spot = places.entries.get(places.selected).map(|e| e.spot.clone());
                self.overlay = Overlay::None;
                if let Some(spot) = spot {
                    self.visit(spot);
                }
            }
            KeyCode::Esc | KeyCode::Char('q') => self.overlay = Overlay::None,
            _ => {}
        }
        Effect::None
    }

    /// Opens what the focused pane has selected: a frame, the source of a step, or a definition.
    pub(super) fn open_selected(&mut self) {
        match self.panes.focus() {
            Pane::Stack => self.open_row(),
            Pane::Path => self.panes.focus_on(Pane::Source),
            Pane::Source => self.follow_name(),
            Pane::State | Pane::Log => {
                self.say("Enter opens a step of the path, a frame of the stack, or a name in the source")
            }
        }
    }

    /// Opens the source of the selected frame, or goes to the selected step of the logical stack.
    fn open_row(&mut self) {
        match self.panes.pick() {
            Some(Pick::Step(step)) => {
                self.remember();
                self.jump(step);
            }
            Some(Pick::Frame(_)) => {
                self.remember();
                self.panes.focus_on(Pane::Source);
            }
            None => self.say("no row is selected: j and k select one"),
        }
    }

    /// Selects the row that is `by` rows further down.
    pub(super) fn move_in_stack(&mut self, by: isize) {
        let picks: Vec<Pick> = self.stack_rows().iter().filter_map(stack::Row::pick).collect();
        let Some(last) = picks.len().checked_sub(1) else { return };
        let at = picks.iter().position(|p| Some(*p) == self.panes.pick());
        let own = picks.iter().position(|p| matches!(p, Pick::Frame(_))).unwrap_or(0);
        let to = at.unwrap_or(own).saturating_add_signed(by).min(last);
        self.panes.select(Some(picks[to]));
    }

    /// Shows a place in the code, from which [`Screen::go_back`] returns.
    pub(super) fn visit(&mut self, spot: Spot) {
        self.remember();
        self.panes.set_tikv(false);
        self.panes.show(Some(spot), None);
        self.panes.focus_on(Pane::Source);
    }

    fn remember(&mut self) {
        if self.jumps.len() >= MAX_JUMPS {
            self.jumps.remove(0);
        }
        self.jumps.push(Jump {
            step: self.timeline.cursor(),
            pick: self.panes.pick(),
            visit: self.panes.visit().cloned(),
            cursor: self.code_cursor(),
            tikv: self.panes.shows_tikv(),
        });
    }

    /// Goes back to the place before the last jump.
    pub(super) fn go_back(&mut self) {
        let Some(jump) = self.jumps.pop() else {
            return self.say("no place to go back to");
        };
        if jump.step != self.timeline.cursor() {
            self.jump(jump.step);
        }
        self.panes.select(jump.pick);
        self.panes.set_tikv(jump.tikv);
        self.panes.show(jump.visit, jump.cursor);
    }

    /// The path of the shown file; empty without a place.
    fn shown_file(&self) -> String {
        self.document().place.as_ref().map_or_else(String::new, |(file, _)| file.clone())
    }
}

fn spot_of(definition: &Definition) -> Spot {
    Spot { file: definition.file.to_owned(), line: definition.line }
}

fn definition_entry(definition: &Definition) -> PlaceEntry {
    PlaceEntry { name: definition.title(), note: definition.kind.to_owned(), spot: spot_of(definition) }
}
