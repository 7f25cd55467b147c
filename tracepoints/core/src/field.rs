//! Field values of a stamp: anything with a natural form as a `u64`.
use crate::ending::Outcome;

/// A value that a stamp can have.
pub trait Field {
    /// Converts the value for a field of a stamp.
    fn to_u64(self) -> u64;
}

macro_rules! field {
    ($($t:ty),*) => { $(impl Field for $t {
        #[inline(always)]
        fn to_u64(self) -> u64 { self as u64 }
    })* };
}
field!(u64, u32, u16, u8, usize, i64, i32, bool);

impl<T: Field> Field for Option<T> {
    #[inline(always)]
    fn to_u64(self) -> u64 {
        self.map_or(0, Field::to_u64)
    }
}

/// The configurations of a region in which a peer votes; there are two only during a joint change of several
/// peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Vote {
    /// In both configurations, or in the only one.
    #[default]
    Both,
    /// In no configuration.
    Learner,
    /// Only in the new configuration.
    Joining,
    /// Only in the old configuration.
    Leaving,
}

impl Vote {
    const fn from_bits(bits: u64) -> Self {
        match bits & 3 {
            0 => Self::Both,
            1 => Self::Learner,
            2 => Self::Joining,
            _ => Self::Leaving,
        }
    }

    /// Returns the name in a stamp; `None` for a peer that votes as usual.
    pub(crate) const fn name(self) -> Option<&'static str> {
        match self {
            Self::Both => None,
            Self::Learner => Some("learner"),
            Self::Joining => Some("joining"),
            Self::Leaving => Some("leaving"),
        }
    }
}

/// Packs the sender of an acknowledgement, its vote and the number of acknowledged entries into one field,
/// since a stamp has only four.
pub const fn from_count(from: u64, vote: Vote, count: u64) -> u64 {
    let low = u32::MAX as u64;
    from << 34 | (vote as u64) << 32 | if count < low { count } else { low }
}

/// Unpacks [`from_count`].
pub(crate) const fn split_from_count(packed: u64) -> (u64, Vote, u64) {
    (packed >> 34, Vote::from_bits(packed >> 32), packed & u32::MAX as u64)
}

/// Names of the parts of [`from_count`], and of [`from`].
pub(crate) const FROM_COUNT_PARTS: &[&str] = &["first", "from", "joining", "learner", "leaving"];
pub(crate) const FROM: &[&str] = &["from", "joining", "learner", "leaving"];
/// Names of the parts of [`voters`].
pub(crate) const VOTERS: &[&str] = &["joining", "learner", "leaving", "outgoing", "voters"];

/// Packs the number of voters, the number of voters of the old configuration (0: no joint change) and the
/// leader's vote into one field. A plain number if one configuration is in force.
pub const fn voters(voters: u64, outgoing: u64, leader: Vote) -> u64 {
    voters & 0xffff | (outgoing & 0xffff) << 16 | (leader as u64) << 32
}

/// Unpacks [`voters`].
pub(crate) const fn split_voters(packed: u64) -> (u64, u64, Vote) {
    (packed & 0xffff, packed >> 16 & 0xffff, Vote::from_bits(packed >> 32))
}

/// Packs a store and its vote into one field. A plain number if it votes as usual.
pub const fn from(store: u64, vote: Vote) -> u64 {
    store & u32::MAX as u64 | (vote as u64) << 32
}

/// Unpacks [`from`].
pub(crate) const fn split_from(packed: u64) -> (u64, Vote) {
    (packed & u32::MAX as u64, Vote::from_bits(packed >> 32))
}

/// Puts up to four values into a stamp's fields; more do not compile.
#[inline(always)]
pub fn pack<const N: usize>(values: [u64; N]) -> [u64; 4] {
    const { assert!(N <= 4, "a stamp has four fields") };
    let mut fields = [0; 4];
    fields[..N].copy_from_slice(&values);
    fields
}

/// Returns the word for a field that is an index of a list; `None` for a plain number.
pub fn named(field: &str, value: u64) -> Option<&'static str> {
    let at = |words: &[&'static str]| words.get(usize::try_from(value).ok()?).copied();
    match field {
        // TiKV's WriteType: the record's byte.
        "write_type" => match u8::try_from(value).ok()? {
            0 => Some("none"),
            b'P' => Some("Put"),
            b'D' => Some("Delete"),
            b'L' => Some("Lock"),
            b'R' => Some("Rollback"),
            _ => None,
        },
        // kvrpcpb.IsolationLevel.
        "isolation" => at(&["SI", "RC", "RcCheckTs"]),
        // raftstore's RejectReason; a test in raftstore compares the two.
        "reason" => at(&[
            "none",
            "store_id_mismatch",
            "peer_id_mismatch",
            "term_mismatch",
            "lease_expire",
            "no_region",
            "no_lease",
            "epoch",
            "applied_term",
            "read_quorum",
            "flashback",
            "safe_ts",
        ]),
        // The operation of a client.
        "op" => at(&CLIENT_OPERATIONS),
        // The outcome of a request.
        "outcome" => Outcome::ALL.get(usize::try_from(value).ok()?).map(|outcome| outcome.name()),
        "ok" | "short" | "found" | "failed" | "expired" | "desc" | "key_only" | "lock" | "write" => {
            at(&["no", "yes"])
        }
        _ => None,
    }
}

/// Operations of the embedded client, as scenarios write them; the field `op` of its stamps is an index into
/// this list.
pub const CLIENT_OPERATIONS: [&str; 30] = [
    "",
    "get",
    "put",
    "delete",
    "raw_get",
    "raw_put",
    "raw_delete",
    "batch_get",
    "scan",
    "scan_reverse",
    "raw_cas",
    "raw_batch_scan",
    "pessimistic_lock",
    "raw_batch_put",
    "raw_ttl",
    "raw_scan",
    "raw_scan_reverse",
    "follower_get",
    "commit",
    "rollback",
    "heart_beat",
    "flush",
    "buffer_get",
    "txn",
    "two_clients",
    "raw_coprocessor",
    "commit_secondaries",
    "gc",
    "flashback",
    "recover",
];

/// Returns the index of an operation in [`CLIENT_OPERATIONS`]; 0 for any other one.
pub fn client_operation(name: &str) -> u64 {
    CLIENT_OPERATIONS.iter().position(|o| *o == name).unwrap_or(0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_list_have_their_word() {
        assert_eq!((named("write_type", 80), named("write_type", 0)), (Some("Put"), Some("none")));
        assert_eq!((named("isolation", 0), named("isolation", 9)), (Some("SI"), None));
        assert_eq!(named("op", client_operation("raw_put")), Some("raw_put"));
        assert_eq!((named("region", 80), named("ok", 1)), (None, Some("yes")));
    }
}
