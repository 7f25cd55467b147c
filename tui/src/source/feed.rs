//! Folds a session's events into a trace, and says which steps are new or changed.
use tracepoints::{SessionEvent, session::HoldInfo, symbolize::Symbolizer, thread, trace::Trace};

use crate::state::{Hold, SourceEvent};

/// One operation on its way to the screen.
#[derive(Default)]
pub struct Feed {
    trace: Trace,
    symbols: Option<Symbolizer>,
}

impl Feed {
    /// `symbols`: resolves stacks, if stacks are captured.
    pub fn new(symbols: Option<Symbolizer>) -> Self {
        Self { trace: Trace::new(), symbols }
    }

    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The symbolizer, for the next operation: what it has resolved stays resolved.
    pub fn into_symbols(self) -> Option<Symbolizer> {
        self.symbols
    }

    /// Takes one event of a session and gives what the screen must hear.
    pub fn apply(&mut self, event: &SessionEvent) -> Vec<SourceEvent> {
        let durations: Vec<u64> = self.trace.steps.iter().map(|s| s.dur_ns).collect();
        self.trace.apply(event, self.symbols.as_mut());
        match event {
            SessionEvent::Request(info) => vec![SourceEvent::Request(info.clone())],
            SessionEvent::Held(info) => vec![SourceEvent::Held(hold(info))],
            SessionEvent::Released(id) => vec![SourceEvent::Released(*id)],
            SessionEvent::Step(_) | SessionEvent::Finished { .. } => self.changed(&durations),
            // A probe can only change the newest step.
            SessionEvent::Probe(_) => self.trace.steps.last().map(step).into_iter().collect(),
        }
    }

    fn changed(&self, durations: &[u64]) -> Vec<SourceEvent> {
        let known = |i: usize| durations.get(i).copied();
        let steps = self.trace.steps.iter().enumerate();
        steps.filter(|(i, s)| known(*i) != Some(s.dur_ns)).map(|(_, s)| step(s)).collect()
    }
}

fn step(step: &tracepoints::trace::Step) -> SourceEvent {
    SourceEvent::Step(Box::new(step.clone()))
}

fn hold(info: &HoldInfo) -> Hold {
    let thread = thread::info(info.thread).name;
    Hold { id: info.id, stage: info.stage.name().into(), store: info.store, thread }
}
