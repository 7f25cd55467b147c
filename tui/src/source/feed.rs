//! Folds a session's events into a trace, and finds the steps that are new or changed.
use tracepoints::{SessionEvent, session::HoldInfo, symbolize::Symbolizer, thread, trace::Trace};

use crate::state::{HeldRequest, SourceEvent};

/// Converts one operation's session events to events for the screen.
#[derive(Default)]
pub struct Feed {
    trace: Trace,
    symbols: Option<Symbolizer>,
}

impl Feed {
    /// `symbols` resolves stacks; None if no stacks are captured.
    pub fn new(symbols: Option<Symbolizer>) -> Self {
        Self { symbols, ..Self::default() }
    }

    /// The trace of the operation so far.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Returns the symbolizer for the next operation, with the symbols it has resolved.
    pub fn into_symbols(self) -> Option<Symbolizer> {
        self.symbols
    }

    /// Takes events of a session; returns the events for the screen.
    pub fn apply<'a>(&mut self, events: impl IntoIterator<Item = &'a SessionEvent>) -> Vec<SourceEvent> {
        let mut out = Vec::new();
        for event in events {
            self.trace.apply(event, self.symbols.as_mut());
            match event {
                SessionEvent::Request(info) => out.push(SourceEvent::Request(info.clone())),
                SessionEvent::Held(info) => {
                    // The screen must have a step before the hold at that step.
                    self.push_changes(&mut out);
                    out.push(SourceEvent::Held(hold(info)));
                }
                SessionEvent::Released { id, .. } => out.push(SourceEvent::Released(*id)),
                SessionEvent::Step(_) | SessionEvent::Probe(_) | SessionEvent::Finished { .. } => {}
            }
        }
        self.push_changes(&mut out);
        out
    }

    /// Adds the steps that are new or changed since the last call.
    fn push_changes(&mut self, out: &mut Vec<SourceEvent>) {
        let changed = self.trace.take_changed();
        let steps = changed.into_iter().filter_map(|i| self.trace.steps.get(i));
        out.extend(steps.map(|step| SourceEvent::Step(Box::new(step.clone()))));
    }
}

fn hold(info: &HoldInfo) -> HeldRequest {
    let thread = thread::info(info.thread).name;
    HeldRequest {
        id: info.id,
        stage: info.stage.name().into(),
        store: info.store,
        thread,
        reason: info.reason.clone(),
    }
}

#[cfg(test)]
mod tests {
    use tracepoints::{
        Probe, RequestKind, Session, SessionConfig,
        request::{begin, end},
        session::{Matcher, Mode},
        trace::Step,
    };

    use super::*;

    #[test]
    fn a_session_becomes_steps_with_their_state() {
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
        assert_eq!(steps, feed.trace().steps, "the sent steps are those of the trace");
        assert_eq!(
            steps.iter().map(|s| s.stage.as_str()).collect::<Vec<_>>(),
            ["grpc_receive", "grpc_decode"]
        );
        assert_eq!(steps[1].state.notes, ["seen"]);
        assert!(steps[1].function.ends_with("a_session_becomes_steps_with_their_state"));
    }
}
