//! Builds the path of an operation: the rows of a tree of requests, stages and replicas' lanes.
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

#[derive(Default)]
struct Node {
    key: Key,
    label: String,
    steps: Vec<usize>,
    children: Vec<Node>,
}

#[derive(Default, PartialEq, Clone, Copy)]
enum Key {
    #[default]
    Root,
    Stage,
    Request(u64),
    Store(u64),
}

/// Builds the rows. Replicas run in parallel with the operation, so their lanes have no share of its time.
///
/// The steps inside of a stage are folded, unless the cursor is at one of them.
pub fn rows(
    title: &str,
    steps: &[Step],
    requests: &[RequestInfo],
    (finished, cursor): (bool, usize),
) -> Vec<Row> {
    if steps.is_empty() {
        return Vec::new();
    }
    let op = steps.iter().find(|s| s.kind == "client").map(|s| s.request);
    let mut root = Node { label: format!("client {title}"), ..Node::default() };
    for (i, step) in steps.iter().enumerate() {
        root.steps.push(i);
        if Some(step.request) == op {
            root.children.push(stage(step, i));
            continue;
        }
        let request = child(&mut root, Key::Request(step.request), || request_label(step, requests));
        request.steps.push(i);
        place(request, step, i, steps);
    }
    let newest = steps.last().filter(|_| !finished).map_or(0, |s| s.at_ns);
    let walk = Walk { steps, wall: wall_ns(steps).max(newest).max(1) as f64, finished, cursor };
    let mut out = Vec::new();
    if op.is_some() {
        walk.node(&root, String::new(), "", &mut out);
    } else {
        for node in &root.children {
            walk.node(node, String::new(), "", &mut out);
        }
    }
    out
}

/// Time of the main lane so far, in ns: from the first step to the end of the last.
pub fn wall_ns(steps: &[Step]) -> u64 {
    steps.iter().filter(|s| s.lane == "main").map(Step::end_ns).max().unwrap_or(0)
}

/// Time that at least one of the steps covers, in ns. Parallel requests thus never exceed the operation.
fn covered<'a>(steps: impl Iterator<Item = &'a Step>) -> u64 {
    let mut spans: Vec<_> = steps.map(|s| (s.at_ns.saturating_add(s.held_ns), s.end_ns())).collect();
    spans.sort_unstable();
    let mut upto = 0;
    spans.into_iter().fold(0, |sum, (from, to)| {
        let new = to.saturating_sub(from.max(upto));
        upto = upto.max(to);
        sum + new
    })
}

/// Puts a main step into the request, and a replica's step into its store's lane after the last main step.
fn place(request: &mut Node, step: &Step, i: usize, steps: &[Step]) {
    if step.lane == "main" {
        let outer = request.children.iter_mut().rfind(|n| n.key == Key::Stage).filter(|_| is_inside(step));
        match outer {
            Some(outer) => {
                outer.steps.push(i);
                outer.children.push(stage(step, i));
            }
            None => request.children.push(stage(step, i)),
        }
        return;
    }
    let key = Key::Store(step.store);
    let lanes = request.children.iter().rposition(|n| n.key == Key::Stage).map_or(0, |p| p + 1);
    let found = request.children[lanes..].iter().position(|n| n.key == key).map(|p| p + lanes);
    let at = found.unwrap_or_else(|| {
        request.children.push(Node { key, label: lane_label(step, steps), ..Node::default() });
        request.children.len() - 1
    });
    let lane = &mut request.children[at];
    lane.steps.push(i);
    lane.children.push(stage(step, i));
}

fn stage(step: &Step, i: usize) -> Node {
    Node { key: Key::Stage, label: step.stage.clone(), steps: vec![i], children: Vec::new() }
}

fn child(parent: &mut Node, key: Key, label: impl FnOnce() -> String) -> &mut Node {
    let at = parent.children.iter().position(|n| n.key == key).unwrap_or_else(|| {
        parent.children.push(Node { key, label: label(), ..Node::default() });
        parent.children.len() - 1
    });
    &mut parent.children[at]
}

fn request_label(step: &Step, requests: &[RequestInfo]) -> String {
    let kind = if step.kind.is_empty() { "request" } else { &step.kind };
    let store = requests.iter().find(|r| r.id == step.request).map_or(step.store, |r| r.store);
    let store = if store == 0 { step.store } else { store };
    if store == 0 { kind.to_owned() } else { format!("{kind} on store {store}") }
}

/// The label of a lane, such as `store 2, follower`, with the role that the store last published.
fn lane_label(step: &Step, steps: &[Step]) -> String {
    let role = steps.iter().rev().flat_map(|s| &s.state.raft).find(|r| r.store == step.store);
    match role.map(|r| r.role.to_lowercase()) {
        Some(role) if !role.is_empty() => format!("store {}, {role}", step.store),
        _ => format!("store {}", step.store),
    }
}

struct Walk<'a> {
    steps: &'a [Step],
    wall: f64,
    finished: bool,
    cursor: usize,
}

impl Walk<'_> {
    /// Why the client sent a request, and its outcome: `resolve the lock of 47… → committed`.
    fn note(&self, request: u64) -> String {
        let why = story::reason(self.steps, request).map(|reason| match reason.backoff_ns {
            0 => reason.text,
            ns => format!("{}, backoff of {}", reason.text, units::duration(ns)),
        });
        let outcome = story::outcome(self.steps, request).map(|outcome| format!("→ {outcome}"));
        [outcome, why.map(|why| format!("({why})"))].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    fn node(&self, node: &Node, branch: String, indent: &str, out: &mut Vec<Row>) {
        let (first, last) = (node.steps[0], node.steps[node.steps.len() - 1]);
        let lane = matches!(node.key, Key::Store(_));
        let is_stage = node.key == Key::Stage;
        let replica = lane || (is_stage && self.steps[first].lane != "main");
        let mine = node.steps.iter().map(|i| &self.steps[*i]).filter(|s| replica || s.lane == "main");
        let dur_ns = covered(mine);
        let unfolded = !is_stage || node.steps.iter().skip(1).any(|step| *step == self.cursor);
        let shown = if unfolded { node.children.as_slice() } else { &[] };
        out.push(Row {
            branch,
            label: node.label.clone(),
            step: is_stage.then_some(first),
            span: (first, last),
            dur_ns,
            open: is_stage && !self.finished && self.steps[last].dur_ns == 0,
            share: if replica { 0.0 } else { dur_ns as f64 / self.wall },
            layer: self.steps[first].layer.clone(),
            replica,
            folded: node.children.len() - shown.len(),
            note: match node.key {
                Key::Request(id) => self.note(id),
                _ => String::new(),
            },
        });
        for (i, child) in shown.iter().enumerate() {
            let last = i + 1 == shown.len();
            let (tip, more) = if last { ("└ ", "  ") } else { ("├ ", "│ ") };
            self.node(child, format!("{indent}{tip}"), &format!("{indent}{more}"), out);
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
