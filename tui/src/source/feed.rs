//! Folds a session's events into a trace, and says which steps are new or changed.
use tracepoints::{
    SessionEvent,
    session::HoldInfo,
    symbolize::Symbolizer,
    thread,
    trace::{Step, Trace},
};

use crate::state::{Hold, SourceEvent};

/// One operation on its way to the screen.
#[derive(Default)]
pub struct Feed {
    trace: Trace,
    symbols: Option<Symbolizer>,
    /// Steps as they were told last.
    told: Vec<Step>,
}

impl Feed {
    /// `symbols`: resolves stacks, if stacks are captured.
    pub fn new(symbols: Option<Symbolizer>) -> Self {
        Self { symbols, ..Self::default() }
    }

    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The symbolizer, for the next operation: what it has resolved stays resolved.
    pub fn into_symbols(self) -> Option<Symbolizer> {
        self.symbols
    }

    /// Takes events of a session and gives what the screen must hear.
    pub fn apply<'a>(&mut self, events: impl IntoIterator<Item = &'a SessionEvent>) -> Vec<SourceEvent> {
        let mut out = Vec::new();
        for event in events {
            self.trace.apply(event, self.symbols.as_mut());
            match event {
                SessionEvent::Request(info) => out.push(SourceEvent::Request(info.clone())),
                SessionEvent::Held(info) => {
                    // The screen knows a step before it hears that it is held there.
                    self.tell_changes(&mut out);
                    out.push(SourceEvent::Held(hold(info)));
                }
                SessionEvent::Released { id, .. } => out.push(SourceEvent::Released(*id)),
                SessionEvent::Step(_) | SessionEvent::Probe(_) | SessionEvent::Finished { .. } => {}
            }
        }
        self.tell_changes(&mut out);
        out
    }

    fn tell_changes(&mut self, out: &mut Vec<SourceEvent>) {
        for (i, step) in self.trace.steps.iter().enumerate() {
            match self.told.get_mut(i) {
                Some(told) if told.dur_ns == step.dur_ns && told.state == step.state => continue,
                Some(told) => told.clone_from(step),
                None => self.told.push(step.clone()),
            }
            out.push(SourceEvent::Step(Box::new(step.clone())));
        }
    }
}

fn hold(info: &HoldInfo) -> Hold {
    let thread = thread::info(info.thread).name;
    Hold { id: info.id, stage: info.stage.name().into(), store: info.store, thread }
}

#[cfg(test)]
mod tests {
    use tracepoints::{
        Probe, RequestKind, Session, SessionConfig,
        request::{begin, end},
        session::{Matcher, Mode},
    };

    use super::*;

    #[test]
    fn a_real_session_is_told_step_by_step_with_its_state() {
        let matcher = Matcher { any: true, ..Matcher::default() };
        let session =
            Session::start(SessionConfig { matcher, mode: Mode::Run, stacks: true, ..Default::default() })
                .unwrap();
        let req = begin(RequestKind::KvGet, b"k", 1);
        tracepoints::stamp!(GRPC_RECEIVE, req);
        tracepoints::stamp!(GRPC_DECODE, req, region = 1u64);
        tracepoints::probe!(req, || Probe::Note("seen".into()));
        end(req);
        let events: Vec<SessionEvent> = session.events().try_iter().collect();
        let mut feed = Feed::new(Symbolizer::for_this_process().ok());
        let mut steps: Vec<Step> = Vec::new();
        for event in events.iter().flat_map(|e| feed.apply([e])) {
            if let SourceEvent::Step(step) = event {
                match steps.get_mut(step.step) {
                    Some(known) => *known = *step,
                    None => steps.push(*step),
                }
            }
        }
        assert_eq!(steps, feed.trace().steps, "what was told is what there is");
        assert_eq!(
            steps.iter().map(|s| s.stage.as_str()).collect::<Vec<_>>(),
            ["grpc_receive", "grpc_decode"]
        );
        assert_eq!(steps[1].state.notes, ["seen"]);
        assert!(steps[1].function.ends_with("a_real_session_is_told_step_by_step_with_its_state"));
    }
}
