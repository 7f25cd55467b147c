//! Keys of the lists of gates and of held requests, and of the input of an operation.
use std::collections::HashMap;

use crossterm::event::{KeyCode, KeyEvent};
use tracepoints::{
    Gate, Hold, find_stage,
    gates::{Recorded, Timestamps},
    session::GateState,
};

use super::{
    Effect, Screen,
    text_input::{Typed, typed},
};
use crate::state::{
    gates,
    overlay::{Overlay, Typing},
    timeline::Phase,
};

impl Screen {
    /// Opens the list of gates.
    pub(super) fn open_gates(&mut self) {
        self.gates = self.source.gates();
        // Without a gate, the user wants to write one.
        let input = self.gates.is_empty().then(Typing::default);
        self.overlay = Overlay::Gates { selected: 0, input };
    }

    pub(super) fn gates_key(&mut self, key: KeyEvent) -> Effect {
        let Overlay::Gates { selected, input } = &mut self.overlay else { return Effect::None };
        if let Some(typing) = input {
            typing.problem = None;
            match typed(&mut typing.text, key) {
                Typed::Open => {}
                Typed::Closed => *input = None,
                Typed::Done => {
                    let text = typing.text.clone();
                    self.set_typed_gate(&text);
                }
            }
            return Effect::None;
        }
        let at = *selected;
        match key.code {
            KeyCode::Down | KeyCode::Char('j') => {
                *selected = (at + 1).min(self.gates.len().saturating_sub(1))
            }
            KeyCode::Up | KeyCode::Char('k') => *selected = at.saturating_sub(1),
            KeyCode::Char('a') => *input = Some(Typing::default()),
            KeyCode::Char('e') => {
                let text = self.gates.get(at).map(|state| state.gate.text().to_owned());
                *input = text.map(|text| Typing { text, problem: None });
            }
            KeyCode::Enter | KeyCode::Char(' ') => self.switch_selected_gate(at),
            KeyCode::Char('d') | KeyCode::Delete => self.remove_selected_gate(at),
            KeyCode::Esc | KeyCode::Char('q' | 'B') => self.overlay = Overlay::None,
            _ => {}
        }
        Effect::None
    }

    fn set_typed_gate(&mut self, text: &str) {
        let result = gates::parse(text).map_err(anyhow::Error::from).and_then(|gate| {
            let text = gate.text().to_owned();
            self.source.set_gate(gate).map(|()| text)
        });
        self.gates = self.source.gates();
        let Overlay::Gates { selected, input } = &mut self.overlay else { return };
        match result {
            Ok(set) => {
                *selected = self.gates.iter().position(|state| state.gate.text() == set).unwrap_or(0);
                *input = None;
                self.note(format!("gate set at {set}"));
            }
            Err(e) => *input = Some(Typing { text: text.to_owned(), problem: Some(format!("{e:#}")) }),
        }
    }

    fn switch_selected_gate(&mut self, at: usize) {
        let Some(state) = self.gates.get(at) else { return };
        let (text, on) = (state.gate.text().to_owned(), !state.on);
        let result = self.source.switch_gate(&text, on);
        if self.ok_or_say(result).is_some() {
            self.note(format!("gate {text} switched {}", if on { "on" } else { "off" }));
        }
        self.gates = self.source.gates();
    }

    fn remove_selected_gate(&mut self, at: usize) {
        let Some(text) = self.gates.get(at).map(|state| state.gate.text().to_owned()) else { return };
        let result = self.source.remove_gate(&text);
        if self.ok_or_say(result).is_some() {
            self.note(format!("gate removed from {text}"));
        }
        self.gates = self.source.gates();
        let last = self.gates.len().saturating_sub(1);
        self.overlay = Overlay::Gates { selected: at.min(last), input: None };
    }

    /// Shows the held step; of several, the list to choose from.
    pub(super) fn go_to_held(&mut self) {
        match self.timeline.holds() {
            [] => self.say("nothing is held now"),
            [one] => {
                if let Some(step) = self.timeline.held_step(one) {
                    self.go_to(step);
                }
            }
            _ => self.overlay = Overlay::Held { selected: 0 },
        }
    }

    pub(super) fn held_key(&mut self, key: KeyEvent) -> Effect {
        let Overlay::Held { selected } = &mut self.overlay else { return Effect::None };
        let (at, last) = (*selected, self.timeline.holds().len().saturating_sub(1));
        match key.code {
            KeyCode::Down | KeyCode::Char('j') => *selected = (at + 1).min(last),
            KeyCode::Up | KeyCode::Char('k') => *selected = at.saturating_sub(1),
            KeyCode::Enter | KeyCode::Char('n') => self.release_selected(at),
            KeyCode::Char('g') => {
                let step = self.timeline.holds().get(at).and_then(|hold| self.timeline.held_step(hold));
                self.overlay = Overlay::None;
                step.into_iter().for_each(|step| self.go_to(step));
            }
            KeyCode::Esc | KeyCode::Char('q' | 'H') => self.overlay = Overlay::None,
            _ => {}
        }
        Effect::None
    }

    fn release_selected(&mut self, at: usize) {
        self.overlay = Overlay::None;
        let Some(hold) = self.timeline.holds().get(at).cloned() else { return };
        if self.source.scripted() {
            return self.say("the scenario holds this operation: n runs its next directive");
        }
        self.timeline.remove_hold(hold.id);
        self.timeline.set_follow(true);
        let result = self.source.release(hold.id);
        self.ok_or_say(result);
    }

    /// The next known step at which a gate holds. Each gate counts its arrivals from the first step; a change is
    /// known only to the engine.
    pub(super) fn next_gated(&self) -> Option<usize> {
        let on = self.gates.iter().filter(|state| state.on);
        let mut gates: Vec<GateState> = on.map(|state| GateState::new(state.gate.clone())).collect();
        let conditional = gates.iter().any(|state| state.gate.condition.is_some());
        if gates.is_empty() {
            return None;
        }
        let keys: HashMap<u64, &[u8]> =
            self.timeline.requests().iter().map(|request| (request.id, request.key.as_slice())).collect();
        let mut timestamps = Timestamps::default();
        for (i, step) in self.timeline.steps().iter().enumerate() {
            if conditional {
                timestamps.learn(step);
            }
            let Some(stage) = find_stage(&step.stage).filter(|stage| stage.hold != Hold::None) else {
                continue;
            };
            let at = Recorded { step, key: keys.get(&step.request).copied(), timestamps: &timestamps };
            let mut holds = false;
            for state in &mut gates {
                if state.gate.accepts(stage.id, &step.file, step.line, &at) {
                    holds |= state.count();
                }
            }
            if holds && i > self.timeline.cursor() {
                return Some(i);
            }
        }
        None
    }

    /// Runs to the next arrival at a stage.
    pub(super) fn run_to_stage(&mut self, stage: &str) {
        match (gates::parse(stage), self.phase()) {
            (Ok(gate), Phase::Held | Phase::Running) => {
                self.timeline.set_follow(true);
                let result = self.source.run_to(gate);
                self.ok_or_say(result);
            }
            (Ok(_), _) => self.say("no request runs now: R runs the operation again"),
            (Err(e), _) => self.say(e.to_string()),
        }
    }

    /// Runs the operation again, up to the step at the cursor.
    pub(super) fn run_to_step(&mut self) {
        let Some(gate) = self.gate_of_step() else {
            return self.say("this step cannot hold a request: choose one before or after it");
        };
        let text = gate.text().to_owned();
        let result = self.source.restart(Some(gate));
        if self.ok_or_say(result).is_some() {
            self.say(format!("running again, up to {text}"));
        }
    }

    /// The gate that holds at the step of the cursor in the next run: its stage with the number of the arrival.
    fn gate_of_step(&self) -> Option<Gate> {
        let step = self.step()?;
        let stage = find_stage(&step.stage).filter(|stage| stage.hold != Hold::None)?;
        let same = |s: &&tracepoints::trace::Step| s.stage == step.stage;
        let arrival = self.timeline.steps()[..=self.timeline.cursor()].iter().filter(same).count();
        let gate = Gate::at(stage.id);
        Some(if arrival > 1 { gate.from_hit(arrival as u32) } else { gate })
    }

    pub(super) fn restart(&mut self) {
        let result = self.source.restart(None);
        if self.ok_or_say(result).is_some() {
            self.say("running again");
        }
    }

    pub(super) fn operation_key(&mut self, key: KeyEvent) -> Effect {
        let Overlay::Operation(typing) = &mut self.overlay else { return Effect::None };
        typing.problem = None;
        match typed(&mut typing.text, key) {
            Typed::Open => {}
            Typed::Closed => self.overlay = Overlay::None,
            Typed::Done => {
                let text = typing.text.clone();
                match self.source.try_operation(&text) {
                    Ok(()) => {
                        self.overlay = Overlay::None;
                        self.say(format!("stepping {text}"));
                    }
                    Err(e) => {
                        self.overlay = Overlay::Operation(Typing { text, problem: Some(format!("{e:#}")) });
                    }
                }
            }
        }
        Effect::None
    }
}
