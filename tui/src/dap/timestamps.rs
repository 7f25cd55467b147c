//! Names of timestamps: `ts1`, `ts2` ... in the order in which an operation's stamps have them.
use tracepoints::trace::Step;

/// Whether a field of this name is a timestamp.
pub fn is_timestamp(field: &str) -> bool {
    field == "ts" || field.ends_with("_ts")
}

/// The timestamp of a name such as `ts1`, among those of the steps.
pub fn named(name: &str, steps: &[Step]) -> Option<u64> {
    let wanted: usize = name.strip_prefix("ts")?.parse().ok()?;
    let mut seen: Vec<u64> = Vec::new();
    for step in steps {
        let of_step = step.fields.iter().filter(|(name, _)| is_timestamp(name));
        for (_, ts) in of_step.filter(|(_, ts)| **ts != 0 && **ts != u64::MAX) {
            if !seen.contains(ts) {
                seen.push(*ts);
            }
        }
    }
    seen.get(wanted.checked_sub(1)?).copied()
}
