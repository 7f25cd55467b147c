//! Errors that a client can stop at: the answers of requests.
use tracepoints::{
    Gate, Outcome,
    gates::{Arrival, Names},
    stage,
    trace::Step,
};

/// The filters: name, label, description. The gate of a filter is its name, with a space.
pub const FILTERS: &[(&str, &str, &str)] = &[
    (
        "any_error",
        "Any error",
        "An answer with an error, or no answer: the deadline passed, or the client disconnected",
    ),
    (
        "key_error",
        "Key errors",
        "An answer with a key error: a lock of another transaction, a write conflict",
    ),
    (
        "region_error",
        "Region errors",
        "An answer with a region error: not leader, epoch not match, server is busy",
    ),
];

/// The gate of a filter.
///
/// # Errors
/// A sentence with the filters, if there is no such one.
pub fn gate(filter: &str) -> Result<Gate, String> {
    let known = FILTERS.iter().find(|(name, _, _)| *name == filter);
    let parsed = known.and_then(|(name, _, _)| Gate::parse(&name.replace('_', " "), &Names::default()).ok());
    parsed.ok_or_else(|| {
        let names: Vec<&str> = FILTERS.iter().map(|(name, _, _)| *name).collect();
        format!("expected a filter of this adapter, found `{filter}`: choose {}", names.join(" or "))
    })
}

/// Describes the answer of the step in a sentence, if one of these gates accepts the answer.
pub fn answered_with<'a>(
    step: &Step,
    at: &impl Arrival,
    mut chosen: impl Iterator<Item = &'a Gate>,
) -> Option<String> {
    let is_reply = step.stage == stage::GRPC_REPLY.name();
    if !is_reply || !chosen.any(|gate| gate.accepts(stage::GRPC_REPLY, &step.file, step.line, at)) {
        return None;
    }
    let number = usize::try_from(*step.fields.get("outcome")?).ok()?;
    let outcome = Outcome::ALL.get(number)?;
    let text = match outcome {
        Outcome::DeadlineExceeded => "exceeds its deadline".to_owned(),
        Outcome::Cancelled => "is cancelled by its client".to_owned(),
        Outcome::Error => "is answered with an error".to_owned(),
        other => format!("is answered with a {}", other.name().replace('_', " ")),
    };
    Some(format!("{} of store {} {text}", step.kind, step.store))
}

#[cfg(test)]
mod tests {
    use tracepoints::gates::{Recorded, Timestamps};

    use super::*;

    #[test]
    fn only_failed_answers_are_errors() {
        let text = |stage: &str, outcome: Outcome, filter: &str| {
            let step = Step {
                stage: stage.into(),
                kind: "kv_get".into(),
                store: 2,
                fields: [("outcome".to_owned(), outcome as u64)].into(),
                ..Step::default()
            };
            let at = Recorded { step: &step, key: None, timestamps: &Timestamps::default() };
            answered_with(&step, &at, [gate(filter).unwrap()].iter())
        };
        let key = text("grpc_reply", Outcome::KeyError, "key_error");
        assert_eq!(key.as_deref(), Some("kv_get of store 2 is answered with a key error"));
        assert_eq!(text("grpc_reply", Outcome::RegionError, "key_error"), None);
        assert!(text("grpc_reply", Outcome::RegionError, "any_error").is_some());
        assert!(text("grpc_reply", Outcome::DeadlineExceeded, "any_error").unwrap().contains("deadline"));
        assert_eq!(text("grpc_reply", Outcome::Ok, "any_error"), None);
        assert_eq!(text("client_reply", Outcome::Error, "any_error"), None);
        assert!(gate("panic").unwrap_err().contains("any_error or key_error or region_error"));
    }
}
