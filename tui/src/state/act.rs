//! Performs keys and actions on the screen.
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{
    overlay::Overlay,
    screen::{Drawn, Effect, Pane, Phase, Screen},
};
use crate::input::action::{Action, Pressed, press};

impl Screen {
    /// Handles a key; returns what the program must do.
    pub fn on_key(&mut self, key: KeyEvent) -> Effect {
        self.message = None;
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Effect::Quit;
        }
        if key.code == KeyCode::Char('z') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Effect::Suspend;
        }
        match self.overlay {
            Overlay::Palette { .. } => return self.palette_key(key),
            Overlay::Search { .. } => return self.search_key(key),
            _ => {}
        }
        if self.flame_key(key) {
            return Effect::None;
        }
        match press(self.prefix.take(), key) {
            Pressed::Action(action) => self.act(action),
            Pressed::Prefix(c) => {
                self.prefix = Some(c);
                Effect::None
            }
            Pressed::Nothing => Effect::None,
        }
    }

    /// Performs an action; returns what the program must do.
    pub fn act(&mut self, action: Action) -> Effect {
        if let Overlay::Help { scroll } = self.overlay
            && let Some(scroll) = scrolled(action, scroll)
        {
            self.overlay = Overlay::Help { scroll };
            return Effect::None;
        }
        match action {
            Action::Next => self.next(),
            Action::Back => self.back(),
            Action::ToGate => self.go_to_gate(),
            Action::Run => self.run(),
            Action::Gate => self.gate_here(),
            Action::First => self.jump(0),
            Action::Last if self.phase() == Phase::Finished && self.cursor < self.end_step() => {
                self.jump(self.end_step());
            }
            Action::Last => self.jump(self.steps.len()),
            Action::Held => self.go_to_held(),
            Action::NextOperation => self.next_operation(),
            Action::Tikv => self.toggle_tikv(),
            Action::Editor => return self.edit(),
            Action::Copy => return self.copy(),
            Action::Flame => self.toggle_flame(),
            Action::SaveFlame => return self.save_flame(),
            Action::SaveTrace => return self.save_trace(),
            Action::NextPane => self.focus_by(1),
            Action::PreviousPane => self.focus_by(4),
            Action::Pane(i) => self.focus_on(Pane::ALL[i.min(4)]),
            Action::Zoom => self.zoom = !self.zoom,
            Action::Down => self.move_in_pane(1),
            Action::Up => self.move_in_pane(-1),
            Action::PageDown => self.move_in_pane(self.half_page()),
            Action::PageUp => self.move_in_pane(-self.half_page()),
            Action::Left => self.sideways(-8),
            Action::Right => self.sideways(8),
            Action::Search => self.overlay = Overlay::Search { input: String::new() },
            Action::NextMatch => self.go_to_match(true),
            Action::PreviousMatch => self.go_to_match(false),
            Action::Palette => self.overlay = Overlay::Palette { query: String::new(), selected: 0 },
            Action::Help => self.toggle_help(),
            Action::Suspend => return Effect::Suspend,
            Action::Cancel => {
                self.cancel();
            }
            Action::Quit => {
                if !self.cancel() {
                    return Effect::Quit;
                }
            }
        }
        Effect::None
    }

    /// Closes the innermost open overlay, zoom, search or frame. Returns false if there was none.
    fn cancel(&mut self) -> bool {
        if self.overlay != Overlay::None {
            self.overlay = Overlay::None;
        } else if self.zoom {
            self.zoom = false;
        } else if !self.query.is_empty() {
            self.query.clear();
        } else if self.frame.is_some() {
            self.frame = None;
        } else {
            return false;
        }
        true
    }

    pub(super) fn say(&mut self, text: impl Into<String>) {
        self.message = Some(text.into());
    }

    /// Returns the value, or shows the error as a message.
    pub(super) fn ok_or_say<T>(&mut self, result: anyhow::Result<T>) -> Option<T> {
        result.map_err(|e| self.say(format!("{e:#}"))).ok()
    }

    fn next(&mut self) {
        if !self.at_newest() {
            return self.go_to(self.cursor + 1);
        }
        match self.phase() {
            Phase::Held | Phase::Running if self.source.scripted() => {
                self.follow = true;
                let result = self.source.next_operation();
                self.ok_or_say(result);
            }
            Phase::Held => {
                self.pending += 1;
                self.release_one();
            }
            Phase::Starting => self.say("starting: no step yet"),
            Phase::Running => {
                self.pending = (self.pending + 1).min(64);
                self.say("running: waiting for the next step");
            }
            Phase::Failed => self.say("no further step after the failure: see the log"),
            Phase::Finished if self.ending.as_ref().is_some_and(|e| e.more) => {
                self.say("the operation has ended; N starts the scenario's next one");
            }
            Phase::Finished => self.say("the operation has ended; p steps back, q quits"),
        }
    }

    fn back(&mut self) {
        (self.follow, self.pending) = (false, 0);
        match self.cursor.checked_sub(1) {
            Some(before) => self.go_to(before),
            None => self.say("this is the first step"),
        }
    }

    pub(super) fn jump(&mut self, step: usize) {
        self.pending = 0;
        self.follow = step >= self.steps.len() && self.phase() == Phase::Running;
        self.go_to(step);
    }

    /// Moves to the next recorded step with a gate; without one, runs the request to its next gate.
    fn go_to_gate(&mut self) {
        let ahead = (self.cursor + 1..self.steps.len()).find(|i| self.gates.contains(&self.steps[*i].stage));
        if let Some(step) = ahead {
            return self.go_to(step);
        }
        if matches!(self.phase(), Phase::Held | Phase::Running) {
            self.follow = true;
            let result = self.source.to_gate();
            self.ok_or_say(result);
            if self.gates.is_empty() {
                self.say("no gate is set: running to the end (b sets one, : finds any stage)");
            }
        }
        self.go_to(self.steps.len());
    }

    fn run(&mut self) {
        self.follow = true;
        if matches!(self.phase(), Phase::Held | Phase::Running) {
            let result = self.source.run();
            self.ok_or_say(result);
        }
        self.go_to(self.steps.len());
    }

    fn gate_here(&mut self) {
        match self.step().map(|s| s.stage.clone()) {
            Some(stage) => self.toggle_gate(&stage),
            None => self.say("no step yet, so there is no stage for a gate"),
        }
    }

    pub(super) fn toggle_gate(&mut self, stage: &str) {
        let known = tracepoints::find_stage(stage);
        if known.is_some_and(|s| s.hold == tracepoints::Hold::None) {
            return self.say(format!(
                "{stage} is only observed and cannot hold a request: choose a stage before or after it"
            ));
        }
        let result = self.source.toggle_gate(stage);
        if let Some(set) = self.ok_or_say(result) {
            let text = format!("gate {} {stage}", if set { "set at" } else { "removed from" });
            self.note(text.clone());
            self.say(text);
        }
        self.gates = self.source.gates().into_iter().collect();
    }

    fn go_to_held(&mut self) {
        match self.holds.first().and_then(|h| self.held_step(h)) {
            Some(step) => self.go_to(step),
            None => self.say("nothing is held now"),
        }
    }

    fn next_operation(&mut self) {
        match &self.ending {
            Some(e) if !e.more => self.say("the scenario has no further operation"),
            _ => {
                let result = self.source.next_operation();
                self.ok_or_say(result);
            }
        }
    }

    fn toggle_tikv(&mut self) {
        self.tikv = !self.tikv;
        self.scroll[Pane::Source as usize] = None;
        self.tab = Pane::Source;
        if self.focus != Pane::Path {
            self.focus = Pane::Source;
        }
    }

    pub(super) fn focus_on(&mut self, pane: Pane) {
        self.focus = pane;
        if pane != Pane::Path {
            self.tab = pane;
        }
    }

    fn focus_by(&mut self, by: usize) {
        self.focus_on(Pane::ALL[(self.focus as usize + by) % 5]);
    }

    fn half_page(&self) -> isize {
        (self.drawn[self.focus as usize].area.3 as isize / 2).max(1)
    }

    fn move_in_pane(&mut self, by: isize) {
        match self.focus {
            Pane::Path => self.move_rows(by),
            Pane::Stack => self.select_frame(by),
            pane => self.scroll_pane(pane, by),
        }
    }

    /// Moves over the rows of the tree, from stage to stage.
    fn move_rows(&mut self, by: isize) {
        let steps: Vec<usize> = self.rows().iter().filter_map(|r| r.step).collect();
        let Some(at) = steps.iter().position(|s| *s == self.cursor) else { return };
        (self.follow, self.pending) = (false, 0);
        self.go_to(steps[at.saturating_add_signed(by).min(steps.len() - 1)]);
    }

    fn select_frame(&mut self, by: isize) {
        let frames = self.step().map_or(0, |s| s.stack.len());
        if frames > 0 {
            let at = self.frame.unwrap_or(0);
            self.frame = Some(at.saturating_add_signed(by).min(frames - 1));
            self.scroll[Pane::Source as usize] = None;
            self.tikv = false;
        }
    }

    pub(super) fn scroll_pane(&mut self, pane: Pane, by: isize) {
        let Drawn { offset, max_offset, .. } = self.drawn[pane as usize];
        self.scroll[pane as usize] = Some(offset.saturating_add_signed(by).min(max_offset));
    }

    fn sideways(&mut self, by: isize) {
        let at = &mut self.sideways[self.focus as usize];
        *at = at.saturating_add_signed(by).min(400);
    }

    fn toggle_help(&mut self) {
        self.overlay = match self.overlay {
            Overlay::Help { .. } => Overlay::None,
            _ => Overlay::Help { scroll: 0 },
        };
    }
}

fn scrolled(action: Action, at: usize) -> Option<usize> {
    match action {
        Action::Down => Some(at + 1),
        Action::Up => Some(at.saturating_sub(1)),
        Action::PageDown => Some(at + 10),
        Action::PageUp => Some(at.saturating_sub(10)),
        _ => None,
    }
}
