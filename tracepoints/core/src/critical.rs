//! The critical path of an operation: the stages that determined its time, including the quorum of a write or
//! read index.
//!
//! The path is computed backwards from the end. The main-lane stages already cover an operation's time. While
//! a write is with Raft, the path runs through the replica that completed the quorum: to a follower, its disk
//! and back by its acknowledgement, or through the leader's own disk if the commit waited for that. A faster
//! stage off the path would not have made the operation faster.
mod main_lane;
mod quorum;
#[cfg(test)]
mod tests;
mod text;

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::{
    catalogue::{Class, find},
    trace::Step,
};
pub use quorum::{Quorum, Replica, ReplicaRole};
pub use text::lines;

/// A segment of the path: from a step's stamp to the stamp of the next step on the path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// Index of its first step.
    pub step: usize,
    /// Index of the main-lane step around it: `step` itself, or the step that waited for the replicas.
    pub main: usize,
    /// Name of the step's stage.
    pub stage: String,
    /// Store of the step; 0: client or PD.
    pub store: u64,
    /// Start in ns since the trace began.
    pub at_ns: u64,
    /// Duration in ns.
    pub dur_ns: u64,
    /// The kind of the time.
    pub class: Class,
    /// The resource that ran or was waited for: a thread, its pool or a store.
    pub on: String,
}

/// The critical path of an operation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CriticalPath {
    /// Sum of the segments in ns, equal to the time that the main lane covers.
    pub total_ns: u64,
    /// Share of each class in `total_ns`, in ns.
    pub classes: BTreeMap<Class, u64>,
    /// One quorum for each entry or read index round that the operation waited for.
    pub quorums: Vec<Quorum>,
    /// In time order, without overlaps.
    pub segments: Vec<Segment>,
}

impl CriticalPath {
    /// Finds the path of an operation from its steps, in the order of a [`crate::trace::Trace`].
    pub fn find(steps: &[Step]) -> Self {
        let mut replicas: HashMap<u64, Vec<usize>> = HashMap::new();
        for (i, step) in steps.iter().enumerate().filter(|(_, s)| s.lane != "main") {
            replicas.entry(step.request).or_default().push(i);
        }
        let mut links = Vec::new();
        let mut quorums = Vec::new();
        for (main, from, to) in main_lane::walk(steps) {
            let beside = replicas.get(&steps[main].request).map_or(&[][..], Vec::as_slice);
            let (chain, quorum) = quorum::steps_to(steps, beside, main, to);
            quorums.extend(quorum);
            tile(steps, &chain, (main, from, to), &mut links);
        }
        let segments = segments(steps, &links);
        let mut path = Self { quorums, ..Self::default() };
        for segment in &segments {
            path.total_ns = path.total_ns.saturating_add(segment.dur_ns);
            let of_class = path.classes.entry(segment.class).or_default();
            *of_class = of_class.saturating_add(segment.dur_ns);
        }
        Self { segments, ..path }
    }

    /// Whether a step is on the path.
    pub fn has(&self, step: usize) -> bool {
        self.segments.iter().any(|s| s.step == step)
    }

    /// The longest segment.
    pub fn longest(&self) -> Option<&Segment> {
        self.segments.iter().max_by_key(|s| s.dur_ns)
    }
}

/// A step on the path, the main step around it, and its time on the path.
struct Link {
    step: usize,
    main: usize,
    from: u64,
    to: u64,
}

/// Assigns each step of the chain the time to the next one; together they cover the main step's time on the
/// path.
fn tile(steps: &[Step], chain: &[usize], (main, from, to): (usize, u64, u64), out: &mut Vec<Link>) {
    let mut at = from;
    for (n, step) in chain.iter().enumerate() {
        let next = chain.get(n + 1).map_or(to, |s| steps[*s].at_ns.clamp(at, to));
        out.push(Link { step: *step, main, from: at, to: next });
        at = next;
    }
}

fn segments(steps: &[Step], links: &[Link]) -> Vec<Segment> {
    let mut out = Vec::with_capacity(links.len());
    for (n, link) in links.iter().enumerate() {
        let step = &steps[link.step];
        let next = links.get(n + 1).filter(|l| l.from == link.to).map(|l| &steps[l.step]);
        let within = link.step != link.main || links.get(n + 1).is_some_and(|l| l.main == link.main);
        let class = class(step, next.filter(|_| within));
        // The time in which a gate held the step is not the operation's.
        let held = step.held_ns.min(link.to - link.from);
        out.push(Segment {
            step: link.step,
            main: link.main,
            stage: step.stage.clone(),
            store: step.store,
            at_ns: link.from,
            dur_ns: link.to - link.from - if link.step == link.main { 0 } else { held },
            class,
            on: on(class, step, next),
        });
    }
    out
}

/// Stages that end a wait for other stores: the leader has received their answers.
const ANSWERED: [&str; 3] = ["raft_ack", "raft_commit", "read_index_ack"];

/// Returns a step's class. Between replicas, a step to another store is network time, and a step to another
/// pool's thread waited for that thread. If the main lane leads straight to the answers, the stores that sent
/// them are unknown and the step waited for a quorum.
fn class(step: &Step, next_replica: Option<&Step>) -> Class {
    let own = find(&step.stage).map_or(Class::Work, |s| s.class);
    match next_replica {
        Some(next) if next.store != step.store => Class::Network,
        Some(next) if step.lane == "main" && ANSWERED.contains(&next.stage.as_str()) => match own {
            Class::Lease => Class::Lease,
            _ => Class::Quorum,
        },
        Some(_) if matches!(own, Class::Network | Class::Lease | Class::Quorum) => Class::Queue,
        Some(next) if own == Class::Work && pool(&next.thread) != pool(&step.thread) => Class::Queue,
        _ => own,
    }
}

fn on(class: Class, step: &Step, next: Option<&Step>) -> String {
    let place = |s: &Step| if s.store == 0 { "the client".to_owned() } else { format!("store {}", s.store) };
    match (class, next) {
        (Class::Network, Some(next)) if next.store != step.store => place(next),
        (Class::Network, _) if step.stage == "grpc_reply" => "the client".into(),
        (Class::Quorum, _) => "the region's other stores".into(),
        (Class::Backoff, _) => "the client's time to try again".into(),
        (Class::Network, _) if step.store != 0 => "another store".into(),
        (Class::Network, _) => "PD or a store".into(),
        (Class::Queue, Some(next)) => pool(&next.thread).to_owned(),
        (Class::Latch, _) => "commands before it on the same keys".into(),
        (Class::Lock, _) => "another transaction".into(),
        (Class::Lease, _) => "a quorum that confirms the leader".into(),
        _ => pool(&step.thread).to_owned(),
    }
}

/// Returns a thread's name without its number in the pool.
pub fn pool(thread: &str) -> &str {
    match thread.rsplit_once('-') {
        Some((pool, number)) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => pool,
        _ => thread,
    }
}
