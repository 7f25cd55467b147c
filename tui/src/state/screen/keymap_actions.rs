//! Performs keys and actions on the screen.
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{Effect, Screen};
use crate::{
    input::action::{Action, Pressed, press},
    state::{
        overlay::{Overlay, Typing},
        panes::Pane,
        source::HeldRequest,
        timeline::Phase,
    },
};

/// Columns by which a key moves a pane to the side.
const SIDEWAYS: isize = 8;

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
            Overlay::Places(_) => return self.places_key(key),
            Overlay::Compare { .. } => return self.compare_key(key),
            Overlay::Leave => return self.leave_key(key),
            Overlay::Gates { .. } => return self.gates_key(key),
            Overlay::Held { .. } => return self.held_key(key),
            Overlay::Operation(_) => return self.operation_key(key),
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
        if self.scroll_help(action) {
            return Effect::None;
        }
        match action {
            Action::Next => self.next(false),
            Action::Into => self.next(true),
            Action::Back => self.back(),
            Action::ToGate => self.go_to_gate(),
            Action::Run => self.run(),
            Action::Gate => self.gate_here(),
            Action::First => self.jump(0),
            Action::Last => self.jump_to_last(),
            Action::Held => self.go_to_held(),
            Action::Gates => self.open_gates(),
            Action::RunToStep => self.run_to_step(),
            Action::Operation => self.overlay = Overlay::Operation(Typing::default()),
            Action::Restart => self.restart(),
            Action::NextOperation => self.next_operation(),
            Action::Tikv => self.panes.toggle_tikv(),
            Action::Editor => return self.edit(),
            Action::Copy => return self.copy(),
            Action::Flame => self.toggle_flame(),
            Action::SaveFlame => return self.save_flame(),
            Action::SaveTrace => return Effect::SaveTrace,
            Action::NextPane => self.panes.focus_by(1),
            Action::PreviousPane => self.panes.focus_by(4),
            Action::Pane(i) => self.panes.focus_on(Pane::ALL[i.min(4)]),
            Action::Zoom => self.panes.set_zoom(!self.panes.is_zoomed()),
            Action::Down => self.move_in_pane(1),
            Action::Up => self.move_in_pane(-1),
            Action::PageDown => self.move_in_pane(self.panes.half_page()),
            Action::PageUp => self.move_in_pane(-self.panes.half_page()),
            Action::Left => self.move_to_side(false),
            Action::Right => self.move_to_side(true),
            Action::Open => self.open_selected(),
            Action::Definition => self.follow_name(),
            Action::Callers => self.list_callers(),
            Action::Return => self.go_back(),
            Action::Compare => self.toggle_compare(),
            Action::Unfold => self.panes.toggle_unfolded(),
            Action::Search => self.overlay = Overlay::Search { input: String::new() },
            Action::NextMatch => self.go_to_match(true),
            Action::PreviousMatch => self.go_to_match(false),
            Action::Palette => self.overlay = Overlay::Palette { query: String::new(), selected: 0 },
            Action::Help => self.toggle_help(),
            Action::Suspend => return Effect::Suspend,
            Action::Cancel => _ = self.cancel(),
            Action::Quit if self.cancel() => {}
            Action::Quit => return self.leave(),
        }
        Effect::None
    }

    /// Scrolls the open help; returns false if no help is open or the action does not scroll.
    fn scroll_help(&mut self, action: Action) -> bool {
        let Overlay::Help { scroll } = self.overlay else { return false };
        let Some(scroll) = scrolled(action, scroll) else { return false };
        self.overlay = Overlay::Help { scroll };
        true
    }

    /// Moves to the end of the operation, and from there to the last of the steps that follow it.
    fn jump_to_last(&mut self) {
        let ends_later = self.phase() == Phase::Finished && self.is_before_the_end();
        self.jump(if ends_later { self.timeline.end_step() } else { self.timeline.steps().len() });
    }

    /// Ends the program; first offers to save the steps of a live session.
    fn leave(&mut self) -> Effect {
        if !self.has_unsaved() {
            return Effect::Quit;
        }
        self.overlay = Overlay::Leave;
        Effect::None
    }

    fn leave_key(&mut self, key: KeyEvent) -> Effect {
        self.overlay = Overlay::None;
        match key.code {
            KeyCode::Char('s') => Effect::SaveAndQuit,
            KeyCode::Char('q') | KeyCode::Enter => Effect::Quit,
            _ => Effect::None,
        }
    }

    /// Closes the innermost open overlay, zoom, search or frame. Returns false if there was none.
    fn cancel(&mut self) -> bool {
        if self.overlay != Overlay::None {
            self.overlay = Overlay::None;
        } else if self.panes.is_zoomed() {
            self.panes.set_zoom(false);
        } else if !self.query.is_empty() {
            self.query.clear();
        } else if self.panes.pick().is_some() || self.panes.visit().is_some() || self.panes.cursor().is_some()
        {
            self.panes.select(None);
        } else {
            return false;
        }
        true
    }

    /// Returns the value, or shows the error as a message.
    pub(super) fn ok_or_say<T>(&mut self, result: anyhow::Result<T>) -> Option<T> {
        result.map_err(|e| self.say(format!("{e:#}"))).ok()
    }

    /// Steps forward; `into`: also inside of a stage.
    fn next(&mut self, into: bool) {
        if let Some(step) = self.timeline.next_step(into) {
            return self.go_to(step);
        }
        match self.phase() {
            Phase::Held | Phase::Running if self.source.scripted() => {
                self.timeline.set_follow(true);
                let result = self.source.next_operation();
                self.ok_or_say(result);
            }
            Phase::Held => {
                self.timeline.await_step(into);
                self.say_what_is_released();
                self.release_one(into);
            }
            Phase::Starting => self.say("starting: no step yet"),
            Phase::Running => {
                self.timeline.await_step(into);
                self.say("running: waiting for the next step");
            }
            Phase::Failed => self.say("no further step after the failure: see the log"),
            Phase::Finished if self.timeline.ending().is_some_and(|e| e.more) => {
                self.say("the operation has ended; N starts the scenario's next one");
            }
            Phase::Finished => self.say("the operation has ended; p steps back, q quits"),
        }
    }

    /// Names the hold that `n` ends and those that remain: its next step may need their release.
    fn say_what_is_released(&mut self) {
        let place = |h: &HeldRequest| match h.store {
            0 => format!("{} (client)", h.stage),
            store => format!("{} (store {store})", h.stage),
        };
        let Some((first, rest)) = self.timeline.holds().split_first() else { return };
        let mut text = format!("released at {}: waiting for the next step", place(first));
        if !rest.is_empty() {
            let held: Vec<String> = rest.iter().map(place).collect();
            text.push_str(&format!("; n then releases {}", held.join(", ")));
        }
        self.say(text);
    }

    fn back(&mut self) {
        self.stay();
        match self.timeline.previous_step() {
            Some(before) => self.go_to(before),
            None => self.say("this is the first step"),
        }
    }

    /// Ends the following of the newest step, and the wait for one.
    fn stay(&mut self) {
        self.timeline.set_follow(false);
        self.timeline.await_nothing();
    }

    fn is_before_the_end(&self) -> bool {
        self.timeline.cursor() < self.timeline.end_step()
    }

    pub(super) fn jump(&mut self, step: usize) {
        self.timeline.await_nothing();
        let to_newest = step >= self.timeline.steps().len();
        self.timeline.set_follow(to_newest && self.phase() == Phase::Running);
        self.go_to(step);
    }

    /// Moves to the next recorded step with a gate; without one, runs the request to its next gate.
    fn go_to_gate(&mut self) {
        if let Some(step) = self.next_gated() {
            return self.go_to(step);
        }
        if matches!(self.phase(), Phase::Held | Phase::Running) {
            self.timeline.set_follow(true);
            let result = self.source.to_gate();
            self.ok_or_say(result);
            if self.gates.is_empty() {
                self.say("no gate is set: running to the end (b sets one, : finds any stage)");
            }
        }
        self.go_to(self.timeline.steps().len());
    }

    fn run(&mut self) {
        self.timeline.set_follow(true);
        if matches!(self.phase(), Phase::Held | Phase::Running) {
            let result = self.source.run();
            self.ok_or_say(result);
        }
        self.go_to(self.timeline.steps().len());
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
        self.gates = self.source.gates();
    }

    fn next_operation(&mut self) {
        match self.timeline.ending() {
            Some(e) if !e.more => {
                self.say("no further operation: e steps one of your own, R runs this again")
            }
            _ => {
                let result = self.source.next_operation();
                self.ok_or_say(result);
            }
        }
    }

    fn move_in_pane(&mut self, by: isize) {
        match self.panes.focus() {
            Pane::Path => self.move_rows(by),
            Pane::Stack => self.move_in_stack(by),
            Pane::Source => self.move_in_code(by),
            pane => self.panes.scroll_by(pane, by),
        }
    }

    /// Moves the pane to the side; the cursor of the source pane first goes from name to name.
    fn move_to_side(&mut self, right: bool) {
        if self.panes.focus() != Pane::Source || !self.move_to_name(right) {
            self.panes.move_sideways(if right { SIDEWAYS } else { -SIDEWAYS });
        }
    }

    /// Moves over the rows of the tree, from stage to stage.
    fn move_rows(&mut self, by: isize) {
        let steps = self.timeline.tree().stages(self.timeline.cursor());
        let Some(at) = steps.iter().position(|s| *s == self.timeline.cursor()) else { return };
        self.stay();
        self.go_to(steps[at.saturating_add_signed(by).min(steps.len() - 1)]);
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
