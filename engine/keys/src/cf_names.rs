//! Names of the column families.

/// Name of a column family.
pub type CfName = &'static str;

/// Values longer than 255 bytes, and the store's own records.
pub const CF_DEFAULT: CfName = "default";
/// Locks.
pub const CF_LOCK: CfName = "lock";
/// Versions: one record for each commit and rollback.
pub const CF_WRITE: CfName = "write";
/// Region states and apply states.
pub const CF_RAFT: CfName = "raft";

/// All column families, in the order in which TiKV opens them.
pub const ALL_CFS: &[CfName] = &[CF_DEFAULT, CF_LOCK, CF_WRITE, CF_RAFT];
/// The column families with users' data, in the order of a snapshot's files.
pub const DATA_CFS: &[CfName] = &[CF_DEFAULT, CF_LOCK, CF_WRITE];

/// Returns the constant for `name`; the empty name, which requests may have, means default.
pub fn name_to_cf(name: &str) -> Option<CfName> {
    if name.is_empty() {
        return Some(CF_DEFAULT);
    }
    ALL_CFS.iter().copied().find(|cf| *cf == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_map_to_their_constants() {
        assert_eq!(name_to_cf(""), Some(CF_DEFAULT));
        assert_eq!(name_to_cf("write"), Some(CF_WRITE));
        assert_eq!(name_to_cf("writes"), None);
        assert_eq!(&ALL_CFS[..3], DATA_CFS);
    }
}
