//! Values that a client can watch: `raft/REGION/STORE/FIELD`, `latch/SLOT`, `rows`.
use tracepoints::{
    Gate,
    gates::{Change, Condition, Names, Watched},
    probe::RaftProbe,
    trace::Step,
};

/// Fields of a peer that can be watched.
const RAFT: &[&str] =
    &["role", "term", "vote", "leader", "last_index", "persisted", "commit", "applied", "lease"];

/// Fields of a peer that are no numbers.
const WORDS: &[&str] = &["role", "lease"];

/// Parses the condition on a change, such as `new > old`; an empty text is none.
///
/// # Errors
/// If it does not parse, or the value is no number.
pub fn condition(data: &str, text: &str) -> Result<Option<Condition>, String> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    if change(data, "0", "0").is_none() {
        return Err(format!(
            "expected a number for a condition, such as a term, found {}: leave out the condition",
            watched(data)?
        ));
    }
    let names = Names::default();
    let gate = Gate::parse("change of term", &names).and_then(|gate| gate.under(text, &names));
    gate.map(|gate| gate.condition).map_err(|e| e.to_string())
}

/// The change of a watched number; None for any other value.
pub fn change(data: &str, before: &str, now: &str) -> Option<Change> {
    match data.split('/').collect::<Vec<_>>().as_slice() {
        ["raft", region, store, field] if !WORDS.contains(field) => Some(Change {
            // A condition reads only the other fields.
            watched: Watched::Term,
            store: store.parse().ok()?,
            region: region.parse().ok()?,
            old: before.parse().ok()?,
            new: now.parse().ok()?,
        }),
        _ => None,
    }
}

/// Describes a watched value.
///
/// # Errors
/// If there is no such value.
pub fn watched(data: &str) -> Result<String, String> {
    let bad = || {
        format!(
            "expected raft/REGION/STORE/FIELD, latch/SLOT or rows, found `{data}`: set the breakpoint on a variable"
        )
    };
    match data.split('/').collect::<Vec<_>>().as_slice() {
        ["rows"] => Ok("the rows of the key".into()),
        ["latch", slot] if slot.parse::<u64>().is_ok() => Ok(format!("the queue of latch {slot}")),
        ["raft", region, store, field]
            if region.parse::<u64>().is_ok() && store.parse::<u64>().is_ok() && RAFT.contains(field) =>
        {
            Ok(format!("{field} of region {region} on store {store}"))
        }
        _ => Err(bad()),
    }
}

/// The value at a step; None while it is unknown.
pub fn value(step: &Step, data: &str) -> Option<String> {
    match data.split('/').collect::<Vec<_>>().as_slice() {
        ["rows"] => step.state.mvcc.as_ref().map(|rows| {
            let mut rows = rows.clone();
            // Readers of one key differ, its rows need not.
            (rows.read_ts, rows.chosen, rows.store) = (0, None, 0);
            describe_rows(&rows)
        }),
        ["latch", slot] => {
            let slot: u64 = slot.parse().ok()?;
            let latches = step.state.latches.as_ref()?;
            let found = latches.slots.iter().find(|s| s.slot == slot);
            Some(found.map_or_else(|| "free".into(), |s| format!("{:?}", s.queue)))
        }
        ["raft", region, store, field] => {
            let (region, store): (u64, u64) = (region.parse().ok()?, store.parse().ok()?);
            raft(step.state.raft.iter().find(|r| r.region == region && r.store == store)?, field)
        }
        _ => None,
    }
}

fn raft(peer: &RaftProbe, field: &str) -> Option<String> {
    Some(match field {
        "role" => peer.role.clone(),
        "term" => peer.term.to_string(),
        "vote" => peer.vote.to_string(),
        "leader" => peer.leader.to_string(),
        "last_index" => peer.last_index.to_string(),
        "persisted" => peer.persisted.to_string(),
        "commit" => peer.commit.to_string(),
        "applied" => peer.applied.to_string(),
        "lease" => peer.lease.as_ref().map_or("none", |lease| &lease.state).to_owned(),
        _ => return None,
    })
}

fn describe_rows(rows: &tracepoints::probe::MvccProbe) -> String {
    let lock = rows.lock.as_ref().map_or("no lock".into(), |l| format!("{} lock of {}", l.kind, l.start_ts));
    let newest = rows.writes.first().map_or("no write".into(), |w| format!("{} at {}", w.kind, w.commit_ts));
    format!("{lock}, newest {newest}, {} writes, {} values", rows.writes.len(), rows.defaults.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_from_the_state_of_a_step() {
        let mut step = Step::default();
        assert_eq!(value(&step, "raft/1/2/commit"), None, "unknown yet");
        step.state.raft.push(RaftProbe { region: 1, store: 2, commit: 7, ..RaftProbe::default() });
        assert_eq!(value(&step, "raft/1/2/commit").as_deref(), Some("7"));
        assert_eq!(value(&step, "raft/1/3/commit"), None);
        assert_eq!(watched("raft/1/2/commit").unwrap(), "commit of region 1 on store 2");
        for bad in ["", "raft/1/2/x", "raft/a/2/term", "latch/x", "raft"] {
            assert!(watched(bad).unwrap_err().contains("expected raft/"), "{bad}");
        }
    }
}
