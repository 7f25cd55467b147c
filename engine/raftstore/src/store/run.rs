//! Runs of entries with one term, as batch stamps carry them.
use raft::eraftpb::Entry;
use tracepoints::Req;

/// Consecutive entries of one region and one term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Id of the region.
    pub region: u64,
    /// Term of all entries.
    pub term: u64,
    /// Index of the first entry.
    pub first: u64,
    /// Index of the last entry.
    pub last: u64,
}

impl Run {
    /// Returns the stepped request that has an entry in this run, or [`Req::NONE`].
    pub fn joined(self) -> Req {
        tracepoints::session::joined(self.region, self.term, self.first, self.last)
    }
}

/// Splits a region's entries into runs.
pub fn runs(region: u64, entries: &[Entry]) -> impl Iterator<Item = Run> {
    let same_term = |a: &Entry, b: &Entry| a.term == b.term;
    entries.chunk_by(same_term).filter_map(move |run| {
        let (first, last) = (run.first()?, run.last()?);
        Some(Run { region, term: first.term, first: first.index, last: last.index })
    })
}

/// Returns the run at this place among the runs of the entries.
pub fn nth_run(region: u64, entries: &[Entry], at: usize) -> Option<Run> {
    runs(region, entries).nth(at)
}

/// Stamps a run with a macro of `tracepoints`: `stamp_run!(step_thread, RAFT_WRITE_BEGIN, run)`.
macro_rules! stamp_run {
    ($stamp:ident, $stage:ident, $run:expr) => {{
        let run: $crate::store::run::Run = $run;
        let (region, term, first, last) = (run.region, run.term, run.first, run.last);
        tracepoints::$stamp!($stage, run.joined(), region = region, term = term, first = first, last = last);
    }};
}
pub(crate) use stamp_run;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_fall_into_runs_by_term() {
        let entry = |index, term| Entry { index, term, ..Default::default() };
        let entries = [entry(6, 5), entry(7, 5), entry(8, 6)];
        let run = |term, first, last| Run { region: 1, term, first, last };
        assert_eq!(runs(1, &entries).collect::<Vec<_>>(), [run(5, 6, 7), run(6, 8, 8)]);
        assert_eq!((nth_run(1, &entries, 1), nth_run(1, &entries, 2)), (Some(run(6, 8, 8)), None));
        assert_eq!(runs(1, &[]).count(), 0);
    }
}
