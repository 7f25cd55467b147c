//! Where a request's wall-clock time went: its stages as a flamegraph, from the steps of its trace.
use tracepoints::trace::Step;

use crate::Folded;

/// The root under which replica lanes stand: they run beside the request and are no part of its sum.
pub const REPLICAS: &str = "replicas";

#[derive(Clone, Copy, Debug, Default)]
pub struct WallOptions {
    /// Names the store of each stage.
    pub stores: bool,
    /// Adds what replicas did meanwhile, under [`REPLICAS`].
    pub replicas: bool,
    /// Adds the call stack that was captured at the stage's stamp.
    pub frames: bool,
}

/// Folds steps to `kind;stage[;store]`, in ns. Without replicas the sum is the time of the main lane.
pub fn fold(steps: &[Step], options: WallOptions) -> Folded {
    let mut folded = Folded::default();
    let shown = |s: &&Step| s.lane == "main" || options.replicas;
    for step in steps.iter().filter(shown) {
        folded.add(stack(step, options), step.dur_ns);
    }
    folded
}

fn stack(step: &Step, options: WallOptions) -> Vec<String> {
    let replica = step.lane != "main";
    let mut stack = Vec::new();
    if replica {
        stack.push(REPLICAS.to_owned());
    }
    stack.push(if step.kind.is_empty() { "request".into() } else { step.kind.clone() });
    stack.push(step.stage.clone());
    if (options.stores || replica) && step.store != 0 {
        stack.push(format!("store-{}", step.store));
    }
    if options.frames {
        stack.extend(step.stack.iter().rev().map(|f| f.function.clone()));
    }
    stack
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flame::{self, FlameOptions, Measure, assert_well_formed};
    use tracepoints::{
        Req, RequestKind, Session, SessionConfig,
        request::{begin, end},
        session::Matcher,
        trace::Trace,
    };

    /// A real request through a real session.
    #[inline(never)]
    fn trace() -> Trace {
        let matcher = Matcher { any: true, ..Matcher::default() };
        let config = SessionConfig { matcher, stacks: true, ..SessionConfig::default() };
        let session = Session::start(config).unwrap();
        let req = begin(RequestKind::KvPrewrite, b"k", 1);
        tracepoints::stamp!(GRPC_RECEIVE, req);
        tracepoints::stamp!(RAFT_PROPOSE, req);
        on_store(2, req);
        std::thread::sleep(std::time::Duration::from_millis(2));
        tracepoints::stamp!(GRPC_REPLY, req);
        end(req);
        let mut symbols = tracepoints::symbolize::Symbolizer::for_this_process().unwrap();
        let mut trace = Trace::new();
        session.events().try_iter().for_each(|e| trace.apply(&e, Some(&mut symbols)));
        trace
    }

    fn on_store(store: u64, req: Req) {
        let run = move || {
            tracepoints::register_thread("raftstore-2-0", store);
            tracepoints::stamp!(FOLLOWER_RECEIVE, req);
            std::thread::sleep(std::time::Duration::from_millis(1));
            tracepoints::stamp!(FOLLOWER_APPEND, req);
        };
        std::thread::spawn(run).join().unwrap();
    }

    #[test]
    fn stages_sum_to_what_the_trace_says_and_replicas_stand_apart() {
        let trace = trace();
        let main = fold(&trace.steps, WallOptions::default());
        assert_eq!(main.total(), trace.summary().stage_ns);
        let stages: Vec<&str> = main.iter().map(|(stack, _)| stack).collect();
        assert!(stages.contains(&"kv_prewrite;raft_propose"), "{stages:?}");
        let both = fold(&trace.steps, WallOptions { replicas: true, stores: true, frames: false });
        let (replicas, own): (Vec<_>, Vec<_>) = both.iter().partition(|(s, _)| s.starts_with(REPLICAS));
        assert_eq!(own.iter().map(|(_, n)| n).sum::<u64>(), trace.summary().stage_ns);
        assert_eq!(replicas.len(), 1, "{replicas:?}");
        assert_eq!(replicas[0].0, "replicas;kv_prewrite;follower_receive;store-2");
        assert!(replicas[0].1 >= 1_000_000);

        let frames = fold(&trace.steps, WallOptions { frames: true, ..WallOptions::default() });
        assert_eq!(frames.total(), main.total());
        let here = frames.iter().any(|(s, _)| s.contains("wall::tests::trace"));
        assert!(here, "{:?}", frames.lines());
        let options = FlameOptions { measure: Measure::Nanoseconds, ..FlameOptions::default() };
        let svg = flame::svg(frames.lines(), "kv_prewrite", &options).unwrap();
        assert_well_formed(&svg);
        assert!(svg.contains("raft_propose") && svg.contains("wall::tests::trace"));
    }
}
