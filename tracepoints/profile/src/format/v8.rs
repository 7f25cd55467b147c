//! Reads V8's profiles, as written by Chrome's DevTools and Node: CPU (`.cpuprofile`, current and before
//! 2017, and chunks in a trace), and heap (`.heapprofile`).
mod chunks;
mod nested;
mod schema;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use ahash::RandomState;

use self::schema::{CallFrame, File, Node, whole};
use super::{fail::fail, kind::Format, losses::Losses};
use crate::{
    ProfileError,
    json::{self, Object},
    model::{Frame, FrameId, LabelsId, Profile, StackId, keys},
};

/// Whether JSON is a profile of V8, or a trace with one.
pub fn is_one(json: &[u8]) -> bool {
    let has = |what: &str| memchr::memmem::find(json, what.as_bytes()).is_some();
    let trace = has("\"traceEvents\"");
    let chunks = has("\"ProfileChunk\"") || has("\"CpuProfile\"");
    let tree = has("\"nodes\"") && has("\"callFrame\"") || has("\"head\"") && has("\"functionName\"");
    if trace { chunks && has("\"cpuProfile\"") } else { tree }
}

/// Reads a profile of V8; times become ns. Unreadable samples are left out, and counted in the profile's
/// comments.
///
/// # Errors
/// [`ProfileError::Format`] with the line of invalid JSON, or the first bad sample if none can be read.
pub fn read(bytes: &[u8]) -> Result<Profile, ProfileError> {
    let (mut file, notes, deep): (File, _, _) = match json::document(bytes) {
        Ok((file, notes)) => (file, notes, Vec::new()),
        Err(e) => {
            let fail = || fail(Format::V8, format!("line {} column {}", e.line(), e.column()), &e);
            let (file, deep) = nested::read(bytes).ok_or_else(fail)?;
            (file, Vec::new(), deep)
        }
    };
    let mut losses = Losses::default();
    let heap = file.head.0.as_ref().is_some_and(|head| head.has_size())
        || deep.iter().any(|(_, node)| node.self_size.0.is_some());
    let mut profile = if heap {
        let mut profile = Profile::new(&[("space", "bytes")]);
        put_nested(&mut profile, file.head.0.take(), size);
        put_deep(&mut profile, &deep, size);
        profile
    } else {
        let mut profile = Profile::new(&[("cpu", "nanoseconds")]);
        if file.trace_events.0.is_empty() {
            let mut tree = Tree::from_nodes(&mut profile, file.nodes.0, file.head, &mut losses);
            put_deep(&mut profile, &deep, |profile, caller, node| tree.put(profile, caller, node));
            let times = Times {
                start: file.start_time.0,
                end: file.end_time.0,
                deltas: &file.time_deltas.0,
                stamps: &file.timestamps.0,
            };
            tree.samples(&mut profile, &file.samples.0, &times, LabelsId::default(), &mut losses);
        } else {
            chunks::read(&mut profile, file.trace_events.0, &mut losses);
        }
        profile
    };
    losses.judge(Format::V8, &mut profile, notes)?;
    Ok(profile)
}

fn frame(profile: &mut Profile, call: &CallFrame) -> FrameId {
    let name = if call.function_name.0.is_empty() { "(anonymous)" } else { &call.function_name.0 };
    let (function, file) = (profile.intern(name), profile.intern(&call.url.0));
    // V8 counts lines and columns from 0; -1 means none.
    let number = |n: json::Number| n.0.filter(|n| *n >= 0.0).map_or(0, |n| (n as u32).saturating_add(1));
    let (line, column) = (number(call.line_number), number(call.column_number));
    profile.add_frame(Frame { function, file, line, column, ..Frame::default() })
}

/// Whether a frame is the root, which represents the thread and is not a function.
fn is_root(call: &CallFrame) -> bool {
    call.function_name.0 == "(root)"
}

/// Adds the stack of a node to that of its caller; the root has no frame.
fn push(profile: &mut Profile, caller: StackId, node: &Node) -> StackId {
    let call = node.call();
    if is_root(&call) {
        return caller;
    }
    let frame = frame(profile, &call);
    profile.push(caller, frame)
}

/// Reads the bytes that a node itself allocated; returns its stack.
fn size(profile: &mut Profile, caller: StackId, node: &Node) -> StackId {
    let stack = push(profile, caller, node);
    let size = node.self_size.0.unwrap_or(0.0);
    if size > 0.0 {
        profile.add(stack, LabelsId::default(), &[size as i64]);
    }
    stack
}

/// Passes the nodes of a tree to `put`, which returns the stack of a node from that of its caller.
fn put_nested(
    profile: &mut Profile,
    head: Option<Node>,
    mut put: impl FnMut(&mut Profile, StackId, &Node) -> StackId,
) {
    let mut todo: Vec<(StackId, Node)> = head.into_iter().map(|head| (StackId::ROOT, head)).collect();
    while let Some((caller, node)) = todo.pop() {
        let stack = put(profile, caller, &node);
        todo.extend(node.children.nodes().map(|child| (stack, child)));
    }
}

/// As [`put_nested`], for the nodes of a tree that is too deep for the JSON reader.
fn put_deep(
    profile: &mut Profile,
    nodes: &[nested::Deep],
    mut put: impl FnMut(&mut Profile, StackId, &Node) -> StackId,
) {
    let mut stacks = Vec::with_capacity(nodes.len());
    for (caller, node) in nodes {
        let caller = caller.map_or(StackId::ROOT, |caller| stacks[caller]);
        stacks.push(put(profile, caller, node));
    }
}

/// Times of samples, in µs.
struct Times<'a> {
    start: Option<f64>,
    end: Option<f64>,
    /// Difference to the previous sample; the first one to the start.
    deltas: &'a [json::Number],
    /// Absolute times, before 2017.
    stamps: &'a [json::Number],
}

/// The stacks of the nodes, by their ids.
#[derive(Default)]
struct Tree {
    stacks: HashMap<u64, StackId, RandomState>,
    /// Number of samples per node, for profiles without a list of samples.
    hits: Vec<(u64, f64)>,
}

impl Tree {
    /// Builds the tree from a list of nodes that name their children or their parents, or from a head with
    /// nested nodes.
    fn from_nodes(
        profile: &mut Profile,
        nodes: Vec<Object<Node>>,
        head: Object<Node>,
        losses: &mut Losses,
    ) -> Self {
        let mut tree = Self::default();
        put_nested(profile, head.0, |profile, caller, node| tree.put(profile, caller, node));
        tree.add(profile, nodes, losses);
        tree
    }

    fn put(&mut self, profile: &mut Profile, caller: StackId, node: &Node) -> StackId {
        let stack = push(profile, caller, node);
        if let Some(id) = node.id() {
            self.stacks.insert(id, stack);
            self.hits.extend(node.hit_count.0.filter(|n| *n > 0.0).map(|n| (id, n)));
        }
        stack
    }

    /// Adds nodes in any order; nodes without a known parent, or in a cycle, are lost.
    fn add(&mut self, profile: &mut Profile, nodes: Vec<Object<Node>>, losses: &mut Losses) {
        let count = nodes.len();
        let nodes: Vec<Node> = nodes.into_iter().filter_map(|node| node.0).collect();
        for _ in nodes.len()..count {
            losses.add("nodes", || "the list of nodes".into(), || "it is not an object".into());
        }
        let mut parents: HashMap<u64, u64> = HashMap::new();
        for node in &nodes {
            let Some(id) = node.id() else { continue };
            parents.extend(node.children.ids().map(|child| (child, id)));
            // The root may name -1 as its parent.
            parents.extend(whole(node.parent).map(|parent| (id, parent)));
        }
        let mut places: HashMap<u64, usize> = HashMap::new();
        for (i, id) in nodes.iter().enumerate().filter_map(|(i, n)| Some((i, n.id()?))) {
            let first = *places.entry(id).or_insert(i);
            if first != i {
                losses.add("nodes", || format!("node {i}"), || format!("node {first} has its id, {id}"));
            }
        }
        let mut bad: HashSet<u64> = HashSet::new();
        for (i, node) in nodes.iter().enumerate() {
            let Some(id) = node.id() else {
                losses.add("nodes", || format!("node {i}"), || "it has no id".into());
                continue;
            };
            // Up to a known node, then down again.
            let (mut path, mut at) = (Vec::new(), Some(id));
            while let Some(id) = at.filter(|id| !self.stacks.contains_key(id)) {
                let Some(place) = places.get(&id).filter(|_| path.len() < nodes.len() && !bad.contains(&id))
                else {
                    losses.add("nodes", || format!("node {i}"), || format!("there is no node {id} above it"));
                    bad.extend(path.drain(..).filter_map(|place: usize| nodes[place].id()));
                    break;
                };
                path.push(*place);
                at = parents.get(&id).copied();
            }
            let mut caller = at.and_then(|id| self.stacks.get(&id).copied()).unwrap_or(StackId::ROOT);
            for place in path.into_iter().rev() {
                caller = self.put(profile, caller, &nodes[place]);
            }
        }
    }

    /// Reads the samples; each lasts until the next.
    fn samples(
        &self,
        profile: &mut Profile,
        ids: &[json::Number],
        times: &Times<'_>,
        labels: LabelsId,
        losses: &mut Losses,
    ) {
        if ids.is_empty() {
            return self.hits(profile, labels);
        }
        let start = times.start.unwrap_or(0.0);
        let mut at = start;
        let mut taken: Vec<(f64, usize)> = Vec::with_capacity(ids.len());
        for i in 0..ids.len() {
            at = match (times.stamps.get(i).and_then(|n| n.0), times.deltas.get(i).and_then(|n| n.0)) {
                (Some(stamp), _) => stamp,
                (None, Some(delta)) => at + delta,
                (None, None) => at,
            };
            taken.push((at, i));
        }
        // Negative deltas occur: sorting restores the order of the samples.
        taken.sort_by(|a, b| a.0.total_cmp(&b.0));
        let end = times.end.filter(|end| times.stamps.is_empty() && *end >= at);
        let last = taken.last().map_or(at, |last| last.0);
        // If the end is unknown, the last sample gets the average duration.
        let mean = if taken.len() > 1 { (last - taken[0].0) / (taken.len() - 1) as f64 } else { 0.0 };
        let end = end.unwrap_or(last + mean);
        for (n, (at, i)) in taken.iter().enumerate() {
            let next = taken.get(n + 1).map_or(end, |next| next.0);
            let stack = whole(ids[*i]).and_then(|id| self.stacks.get(&id));
            match stack {
                Some(stack) => {
                    let ns = ((next - at) * 1e3).round().max(0.0) as i64;
                    let time = ((at - start) * 1e3).round().max(0.0) as u64;
                    profile.add_at(time, *stack, labels, &[ns]);
                }
                None => {
                    losses.add("samples", || format!("sample {i}"), || "there is no node of its id".into())
                }
            }
        }
    }

    /// Reads the numbers of samples if there is no list: each counts as 1 ms, V8's default interval.
    fn hits(&self, profile: &mut Profile, labels: LabelsId) {
        for (id, n) in &self.hits {
            if let Some(stack) = self.stacks.get(id) {
                profile.add(*stack, labels, &[(n * 1e6) as i64]);
            }
        }
    }
}

/// Makes the label of a thread.
fn thread(profile: &mut Profile, name: &str) -> LabelsId {
    profile.text_labels(&[(keys::THREAD, name)])
}
