//! Prints a trace for a recipe: the stages in order, without anything that differs from run to run.
use std::collections::{BTreeMap, BTreeSet};

use tracepoints::{
    RequestKind,
    catalogue::STAGES,
    field::client_operation,
    trace::{
        Step,
        story::{self, is_inside},
    },
};

/// Prints the main lane in order, request by request, then each replica's stages in the catalogue's order.
///
/// On replicas the order of events depends on speed: a quorum of followers may be durable before the leader.
/// Only the set of their stages is the same in every run.
///
/// Each request has its outcome and the reason why the client sent it. With `inside`, the steps inside of a stage
/// are printed, too, indented and each with its outcome.
///
/// Omits the client's background requests, such as heartbeats while a person holds the operation. An operation that is
/// itself a heartbeat keeps them.
pub fn steps(steps: &[Step], leader: u64, inside: bool, symbols: &mut Symbols) -> String {
    let beat = client_operation("heart_beat");
    let is_beat = steps.iter().any(|s| s.fields.get("op") == Some(&beat));
    let in_background =
        |s: &&Step| !is_beat && RequestKind::parse(&s.kind).is_some_and(RequestKind::runs_beside);
    let steps: Vec<Step> = steps.iter().filter(|s| !in_background(s)).cloned().collect();
    let mut out = String::new();
    let mut last = u64::MAX;
    for step in steps.iter().filter(|s| s.lane == "main" && (inside || !is_inside(s))) {
        if step.request != last {
            last = step.request;
            let story = symbols.clean(&story_of(&steps, step.request));
            out.push_str(&format!("{}{}{story}\n", step.kind, at(step.store, leader)));
        }
        if !is_inside(step) {
            out.push_str(&format!("  {:<20} {}\n", step.stage, step.layer));
        } else {
            let outcomes: Vec<&str> = step.state.facts.iter().map(|f| f.outcome.as_str()).collect();
            let line = format!("    {:<24} {}", step.stage, symbols.clean(&outcomes.join("; ")));
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
    out.push_str(&replicas(&steps, leader, inside));
    out
}

/// The outcome of a request and why it was sent: ` -> locked (retry after: not leader)`.
fn story_of(steps: &[Step], request: u64) -> String {
    let outcome = story::outcome(steps, request).filter(|outcome| *outcome != "ok");
    let outcome = outcome.map_or_else(String::new, |outcome| format!(" -> {outcome}"));
    let reason = story::reason(steps, request).map_or_else(String::new, |why| format!(" ({})", why.text));
    format!("{outcome}{reason}")
}

fn at(store: u64, leader: u64) -> &'static str {
    match store {
        0 => "",
        s if s == leader => " @leader",
        _ => " @follower",
    }
}

/// Formats one line per role and kind of request: `follower x2: follower_receive follower_append ...`.
fn replicas(steps: &[Step], leader: u64, inside: bool) -> String {
    let mut seen: BTreeMap<(usize, u64), BTreeSet<usize>> = BTreeMap::new();
    let mut requests: Vec<(u64, String)> = Vec::new();
    for step in steps.iter().filter(|s| s.lane == "replica" && (inside || !is_inside(s))) {
        let nth = match requests.iter().position(|(id, _)| *id == step.request) {
            Some(i) => i,
            None => {
                requests.push((step.request, step.kind.clone()));
                requests.len() - 1
            }
        };
        let stage = STAGES.iter().position(|s| s.name == step.stage).unwrap_or(usize::MAX);
        seen.entry((nth, step.store)).or_default().insert(stage);
    }
    let mut lines: BTreeMap<(usize, &str, String), usize> = BTreeMap::new();
    for ((nth, store), stages) in &seen {
        let names: Vec<&str> = stages.iter().filter_map(|i| STAGES.get(*i)).map(|s| s.name).collect();
        let role = if *store == leader { "leader" } else { "follower" };
        *lines.entry((*nth, role, names.join(" "))).or_default() += 1;
    }
    let mut out = String::new();
    let mut last = usize::MAX;
    // "leader" before "follower": reverse alphabetical order within a request.
    let mut sorted: Vec<_> = lines.into_iter().collect();
    sorted.sort_by(|(a, _), (b, _)| {
        (a.0, std::cmp::Reverse(a.1), &a.2).cmp(&(b.0, std::cmp::Reverse(b.1), &b.2))
    });
    for ((nth, role, names), count) in sorted {
        if nth != last {
            last = nth;
            out.push_str(&format!("replicas of {}\n", requests[nth].1));
        }
        out.push_str(&format!("  {role} x{count}: {names}\n"));
    }
    out
}

/// Names timestamps `ts1`, `ts2` ... in the order of their first use.
#[derive(Debug, Default)]
pub struct Symbols {
    seen: Vec<u64>,
}

impl Symbols {
    /// The name of a timestamp; `0` for 0.
    pub fn ts(&mut self, ts: u64) -> String {
        if ts == 0 {
            return "0".into();
        }
        let i = match self.seen.iter().position(|t| *t == ts) {
            Some(i) => i,
            None => {
                self.seen.push(ts);
                self.seen.len() - 1
            }
        };
        format!("ts{}", i + 1)
    }

    /// The timestamps in the order of their names.
    pub fn timestamps(&self) -> &[u64] {
        &self.seen
    }

    /// Replaces every timestamp (a number of 17 or more digits) by its name; keeps shorter numbers.
    pub fn clean(&mut self, message: &str) -> String {
        let mut out = String::new();
        let mut digits = String::new();
        for c in message.chars().chain(std::iter::once('\n')) {
            if c.is_ascii_digit() {
                digits.push(c);
                continue;
            }
            match digits.parse::<u64>() {
                Ok(n) if digits.len() >= 17 => out.push_str(&self.ts(n)),
                _ => out.push_str(&digits),
            }
            digits.clear();
            out.push(c);
        }
        out.pop();
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(stage: &str, lane: &str, store: u64, request: u64, kind: &str) -> Step {
        Step {
            stage: stage.into(),
            lane: lane.into(),
            store,
            request,
            kind: kind.into(),
            layer: "x".into(),
            ..Step::default()
        }
    }

    #[test]
    fn main_lane_keeps_order_and_replicas_are_sets() {
        let all = [
            step("client_send", "main", 0, 1, "client"),
            step("grpc_decode", "main", 2, 2, "raw_put"),
            step("raft_write_end", "replica", 2, 2, "raw_put"),
            step("raft_write_begin", "replica", 1, 2, "raw_put"),
            step("raft_write_begin", "replica", 3, 2, "raw_put"),
            step("grpc_decode", "main", 2, 3, "kv_txn_heart_beat"),
            step("raft_write_begin", "replica", 3, 3, "kv_txn_heart_beat"),
            step("client_reply", "main", 0, 1, "client"),
        ];
        let text = steps(&all, 2, false, &mut Symbols::default());
        assert_eq!(
            text,
            "client\n  client_send          x\nraw_put @leader\n  grpc_decode          x\nclient\n  client_reply         x\n\
             replicas of raw_put\n  leader x1: raft_write_end\n  follower x2: raft_write_begin\n"
        );
    }

    #[test]
    fn steps_inside_of_a_replicas_stage_are_printed_on_request() {
        let all = [
            step("raft_commit", "replica", 2, 2, "raw_put"),
            step("raft_commit_quorum", "replica", 2, 2, "raw_put"),
            step("apply_begin", "replica", 2, 2, "raw_put"),
        ];
        let printed = |inside| steps(&all, 2, inside, &mut Symbols::default());
        assert_eq!(printed(false), "replicas of raw_put\n  leader x1: raft_commit apply_begin\n");
        assert_eq!(
            printed(true),
            "replicas of raw_put\n  leader x1: raft_commit raft_commit_quorum apply_begin\n"
        );
    }

    #[test]
    fn a_step_inside_that_is_not_printed_begins_no_group() {
        let all = [
            step("client_send", "main", 0, 1, "client"),
            step("grpc_decode", "main", 2, 2, "raw_put"),
            step("client_shard", "main", 0, 1, "client"),
            step("grpc_reply", "main", 2, 2, "raw_put"),
        ];
        let printed = |inside| steps(&all, 2, inside, &mut Symbols::default());
        assert_eq!(printed(false).matches("client\n").count(), 1, "{}", printed(false));
        assert!(printed(true).contains("client\n    client_shard\n"), "{}", printed(true));
    }

    #[test]
    fn timestamps_get_names() {
        let mut symbols = Symbols::default();
        assert_eq!(symbols.ts(470607130203521025), "ts1");
        assert_eq!(
            symbols.clean("lock 470607130203521025 on 470607130203521099, port 20160"),
            "lock ts1 on ts2, port 20160"
        );
    }
}
