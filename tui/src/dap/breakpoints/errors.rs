//! Errors that a client can stop at: the answers of requests.
use tracepoints::{Outcome, trace::Step};

/// The filters: name, label, description.
pub const FILTERS: &[(&str, &str, &str)] = &[
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

/// The filter and a sentence, if the step answers with an error.
pub fn answered_with(step: &Step) -> Option<(&'static str, String)> {
    let outcome = outcome(step)?;
    let (filter, label, _) = FILTERS.iter().find(|(filter, _, _)| *filter == outcome.name())?;
    let label = label.trim_end_matches('s').to_lowercase();
    Some((filter, format!("{} of store {} is answered with a {label}", step.kind, step.store)))
}

/// The outcome in the stamp of an answer.
fn outcome(step: &Step) -> Option<Outcome> {
    let number = step.fields.get("outcome")?;
    Outcome::ALL.get(usize::try_from(*number).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failed_answers_are_errors() {
        let step = |outcome: Outcome| Step {
            stage: "grpc_reply".into(),
            kind: "kv_get".into(),
            store: 2,
            fields: [("outcome".to_owned(), outcome as u64)].into(),
            ..Step::default()
        };
        let (filter, text) = answered_with(&step(Outcome::KeyError)).unwrap();
        assert_eq!((filter, text.as_str()), ("key_error", "kv_get of store 2 is answered with a key error"));
        assert_eq!(answered_with(&step(Outcome::RegionError)).unwrap().0, "region_error");
        assert_eq!(answered_with(&step(Outcome::Ok)), None);
        assert_eq!(answered_with(&Step::default()), None);
    }
}
