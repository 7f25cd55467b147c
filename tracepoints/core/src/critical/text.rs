//! Formats the critical path in a few lines.
use super::{CriticalPath, Quorum, Replica, ReplicaRole};

/// Formats the shares of the time, one line per quorum, and the longest stage; `duration` formats
/// nanoseconds.
pub fn lines(path: &CriticalPath, duration: &dyn Fn(u64) -> String) -> Vec<String> {
    if path.total_ns == 0 {
        return Vec::new();
    }
    let share = |ns: u64| ns as f64 / path.total_ns as f64 * 100.0;
    let mut classes: Vec<_> = path.classes.iter().filter(|(_, ns)| **ns > 0).collect();
    classes.sort_by_key(|(_, ns)| std::cmp::Reverse(**ns));
    let parts: Vec<String> = classes
        .iter()
        .map(|(class, ns)| format!("{} {} ({:.0} %)", class.name(), duration(**ns), share(**ns)))
        .collect();
    let mut out = vec![format!("critical path: {} = {}", duration(path.total_ns), parts.join(" + "))];
    if let Some(longest) = path.longest() {
        let store = if longest.store == 0 { String::new() } else { format!(" on store {}", longest.store) };
        let took = duration(longest.dur_ns);
        let class = longest.class.name();
        out.push(format!("  longest: {}{store}, {took} of {class} ({})", longest.stage, longest.on));
    }
    out.extend(path.quorums.iter().map(|q| quorum(q, duration)));
    out
}

fn quorum(quorum: &Quorum, duration: &dyn Fn(u64) -> String) -> String {
    let what = match quorum.index {
        0 => format!("read index of {}", quorum.kind),
        index => format!("entry {index} of {}", quorum.kind),
    };
    let mut parts = vec![match (quorum.decided_by, quorum.decided_ns) {
        (Some(store), _) if quorum.replicas.iter().any(|r| r.store == store && r.leader) => {
            format!("the leader's own disk (store {store}) made the quorum")
        }
        (Some(store), _) => format!("store {store}'s ack made the quorum"),
        (None, Some(_)) => "an ack made the quorum; the recording does not say whose".into(),
        (None, None) => "who made the quorum is not known: stamps are missing".into(),
    }];
    parts.extend(quorum.replicas.iter().filter_map(|r| replica(r, duration)));
    let (needed, voters) = (quorum.needed, quorum.voters);
    let joint = match quorum.outgoing {
        0 => String::new(),
        n => format!(" to come and {} of {n} before (joint consensus)", n / 2 + 1),
    };
    format!("  {what}, {needed} of {voters}{joint}: {}", parts.join("; "))
}

fn replica(replica: &Replica, duration: &dyn Fn(u64) -> String) -> Option<String> {
    let who =
        if replica.leader { format!("leader {}", replica.store) } else { format!("store {}", replica.store) };
    let slack = duration(replica.slack_ns);
    match replica.verdict {
        ReplicaRole::Decided => None,
        ReplicaRole::Counted => Some(format!("{who} counted {slack} earlier")),
        ReplicaRole::Late => Some(format!("{who} did not matter, {slack} later")),
        ReplicaRole::Learner => Some(format!("{who} did not matter, a learner")),
        ReplicaRole::Silent => Some(format!("{who} has not answered")),
    }
}
