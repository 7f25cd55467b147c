//! Writes a trace file. The writer flushes a chunk of stamps when it is full or 200 ms old, so a killed
//! program loses at most that; a checkpoint enters the finished requests into the table and writes a
//! directory.
use std::{
    collections::VecDeque,
    fs::OpenOptions,
    io,
    path::{Path, PathBuf},
};

use super::{
    TraceFileError,
    chunk::{self, Kind, Place},
    directory,
    disk::{Disk, Medium},
    entry::Entry,
    header,
    read::TraceFile,
    row::Row,
    summary::{Ranges, StampsSummary, table},
    tables::{Ended, Note, Site, Thread},
    tracker::{Checkpoint, StampKind, Tracker},
};
use crate::{
    clock, id_hash::IdMap, recorder, ring, site::StampSite, stamp::Stamp, thread, trace::TraceRecord,
};

/// Maximum number of stamps in a chunk: a damaged chunk loses no more than these.
const STAMPS_PER_CHUNK: usize = 8192;
/// Number of requests in one chunk of the table.
const REQUESTS_PER_CHUNK: usize = if cfg!(test) { 3 } else { 4096 };
/// Maximum time in ns that stamps wait for their chunk to fill.
const CHUNK_AGE_NS: u64 = 200_000_000;
/// A checkpoint is due after this many bytes, or after this time if there is anything new.
const CHECKPOINT_BYTES: u64 = 32 << 20;
const CHECKPOINT_AGE_NS: u64 = 10_000_000_000;

/// A site that is already in the file.
#[derive(Clone, Copy)]
struct Known {
    number: u32,
    bit: u8,
    /// Whether its stamps can belong to requests that they do not name.
    joins: bool,
}

/// Writes a trace file.
pub struct TraceFileWriter {
    disk: Disk,
    path: PathBuf,
    /// By address of the site.
    sites: IdMap<Known>,
    next_site: u32,
    /// Stages by name, in the order of their bits.
    stages: Vec<String>,
    /// Numbers in the file, by thread id.
    threads: Vec<Option<u16>>,
    next_thread: u16,
    /// All sites and threads, to be written again: stamps are useless without them.
    names: (Vec<Site>, Vec<Thread>),
    checkpoints: u32,
    tracker: Tracker,
    pending: Vec<Stamp>,
    pending_since: u64,
    next_chunk: u32,
    /// Body of the next directory, and the first offset that it covers.
    directory: Vec<u8>,
    directory_from: u64,
    previous_directory: u64,
    /// Offsets of the last directories, newest first.
    directories: VecDeque<u64>,
    checkpoint_at: u64,
    drops: Drops,
    /// Origin of the stamps' times, in Unix ns.
    base_ns: u64,
    written: u64,
    /// Number of stamps received.
    taken: u64,
    /// Set by a failed write; the writer writes nothing after that.
    ended: Option<Ended>,
}

/// Drops of all rings at the start of the recording and at the last chunk.
struct Drops {
    at_begin: u64,
    by_ring: Vec<(usize, u64)>,
    last: u64,
    /// Drops of the merged recordings; drops of this process's rings are then irrelevant.
    merged: Option<u64>,
    /// Part of `merged` that no chunk has reported yet.
    merged_new: u64,
}

impl Drops {
    fn now() -> Self {
        let rings = ring::rings();
        let by_ring = rings.iter().map(|r| (std::sync::Arc::as_ptr(r) as usize, r.dropped())).collect();
        let at_begin = ring::dropped();
        Self { at_begin, by_ring, last: at_begin, merged: None, merged_new: 0 }
    }

    fn since_last(&mut self) -> u64 {
        if self.merged.is_some() {
            return std::mem::take(&mut self.merged_new);
        }
        let now = ring::dropped();
        now.saturating_sub(std::mem::replace(&mut self.last, now))
    }

    fn all(&self) -> u64 {
        self.merged.unwrap_or_else(|| ring::dropped().saturating_sub(self.at_begin))
    }

    fn by_thread(&self) -> Vec<(String, u64)> {
        if self.merged.is_some() {
            return Vec::new();
        }
        let before = |at: usize| self.by_ring.iter().find(|(a, _)| *a == at).map_or(0, |(_, n)| *n);
        let of = |r: &std::sync::Arc<ring::Ring>| {
            let n = r.dropped().saturating_sub(before(std::sync::Arc::as_ptr(r) as usize));
            (thread::info(r.thread).name, n)
        };
        thread::sum_by_name(ring::rings().iter().map(of).collect())
    }
}

impl TraceFileWriter {
    /// Creates a file.
    ///
    /// # Errors
    /// If the file exists or cannot be written.
    pub fn create(path: &Path) -> Result<Self, TraceFileError> {
        let file =
            OpenOptions::new().write(true).create_new(true).open(path).map_err(|e| match e.kind() {
                io::ErrorKind::AlreadyExists => TraceFileError::Exists(path.into()),
                _ => TraceFileError::Io { path: path.into(), source: e },
            })?;
        Self::to(Box::new(file), path)
    }

    /// Starts a recording on a medium; `path` names it in messages.
    ///
    /// # Errors
    /// If the medium cannot be written.
    pub fn to(medium: Box<dyn Medium>, path: &Path) -> Result<Self, TraceFileError> {
        let mut writer = Self::over(Disk::new(medium, 0), path);
        writer.disk.append(&header()).map_err(|e| writer.error(e))?;
        writer.directory_from = writer.disk.end;
        writer.note()?;
        Ok(writer)
    }

    /// Continues a file; removes a chunk that a killed program left half-written at its end.
    ///
    /// # Errors
    /// If it is not a trace file, or cannot be written.
    pub fn append(path: &Path) -> Result<Self, TraceFileError> {
        let before = TraceFile::open(path)?;
        let io = |source| TraceFileError::Io { path: path.into(), source };
        OpenOptions::new().write(true).open(path).and_then(|f| f.set_len(before.end())).map_err(io)?;
        let file = OpenOptions::new().append(true).open(path).map_err(io)?;
        let mut writer = Self::over(Disk::new(Box::new(file), before.end()), path);
        let numbers = before.numbers();
        (writer.next_site, writer.next_thread, writer.next_chunk) =
            (numbers.site, numbers.thread, numbers.chunk);
        writer.stages = numbers.stages;
        (writer.previous_directory, writer.directory_from) = (numbers.directory, numbers.directory_end);
        writer.directories.extend((numbers.directory != 0).then_some(numbers.directory));
        // The next directory lists the chunks after the last one again.
        writer.directory = numbers.undirected;
        let rebuilt = Checkpoint { requests: before.rebuilt.clone(), late: before.rebuilt_late.clone() };
        drop(before);
        writer.enter(rebuilt)?;
        writer.note()?;
        Ok(writer)
    }

    fn over(disk: Disk, path: &Path) -> Self {
        Self {
            disk,
            path: path.into(),
            sites: IdMap::default(),
            next_site: 0,
            stages: Vec::new(),
            threads: Vec::new(),
            next_thread: 0,
            names: (Vec::new(), Vec::new()),
            checkpoints: 0,
            tracker: Tracker::default(),
            pending: Vec::with_capacity(STAMPS_PER_CHUNK),
            pending_since: 0,
            next_chunk: 0,
            directory: Vec::new(),
            directory_from: 0,
            previous_directory: 0,
            directories: VecDeque::new(),
            checkpoint_at: clock::now_ns(),
            drops: Drops::now(),
            base_ns: clock::unix_base_ns(),
            written: 0,
            taken: 0,
            ended: None,
        }
    }

    /// Limits the size of the file; the recording ends when it is reached.
    pub fn limit(&mut self, max_bytes: u64) {
        self.disk.max_bytes = max_bytes;
    }

    /// Switches to stamps of other recordings, whose times are Unix times.
    pub(super) fn take_unix_times(&mut self) {
        self.base_ns = 0;
        self.drops.merged = Some(0);
    }

    /// Adds the drops that another recording reports before its next stamps.
    pub(super) fn note_dropped(&mut self, stamps: u64) {
        self.drops.merged = Some(self.drops.merged.unwrap_or(0) + stamps);
        self.drops.merged_new += stamps;
    }

    /// Returns the number of stamps in the file, and the number of received stamps that could not be written.
    pub fn counts(&self) -> (u64, u64) {
        (self.written, self.taken - self.written - self.pending.len() as u64)
    }

    /// Number of bytes written so far.
    pub fn len(&self) -> u64 {
        self.disk.end
    }

    /// Whether the file is empty: always false, since a file has a header.
    pub fn is_empty(&self) -> bool {
        self.disk.end == 0
    }

    /// Appends a finished trace as one chunk.
    ///
    /// # Errors
    /// If the trace cannot be written or is too large.
    pub fn trace(&mut self, trace: &TraceRecord) -> Result<(), TraceFileError> {
        self.still_runs()?;
        let json = serde_json::to_vec(trace).map_err(TraceFileError::Encode)?;
        self.chunk(Kind::Trace, &[], &json).map(drop)
    }

    /// Takes stamps whose `at` is in ns since the process first read its clock. Must also be called
    /// regularly without stamps, to flush the chunk when its time has come.
    ///
    /// # Errors
    /// If the stamps cannot be written: the file is then closed with its index and accepts nothing more.
    pub fn stamps(&mut self, stamps: &[Stamp]) -> Result<(), TraceFileError> {
        self.still_runs()?;
        self.taken += stamps.len() as u64;
        let mut rest = stamps;
        while !rest.is_empty() {
            if self.pending.is_empty() {
                self.pending_since = clock::now_ns();
            }
            let (now, later) = rest.split_at(rest.len().min(STAMPS_PER_CHUNK - self.pending.len()));
            self.pending.extend_from_slice(now);
            rest = later;
            if self.pending.len() == STAMPS_PER_CHUNK {
                self.flush_chunk()?;
            }
        }
        let now = clock::now_ns();
        if !self.pending.is_empty() && now.saturating_sub(self.pending_since) >= CHUNK_AGE_NS {
            self.flush_chunk()?;
        }
        let bytes = self.disk.end - self.directory_from;
        let aged = now.saturating_sub(self.checkpoint_at) >= CHECKPOINT_AGE_NS && !self.directory.is_empty();
        if bytes >= CHECKPOINT_BYTES || aged {
            self.checkpoint(None)?;
        }
        Ok(())
    }

    fn still_runs(&self) -> Result<(), TraceFileError> {
        match self.ended {
            Some(why) => Err(TraceFileError::Ended { path: self.path.clone(), why }),
            None => Ok(()),
        }
    }

    /// Writes the pending stamps as one chunk, sorted by request.
    pub(super) fn flush_chunk(&mut self) -> Result<(), TraceFileError> {
        let pending = std::mem::take(&mut self.pending);
        let done = self.chunk_of(&pending);
        self.pending = pending;
        self.pending.clear();
        done
    }

    fn chunk_of(&mut self, stamps: &[Stamp]) -> Result<(), TraceFileError> {
        self.tables(stamps)?;
        let base = self.base_ns;
        let mut summary =
            StampsSummary { number: self.next_chunk, min_at: u64::MAX, ..StampsSummary::default() };
        let mut ranges = Ranges::default();
        // The group of each stamp: one group per request, in the order of their first stamps.
        let mut groups: Vec<(u64, u32)> = vec![(0, 0)];
        let mut group_of: Vec<u32> = Vec::with_capacity(stamps.len());
        let mut group_by_slot: IdMap<u32> = IdMap::default();
        let mut last = (0u64, 0u32, 0usize);
        for stamp in stamps {
            let (id, at) = (stamp.req.id(), base + stamp.at);
            let known = stamp.site.and_then(|s| self.sites.get(&address(s))).copied();
            (summary.min_at, summary.max_at) = (summary.min_at.min(at), summary.max_at.max(at));
            if known.is_some_and(|k| k.joins) {
                let entries = stamp.entries().or_else(|| stamp.entry().map(|(r, t, i)| (r, t, i, i)));
                if let Some(range) =
                    entries.filter(|(_, _, first, last)| id == 0 || *last > 0 && first <= last)
                {
                    ranges.add(range);
                }
                summary.reads |= stamp.read_id().is_some();
            }
            if id == 0 {
                group_of.push(0);
                groups[0].1 += 1;
                continue;
            }
            if last.0 != id {
                let slot = self.tracker.slot(id, at);
                let group = *group_by_slot.entry(slot as u64).or_insert_with(|| {
                    groups.push((id, 0));
                    groups.len() as u32 - 1
                });
                last = (id, group, slot);
            }
            groups[last.1 as usize].1 += 1;
            group_of.push(last.1);
            self.tracker.stamp(last.2, summary.number, at, stamp.store, stamp_kind(stamp, known));
        }
        self.finish_chunk(stamps, summary, ranges, &groups, &group_of)
    }

    /// Sorts the rows by request and writes the chunk.
    fn finish_chunk(
        &mut self,
        stamps: &[Stamp],
        mut summary: StampsSummary,
        ranges: Ranges,
        groups: &[(u64, u32)],
        group_of: &[u32],
    ) -> Result<(), TraceFileError> {
        let mut order: Vec<u32> = (0..groups.len() as u32).collect();
        order.sort_unstable_by_key(|g| groups[*g as usize].0);
        let mut next = vec![0usize; groups.len()];
        let mut at = 0;
        for group in order {
            next[group as usize] = at;
            at += groups[group as usize].1 as usize;
        }
        let (base, mut linked) = (self.base_ns, Vec::new());
        let mut body = vec![0; stamps.len() * Row::SIZE];
        for (stamp, group) in stamps.iter().zip(group_of) {
            let index = next[*group as usize];
            next[*group as usize] += 1;
            let site = stamp.site.and_then(|s| self.sites.get(&address(s))).map_or(u32::MAX, |k| k.number);
            let thread = self.threads.get(usize::from(stamp.thread)).copied().flatten().unwrap_or(u16::MAX);
            Row::new(stamp, base + stamp.at, site, thread).put(&mut body[index * Row::SIZE..]);
            if *group != 0 && stamp.entries().is_some() {
                linked.push(index as u16);
            }
        }
        (summary.rows, summary.loose, summary.linked) =
            (stamps.len() as u32, groups[0].1, linked.len() as u32);
        summary.dropped = self.drops.since_last();
        ranges.into_summary(&mut summary);
        linked.iter().for_each(|i| body.extend_from_slice(&i.to_le_bytes()));
        self.chunk(Kind::Stamps, &summary.put(), &body)?;
        self.next_chunk += 1;
        self.written += stamps.len() as u64;
        Ok(())
    }

    /// Numbers new sites and threads and writes them before the stamps that name them.
    fn tables(&mut self, stamps: &[Stamp]) -> Result<(), TraceFileError> {
        let (mut sites, mut threads) = (Vec::new(), Vec::new());
        for stamp in stamps {
            if let Some(site) = stamp.site
                && !self.sites.contains_key(&address(site))
            {
                sites.push(self.new_site(site));
            }
            let id = usize::from(stamp.thread);
            if self.threads.len() <= id {
                self.threads.resize(id + 1, None);
            }
            if self.threads[id].is_none() {
                let (info, number) = (thread::info(stamp.thread), self.next_thread);
                self.threads[id] = Some(number);
                self.next_thread = number.saturating_add(1);
                threads.push(Thread { number, name: info.name, store: info.store });
            }
        }
        self.table(Kind::Sites, &sites)?;
        self.table(Kind::Threads, &threads)?;
        self.names.0.append(&mut sites);
        self.names.1.append(&mut threads);
        Ok(())
    }

    /// Writes all sites and threads again at checkpoints 1, 2, 4, 8 ... and at the end.
    fn rewrite_tables(&mut self, end: bool) -> Result<(), TraceFileError> {
        self.checkpoints += 1;
        if !end && !self.checkpoints.is_power_of_two() {
            return Ok(());
        }
        let names = std::mem::take(&mut self.names);
        let done = self.table(Kind::Sites, &names.0).and_then(|()| self.table(Kind::Threads, &names.1));
        self.names = names;
        done
    }

    fn new_site(&mut self, site: &'static StampSite) -> Site {
        let bit = if site.is_mark() { 0 } else { self.bit(site.stage.name()) };
        let number = self.next_site;
        self.next_site += 1;
        self.sites.insert(address(site), Known { number, bit, joins: site.join.any });
        Site::describe(site, number, bit)
    }

    fn bit(&mut self, stage: &str) -> u8 {
        let known = self.stages.iter().position(|s| s == stage).unwrap_or_else(|| {
            self.stages.push(stage.to_owned());
            self.stages.len() - 1
        });
        known.min(255) as u8
    }

    fn table<T: serde::Serialize>(&mut self, kind: Kind, rows: &[T]) -> Result<(), TraceFileError> {
        if rows.is_empty() {
            return Ok(());
        }
        let json = serde_json::to_vec(rows).map_err(TraceFileError::Encode)?;
        self.chunk(kind, &[], &json).map(drop)
    }

    fn note(&mut self) -> Result<(), TraceFileError> {
        let json = serde_json::to_vec(&self.describe()).map_err(TraceFileError::Encode)?;
        self.chunk(Kind::Note, &[], &json).map(drop)
    }

    fn describe(&self) -> Note {
        let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Note {
            unix_ns: unix.as_nanos() as u64,
            stamps_ns: clock::unix_base_ns() + clock::now_ns(),
            program: program(),
            pid: std::process::id(),
            dropped: self.drops.all(),
            dropped_by_thread: self.drops.by_thread(),
            stamps: self.written,
            unwritten: if self.ended.is_some() { self.taken - self.written } else { 0 },
        }
    }

    /// Enters finished requests and writes a directory; at the end enters all requests.
    pub(super) fn checkpoint(&mut self, end: Option<Ended>) -> Result<(), TraceFileError> {
        let taken = match end {
            None => self.tracker.take_ended(self.next_chunk.saturating_sub(1)),
            Some(_) => self.tracker.take_all(),
        };
        self.enter(taken)?;
        self.rewrite_tables(end.is_some())?;
        self.note()?;
        let mut live = Vec::new();
        self.tracker.live().for_each(|e| e.put(&mut live));
        let live = match live.is_empty() {
            true => 0,
            false => self.chunk(Kind::Live, &[], &live)?,
        };
        let head = directory::Head { previous: self.previous_directory, live, from: self.directory_from };
        let body = std::mem::take(&mut self.directory);
        let head = head.put(self.directories.iter().copied());
        self.previous_directory = self.chunk(Kind::Directory, &head, &body)?;
        self.directories.truncate(directory::EARLIER - 1);
        self.directories.push_front(self.previous_directory);
        self.directory.clear();
        self.directory_from = self.disk.end;
        self.checkpoint_at = clock::now_ns();
        Ok(())
    }

    fn enter(&mut self, taken: Checkpoint) -> Result<(), TraceFileError> {
        for some in taken.requests.chunks(REQUESTS_PER_CHUNK) {
            let (head, body) = table(some);
            self.chunk(Kind::Requests, &head, &body)?;
        }
        for some in taken.late.chunks(REQUESTS_PER_CHUNK) {
            let mut body = Vec::with_capacity(some.len() * Entry::SIZE);
            some.iter().for_each(|e| e.put(&mut body));
            self.chunk(Kind::Late, &[], &body)?;
        }
        Ok(())
    }

    /// Appends a chunk; returns its offset.
    fn chunk(&mut self, kind: Kind, head: &[u8], body: &[u8]) -> Result<u64, TraceFileError> {
        if head.len() + body.len() > chunk::MAX {
            return Err(TraceFileError::TooLarge { len: head.len() + body.len() });
        }
        let at = self.disk.end;
        let whole = chunk::encode(kind, at, head, body);
        let done = match self.ended {
            None => self.disk.append(&whole),
            Some(_) => self.disk.append_reserved(&whole),
        };
        if let Err(e) = done {
            if self.ended.is_none() {
                self.close_on(&e);
            }
            return Err(self.error(e));
        }
        let place = Place { at: at as usize, head: head.len(), body: body.len() };
        directory::note(&mut self.directory, kind, &place, head);
        Ok(at)
    }

    /// Closes the file with its index after a failed write, using the reserve.
    fn close_on(&mut self, e: &io::Error) {
        let why = match e.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Ended::DiskFull,
            io::ErrorKind::FileTooLarge => Ended::SizeLimit,
            _ => Ended::Failed,
        };
        self.ended = Some(why);
        self.disk.release_reserve();
        // If this fails too, a reader finds a file without an end and rebuilds its index.
        let _ = self.end(why);
    }

    fn end(&mut self, why: Ended) -> Result<(), TraceFileError> {
        self.checkpoint(Some(why))?;
        let head = directory::put_end(self.previous_directory, why as u32);
        self.chunk(Kind::End, &head, &[]).map(drop)
    }

    fn error(&self, source: io::Error) -> TraceFileError {
        TraceFileError::Io { path: self.path.clone(), source }
    }

    /// Closes the file with its index and makes it durable; returns the number of written stamps.
    ///
    /// # Errors
    /// If the system cannot write the file to the disk.
    pub fn finish(mut self) -> Result<u64, TraceFileError> {
        if self.ended.is_none() {
            if !self.pending.is_empty() {
                self.flush_chunk()?;
            }
            self.end(Ended::Stopped)?;
        }
        let path = self.path.clone();
        self.disk.close().map_err(|source| TraceFileError::Io { path, source })?;
        Ok(self.written)
    }
}

fn address(site: &'static StampSite) -> u64 {
    std::ptr::from_ref(site) as u64
}

fn stamp_kind(stamp: &Stamp, known: Option<Known>) -> StampKind {
    let is = |mark: &'static StampSite| stamp.site.is_some_and(|s| std::ptr::eq(s, mark));
    if is(&recorder::BEGIN) {
        StampKind::Begin(stamp.fields)
    } else if is(&recorder::END) {
        StampKind::End
    } else if stamp.site.is_some_and(StampSite::is_mark) {
        StampKind::Mark
    } else {
        let joins = known.is_some_and(|k| k.joins) && (stamp.entry().is_some() || stamp.read_id().is_some());
        StampKind::Stage(known.map_or(0, |k| k.bit), joins)
    }
}

fn program() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    format!("{name} {}", env!("CARGO_PKG_VERSION"))
}
