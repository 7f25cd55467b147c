//! Runs of entries with the same term, as batch stamps carry them.
use raft::eraftpb::Entry;

/// Returns the end of the run that begins at `at`.
pub fn run_end(entries: &[Entry], at: usize) -> usize {
    let term = entries[at].term;
    entries[at..].iter().position(|e| e.term != term).map_or(entries.len(), |n| at + n)
}

/// Calls `visit(term, first, last)` for each run.
pub fn for_each_run(entries: &[Entry], mut visit: impl FnMut(u64, u64, u64)) {
    let mut at = 0;
    while at < entries.len() {
        let end = run_end(entries, at);
        visit(entries[at].term, entries[at].index, entries[end - 1].index);
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_fall_into_runs_by_term() {
        let entry = |index, term| Entry { index, term, ..Default::default() };
        let entries = [entry(6, 5), entry(7, 5), entry(8, 6)];
        let mut runs = Vec::new();
        for_each_run(&entries, |term, first, last| runs.push((term, first, last)));
        assert_eq!(runs, [(5, 6, 7), (6, 8, 8)]);
        for_each_run(&[], |_, _, _| unreachable!());
    }
}
