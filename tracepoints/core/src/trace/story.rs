//! The story of an operation: the outcome of each of its requests, and the reason why the client sent it.
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

/// Returns the outcome of a request in a few words: `locked`. `None` if its answer was not seen.
pub fn outcome(steps: &[Step], request: u64) -> Option<&str> {
    answer(steps, request).map(|facts| facts.outcome.as_str()).filter(|outcome| !outcome.is_empty())
}

/// Returns the outcome if this is the step of an answer.
pub fn answer_of(step: &Step) -> Option<&str> {
    let answer = step.state.facts.iter().find(|facts| facts.title == ANSWER)?;
    Some(answer.outcome.as_str()).filter(|outcome| !outcome.is_empty())
}

fn answer(steps: &[Step], request: u64) -> Option<&Facts> {
    let of_request = steps.iter().rev().filter(|s| s.request == request);
    of_request.flat_map(|s| &s.state.facts).find(|f| f.title == ANSWER)
}

/// Returns the reason of a request, as the earlier requests of the operation show it. `None` for the first one.
pub fn reason(steps: &[Step], request: u64) -> Option<Reason> {
    let first = steps.iter().position(|s| s.request == request)?;
    let earlier = &steps[..first];
    let kind = steps[first].kind.as_str();
    let same = earlier.iter().rev().find(|s| s.kind == kind).map(|s| s.request);
    let before = same.and_then(|id| answer(earlier, id)).filter(|a| a.failed).map(|a| a.outcome.as_str());
    let text = match (kind, before) {
        ("client" | "tso", _) => return None,
        ("get_region", _) => "region cache miss".into(),
        ("kv_cleanup" | "kv_check_txn_status" | "kv_check_secondary_locks" | "kv_resolve_lock", _) => {
            resolving(&steps[first..], earlier, request)?
        }
        ("kv_txn_heart_beat", _) => "keep the lock alive".into(),
        (_, Some(outcome)) => format!("retry after: {outcome}"),
        ("kv_commit", None) => "all keys are prewritten".into(),
        ("kv_batch_rollback" | "kv_pessimistic_rollback", None) => failure(earlier)?,
        _ => return None,
    };
    Some(Reason { text, backoff_ns: backoff(earlier) })
}

/// The lock that a request resolves: that of its start timestamp.
fn resolving(from: &[Step], earlier: &[Step], request: u64) -> Option<String> {
    let facts = from.iter().filter(|s| s.request == request).flat_map(|s| &s.state.facts);
    let asked: Option<&Facts> = facts.clone().find(|f| f.title.starts_with(REQUEST));
    let ts = asked.and_then(|f| f.rows.iter().find(|r| r.name == "start_version" || r.name == "lock_ts"));
    match ts.map(|row| &row.value) {
        Some(FactValue::Ts(ts)) => Some(format!("resolve the lock of {ts}")),
        _ => failure(earlier),
    }
}

/// The newest error among the answers so far.
fn failure(earlier: &[Step]) -> Option<String> {
    let answers = earlier.iter().rev().flat_map(|s| &s.state.facts).filter(|f| f.title == ANSWER);
    let failed = answers.filter(|f| f.failed).map(|f| &f.outcome);
    failed.map(|outcome| format!("after: {outcome}")).next()
}

/// Time in ns of the client's backoff after the last request that a store handled.
fn backoff(earlier: &[Step]) -> u64 {
    let since = earlier.iter().rposition(|s| s.store != 0).map_or(0, |at| at + 1);
    earlier[since..].iter().filter(|s| s.stage == "client_backoff").map(|s| s.dur_ns).sum()
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
    fn a_stage_inside_of_another_is_known() {
        assert!(is_inside(&step(1, "kv_prewrite", "mvcc_load_lock", None)));
        assert!(!is_inside(&step(1, "kv_prewrite", "sched_process", None)));
    }
}
