//! Timestamps of a session, named `ts1`, `ts2` ... in the order in which they are first seen.
use crate::stamp::Stamp;

/// Maximum number of named timestamps; later ones have no name.
const MAX_NAMED: usize = 64;

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

impl Timestamps {
    /// Names the timestamps among the fields of a stamp.
    pub(crate) fn note(&mut self, stamp: &Stamp) {
        stamp.named_fields().for_each(|(field, value)| self.add(field, value));
    }

    /// Names the value if it is a timestamp without a name. 0 and the largest number mean that there is none.
    pub fn add(&mut self, field: &str, value: u64) {
        let new = is_timestamp(field) && value != 0 && value != u64::MAX && self.name(value).is_none();
        if new && self.count < MAX_NAMED {
            self.seen[self.count] = value;
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
