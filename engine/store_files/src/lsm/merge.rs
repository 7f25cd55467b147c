//! Merges the WAL and all SSTs into the newest visible version of each key.
use std::sync::Arc;

use super::{
    db::{ColumnFamily, Db, Part, SstFile},
    format::RangeTombstone,
    internal_key::{ValueType, compare, same},
    iter::TableIter,
    memtable::MemEntry,
};
use crate::io::{Context, FileError, Result};

#[derive(Debug)]
enum Source {
    Mem { entries: Arc<Vec<MemEntry>>, at: usize },
    Files { files: Vec<Arc<SstFile>>, next: usize, current: Option<Box<TableIter>>, from: Vec<u8> },
}

impl Source {
    /// Key of the current entry, and its packed sequence number and type.
    #[inline(always)]
    fn key(&self) -> Option<(&[u8], u64)> {
        match self {
            Source::Mem { entries, at } => entries.get(*at).map(|entry| (entry.key.as_slice(), entry.packed)),
            Source::Files { current, .. } => current.as_ref().map(|iter| {
                let key = iter.key();
                (key.user_key, key.packed)
            }),
        }
    }

    /// Value of the current entry.
    #[inline(always)]
    fn value(&self) -> &[u8] {
        match self {
            Source::Mem { entries, at } => entries.get(*at).map_or(&[], |entry| entry.value.as_slice()),
            Source::Files { current, .. } => current.as_ref().map_or(&[], |iter| iter.value()),
        }
    }

    /// Moves to the next entry. Skips unreadable blocks and files and adds them to the damages of `db`.
    #[inline]
    fn advance(&mut self, db: &Db, cf: &str) {
        match self {
            Source::Mem { at, .. } => *at += 1,
            Source::Files { files, next, current, from } => loop {
                if let Some(iter) = current {
                    match iter.advance() {
                        Ok(true) => return,
                        Ok(false) => *current = None,
                        Err(e) => db.note_damage(cf, e),
                    }
                    continue;
                }
                let Some(file) = files.get(*next) else { return };
                *next += 1;
                *current = open_at(db, cf, file, from);
            },
        }
    }
}

/// Opens `file` at the first entry not less than `from`, or at the next block if that block is damaged.
fn open_at(db: &Db, cf: &str, file: &SstFile, from: &[u8]) -> Option<Box<TableIter>> {
    let table = db.table(cf, file)?;
    if let Ok(index) = table.index() {
        index.damages().iter().for_each(|e| db.note_damage(cf, e.clone()));
    }
    match table.iter_from(from) {
        Ok(iter) => Some(Box::new(iter)),
        Err(e) => {
            let up_to = e.lost_keys().map(|(_, up_to)| up_to.to_vec());
            db.note_damage(cf, e);
            let mut next = up_to?;
            next.push(0);
            table.iter_from(&next).map(Box::new).map_err(|e| db.note_damage(cf, e)).ok()
        }
    }
}

impl Db {
    /// Creates an iterator over the newest versions of the keys in `[from, to)`; an empty `to` is unbounded.
    pub fn scan<'a>(&'a self, cf: &str, from: &[u8], to: &[u8]) -> Result<DbIter<'a>> {
        Ok(DbIter::new(self, self.family(cf)?, from, to))
    }

    /// Reads the newest version of `key`.
    pub fn get(&self, cf: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut end = key.to_vec();
        end.push(0);
        let mut iter = self.scan(cf, key, &end)?;
        Ok(if iter.advance()? { Some(iter.value().to_vec()) } else { None })
    }
}

/// An iterator over the keys of a column family. It starts before the first key: call [`DbIter::advance`].
///
/// Skips unreadable blocks and files and adds them to [`Db::damages`].
#[derive(Debug)]
pub struct DbIter<'a> {
    db: &'a Db,
    cf: &'a str,
    sources: Vec<Source>,
    tombstones: Vec<RangeTombstone>,
    to: Vec<u8>,
    key: Vec<u8>,
    /// Number of the source with the current entry.
    on: Option<usize>,
    /// The current value, if it comes from a blob file.
    blob: Option<Vec<u8>>,
    /// The remaining databases of a joined one.
    rest: std::slice::Iter<'a, Part>,
    /// First key and end key of the whole walk.
    range: (Vec<u8>, Vec<u8>),
}

impl<'a> DbIter<'a> {
    /// Continues with the next part that has keys of the range. Returns `false` if there is none.
    fn next_part(&mut self) -> bool {
        let (from, to) = &self.range;
        for part in self.rest.by_ref() {
            let begin = part.start.as_slice().max(from);
            let end = if to.is_empty() { part.end.as_slice() } else { part.end.as_slice().min(to) };
            let Ok(family) = part.db.family(self.cf) else { continue };
            if begin < end {
                let inner = DbIter::new(&part.db, family, begin, end);
                (self.db, self.sources, self.tombstones, self.to) =
                    (inner.db, inner.sources, inner.tombstones, inner.to);
                return true;
            }
        }
        false
    }

    fn new(db: &'a Db, family: &'a ColumnFamily, from: &[u8], to: &[u8]) -> DbIter<'a> {
        let entries = family.mem().clone();
        let at = entries.partition_point(|entry| entry.key.as_slice() < from);
        let mut sources = vec![Source::Mem { entries, at }];
        let mut tombstones = family.mem_deletions().to_vec();
        let mut levels: Vec<(u32, Vec<Arc<SstFile>>)> = Vec::new();
        // A joined database lists the files of all its parts, but the walk reads each part separately.
        let own = if db.parts().is_empty() { family.files() } else { &[] };
        for file in own.iter().filter(|file| file.overlaps(from, to)) {
            tombstones.append(&mut deletions(db, family.name(), file));
            match levels.last_mut() {
                // Files of a level below level 0 do not overlap and form one source.
                Some((level, files)) if *level == file.level() && *level > 0 => files.push(file.clone()),
                _ => levels.push((file.level(), vec![file.clone()])),
            }
        }
        for (_, files) in levels {
            let mut source = Source::Files { files, next: 0, current: None, from: from.to_vec() };
            source.advance(db, family.name());
            sources.push(source);
        }
        let cf = family.name();
        let (rest, range) = (db.parts().iter(), (from.to_vec(), to.to_vec()));
        DbIter {
            db,
            cf,
            sources,
            tombstones,
            to: to.to_vec(),
            key: Vec::new(),
            on: None,
            blob: None,
            rest,
            range,
        }
    }

    /// Moves to the next key that is not deleted. Returns `Ok(false)` at the end.
    ///
    /// # Errors
    /// An entry has a type that TiKV does not write. Other damage is in [`Db::damages`].
    pub fn advance(&mut self) -> Result<bool> {
        loop {
            if self.advance_here()? {
                return Ok(true);
            }
            if !self.next_part() {
                return Ok(false);
            }
        }
    }

    #[inline]
    fn advance_here(&mut self) -> Result<bool> {
        loop {
            if let Some(at) = self.on.take() {
                self.sources[at].advance(self.db, self.cf);
                self.skip_older();
            }
            let Some(at) = self.newest() else { return Ok(false) };
            let Some((key, packed)) = self.sources[at].key() else { return Ok(false) };
            if !self.to.is_empty() && key >= self.to.as_slice() {
                return Ok(false);
            }
            self.key.clear();
            self.key.extend_from_slice(key);
            self.on = Some(at);
            self.blob = None;
            if self.visible(packed)? {
                return Ok(true);
            }
        }
    }

    /// Returns the source whose entry is first in RocksDB's order, and drops sources that have ended.
    #[inline]
    fn newest(&mut self) -> Option<usize> {
        if let [only] = self.sources.as_slice() {
            return only.key().map(|_| 0);
        }
        let mut first: Option<usize> = None;
        let mut at = 0;
        while at < self.sources.len() {
            let Some(key) = self.sources[at].key() else {
                self.sources.swap_remove(at);
                continue;
            };
            let best = first.and_then(|first| self.sources[first].key());
            if best.is_none_or(|best| compare(key, best).is_lt()) {
                first = Some(at);
            }
            at += 1;
        }
        first
    }

    #[inline]
    fn skip_older(&mut self) {
        for source in &mut self.sources {
            while source.key().is_some_and(|(key, _)| same(key, &self.key)) {
                source.advance(self.db, self.cf);
            }
        }
    }

    #[inline]
    fn visible(&mut self, packed: u64) -> Result<bool> {
        let sequence = packed >> 8;
        let covers =
            |(start, end, at): &RangeTombstone| *at > sequence && *start <= self.key && self.key < *end;
        if !self.tombstones.is_empty() && self.tombstones.iter().any(covers) {
            return Ok(false);
        }
        match ValueType::from_u8(packed as u8) {
            ValueType::Value => Ok(true),
            ValueType::Deletion | ValueType::SingleDeletion => Ok(false),
            ValueType::BlobIndex => match self.db.titan().read(&self.key, self.value()) {
                Ok(value) => {
                    self.blob = Some(value);
                    Ok(true)
                }
                Err(e) => {
                    self.db.note_damage(
                        self.cf,
                        e.context(Context::Lost { after: &self.key, up_to: &self.key }),
                    );
                    Ok(false)
                }
            },
            other => Err(FileError::Unsupported {
                path: self.db.dir().to_owned(),
                what: format!(
                    "expected an entry that TiKV writes, found type {other:?} for key {}",
                    keys::hex_upper(&self.key)
                ),
            }),
        }
    }

    /// Returns the current key.
    #[inline]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Returns the current value.
    #[inline]
    pub fn value(&self) -> &[u8] {
        match &self.blob {
            Some(value) => value,
            None => self.on.and_then(|at| self.sources.get(at)).map_or(&[], Source::value),
        }
    }
}

/// Reads the range deletions of `file`; none if they are damaged, which is noted.
fn deletions(db: &Db, cf: &str, file: &SstFile) -> Vec<RangeTombstone> {
    let Some(table) = db.table(cf, file) else { return Vec::new() };
    if table.properties().number("rocksdb.num.range-deletions") == Some(0) {
        return Vec::new();
    }
    table.range_deletions().unwrap_or_else(|e| {
        db.note_damage(cf, e.context(Context::Part("rocksdb.range_del")));
        Vec::new()
    })
}
