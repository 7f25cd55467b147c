//! Sources that differ from a saved operation: a live one, and one that never answers.
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{Terminal, backend::TestBackend};
use tikv_tui::{
    source::recorded::Recorded,
    state::{Effect, HeldRequest, Screen, SourceEvent, Start, StepSource, overlay::Overlay, screen::Options},
};
use tracepoints::{Gate, session::GateState, trace::Step};

use crate::{Rig, SIZES, assert_drawn, common};

/// A source whose steps are lost at the program's end.
struct Live(Recorded);

impl StepSource for Live {
    fn title(&self) -> String {
        self.0.title()
    }
    fn poll(&mut self) -> Vec<SourceEvent> {
        self.0.poll()
    }
    fn step(&mut self) -> anyhow::Result<()> {
        self.0.step()
    }
    fn to_gate(&mut self) -> anyhow::Result<()> {
        self.0.to_gate()
    }
    fn run(&mut self) -> anyhow::Result<()> {
        self.0.run()
    }
    fn release(&mut self, hold: u64) -> anyhow::Result<()> {
        self.0.release(hold)
    }
    fn gates(&self) -> Vec<GateState> {
        self.0.gates()
    }
    fn set_gate(&mut self, gate: Gate) -> anyhow::Result<()> {
        self.0.set_gate(gate)
    }
    fn remove_gate(&mut self, text: &str) -> anyhow::Result<()> {
        self.0.remove_gate(text)
    }
    fn switch_gate(&mut self, text: &str, on: bool) -> anyhow::Result<()> {
        self.0.switch_gate(text, on)
    }
    fn run_to(&mut self, gate: Gate) -> anyhow::Result<()> {
        self.0.run_to(gate)
    }
    fn next_operation(&mut self) -> anyhow::Result<()> {
        self.0.next_operation()
    }
}

#[test]
fn the_end_of_a_live_session_offers_to_save_the_steps() {
    let start = Start::default();
    let live = Live(common::source("point_get", common::point_get(), &start));
    let mut screen = Screen::new(Box::new(live), Options::default());
    while screen.poll() {}
    let key = |screen: &mut Screen, c| screen.on_key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE));
    assert_eq!((key(&mut screen, 'q'), screen.overlay()), (Effect::None, &Overlay::Leave));
    assert_eq!(
        (key(&mut screen, 'x'), screen.overlay()),
        (Effect::None, &Overlay::None),
        "any other key stays"
    );
    key(&mut screen, 'q');
    assert_eq!(key(&mut screen, 's'), Effect::SaveAndQuit);
    key(&mut screen, 'q');
    assert_eq!(key(&mut screen, 'q'), Effect::Quit);
    screen.note_saved();
    assert_eq!(key(&mut screen, 'q'), Effect::Quit, "all steps are saved");
}

#[test]
fn the_offer_to_save_at_four_widths() {
    for size in SIZES {
        let start = Start::default();
        let live = Live(common::source("point_get", common::point_get(), &start));
        let screen = Screen::new(Box::new(live), Options { color: true, ..Options::default() });
        let terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
        let mut rig = Rig { screen, terminal };
        rig.settle();
        rig.keys("nnnq");
        assert!(rig.text().contains("Save the steps into a file? s save and quit"), "{}", rig.text());
        assert_drawn(&format!("overlay_leave_{}", size.0), &rig);
    }
}

/// A source that never answers: a release has no visible effect but the message.
struct Silent(Vec<SourceEvent>);

impl StepSource for Silent {
    fn title(&self) -> String {
        "silent".into()
    }
    fn poll(&mut self) -> Vec<SourceEvent> {
        std::mem::take(&mut self.0)
    }
    fn step(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
    fn to_gate(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
    fn run(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
    fn release(&mut self, _: u64) -> anyhow::Result<()> {
        Ok(())
    }
    fn gates(&self) -> Vec<GateState> {
        Vec::new()
    }
    fn set_gate(&mut self, _: Gate) -> anyhow::Result<()> {
        Ok(())
    }
    fn remove_gate(&mut self, _: &str) -> anyhow::Result<()> {
        Ok(())
    }
    fn switch_gate(&mut self, _: &str, _: bool) -> anyhow::Result<()> {
        Ok(())
    }
    fn run_to(&mut self, _: Gate) -> anyhow::Result<()> {
        Ok(())
    }
    fn next_operation(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
}

#[test]
fn a_release_without_a_next_step_is_named() {
    let hold = |id, stage: &str, store| {
        SourceEvent::Held(HeldRequest { id, stage: stage.into(), store, ..HeldRequest::default() })
    };
    let step = Step { stage: "raft_commit".into(), store: 1, ..Step::default() };
    let events =
        vec![SourceEvent::Step(Box::new(step)), hold(1, "raft_commit", 1), hold(2, "follower_append", 2)];
    let mut screen = Screen::new(Box::new(Silent(events)), Options::default());
    screen.poll();
    screen.on_key(KeyEvent::new(KeyCode::Char('n'), KeyModifiers::NONE));
    let said = screen.message().unwrap_or_default();
    assert!(said.starts_with("released at raft_commit (store 1)"), "{said}");
    assert!(said.ends_with("n then releases follower_append (store 2)"), "{said}");
}
