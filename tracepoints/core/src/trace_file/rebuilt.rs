//! Entries of tables that were rebuilt from stamps.
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use super::entry::Entry;

/// Entries rebuilt for damaged tables, by the offset of the table.
#[derive(Debug, Default)]
pub(super) struct RebuiltTables {
    pub by_place: BTreeMap<usize, Arc<[Entry]>>,
    /// Ids of all entries in `by_place`.
    pub ids: HashSet<u64>,
    /// All tables before this offset have been checked.
    pub checked_to: usize,
}
