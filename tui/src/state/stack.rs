//! The rows of the stack pane: the work that led to a step, over threads and stores, and the frames of its thread.
use tracepoints::{symbolize::Frame, trace::Step};

use super::{code, function_name, index::index_of, timeline::Timeline};

/// The row that the user selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// A frame of the current step, by its index; for a folded row, its first frame.
    Frame(usize),
    /// A step at which outer work began, by its number.
    Step(usize),
}

/// A row of the pane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// A title between the parts.
    Title(String),
    /// Outer work that led here, with the step at which it began.
    Joined {
        /// The step, from 0.
        step: usize,
        /// The work: `RPC kv_get on store 1`.
        label: String,
        /// The stage of the step.
        stage: String,
    },
    /// A frame, or several of one function: a function, its closures, and its `async` body.
    Frame {
        /// Index of the innermost frame.
        index: usize,
        /// Number of frames.
        count: usize,
        /// `Type::function`.
        name: String,
        /// File and line; empty if unknown.
        place: String,
        /// The frame was compiled into the next one.
        inlined: bool,
        /// The frame is code of this project.
        ours: bool,
    },
    /// Frames of runtimes.
    Folded {
        /// Index of the innermost frame.
        index: usize,
        /// Number of frames.
        count: usize,
        /// The crates and the outermost function.
        name: String,
    },
}

impl Row {
    /// The selection that this row stands for.
    pub fn pick(&self) -> Option<Pick> {
        match self {
            Row::Title(_) => None,
            Row::Joined { step, .. } => Some(Pick::Step(*step)),
            Row::Frame { index, .. } | Row::Folded { index, .. } => Some(Pick::Frame(*index)),
        }
    }

    /// The row as a line of text.
    pub fn text(&self) -> String {
        match self {
            Row::Title(title) => title.clone(),
            Row::Joined { step, label, stage } => format!("{label} (step {} {stage})", step + 1),
            Row::Frame { name, place, .. } => format!("{name} {place}").trim_end().to_owned(),
            Row::Folded { count, name, .. } => format!("{count} frames: {name}"),
        }
    }
}

/// Crates whose frames are folded.
const RUNTIMES: &str = " tokio std core alloc hyper hyper_util tonic futures futures_util futures_core futures_channel \
    futures_executor tower tower_service tower_layer tower_http h2 http http_body http_body_util axum tokio_util tokio_stream \
    pin_project_lite async_trait crossbeam_channel crossbeam_deque parking_lot scoped_tls backtrace tracing ";

/// Lists the rows of a step: outer work first, then the frames, innermost first.
pub fn rows(timeline: &Timeline, unfolded: bool) -> Vec<Row> {
    let Some(step) = timeline.step() else { return Vec::new() };
    let mut out = Vec::new();
    let joined = joined(timeline, timeline.cursor());
    if !joined.is_empty() {
        out.push(Row::Title("Logical stack".into()));
        let stage = |step: usize| timeline.steps()[step].stage.clone();
        out.extend(joined.into_iter().map(|Joined { step, label }| Row::Joined {
            step,
            label,
            stage: stage(step),
        }));
    }
    if !step.stack.is_empty() {
        out.push(Row::Title(format!("Thread {}", step.thread)));
        out.extend(frames(&step.stack, unfolded));
    }
    out
}

/// Groups frames: those of one function, and runs of runtimes' frames.
pub fn frames(stack: &[Frame], unfolded: bool) -> Vec<Row> {
    let mut out: Vec<Row> = Vec::new();
    for (i, frame) in stack.iter().enumerate() {
        let (called, ours) = name(frame);
        let runtime = !ours && is_runtime(frame);
        match out.last_mut() {
            Some(Row::Folded { count, name, .. }) if runtime && !unfolded => {
                *count += 1;
                *name = folded_name(&stack[i + 1 - *count..=i]);
            }
            Some(Row::Frame { name, count, .. }) if !unfolded && !runtime && *name == called => *count += 1,
            _ if runtime && !unfolded => {
                out.push(Row::Folded { index: i, count: 1, name: folded_name(&stack[i..=i]) });
            }
            _ => {
                let (place, inlined) = (place(frame), frame.inlined);
                out.push(Row::Frame { index: i, count: 1, name: called, place, inlined, ours });
            }
        }
    }
    out
}

/// The name of a frame's function, and whether it is code of this project.
pub fn name(frame: &Frame) -> (String, bool) {
    let ours = code::packed(&frame.file).is_some();
    let defined = index_of(&frame.file).enclosing(&frame.file, frame.line).filter(|_| ours);
    (defined.map_or_else(|| function_name::short(&frame.function), |d| d.title()), ours)
}

fn is_runtime(frame: &Frame) -> bool {
    frame.file.is_empty() || RUNTIMES.contains(&format!(" {} ", library(frame)))
}

/// The crate of a frame's file, otherwise of its function. Debug information has `tokio-1.54.1/src/...` and
/// `library/core/src/...`, with or without folders before.
fn library(frame: &Frame) -> String {
    let file = frame.file.replace('\\', "/");
    let parts: Vec<&str> = file.split('/').collect();
    if let Some(at) = parts.iter().position(|part| *part == "library") {
        return parts.get(at + 1).copied().unwrap_or_default().to_owned();
    }
    let named = parts.iter().filter_map(|part| part.rsplit_once('-'));
    let is_version =
        |version: &str| version.starts_with(|c: char| c.is_ascii_digit()) && version.contains('.');
    match named.rev().find(|(_, version)| is_version(version)) {
        Some((name, _)) => name.replace('-', "_"),
        None => function_name::crate_of(&frame.function).to_owned(),
    }
}

/// The crates of the frames, and the function of the outermost frame that a crate with the work has.
fn folded_name(frames: &[Frame]) -> String {
    let mut crates: Vec<String> = Vec::new();
    for frame in frames.iter().filter(|f| !f.file.is_empty()) {
        let library = library(frame);
        if !crates.contains(&library) {
            crates.push(library);
        }
    }
    let plain = |f: &&Frame| {
        !f.file.is_empty() && !matches!(library(f).as_str(), "core" | "alloc" | "std" | "tracing")
    };
    let outer = frames.iter().rev().find(plain).or(frames.last());
    let function = outer.map_or_else(String::new, |f| function_name::short(&f.function));
    if crates.is_empty() { function } else { format!("{} {function}", crates.join(", ")) }
}

/// File and line of a frame, without the folder of cargo's registry.
pub fn place(frame: &Frame) -> String {
    if frame.file.is_empty() {
        return String::new();
    }
    let path = match code::packed(&frame.file) {
        Some((name, _)) => name,
        None => frame.file.rsplit_once("/registry/src/").map_or(frame.file.as_str(), |(_, rest)| rest),
    };
    format!("{path}:{}", frame.line)
}

/// Outer work that led to a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The step at which it began, from 0.
    pub step: usize,
    /// The work: `RPC kv_get on store 1`.
    pub label: String,
}

/// Lists the work that led to the step `at`, innermost first: apply batch, Raft entry, scheduler command, RPC, client
/// operation.
pub fn joined(timeline: &Timeline, at: usize) -> Vec<Joined> {
    let Some(steps) = timeline.steps().get(..=at) else { return Vec::new() };
    let step = &steps[at];
    let from = timeline.first_of(step.request).unwrap_or(0);
    let mine = || steps[from..].iter().filter(|s| s.request == step.request);
    let last = |stage: &str| mine().rev().find(|s| s.stage == stage);
    let field = |s: &Step, name: &str| s.fields.get(name).copied().unwrap_or(0);
    let mut out = Vec::new();
    let mut add = |label: String, step: &Step| {
        out.push(Joined { step: step.step, label });
    };
    let here = |s: &Step| s.store == step.store;
    if step.layer == "apply"
        && let Some(batch) = mine().rev().find(|s| s.stage == "apply_begin" && here(s))
    {
        let (first, last) = (field(batch, "first"), field(batch, "last"));
        add(format!("apply batch on store {}: {}", batch.store, entries(first, last)), batch);
    }
    if step.stage.starts_with("raft_write")
        && let Some(write) = mine().rev().find(|s| s.stage == "raft_write_begin" && here(s))
    {
        let (first, last) = (field(write, "first"), field(write, "last"));
        add(format!("log write on store {}: {}", write.store, entries(first, last)), write);
    }
    let over = |since: &Step| steps[since.step..].iter().any(|s| s.request == step.request && ends_write(s));
    if let Some(entry) = last("raft_propose").filter(|s| !over(s)) {
        let (index, term) = (field(entry, "index"), field(entry, "term"));
        add(format!("Raft entry {index} of term {term}, region {}", field(entry, "region")), entry);
    }
    if let Some(round) = last("read_index_propose")
        && (step.stage.starts_with("read_index") || step.stage == "follower_receive")
    {
        add(format!("read index round, region {}", field(round, "region")), round);
    }
    if let Some(command) = last("sched_receive").filter(|_| !answered(step)) {
        add(format!("scheduler command {}", field(command, "cid")), command);
    }
    if step.kind != "client"
        && let Some(rpc) = mine().next()
    {
        let store = if rpc.store == 0 { String::new() } else { format!(" on store {}", rpc.store) };
        let kind = if rpc.kind.is_empty() { "request" } else { &rpc.kind };
        add(format!("RPC {kind}{store}"), rpc);
    }
    if let Some(operation) = steps.iter().find(|s| s.kind == "client") {
        add(format!("client operation {}", timeline.operation()), operation);
    }
    out
}

fn ends_write(step: &Step) -> bool {
    step.lane == "main" && (step.stage == "sched_finish" || answered(step))
}

fn answered(step: &Step) -> bool {
    step.lane == "main" && step.layer == "grpc"
}

fn entries(first: u64, last: u64) -> String {
    if first == last { format!("entry {first}") } else { format!("entries {first} to {last}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::index::index;

    fn frame(function: &str, file: &str, line: u32) -> Frame {
        Frame { function: function.into(), file: file.into(), line, inlined: false }
    }

    const GETTER: &str = "engine/storage/src/mvcc/reader/point_getter.rs";

    #[test]
    fn runtimes_and_closures_are_folded() {
        let line = index().targets("load_data", "PointGetter", GETTER, 1)[0].line + 1;
        let tokio = "/root/.cargo/registry/src/index/tokio-1.48.0/src/runtime/task/harness.rs";
        let stack = [
            frame("{closure#0}", &format!("/w/{GETTER}"), line + 1),
            frame("storage::mvcc::reader::point_getter::PointGetter<S>::load_data", GETTER, line),
            frame("core::ops::FnOnce::call_once", "/rustc/abc/library/core/src/ops/function.rs", 250),
            frame("tokio::runtime::task::harness::Harness<T,S>::poll", tokio, 153),
            frame("poll", "tracing-0.1.44/src/instrument.rs", 321),
            frame("catch_unwind<()>", "library/std/src/panicking.rs", 544),
            frame("start_thread", "", 0),
            frame("raft::RawNode<S>::step", "/root/.cargo/registry/src/index/raft-0.7.0/src/raw_node.rs", 3),
        ];
        let rows = frames(&stack, false);
        let texts: Vec<_> = rows.iter().map(Row::text).collect();
        assert_eq!(
            texts,
            [
                &format!("PointGetter::load_data {GETTER}:{}", line + 1),
                "5 frames: core, tokio, tracing, std Harness::poll",
                "RawNode::step index/raft-0.7.0/src/raw_node.rs:3",
            ]
        );
        assert_eq!(rows[1].pick(), Some(Pick::Frame(2)));
        assert_eq!(frames(&stack, true).len(), stack.len(), "unfolded: a row for each frame");
    }

    fn step(stage: &str, layer: &str, lane: &str, store: u64, fields: &[(&str, u64)]) -> Step {
        let fields = fields.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect();
        let (stage, layer, lane) = (stage.into(), layer.into(), lane.into());
        Step { stage, layer, lane, store, request: 2, kind: "kv_prewrite".into(), fields, ..Step::default() }
    }

    #[test]
    fn the_logical_stack_joins_what_threads_separate() {
        let mut timeline = Timeline::new("put k1 v1".into());
        let client =
            Step { stage: "client_send".into(), kind: "client".into(), request: 1, ..Step::default() };
        timeline.add_step(client);
        let entry = [("region", 2), ("term", 6), ("first", 13), ("last", 13)];
        for step in [
            step("grpc_receive", "grpc", "main", 1, &[]),
            step("sched_receive", "scheduler", "main", 1, &[("cid", 7)]),
            step("raft_propose", "raftstore", "main", 1, &[("region", 2), ("term", 6), ("index", 13)]),
            step("apply_begin", "apply", "replica", 2, &entry),
            step("apply_write", "apply", "replica", 2, &entry),
            step("sched_finish", "scheduler", "main", 1, &[("cid", 7)]),
            step("grpc_reply", "grpc", "main", 1, &[]),
        ] {
            let number = timeline.steps().len();
            timeline.add_step(Step { step: number, ..step });
        }
        let at = |timeline: &mut Timeline, step: usize| {
            timeline.move_to(step);
            rows(timeline, false).iter().map(Row::text).collect::<Vec<_>>()
        };
        assert_eq!(
            at(&mut timeline, 5),
            [
                "Logical stack",
                "apply batch on store 2: entry 13 (step 5 apply_begin)",
                "Raft entry 13 of term 6, region 2 (step 4 raft_propose)",
                "scheduler command 7 (step 3 sched_receive)",
                "RPC kv_prewrite on store 1 (step 2 grpc_receive)",
                "client operation put k1 v1 (step 1 client_send)",
            ]
        );
        assert_eq!(at(&mut timeline, 6).len(), 4, "the entry is over, the command is not");
        assert_eq!(at(&mut timeline, 7).len(), 3, "the command is over");
        assert_eq!(at(&mut timeline, 0).len(), 2);
    }
}
