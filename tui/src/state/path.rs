//! Builds the path of an operation: the rows of a tree of requests, stages and replicas' lanes.
use std::{collections::HashMap, ops::Range};

use tracepoints::{
    request::RequestInfo,
    trace::{
        Step,
        story::{self, is_inside},
    },
};

use super::units;

/// One row of the path pane.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// The drawn branches before the label: `│ ├ `.
    pub branch: String,
    /// The stage, or the name of the group.
    pub label: String,
    /// The step; None for the head of a group.
    pub step: Option<usize>,
    /// The first and the last step of a group; for a stage, its step twice.
    pub span: (usize, usize),
    /// Duration of the stage, or of the group.
    pub dur_ns: u64,
    /// The duration is unknown until the next step of the lane.
    pub open: bool,
    /// Share of the operation's time, 0 to 1; 0 for replicas, which run in parallel.
    pub share: f64,
    /// The layer of the stage.
    pub layer: String,
    /// The row belongs to the lane of a replica.
    pub replica: bool,
    /// Number of steps inside of the stage that are not shown.
    pub folded: usize,
    /// Why the client sent the request, and how it ended; empty for other rows.
    pub note: String,
}

/// The tree of an operation; the cursor decides which of its rows are shown.
#[derive(Debug, Default)]
pub struct Tree {
    /// The client's operation, otherwise its requests.
    roots: Vec<Node>,
    wall_ns: u64,
    finished: bool,
}

#[derive(Debug, Default)]
struct Node {
    key: Key,
    /// The name of a group; empty for a stage.
    label: String,
    /// The steps of the node, of which a stage without steps inside has one.
    first: usize,
    last: usize,
    dur_ns: u64,
    replica: bool,
    children: Vec<Node>,
    note: String,
}

#[derive(Debug, Default, PartialEq, Clone, Copy)]
enum Key {
    #[default]
    Root,
    Stage,
    Request(u64),
    Store(u64),
}

/// Builds all rows of an operation; see [`Tree`].
pub fn rows(
    title: &str,
    steps: &[Step],
    requests: &[RequestInfo],
    (finished, cursor): (bool, usize),
) -> Vec<Row> {
    Tree::build(title, steps, requests, finished).rows(steps, cursor, 0..usize::MAX)
}

/// Time of the main lane so far, in ns: from the first step to the end of the last.
pub fn wall_ns(steps: &[Step]) -> u64 {
    steps.iter().filter(|s| s.lane == "main").map(Step::end_ns).max().unwrap_or(0)
}

/// Time that at least one of the spans covers, in ns. Parallel requests thus never exceed the operation.
fn covered(spans: &mut [(u64, u64)]) -> u64 {
    spans.sort_unstable();
    let mut upto = 0;
    spans.iter().fold(0, |sum, (from, to)| {
        let new = to.saturating_sub((*from).max(upto));
        upto = upto.max(*to);
        sum + new
    })
}

impl Tree {
    /// Builds the tree. Replicas run in parallel with the operation, so their lanes have no share of its time.
    pub fn build(title: &str, steps: &[Step], requests: &[RequestInfo], finished: bool) -> Self {
        if steps.is_empty() {
            return Self::default();
        }
        let op = steps.iter().find(|s| s.kind == "client").map(|s| s.request);
        let mut root = Node { label: format!("client {title}"), ..Node::default() };
        let (stores, roles) = (stores_of(requests), roles(steps));
        let mut at: HashMap<u64, usize> = HashMap::new();
        for (i, step) in steps.iter().enumerate() {
            if Some(step.request) == op {
                add(&mut root.children, step, i);
                continue;
            }
            let at = *at.entry(step.request).or_insert_with(|| {
                let label = request_label(step, &stores);
                let key = Key::Request(step.request);
                root.children.push(Node { key, label, first: i, ..Node::default() });
                root.children.len() - 1
            });
            place(&mut root.children[at], step, i, &roles);
        }
        root.last = steps.len() - 1;
        let stories = story::stories(steps);
        for group in &mut root.children {
            if let Key::Request(id) = group.key {
                group.note = stories.get(&id).map_or_else(String::new, note);
            }
        }
        measure(&mut root, steps, &mut Vec::new());
        let newest = steps.last().filter(|_| !finished).map_or(0, |s| s.at_ns);
        let roots = if op.is_some() { vec![root] } else { root.children };
        Self { roots, wall_ns: wall_ns(steps).max(newest), finished }
    }

    /// Time of the operation so far, in ns.
    pub fn wall_ns(&self) -> u64 {
        self.wall_ns
    }

    /// Number of rows. The steps inside of a stage are folded, unless the cursor is at one of them.
    pub fn len(&self, cursor: usize) -> usize {
        self.roots.iter().map(|root| root.len(cursor)).sum()
    }

    /// The row of a step, from 0. `None` if the step has no row or is folded.
    pub fn position(&self, step: usize, cursor: usize) -> Option<usize> {
        let mut at = 0;
        self.roots.iter().find_map(|root| root.position(step, cursor, &mut at))
    }

    /// The steps of the shown stages, in the order of the rows.
    pub fn stages(&self, cursor: usize) -> Vec<usize> {
        let mut out = Vec::new();
        self.roots.iter().for_each(|root| root.stages(cursor, &mut out));
        out
    }

    /// Builds the rows of this range.
    pub fn rows(&self, steps: &[Step], cursor: usize, range: Range<usize>) -> Vec<Row> {
        let mut walk = Walk { tree: self, steps, cursor, range, at: 0, out: Vec::new() };
        self.roots.iter().for_each(|root| walk.node(root, String::new(), ""));
        walk.out
    }
}

impl Node {
    /// The children with rows.
    fn shown(&self, cursor: usize) -> &[Node] {
        let folded = self.key == Key::Stage && self.children.iter().all(|child| child.first != cursor);
        if folded { &[] } else { &self.children }
    }

    fn len(&self, cursor: usize) -> usize {
        1 + self.shown(cursor).iter().map(|child| child.len(cursor)).sum::<usize>()
    }

    fn position(&self, step: usize, cursor: usize, at: &mut usize) -> Option<usize> {
        if self.key == Key::Stage && self.first == step {
            return Some(*at);
        }
        *at += 1;
        self.shown(cursor).iter().find_map(|child| child.position(step, cursor, at))
    }

    fn stages(&self, cursor: usize, out: &mut Vec<usize>) {
        if self.key == Key::Stage {
            out.push(self.first);
        }
        self.shown(cursor).iter().for_each(|child| child.stages(cursor, out));
    }
}

/// The store of each request that was sent to one.
fn stores_of(requests: &[RequestInfo]) -> HashMap<u64, u64> {
    requests.iter().map(|r| (r.id, r.store)).collect()
}

/// The role that each store published last.
fn roles(steps: &[Step]) -> HashMap<u64, &str> {
    let published = steps.iter().flat_map(|s| &s.state.raft);
    published.map(|r| (r.store, r.role.as_str())).collect()
}

/// Puts a main step into the request, and a replica's step into its store's lane after the last main step.
fn place(request: &mut Node, step: &Step, i: usize, roles: &HashMap<u64, &str>) {
    request.last = i;
    if step.lane == "main" {
        add(&mut request.children, step, i);
        return;
    }
    let key = Key::Store(step.store);
    let lanes = request.children.iter().rposition(|n| n.key == Key::Stage).map_or(0, |p| p + 1);
    let found = request.children[lanes..].iter().position(|n| n.key == key).map(|p| p + lanes);
    let at = found.unwrap_or_else(|| {
        let label = lane_label(step, roles);
        request.children.push(Node { key, label, first: i, replica: true, ..Node::default() });
        request.children.len() - 1
    });
    let lane = &mut request.children[at];
    lane.last = i;
    add(&mut lane.children, step, i);
}

/// Adds a step to the nodes of its lane, or to the last stage if it is inside of that one.
fn add(nodes: &mut Vec<Node>, step: &Step, i: usize) {
    let outer = nodes.iter_mut().rfind(|n| n.key == Key::Stage);
    match outer.filter(|_| is_inside(step)) {
        Some(outer) => {
            outer.last = i;
            outer.children.push(stage(step, i));
        }
        None => nodes.push(stage(step, i)),
    }
}

fn stage(step: &Step, i: usize) -> Node {
    Node { key: Key::Stage, first: i, last: i, replica: step.lane != "main", ..Node::default() }
}

/// Sets the durations of a node and of its children; adds the spans of its steps to `outer`.
fn measure(node: &mut Node, steps: &[Step], outer: &mut Vec<(u64, u64)>) {
    let step = &steps[node.first];
    let span = (step.at_ns.saturating_add(step.held_ns), step.end_ns());
    if node.children.is_empty() {
        node.dur_ns = covered(&mut [span]);
        return outer.push(span);
    }
    let mut spans = if node.key == Key::Stage { vec![span] } else { Vec::new() };
    let replica = node.replica;
    for child in &mut node.children {
        // A replica's lane takes none of the time of the main lane.
        let mut beside = Vec::new();
        let into = if child.replica == replica { &mut spans } else { &mut beside };
        measure(child, steps, into);
    }
    node.dur_ns = covered(&mut spans);
    outer.append(&mut spans);
}

fn request_label(step: &Step, stores: &HashMap<u64, u64>) -> String {
    let kind = if step.kind.is_empty() { "request" } else { &step.kind };
    let store = stores.get(&step.request).copied().filter(|store| *store != 0).unwrap_or(step.store);
    if store == 0 { kind.to_owned() } else { format!("{kind} on store {store}") }
}

/// The label of a lane, such as `store 2, follower`, with the role that the store last published.
fn lane_label(step: &Step, roles: &HashMap<u64, &str>) -> String {
    match roles.get(&step.store).map(|role| role.to_lowercase()) {
        Some(role) if !role.is_empty() => format!("store {}, {role}", step.store),
        _ => format!("store {}", step.store),
    }
}

/// Why the client sent a request, and its outcome: `resolve the lock of 47… → committed`.
fn note(story: &story::Story<'_>) -> String {
    let why = story.reason.as_ref().map(|reason| match reason.backoff_ns {
        0 => reason.text.clone(),
        ns => format!("{}, backoff of {}", reason.text, units::duration(ns)),
    });
    let outcome = story.outcome.map(|outcome| format!("→ {outcome}"));
    [outcome, why.map(|why| format!("({why})"))].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Builds the rows of a range.
struct Walk<'a> {
    tree: &'a Tree,
    steps: &'a [Step],
    cursor: usize,
    range: Range<usize>,
    /// The number of the next row.
    at: usize,
    out: Vec<Row>,
}

impl Walk<'_> {
    fn node(&mut self, node: &Node, branch: String, indent: &str) {
        if self.range.contains(&self.at) {
            let row = self.row(node, branch);
            self.out.push(row);
        }
        self.at += 1;
        let shown = node.shown(self.cursor);
        for (i, child) in shown.iter().enumerate() {
            if self.at >= self.range.end {
                return;
            }
            let rows = child.len(self.cursor);
            if self.at + rows <= self.range.start {
                self.at += rows;
                continue;
            }
            let last = i + 1 == shown.len();
            let (tip, more) = if last { ("└ ", "  ") } else { ("├ ", "│ ") };
            self.node(child, format!("{indent}{tip}"), &format!("{indent}{more}"));
        }
    }

    fn row(&self, node: &Node, branch: String) -> Row {
        let is_stage = node.key == Key::Stage;
        let step = &self.steps[node.first];
        let wall = self.tree.wall_ns.max(1) as f64;
        Row {
            branch,
            label: if is_stage { step.stage.clone() } else { node.label.clone() },
            step: is_stage.then_some(node.first),
            span: (node.first, node.last),
            dur_ns: node.dur_ns,
            open: is_stage && !self.tree.finished && self.steps[node.last].dur_ns == 0,
            share: if node.replica { 0.0 } else { node.dur_ns as f64 / wall },
            layer: step.layer.clone(),
            replica: node.replica,
            folded: node.children.len() - node.shown(self.cursor).len(),
            note: node.note.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(i: usize, stage: &str, request: u64, kind: &str, lane: &str, store: u64) -> Step {
        let (stage, kind, lane) = (stage.into(), kind.into(), lane.into());
        let at_ns = i as u64 * 10;
        Step { step: i, stage, request, kind, lane, store, at_ns, dur_ns: 10, ..Step::default() }
    }

    #[test]
    fn replicas_have_lanes_between_the_main_stages() {
        let steps = [
            step(0, "client_send", 1, "client", "main", 0),
            step(1, "raft_propose", 2, "kv_prewrite", "main", 1),
            step(2, "raft_write_begin", 2, "kv_prewrite", "replica", 1),
            step(3, "follower_receive", 2, "kv_prewrite", "replica", 2),
            step(4, "raft_write_end", 2, "kv_prewrite", "replica", 1),
            step(5, "sched_finish", 2, "kv_prewrite", "main", 1),
            step(6, "apply_begin", 2, "kv_prewrite", "replica", 2),
            step(7, "client_reply", 1, "client", "main", 0),
        ];
        let rows = rows("put", &steps, &[], (true, 0));
        let shown: Vec<_> = rows.iter().map(|r| format!("{}{}", r.branch, r.label)).collect();
        assert_eq!(
            shown,
            [
                "client put",
                "├ client_send",
                "├ kv_prewrite on store 1",
                "│ ├ raft_propose",
                "│ ├ store 1",
                "│ │ ├ raft_write_begin",
                "│ │ └ raft_write_end",
                "│ ├ store 2",
                "│ │ └ follower_receive",
                "│ ├ sched_finish",
                "│ └ store 2",
                "│   └ apply_begin",
                "└ client_reply",
            ]
        );
        assert_eq!(rows[2].dur_ns, 20, "a request's time is that of its main lane");
        assert_eq!(rows[4].share, 0.0, "a replica runs in parallel with the operation");
        let main: f64 = rows.iter().filter(|r| r.step.is_some()).map(|r| r.share).sum();
        assert!((main - 0.5).abs() < 1e-9, "four of eight steps of 10 ns");
    }

    #[test]
    fn without_a_client_operation_the_request_is_the_root() {
        let steps = [step(0, "grpc_receive", 5, "kv_get", "main", 3)];
        let shown: Vec<_> =
            rows("x", &steps, &[], (false, 0)).into_iter().map(|r| r.branch + r.label.as_str()).collect();
        assert_eq!(shown, ["kv_get on store 3", "└ grpc_receive"]);
        assert_eq!(rows("x", &[], &[], (false, 0)), []);
    }

    #[test]
    fn steps_inside_of_a_stage_are_folded_until_the_cursor_is_there() {
        let steps = [
            step(0, "client_send", 1, "client", "main", 0),
            step(1, "sched_process", 2, "kv_commit", "main", 1),
            step(2, "mvcc_load_lock", 2, "kv_commit", "main", 1),
            step(3, "mvcc_unlock_key", 2, "kv_commit", "main", 1),
            step(4, "sched_write", 2, "kv_commit", "main", 1),
        ];
        let shown =
            |cursor| rows("put", &steps, &[], (true, cursor)).into_iter().map(|r| (r.label, r.folded));
        let folded: Vec<_> = shown(1).skip(3).collect();
        assert_eq!(folded, [("sched_process".to_owned(), 2), ("sched_write".to_owned(), 0)]);
        let open: Vec<_> = shown(2).map(|(label, _)| label).skip(3).take(3).collect();
        assert_eq!(open, ["sched_process", "mvcc_load_lock", "mvcc_unlock_key"]);
        assert_eq!(rows("put", &steps, &[], (true, 0))[3].dur_ns, 30, "a folded stage has all of its time");
    }

    #[test]
    fn steps_inside_of_a_replicas_stage_are_folded_too() {
        let steps = [
            step(0, "client_send", 1, "client", "main", 0),
            step(1, "raft_send", 2, "raw_put", "main", 1),
            step(2, "raft_commit", 2, "raw_put", "replica", 1),
            step(3, "raft_commit_matched", 2, "raw_put", "replica", 1),
            step(4, "raft_commit_quorum", 2, "raw_put", "replica", 1),
            step(5, "apply_begin", 2, "raw_put", "replica", 1),
        ];
        let shown = |cursor| {
            let rows = rows("put", &steps, &[], (true, cursor)).into_iter();
            rows.map(|r| (r.label, r.folded)).collect::<Vec<_>>()
        };
        let row = |name: &str, folded| (name.to_owned(), folded);
        assert!(shown(1).ends_with(&[row("raft_commit", 2), row("apply_begin", 0)]), "{:?}", shown(1));
        let open = ["raft_commit", "raft_commit_matched", "raft_commit_quorum", "apply_begin"];
        assert!(shown(3).ends_with(&open.map(|name| row(name, 0))), "{:?}", shown(3));
    }

    /// Two parallel requests keep their durations; the operation takes no more than the elapsed time.
    #[test]
    fn parallel_requests_do_not_exceed_the_operation() {
        let mut steps = [
            step(0, "client_send", 1, "client", "main", 0),
            step(1, "grpc_receive", 2, "kv_prewrite", "main", 1),
            step(1, "grpc_receive", 3, "kv_prewrite", "main", 2),
            step(9, "client_reply", 1, "client", "main", 0),
        ];
        (steps[1].dur_ns, steps[2].dur_ns) = (70, 80);
        (0..).zip(&mut steps).for_each(|(i, s)| s.step = i);
        let rows = rows("commit", &steps, &[], (true, 0));
        let shown: Vec<_> = rows.iter().map(|r| (r.label.as_str(), r.dur_ns, r.share)).collect();
        assert_eq!(shown[0], ("client commit", 100, 1.0));
        assert_eq!((shown[2].1, shown[4].1), (70, 80), "{shown:?}");
        assert!(rows.iter().all(|r| r.share <= 1.0));
    }
}
