//! The newest visible version of each key, merged from the WAL and all SSTs.

use std::{cmp::Ordering, sync::Arc};

use super::{
    ColumnFamily, Db, Error, Result, SstFile, TableIter, ValueType,
    db::{MemEntry, RangeTombstone},
    internal_key::compare,
};

#[derive(Debug)]
enum Source {
    Mem { entries: Arc<Vec<MemEntry>>, at: usize },
    Files { files: Vec<Arc<SstFile>>, next: usize, current: Option<TableIter>, from: Vec<u8> },
}

impl Source {
    /// The entry that this source stands on.
    fn entry(&self) -> Option<(&[u8], u64, &[u8])> {
        match self {
            Source::Mem { entries, at } => {
                entries.get(*at).map(|(key, packed, value)| (key.as_slice(), *packed, value.as_slice()))
            }
            Source::Files { current, .. } => current.as_ref().map(|iter| {
                let key = iter.key();
                (key.user_key, key.packed, iter.value())
            }),
        }
    }

    fn advance(&mut self) -> Result<()> {
        match self {
            Source::Mem { at, .. } => *at += 1,
            Source::Files { files, next, current, from } => loop {
                if let Some(iter) = current {
                    if iter.advance()? {
                        break;
                    }
                    *current = None;
                }
                let Some(file) = files.get(*next) else { break };
                *next += 1;
                *current = Some(file.table()?.iter_from(from)?);
            },
        }
        Ok(())
    }
}

/// A walk over the keys of a column family. Starts before the first: call [`DbIter::advance`].
#[derive(Debug)]
pub struct DbIter<'a> {
    db: &'a Db,
    sources: Vec<Source>,
    tombstones: Vec<RangeTombstone>,
    to: Vec<u8>,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl<'a> DbIter<'a> {
    pub(super) fn new(db: &'a Db, family: &ColumnFamily, from: &[u8], to: &[u8]) -> Result<DbIter<'a>> {
        let entries = family.mem().clone();
        let at = entries.partition_point(|(key, ..)| key.as_slice() < from);
        let mut sources = vec![Source::Mem { entries, at }];
        let mut tombstones = family.mem_deletions().to_vec();
        let mut levels: Vec<(u32, Vec<Arc<SstFile>>)> = Vec::new();
        for file in family.files().iter().filter(|file| file.overlaps(from, to)) {
            let table = file.table()?;
            if table.properties().number("rocksdb.num.range-deletions").unwrap_or(0) > 0 {
                tombstones.append(&mut table.range_deletions()?);
            }
            match levels.last_mut() {
                // Files of a level below the first do not overlap: one after another.
                Some((level, files)) if *level == file.level() && *level > 0 => files.push(file.clone()),
                _ => levels.push((file.level(), vec![file.clone()])),
            }
        }
        for (_, files) in levels {
            let mut source = Source::Files { files, next: 0, current: None, from: from.to_vec() };
            source.advance()?;
            sources.push(source);
        }
        Ok(DbIter { db, sources, tombstones, to: to.to_vec(), key: Vec::new(), value: Vec::new() })
    }

    /// Goes to the next key that is not deleted; `Ok(false)` at the end.
    pub fn advance(&mut self) -> Result<bool> {
        loop {
            let Some((source, packed)) = self.newest() else { return Ok(false) };
            if let Some((key, _, value)) = self.sources[source].entry() {
                self.key.clear();
                self.key.extend_from_slice(key);
                self.value.clear();
                self.value.extend_from_slice(value);
            }
            if !self.to.is_empty() && self.key >= self.to {
                return Ok(false);
            }
            self.skip_older()?;
            if self.visible(packed)? {
                return Ok(true);
            }
        }
    }

    /// The source whose entry comes first in RocksDB's order.
    fn newest(&self) -> Option<(usize, u64)> {
        let entries = self
            .sources
            .iter()
            .enumerate()
            .filter_map(|(i, source)| source.entry().map(|(key, packed, _)| (i, key, packed)));
        let first = entries.min_by(|a, b| compare((a.1, a.2), (b.1, b.2)))?;
        Some((first.0, first.2))
    }

    fn skip_older(&mut self) -> Result<()> {
        for source in &mut self.sources {
            while source.entry().is_some_and(|(key, ..)| key.cmp(&self.key) != Ordering::Greater) {
                source.advance()?;
            }
        }
        Ok(())
    }

    fn visible(&mut self, packed: u64) -> Result<bool> {
        let sequence = packed >> 8;
        let covers =
            |(start, end, at): &RangeTombstone| *at > sequence && *start <= self.key && self.key < *end;
        if self.tombstones.iter().any(covers) {
            return Ok(false);
        }
        match ValueType::from_u8(packed as u8) {
            ValueType::Value => Ok(true),
            ValueType::Deletion | ValueType::SingleDeletion => Ok(false),
            ValueType::BlobIndex => {
                self.value = self.db.titan().read(&self.key, &self.value)?;
                Ok(true)
            }
            other => Err(Error::Unsupported {
                path: self.db.dir().to_owned(),
                what: format!(
                    "key {} has an entry of type {other:?}, which TiKV does not write",
                    keys::hex_upper(&self.key)
                ),
            }),
        }
    }

    /// The current key.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The current value.
    pub fn value(&self) -> &[u8] {
        &self.value
    }
}
