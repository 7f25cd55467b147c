//! The timeline: lanes of stores and threads, spans, and the messages between them.
use std::collections::BTreeMap;

use serde::Serialize;
use tracepoints::{find_stage, trace::Step};

use super::names::{Names, class_number};
use crate::cohort::Operation;

#[derive(Clone, Debug, Serialize)]
struct Lane {
    label: String,
}

/// Spans as parallel lists. Times are in ns since the first span begins.
#[derive(Clone, Debug, Default, Serialize)]
struct Spans {
    lane: Vec<usize>,
    at: Vec<u64>,
    dur: Vec<u64>,
    name: Vec<usize>,
    class: Vec<i64>,
    critical: Vec<u8>,
    request: Vec<u64>,
    /// The resource that ran or was waited for.
    on: Vec<usize>,
}

/// Arrows from the time `at` in one span to the start of another.
#[derive(Clone, Debug, Default, Serialize)]
struct Arrows {
    from: Vec<usize>,
    to: Vec<usize>,
    at: Vec<u64>,
    critical: Vec<u8>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Timeline {
    lanes: Vec<Lane>,
    spans: Spans,
    arrows: Arrows,
    end: u64,
}

/// Sending stages of messages, and the stages that the receiver stamps.
const MESSAGES: [(&str, &str); 4] = [
    ("raft_send", "follower_receive"),
    ("follower_ack", "raft_ack"),
    ("read_index_propose", "read_index_heartbeat"),
    ("read_index_heartbeat", "read_index_ack"),
];

impl Timeline {
    pub(super) fn build(operations: &[Operation], names: &mut Names) -> Self {
        let lanes = lanes(operations);
        let labels = lanes.keys().map(|(store, thread)| Lane { label: lane_label(*store, thread) });
        let mut out = Self { lanes: labels.collect(), ..Self::default() };
        let place: BTreeMap<_, usize> = lanes.keys().enumerate().map(|(n, key)| (key.clone(), n)).collect();
        let start = operations.iter().map(|o| o.begin_ns).min().unwrap_or(0);
        for operation in operations {
            let first = out.spans.at.len();
            let offset = operation.begin_ns - start;
            for step in &operation.steps {
                let lane = place.get(&key(step)).copied().unwrap_or(0);
                out.span(step, offset, lane, names);
            }
            out.on_the_path(operation, first, names);
            out.messages(operation, first, offset);
        }
        out
    }

    fn span(&mut self, step: &Step, offset: u64, lane: usize, names: &mut Names) {
        let spans = &mut self.spans;
        spans.lane.push(lane);
        spans.at.push(offset.saturating_add(step.at_ns));
        spans.dur.push(step.dur_ns);
        spans.name.push(names.intern(&step.stage));
        spans.class.push(class_number(find_stage(&step.stage).map(|s| s.class)));
        spans.critical.push(0);
        spans.request.push(step.request);
        spans.on.push(names.intern(""));
        self.end = self.end.max(offset.saturating_add(step.at_ns).saturating_add(step.dur_ns));
    }

    fn on_the_path(&mut self, operation: &Operation, first: usize, names: &mut Names) {
        for segment in operation.path.segments.iter().filter(|s| s.dur_ns > 0) {
            let span = first + segment.step;
            self.spans.critical[span] = 1;
            self.spans.class[span] = class_number(Some(segment.class));
            self.spans.on[span] = names.intern(&segment.on);
        }
    }

    /// Adds Raft's messages between stores, and the path of an operation from client to store and back.
    fn messages(&mut self, operation: &Operation, first: usize, offset: u64) {
        let steps = &operation.steps;
        let on_path: std::collections::HashSet<(usize, usize)> =
            operation.path.segments.windows(2).map(|pair| (pair[0].step, pair[1].step)).collect();
        let mut arrow = |from: usize, to: usize, at: u64| {
            self.arrows.from.push(first + from);
            self.arrows.to.push(first + to);
            self.arrows.at.push(offset.saturating_add(at));
            self.arrows.critical.push(u8::from(on_path.contains(&(from, to))));
        };
        for (to, step) in steps.iter().enumerate() {
            if let Some((sends, _)) = MESSAGES.iter().find(|(_, receives)| *receives == step.stage)
                && let Some(from) = sender(steps, to, sends)
            {
                arrow(from, to, steps[from].at_ns);
            }
        }
        let mains: Vec<usize> = (0..steps.len()).filter(|i| steps[*i].lane == "main").collect();
        for pair in mains.windows(2) {
            let (from, to) = (&steps[pair[0]], &steps[pair[1]]);
            if from.store != to.store {
                // The client sends at the end of its stage, which is the start of the next one.
                let leaves = if from.stage == "grpc_reply" {
                    from.at_ns
                } else {
                    from.at_ns.saturating_add(from.dur_ns / 2)
                };
                arrow(pair[0], pair[1], leaves.min(to.at_ns));
            }
        }
    }
}

/// Returns the last step that sent the message received at `to`: on the named store, if the stamp has one.
fn sender(steps: &[Step], to: usize, sends: &str) -> Option<usize> {
    let (receiver, from) = (&steps[to], steps[to].fields.get("from"));
    steps[..to].iter().rposition(|s| {
        s.stage == sends
            && s.request == receiver.request
            && s.store != receiver.store
            && from.is_none_or(|from| *from == s.store)
    })
}

fn key(step: &Step) -> (u64, String) {
    (step.store, step.thread.clone())
}

/// Sorts the lanes by store, then by thread.
fn lanes(operations: &[Operation]) -> BTreeMap<(u64, String), ()> {
    operations.iter().flat_map(|o| &o.steps).map(|s| (key(s), ())).collect()
}

fn lane_label(store: u64, thread: &str) -> String {
    let thread = if thread.is_empty() { "thread unknown" } else { thread };
    if store == 0 { thread.to_owned() } else { format!("{store} · {thread}") }
}
