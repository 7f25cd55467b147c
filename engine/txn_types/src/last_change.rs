//! Positions of the last change below a record.
use keys::codec;

use crate::{Result, TimeStamp};

/// Position of the last PUT or DELETE before a record, so that a reader can skip LOCK and ROLLBACK records.
///
/// TiKV: `txn_types::types::LastChange`.
#[derive(Clone, Copy, Eq, PartialEq, Debug, Default)]
pub enum LastChange {
    /// Not recorded: the reader must search.
    #[default]
    Unknown,
    /// An older PUT or DELETE exists.
    Exist {
        /// Commit timestamp of that record.
        last_change_ts: TimeStamp,
        /// Estimated number of versions to skip to get there.
        estimated_versions_to_last_change: u64,
    },
    /// No older change, or a DELETE.
    NotExist,
}

impl LastChange {
    /// Creates the position of a change at `ts`, `versions` below; unknown if either number is zero.
    pub fn make_exist(ts: TimeStamp, versions: u64) -> LastChange {
        if ts.is_zero() || versions == 0 {
            return LastChange::Unknown;
        }
        LastChange::Exist { last_change_ts: ts, estimated_versions_to_last_change: versions }
    }

    /// Returns the two encoded numbers: (0, 0) unknown, (0, 1) none, otherwise the change.
    pub fn to_parts(&self) -> (TimeStamp, u64) {
        match self {
            LastChange::Unknown => (TimeStamp::zero(), 0),
            LastChange::NotExist => (TimeStamp::zero(), 1),
            LastChange::Exist { last_change_ts, estimated_versions_to_last_change } => {
                (*last_change_ts, *estimated_versions_to_last_change)
            }
        }
    }

    /// Reverses [`LastChange::to_parts`]; older records may have any nonzero number for "none".
    pub fn from_parts(ts: TimeStamp, versions: u64) -> LastChange {
        if ts.is_zero() && versions > 0 { LastChange::NotExist } else { LastChange::make_exist(ts, versions) }
    }

    /// Appends `prefix` and both parts; appends nothing if unknown.
    pub(crate) fn encode(&self, prefix: u8, buf: &mut Vec<u8>) {
        if *self != LastChange::Unknown {
            let (ts, versions) = self.to_parts();
            buf.push(prefix);
            codec::encode_u64(buf, ts.into_inner());
            codec::encode_var_u64(buf, versions);
        }
    }

    /// Takes both parts.
    pub(crate) fn decode(input: &mut &[u8]) -> Result<LastChange> {
        let ts = codec::decode_u64(input)?.into();
        Ok(LastChange::from_parts(ts, codec::decode_var_u64(input)?))
    }
}

#[cfg(test)]
impl LastChange {
    pub(crate) fn random(random: &mut crate::test_util::Random) -> LastChange {
        match random.below(3) {
            0 => LastChange::Unknown,
            1 => LastChange::NotExist,
            _ => LastChange::make_exist((random.number() | 1).into(), random.number() | 1),
        }
    }
}
