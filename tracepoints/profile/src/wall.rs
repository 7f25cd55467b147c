//! Folds a request's wall-clock time: its stages as a flame graph, from the steps of its trace.
use tracepoints::{catalogue::Class, critical::Segment, trace::Step};

use crate::{Folded, folded::hide, operation::Operation};

/// The root above replica lanes: they run parallel to the request and are not part of its sum.
pub const REPLICAS: &str = "replicas";

/// The frames of a request's stacks.
#[derive(Clone, Copy, Debug, Default)]
pub struct WallOptions {
    /// Names the store of each stage.
    pub stores: bool,
    /// Adds the parallel work of replicas, under [`REPLICAS`].
    pub replicas: bool,
    /// Adds the call stack captured at the stage's stamp.
    pub frames: bool,
    /// Splits each stage along the critical path; its leaf names the resource that ran, or that was waited
    /// for.
    pub waits: bool,
}

/// Folds an operation; with [`WallOptions::waits`] to `kind;stage[;stage on store-N];waits: fsync,
/// store-writer-2`.
pub fn operation(operation: &Operation, options: WallOptions) -> Folded {
    if !options.waits {
        return fold(&operation.steps, options);
    }
    let steps = &operation.steps;
    let mut folded = Folded::default();
    for segment in &operation.path.segments {
        let (mut stack, leaf) = frames(operation, segment, options);
        stack.push(leaf);
        folded.add(stack, segment.dur_ns);
    }
    if options.replicas {
        let replicas: Vec<Step> = steps.iter().filter(|s| s.lane != "main").cloned().collect();
        folded.merge(&fold(&replicas, options));
    }
    folded
}

/// Returns the lines of one operation in time order, for a picture with time from left to right
/// ([`crate::FlameOptions::in_time`]).
pub fn in_time(operation: &Operation, options: WallOptions) -> Vec<String> {
    let line = |frames: &[String], ns: u64| {
        let frames: Vec<_> = frames.iter().map(|frame| hide(frame)).collect();
        format!("{} {ns}", frames.join(";"))
    };
    if options.waits {
        let segments = operation.path.segments.iter().filter(|segment| segment.dur_ns > 0);
        return segments
            .map(|segment| {
                let (mut stack, leaf) = frames(operation, segment, options);
                stack.push(leaf);
                line(&stack, segment.dur_ns)
            })
            .collect();
    }
    let mut steps: Vec<&Step> = operation.steps.iter().filter(|s| s.lane == "main" && s.dur_ns > 0).collect();
    steps.sort_by_key(|step| step.at_ns);
    steps.into_iter().map(|step| line(&stack(step, options), step.dur_ns)).collect()
}

/// Returns the frames of a segment of the critical path, including its leaf.
pub(crate) fn frames(
    operation: &Operation,
    segment: &Segment,
    options: WallOptions,
) -> (Vec<String>, String) {
    let steps = &operation.steps;
    let mut frames = stack(&steps[segment.main], WallOptions { frames: false, ..options });
    if segment.step != segment.main {
        frames.push(format!("{} on store-{}", segment.stage, segment.store));
    }
    if options.frames {
        frames.extend(steps[segment.step].stack.iter().rev().map(|f| f.function.clone()));
    }
    (frames, leaf(segment.class, &segment.on))
}

/// Formats a leaf, `runs: grpc-server` or `waits: queue, unified-read-pool`.
fn leaf(class: Class, on: &str) -> String {
    let on = if on.is_empty() { "?" } else { on };
    match class {
        Class::Work => format!("runs: {on}"),
        class => format!("waits: {}, {on}", class.name()),
    }
}

/// Returns the class of a frame's time, if the frame is a leaf as above or a stage.
pub fn class_of(frame: &str) -> Option<Class> {
    if frame.starts_with("runs: ") {
        return Some(Class::Work);
    }
    if let Some(waits) = frame.strip_prefix("waits: ") {
        let name = waits.split(',').next().unwrap_or_default();
        return Class::ALL.into_iter().find(|c| c.name() == name);
    }
    let mut words = frame.split(' ');
    let stage = words.next().and_then(tracepoints::find_stage)?;
    matches!(words.next(), None | Some("on")).then_some(stage.class)
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

    #[test]
    fn waits_are_named_and_the_sum_stays() {
        let trace = trace();
        let op = Operation::new(1, "kv_prewrite", 0, trace.steps.clone());
        let options = WallOptions { waits: true, ..WallOptions::default() };
        let folded = operation(&op, options);
        assert_eq!(folded.total(), op.duration_ns());
        let stacks: Vec<&str> = folded.iter().map(|(stack, _)| stack).collect();
        assert!(stacks.iter().any(|s| s.starts_with("kv_prewrite;raft_propose;runs: ")), "{stacks:?}");
        let all = operation(&op, WallOptions { replicas: true, frames: true, ..options });
        assert!(all.total() > folded.total() && all.iter().any(|(s, _)| s.starts_with(REPLICAS)));
        assert!(all.iter().any(|(s, _)| s.contains("wall::tests::trace") && s.contains(";runs: ")));
    }

    #[test]
    fn frames_have_their_class() {
        for (frame, class) in [
            ("runs: apply", Some(Class::Work)),
            ("waits: fsync, store-writer-2", Some(Class::Fsync)),
            ("latch_wait", Some(Class::Latch)),
            ("raft_write_begin on store-2", Some(Class::Fsync)),
            ("kv_get", None),
            ("main::run", None),
            ("waits: nothing", None),
            ("", None),
        ] {
            assert_eq!(class_of(frame), class, "{frame}");
        }
    }

    /// Traces a real request through a real session.
    #[inline(never)]
    fn trace() -> Trace {
        // A process has one session at a time.
        static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
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
    fn stages_sum_to_the_trace_and_replicas_are_separate() {
        let trace = trace();
        let main = fold(&trace.steps, WallOptions::default());
        assert_eq!(main.total(), trace.summary().stage_ns);
        let stages: Vec<&str> = main.iter().map(|(stack, _)| stack).collect();
        assert!(stages.contains(&"kv_prewrite;raft_propose"), "{stages:?}");
        let both = fold(&trace.steps, WallOptions { replicas: true, stores: true, ..WallOptions::default() });
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
