//! Timestamps of a session, named `ts1`, `ts2` ... in the order in which they are first seen.
use crate::{
    facts::{FactValue, Facts},
    probe::{MvccProbe, Probe},
    stamp::Stamp,
    trace::Step,
};

/// Maximum number of named timestamps; later ones have no name.
const MAX_NAMED: usize = 256;
/// Maximum number of named fields of a stamp.
const MAX_FIELDS: usize = 12;

/// The named timestamps; adding one allocates nothing.
#[derive(Clone, Debug)]
pub struct Timestamps {
    seen: [u64; MAX_NAMED],
    count: usize,
}

impl Default for Timestamps {
    fn default() -> Self {
        Self { seen: [0; MAX_NAMED], count: 0 }
    }
}

/// Whether a field of this name has a timestamp.
pub fn is_timestamp(field: &str) -> bool {
    field == "ts" || field.ends_with("_ts")
}

/// Whether the number is a timestamp of PD. A smaller number, whose time is before 2001, comes from a test.
pub fn is_from_pd(ts: u64) -> bool {
    ts != u64::MAX && ts >> 18 >= 1_000_000_000_000
}

/// Passes the timestamps of a key's rows to `take`, with their purposes, in the order in which they are named.
pub fn of_rows(rows: &MvccProbe, take: &mut dyn FnMut(u64, &'static str)) {
    take(rows.read_ts, "read");
    rows.lock.iter().for_each(|lock| take(lock.start_ts, "start"));
    for write in &rows.writes {
        take(write.start_ts, "start");
        take(write.commit_ts, "commit");
    }
    rows.defaults.iter().for_each(|row| take(row.start_ts, "start"));
}

/// Passes the timestamps of facts to `take`, with the names of their rows.
pub fn of_facts(facts: &Facts, take: &mut dyn FnMut(u64, &str)) {
    for row in &facts.rows {
        if let FactValue::Ts(ts) = row.value {
            take(ts, &row.name);
        }
    }
}

impl Timestamps {
    /// Names these timestamps first.
    pub fn beginning_with(timestamps: &[u64]) -> Self {
        let mut named = Self::default();
        timestamps.iter().for_each(|ts| named.add(*ts));
        named
    }

    /// Names the timestamps among the fields of a stamp, in the order of their names, as a step has them.
    pub(crate) fn note(&mut self, stamp: &Stamp) {
        let mut fields = [("", 0); MAX_FIELDS];
        let mut count = 0;
        for (field, place) in stamp.named_fields().filter(|(name, _)| is_timestamp(name)).zip(&mut fields) {
            *place = field;
            count += 1;
        }
        fields[..count].sort_unstable();
        fields[..count].iter().for_each(|(_, ts)| self.add(*ts));
    }

    /// Names the timestamps of a published state.
    pub(crate) fn note_probe(&mut self, probe: &Probe) {
        match probe {
            Probe::Mvcc(rows) => of_rows(rows, &mut |ts, _| self.add(ts)),
            Probe::Facts(facts) => of_facts(facts, &mut |ts, _| self.add(ts)),
            _ => {}
        }
    }

    /// Names the timestamps of a step: of its fields, of the rows that it sees, and of its facts.
    pub fn learn(&mut self, step: &Step) {
        step.fields.iter().filter(|(name, _)| is_timestamp(name)).for_each(|(_, ts)| self.add(*ts));
        step.state.mvcc.iter().for_each(|rows| of_rows(rows, &mut |ts, _| self.add(ts)));
        step.state.facts.iter().for_each(|facts| of_facts(facts, &mut |ts, _| self.add(ts)));
    }

    /// Names the value if it is a timestamp without a name.
    pub fn add(&mut self, ts: u64) {
        if is_from_pd(ts) && self.count < MAX_NAMED && self.name(ts).is_none() {
            self.seen[self.count] = ts;
            self.count += 1;
        }
    }

    /// The timestamp `tsN`; N counts from 1.
    pub fn get(&self, n: usize) -> Option<u64> {
        self.seen[..self.count].get(n.checked_sub(1)?).copied()
    }

    /// N of the name `tsN` of a timestamp.
    pub fn name(&self, timestamp: u64) -> Option<usize> {
        self.seen[..self.count].iter().position(|seen| *seen == timestamp).map(|i| i + 1)
    }
}
