//! Shows the screen with a made-up operation, without a cluster:
//! `cargo run -p tikv-tui --example synthetic [put|panic|panic-thread|stuck]`.
use tikv_tui::{
    run::{self, ScreenEnd},
    source::recorded::Recorded,
    state::{Screen, SourceEvent, Start, StepSource, screen::Options},
    terminal::signals::Stopped,
    view::theme::Theme,
};
use tracepoints::{Gate, session::GateState};

#[path = "../tests/common/mod.rs"]
mod common;

/// A source that panics at its second poll, in the drawing or another thread, or hangs in its first poll.
struct Faulty {
    source: Recorded,
    fault: String,
}

impl StepSource for Faulty {
    fn title(&self) -> String {
        self.source.title()
    }

    fn poll(&mut self) -> Vec<SourceEvent> {
        let events = self.source.poll();
        match self.fault.as_str() {
            "panic" if events.is_empty() => panic!("asked to panic"),
            "stuck" => std::thread::sleep(std::time::Duration::from_secs(600)),
            "panic-thread" if events.is_empty() => {
                self.fault.clear();
                let thread = std::thread::Builder::new().name("store-writer".into());
                thread.spawn(|| panic!("asked to panic")).expect("a thread");
            }
            _ => {}
        }
        events
    }

    fn step(&mut self) -> anyhow::Result<()> {
        self.source.step()
    }

    fn to_gate(&mut self) -> anyhow::Result<()> {
        self.source.to_gate()
    }

    fn run(&mut self) -> anyhow::Result<()> {
        self.source.run()
    }

    fn release(&mut self, hold: u64) -> anyhow::Result<()> {
        self.source.release(hold)
    }

    fn set_gate(&mut self, gate: Gate) -> anyhow::Result<()> {
        self.source.set_gate(gate)
    }

    fn remove_gate(&mut self, text: &str) -> anyhow::Result<()> {
        self.source.remove_gate(text)
    }

    fn switch_gate(&mut self, text: &str, on: bool) -> anyhow::Result<()> {
        self.source.switch_gate(text, on)
    }

    fn run_to(&mut self, gate: Gate) -> anyhow::Result<()> {
        self.source.run_to(gate)
    }

    fn gates(&self) -> Vec<GateState> {
        self.source.gates()
    }

    fn next_operation(&mut self) -> anyhow::Result<()> {
        self.source.next_operation()
    }
}

fn main() -> anyhow::Result<()> {
    let start = Start { stacks: true, ..Start::default() };
    let source = match std::env::args().nth(1).as_deref() {
        Some("put") => common::source("txn_2pc", common::prewrite(), &start),
        _ => common::source("point_get", common::point_get(), &start),
    };
    let source = Faulty { source, fault: std::env::args().nth(1).unwrap_or_default() };
    let options = Options { color: Theme::wanted(), ..Options::default() };
    match run::run(Screen::new(Box::new(source), options))? {
        ScreenEnd::Quit(_) => Ok(()),
        ScreenEnd::Signal(signal) => std::process::exit(Stopped(signal).exit_code().into()),
    }
}
