//! The thread `trace-control`: turns a session's events into the stream's messages.
//!
//! A step is sent at once, and again when its duration or state has become known: a later message with the
//! same `request` and `step` replaces the earlier one. `held` with `hold_stage` and the step says that a gate
//! holds the request; a message with `hold_stage` alone says that it was released; `end` carries `{"summary":
//! .., "outcome": ..}`.
use std::{io, sync::Arc, thread, time::Duration};

use kvproto::tracecontrol::StepEvent;
use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedSender;
use tracepoints::{Session, SessionEvent, session::HoldInfo, symbolize::Symbolizer};

use super::{freeze::PeerFreezer, updates::Traces};

/// Interval for noticing that the client has gone.
const POLL: Duration = Duration::from_millis(50);

/// Maximum time in which replicas may still stamp for a request that has left the server.
const LINGER: Duration = Duration::from_millis(300);

/// The session that a client started. Clock and sessions belong to the process, not to a store.
pub static LIVE: Mutex<Option<Arc<Session>>> = Mutex::new(None);

/// Conditions that end a subscription, besides the client's departure.
#[derive(Clone, Copy)]
pub struct Ends {
    /// Ends after this many requests; 0: never.
    pub max_requests: u32,
    pub stacks: bool,
}

struct Pump {
    session: Arc<Session>,
    events: UnboundedSender<Result<StepEvent, tonic::Status>>,
    ends: Ends,
    freezer: Arc<PeerFreezer>,
    traces: Traces,
    holds: Vec<HoldInfo>,
    finished: u32,
}

pub fn spawn(
    session: Arc<Session>,
    events: UnboundedSender<Result<StepEvent, tonic::Status>>,
    ends: Ends,
    freezer: Arc<PeerFreezer>,
    store_id: u64,
) -> io::Result<()> {
    let run = move || {
        tracepoints::register_thread("trace-control", store_id);
        let symbols = ends
            .stacks
            .then(Symbolizer::for_this_process)
            .and_then(|s| s.map_err(|e| log::warn!("call stacks are shown as addresses: {e}")).ok());
        let traces = Traces::new(symbols);
        Pump { session, events, ends, freezer, traces, holds: Vec::new(), finished: 0 }.run();
    };
    thread::Builder::new().name("trace-control".into()).spawn(run).map(drop)
}

impl Pump {
    fn run(mut self) {
        while !self.events.is_closed() && !self.enough() {
            if let Ok(first) = self.session.events().recv_timeout(POLL) {
                self.on_event(first);
                while let Ok(event) = self.session.events().try_recv() {
                    self.on_event(event);
                }
            }
            self.send_changes();
            self.send_finished();
            self.freezer.keep(!self.holds.is_empty());
        }
        self.freezer.keep(false);
        // The session ends with its last reference; a concurrent Continue may keep one for an instant.
        let mut slot = LIVE.lock();
        if slot.as_ref().is_some_and(|live| Arc::ptr_eq(live, &self.session)) {
            *slot = None;
        }
        drop(self.session);
    }

    fn enough(&self) -> bool {
        self.ends.max_requests != 0 && self.finished >= self.ends.max_requests
    }

    fn on_event(&mut self, event: SessionEvent) {
        self.traces.apply(&event);
        match event {
            SessionEvent::Held(hold) => {
                self.send_changes();
                let stage = hold.stage.name();
                let json = self.traces.step_at(hold.req.id(), stage).map(to_json).unwrap_or_default();
                let (hold_id, hold_reason) = (hold.id, hold.reason.clone());
                let hold_stage = stage.into();
                self.send(StepEvent { json, held: true, hold_stage, hold_id, hold_reason, end: false });
                self.holds.push(hold);
            }
            SessionEvent::Released { id, .. } => {
                if let Some(at) = self.holds.iter().position(|h| h.id == id) {
                    let hold = self.holds.remove(at);
                    let (hold_stage, hold_id) = (hold.stage.name().into(), id);
                    self.send(StepEvent { hold_stage, hold_id, ..StepEvent::default() });
                }
            }
            _ => {}
        }
    }

    fn send_changes(&mut self) {
        for step in self.traces.changed() {
            self.send(StepEvent { json: to_json(&step), ..StepEvent::default() });
        }
    }

    fn send_finished(&mut self) {
        for ended in self.traces.take_finished(LINGER) {
            for step in ended.steps {
                self.send(StepEvent { json: to_json(&step), ..StepEvent::default() });
            }
            let end = serde_json::json!({ "summary": ended.summary, "outcome": ended.outcome });
            let json = to_json(&end);
            self.send(StepEvent { json, end: true, ..StepEvent::default() });
            self.finished += 1;
        }
    }

    /// `run` notices a client that has gone.
    fn send(&self, event: StepEvent) {
        let _ = self.events.send(Ok(event));
    }
}

fn to_json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
