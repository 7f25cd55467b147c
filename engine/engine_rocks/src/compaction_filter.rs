//! Filters of compactions: code that removes entries while RocksDB rewrites them.
use std::{
    ffi::{CStr, CString},
    fmt,
    sync::Arc,
};

use rocksdb::{
    CompactionDecision, Options,
    compaction_filter::CompactionFilter as RocksFilter,
    compaction_filter_factory::{CompactionFilterContext, CompactionFilterFactory as RocksFactory},
};

/// Properties of a compaction.
#[derive(Clone, Copy, Debug)]
pub struct CompactionContext {
    /// Whether it reads all files of the column family, so that no older entry of its keys is elsewhere.
    pub is_full: bool,
    /// Whether a program requested it.
    pub is_manual: bool,
}

/// Makes a filter for each compaction of a column family. RocksDB's threads call it.
pub trait CompactionFilterFactory: fmt::Debug + Send + Sync {
    /// Name in RocksDB's log.
    fn name(&self) -> &'static str;

    /// Returns the filter of one compaction; `None` keeps all entries.
    fn create_compaction_filter(&self, context: CompactionContext) -> Option<Box<dyn CompactionFilter>>;
}

/// Filter of one compaction, in the order of the keys. It must not panic: RocksDB's thread would abort.
pub trait CompactionFilter: Send {
    /// Returns whether to remove an entry. RocksDB asks about puts only.
    fn remove(&mut self, level: u32, key: &[u8], value: &[u8]) -> bool;
}

pub(crate) fn set(options: &mut Options, factory: Arc<dyn CompactionFilterFactory>) {
    // A name with a NUL byte cannot be passed; RocksDB shows it only in its log.
    let name = CString::new(factory.name()).unwrap_or_default();
    options.set_compaction_filter_factory(Factory { factory, name });
}

struct Factory {
    factory: Arc<dyn CompactionFilterFactory>,
    name: CString,
}

impl RocksFactory for Factory {
    type Filter = Filter;

    fn create(&mut self, context: CompactionFilterContext) -> Filter {
        let CompactionFilterContext { is_full_compaction, is_manual_compaction } = context;
        let context = CompactionContext { is_full: is_full_compaction, is_manual: is_manual_compaction };
        Filter { filter: self.factory.create_compaction_filter(context), name: self.name.clone() }
    }

    fn name(&self) -> &CStr {
        &self.name
    }
}

struct Filter {
    filter: Option<Box<dyn CompactionFilter>>,
    name: CString,
}

impl RocksFilter for Filter {
    fn filter(&mut self, level: u32, key: &[u8], value: &[u8]) -> CompactionDecision {
        match self.filter.as_mut().is_some_and(|filter| filter.remove(level, key, value)) {
            true => CompactionDecision::Remove,
            false => CompactionDecision::Keep,
        }
    }

    fn name(&self) -> &CStr {
        &self.name
    }
}
