//! The story of an operation: the outcome of each of its requests, and the reason why the client sent it.
use std::collections::HashMap;

use super::Step;
use crate::{
    catalogue::find,
    facts::{FactValue, Facts},
};

/// Title of the facts of an answer.
pub const ANSWER: &str = "Answer";
/// First word of the title of a request's facts; the kind of the request follows.
pub const REQUEST: &str = "Request";

/// The reason why a client sent a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reason {
    /// The reason, e.g. `retry after: locked`.
    pub text: String,
    /// Time in ns of the client's backoff before the request; 0: none.
    pub backoff_ns: u64,
}

/// Whether the step is inside of another stage.
pub fn is_inside(step: &Step) -> bool {
    find(&step.stage).is_some_and(|stage| stage.inside)
}

/// The outcome of a request, and the reason why the client sent it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Story<'a> {
    /// The outcome in a few words: `locked`. `None` if its answer was not seen.
    pub outcome: Option<&'a str>,
    /// The reason, as the earlier requests of the operation show it. `None` for the first one.
    pub reason: Option<Reason>,
}

/// Returns the story of each request by its id, in one pass over the steps.
pub fn stories(steps: &[Step]) -> HashMap<u64, Story<'_>> {
    let (mut stories, mut earlier) = (HashMap::<u64, Story<'_>>::new(), Earlier::default());
    for step in steps {
        let story = stories.entry(step.request).or_insert_with(|| Story {
            outcome: None,
            reason: earlier.reason(step).map(|text| Reason { text, backoff_ns: earlier.backoff_ns }),
        });
        for facts in &step.state.facts {
            if facts.title == ANSWER {
                story.outcome = Some(facts.outcome.as_str()).filter(|outcome| !outcome.is_empty());
            } else if facts.title.starts_with(REQUEST) && is_resolving(&step.kind) {
                name_lock(story, facts);
            }
        }
        earlier.pass(step);
    }
    for story in stories.values_mut() {
        story.reason.take_if(|reason| reason.text.is_empty());
    }
    stories
}

/// Returns the outcome of a request in a few words: `locked`. `None` if its answer was not seen.
pub fn outcome(steps: &[Step], request: u64) -> Option<&str> {
    stories(steps).remove(&request)?.outcome
}

/// Returns the outcome if this is the step of an answer.
pub fn answer_of(step: &Step) -> Option<&str> {
    let answer = step.state.facts.iter().find(|facts| facts.title == ANSWER)?;
    Some(answer.outcome.as_str()).filter(|outcome| !outcome.is_empty())
}

/// Returns the reason of a request. `None` for the first one.
pub fn reason(steps: &[Step], request: u64) -> Option<Reason> {
    stories(steps).remove(&request)?.reason
}

/// The steps before a request, as far as they explain it.
#[derive(Default)]
struct Earlier<'a> {
    /// The request of the newest step of each kind.
    of_kind: HashMap<&'a str, u64>,
    /// The newest answer of each request.
    answers: HashMap<u64, &'a Facts>,
    /// The outcome of the newest answer that is an error.
    failed: Option<&'a str>,
    /// Time in ns of the client's backoffs since the last step on a store.
    backoff_ns: u64,
}

impl<'a> Earlier<'a> {
    fn pass(&mut self, step: &'a Step) {
        self.of_kind.insert(&step.kind, step.request);
        if let Some(answer) = step.state.facts.iter().find(|facts| facts.title == ANSWER) {
            self.answers.insert(step.request, answer);
            self.failed = if answer.failed { Some(&answer.outcome) } else { self.failed };
        }
        if step.store != 0 {
            self.backoff_ns = 0;
        } else if step.stage == "client_backoff" {
            self.backoff_ns = self.backoff_ns.saturating_add(step.dur_ns);
        }
    }

    /// Returns the reason of the request that begins with this step.
    fn reason(&self, first: &Step) -> Option<String> {
        let same = self.of_kind.get(first.kind.as_str()).and_then(|id| self.answers.get(id));
        let before = same.filter(|answer| answer.failed).map(|answer| answer.outcome.as_str());
        let failure = || self.failed.map(|outcome| format!("after: {outcome}"));
        match (first.kind.as_str(), before) {
            ("client" | "tso", _) => None,
            ("get_region", _) => Some("region cache miss".into()),
            // The request itself may name its lock, see `name_lock`.
            (kind, _) if is_resolving(kind) => Some(failure().unwrap_or_default()),
            ("kv_txn_heart_beat", _) => Some("keep the lock alive".into()),
            (_, Some(outcome)) => Some(format!("retry after: {outcome}")),
            ("kv_commit", None) => Some("all keys are prewritten".into()),
            ("kv_batch_rollback" | "kv_pessimistic_rollback", None) => failure(),
            _ => None,
        }
    }
}

/// Whether the request asks about a lock of another transaction, or resolves it.
fn is_resolving(kind: &str) -> bool {
    matches!(kind, "kv_cleanup" | "kv_check_txn_status" | "kv_check_secondary_locks" | "kv_resolve_lock")
}

/// Names the lock that a request resolves by its start timestamp.
fn name_lock(story: &mut Story<'_>, request: &Facts) {
    let ts = request.rows.iter().find(|row| row.name == "start_version" || row.name == "lock_ts");
    if let Some(FactValue::Ts(ts)) = ts.map(|row| &row.value) {
        story.reason.get_or_insert_default().text = format!("resolve the lock of {ts}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(request: u64, kind: &str, stage: &str, facts: Option<Facts>) -> Step {
        let mut step = Step { request, kind: kind.into(), stage: stage.into(), ..Step::default() };
        step.store = u64::from(kind.starts_with("kv_"));
        step.state.facts.extend(facts);
        step
    }

    #[test]
    fn a_request_says_how_it_ended_and_why_it_was_sent() {
        let answer = |outcome: &str| Some(Facts::new(ANSWER).outcome(outcome));
        let failed = |outcome: &str| Some(Facts::new(ANSWER).failed(outcome));
        let asked = Some(Facts::new("Request kv_cleanup").ts("start_version", 470_607_130_203_521_025));
        let mut steps = vec![
            step(1, "client", "client_send", None),
            step(2, "kv_get", "grpc_reply", failed("locked")),
            step(1, "client", "client_backoff", None),
            step(3, "kv_cleanup", "grpc_receive", asked),
            step(4, "kv_get", "grpc_reply", answer("found")),
            step(5, "kv_commit", "grpc_receive", None),
        ];
        steps[2].dur_ns = 2_000_000;
        let why = |id| reason(&steps, id).map(|r| (r.text, r.backoff_ns));
        assert_eq!((outcome(&steps, 2), outcome(&steps, 3)), (Some("locked"), None));
        assert_eq!((why(1), why(2)), (None, None));
        assert_eq!(why(3), Some(("resolve the lock of 470607130203521025".into(), 2_000_000)));
        assert_eq!(why(4), Some(("retry after: locked".into(), 0)));
        assert_eq!(why(5), Some(("all keys are prewritten".into(), 0)));
    }

    #[test]
    fn backoffs_of_a_damaged_trace_do_not_overflow() {
        let backoff = Step { dur_ns: u64::MAX, ..step(1, "client", "client_backoff", None) };
        let steps = [backoff.clone(), backoff, step(2, "get_region", "pd_get_region", None)];
        assert_eq!(reason(&steps, 2).map(|r| r.backoff_ns), Some(u64::MAX));
    }

    #[test]
    fn a_stage_inside_of_another_is_known() {
        assert!(is_inside(&step(1, "kv_prewrite", "mvcc_load_lock", None)));
        assert!(!is_inside(&step(1, "kv_prewrite", "sched_process", None)));
    }
}
