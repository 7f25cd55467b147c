//! Reads the intact parts of a trace file: skips damage up to the next chunk and stops at a truncated end.
use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;

use super::{
    HEADER, MAGIC, TraceFileError, VERSION,
    chunk::{self, Kind, Place},
    damage::Damage,
    entry::Entry,
    index::Index,
    opened::{Cache, Names, Opened},
    query::Query,
    rebuilt::RebuiltTables,
    row::Row,
    summary::RequestsSummary,
    tables::{Ended, Note, Site, Thread},
};
use crate::{
    catalogue, recorded::RecordedRequest, recorder, site::StampSite, stamp::Stamp, thread, trace::TraceRecord,
};

/// An opened trace file. Opening reads only the directories; other chunks are read and checked on demand. So
/// a file of any size opens at once and little of it is in memory.
#[derive(Debug)]
pub struct TraceFile {
    path: PathBuf,
    bytes: memmap2::Mmap,
    index: Index,
    names: Names,
    /// Names of the file's stages by their bits.
    stages: Vec<String>,
    next_site: u32,
    next_thread: u16,
    /// Entries that no table has, as far as known when the file was opened.
    pub(super) rebuilt: Vec<Entry>,
    /// Entries for late stamps that no table has, as far as known when the file was opened.
    pub(super) rebuilt_late: Vec<Entry>,
    /// Entries of tables that turned out to be damaged after opening.
    pub(super) rebuilt_tables: Mutex<RebuiltTables>,
    /// Entries for late stamps, by request.
    late: OnceLock<HashMap<u64, Vec<Entry>>>,
    with_reads: OnceLock<Vec<u32>>,
    cache: Mutex<Cache>,
    /// Damage found after opening.
    pub(super) found: Mutex<Vec<Damage>>,
    /// Number of stamps in missing or damaged chunks, by chunk number, as far as found.
    pub(super) lost: Mutex<BTreeMap<u32, u64>>,
}

/// The state that a writer needs to continue the file.
pub(super) struct Numbers {
    pub site: u32,
    pub thread: u16,
    pub chunk: u32,
    pub stages: Vec<String>,
    pub directory: u64,
    pub directory_end: u64,
    pub undirected: Vec<u8>,
}

impl TraceFile {
    /// Number of bytes that [`TraceFile::begins`] needs.
    pub const HEAD: usize = HEADER + chunk::MARK.len();

    /// Whether a file with this prefix is a trace file, even if the magic is damaged.
    pub fn begins(head: &[u8]) -> bool {
        head.starts_with(MAGIC) || head.get(HEADER..Self::HEAD) == Some(&chunk::MARK)
    }

    /// Opens a file by its directories.
    ///
    /// # Errors
    /// If the file cannot be read, is not a trace file or has another version. Damage after the header is no
    /// error: see [`TraceFile::damage`] and [`TraceFile::truncated_at`].
    pub fn open(path: &Path) -> Result<Self, TraceFileError> {
        let io = |source| TraceFileError::Io { path: path.into(), source };
        let file = File::open(path).map_err(io)?;
        if !file.metadata().map_err(io)?.is_file() {
            return Err(TraceFileError::NotATraceFile { path: path.into(), found: Vec::new() });
        }
        // SAFETY: trace files are append-only; a half-written end is truncated only before a writer
        // continues. The map covers the length at this moment, and all content is checked before use.
        let bytes = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
        let header = check_header(&bytes, path)?;
        let prefetch = |from: usize, len: usize| {
            let len = len.min(bytes.len().saturating_sub(from));
            // Only a hint: if it fails, the file is read page by page.
            #[cfg(unix)]
            let _ = bytes.advise_range(memmap2::Advice::WillNeed, from, len);
            #[cfg(not(unix))]
            let _ = len;
        };
        let mut index = Index::scan(&bytes, prefetch);
        index.damage.extend(header);
        let mut opened = Self {
            path: path.into(),
            bytes,
            index,
            names: Names::default(),
            stages: Vec::new(),
            next_site: 0,
            next_thread: 0,
            rebuilt: Vec::new(),
            rebuilt_late: Vec::new(),
            rebuilt_tables: Mutex::default(),
            late: OnceLock::new(),
            with_reads: OnceLock::new(),
            cache: Mutex::default(),
            found: Mutex::default(),
            lost: Mutex::default(),
        };
        opened.note_gaps();
        opened.read_tables();
        opened.rebuild();
        opened.forget(0, opened.bytes.len());
        Ok(opened)
    }

    fn read_tables(&mut self) {
        let of = |kind| self.index.of_kind(kind).collect::<Vec<_>>();
        for place in of(Kind::Sites) {
            let Some(sites) = self.json::<Vec<Site>>(&place) else { continue };
            for site in sites {
                self.take_site(&site);
            }
        }
        for place in self.index.of_kind(Kind::Threads).collect::<Vec<_>>() {
            for t in self.json::<Vec<Thread>>(&place).unwrap_or_default() {
                let at = usize::from(t.number);
                self.names.threads.resize(self.names.threads.len().max(at + 1), u16::MAX);
                self.names.threads[at] = thread::intern_as(t.name, t.store);
                self.next_thread = self.next_thread.max(t.number.saturating_add(1));
            }
        }
    }

    fn take_site(&mut self, site: &Site) {
        /// Upper bound of site numbers: no program has more sites.
        const MAX_SITES: u32 = 1 << 20;
        if site.number >= MAX_SITES {
            return;
        }
        let at = site.number as usize;
        self.names.sites.resize(self.names.sites.len().max(at + 1), None);
        self.names.sites[at] = known_site(site);
        self.next_site = self.next_site.max(site.number + 1);
        if site.stage.is_empty() {
            self.names.marks.insert(site.number);
        } else {
            let bit = usize::from(site.bit);
            self.stages.resize(self.stages.len().max(bit + 1), String::new());
            self.stages[bit].clone_from(&site.stage);
        }
    }

    /// Decodes a chunk of JSON; records an undecodable one as damage.
    fn json<T: serde::de::DeserializeOwned>(&self, place: &Place) -> Option<T> {
        let reason = match self.checked_body(place).map(serde_json::from_slice) {
            Some(Ok(value)) => return Some(value),
            Some(Err(e)) => format!("the chunk cannot be decoded: {e}"),
            // `checked_body` has recorded the damage.
            None => return None,
        };
        self.note_damage(Damage::at(place, reason));
        None
    }

    /// Returns the body of a chunk if it is intact.
    pub(super) fn checked_body(&self, place: &Place) -> Option<&[u8]> {
        if !chunk::body_is_whole(&self.bytes, place) {
            self.note_bad_body(place);
            return None;
        }
        self.bytes.get(place.body_range())
    }

    /// Returns the entries of a table; rebuilds those of a damaged one.
    pub(super) fn entries_of(&self, place: &Place, of: &RequestsSummary) -> Vec<Entry> {
        match self.checked_body(place) {
            Some(body) => Entry::all(&body[..body.len().min(of.rows as usize * Entry::SIZE)]).collect(),
            None => self.rebuilt_entries(place).to_vec(),
        }
    }

    fn late(&self) -> &HashMap<u64, Vec<Entry>> {
        self.late.get_or_init(|| self.read_late())
    }

    /// Whether a request with an id in this range has late stamps.
    pub(super) fn has_late(&self, min_id: u64, max_id: u64) -> bool {
        self.late().keys().any(|id| (min_id..=max_id).contains(id))
    }

    pub(super) fn late_of(&self, id: u64) -> &[Entry] {
        self.late().get(&id).map_or(&[], Vec::as_slice)
    }

    pub(super) fn chunks_with_reads(&self) -> &[u32] {
        let of = || self.index.stamps.iter().filter(|c| c.summary.reads).map(|c| c.summary.number).collect();
        self.with_reads.get_or_init(of)
    }

    /// Counts the drops that the writer noticed from chunk `first` to chunk `last`, both included.
    pub(super) fn dropped_in(&self, first: u32, last: u32) -> u64 {
        let from = self.index.stamps.partition_point(|c| c.summary.number < first);
        let of = self.index.stamps[from..].iter().take_while(|c| c.summary.number <= last);
        of.map(|c| c.summary.dropped).sum()
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// Names of the file's stages by their bits.
    pub(super) fn stages(&self) -> &[String] {
        &self.stages
    }

    /// Returns the bit of a stage in this file; `None` if no stamp has the stage.
    pub(super) fn bit_of(&self, stage: catalogue::StageId) -> Option<u8> {
        self.stages.iter().position(|s| s == stage.name()).map(|bit| bit.min(255) as u8)
    }

    /// Returns a chunk of stamps by its number; `None` if it is missing or damaged.
    pub(super) fn chunk(&self, number: u32) -> Option<Arc<Opened>> {
        let chunk = &self.index.stamps[self.index.stamps_chunk(number)?];
        let got = self.cache.lock().get(&self.bytes, chunk, &self.names);
        if got.newly_damaged {
            self.note_bad_body(&chunk.place);
        }
        if let Some(gone) = got.gone {
            self.forget(gone.at, gone.end());
        }
        got.chunk
    }

    pub(super) fn body(&self, chunk: &Opened) -> &[u8] {
        chunk.place.and_then(|p| self.bytes.get(p.body_range())).unwrap_or_default()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Releases the memory of a part of the map; the system reads it again on the next access.
    pub(super) fn forget(&self, from: usize, to: usize) {
        #[cfg(unix)]
        // SAFETY: the map is of a file and never written, so the released pages are read from the file again.
        let _ = unsafe {
            self.bytes.unchecked_advise_range(
                memmap2::UncheckedAdvice::DontNeed,
                from,
                to.saturating_sub(from),
            )
        };
        #[cfg(not(unix))]
        let _ = (from, to);
    }

    /// Returns the path with which the file was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Length of the file in bytes.
    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Always false: a file without a header cannot be opened.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Offset of a truncated chunk at the end of the file: its writer was killed or still writes.
    pub fn truncated_at(&self) -> Option<u64> {
        self.index.truncated_at
    }

    /// Returns why the recording ended; `None` if its writer was killed or still writes.
    pub fn ending(&self) -> Option<Ended> {
        self.index.ending
    }

    /// Returns the notes of the start, the checkpoints and the end, in this order.
    pub fn notes(&self) -> Vec<Note> {
        self.index.of_kind(Kind::Note).filter_map(|place| self.json(&place)).collect()
    }

    /// Times of the first and of the last stamp, in Unix ns.
    pub fn span(&self) -> Option<(u64, u64)> {
        let of = |c: &super::index::StampsChunk| (c.summary.min_at, c.summary.max_at);
        self.index.stamps.iter().map(of).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    /// Number of stamps in the file, including the marks of begin and end.
    pub fn stamp_count(&self) -> u64 {
        self.index.stamps.iter().map(|c| u64::from(c.summary.rows)).sum()
    }

    /// Number of requests in the table.
    pub fn request_count(&self) -> u64 {
        let entered: u64 = self.index.requests.iter().map(|(_, of)| u64::from(of.rows)).sum();
        entered + self.rebuilt.len() as u64
    }

    /// Number of stamps that full rings dropped during the recording.
    pub fn dropped(&self) -> u64 {
        self.index.stamps.iter().map(|c| c.summary.dropped).sum()
    }

    /// End offset of the last complete chunk.
    pub(super) fn end(&self) -> u64 {
        self.index.truncated_at.unwrap_or(self.bytes.len() as u64)
    }

    pub(super) fn numbers(&self) -> Numbers {
        // Damaged tables may have used more numbers, so all rows are scanned.
        let (mut site, mut thread) = (self.next_site, self.next_thread);
        for row in self.rows() {
            site = site.max(row.site.saturating_add(1));
            thread = thread.max(row.thread.saturating_add(1));
        }
        let (directory, end) = self.index.directory;
        Numbers {
            site,
            thread,
            chunk: self.index.stamps.last().map_or(0, |c| c.summary.number + 1),
            stages: self.stages.clone(),
            directory,
            directory_end: end.max(HEADER as u64),
            undirected: self.index.undirected.clone(),
        }
    }

    /// The finished traces in file order; an undecodable one is returned as damage.
    pub fn traces(&self) -> impl Iterator<Item = Result<TraceRecord, Damage>> {
        self.index.of_kind(Kind::Trace).map(|place| {
            let body = self.checked_body(&place).ok_or_else(|| self.bad_body(&place))?;
            serde_json::from_slice(body)
                .map_err(|e| Damage::at(&place, format!("the trace cannot be decoded: {e}")))
        })
    }

    fn rows(&self) -> impl Iterator<Item = Row> {
        let numbers = self.index.stamps.iter().map(|c| c.summary.number);
        numbers
            .filter_map(|n| self.chunk(n))
            .flat_map(move |chunk| (0..chunk.rows).filter_map(move |i| Row::nth(self.body(&chunk), i)))
    }

    /// The recorded stamps by chunk and request, `at` in ns since the Unix epoch. Stamps of a stage that is
    /// unknown to this program, or whose site is lost, are left out.
    pub fn stamps(&self) -> impl Iterator<Item = Stamp> {
        self.rows().filter_map(|row| self.names.stamp(&row))
    }

    /// The stamps of one chunk; none if it is damaged.
    pub(super) fn stamps_of(&self, number: u32) -> impl Iterator<Item = Stamp> {
        let chunk = self.chunk(number);
        let rows = chunk
            .into_iter()
            .flat_map(move |chunk| (0..chunk.rows).filter_map(move |i| Row::nth(self.body(&chunk), i)));
        rows.filter_map(|row| self.names.stamp(&row))
    }

    /// All requests with their stamps, ordered by their start as far as the writer knew it.
    pub fn requests(&self) -> impl Iterator<Item = RecordedRequest> {
        self.entries(Query::default()).map(|entry| self.load(&entry))
    }
}

/// Returns the damage of a wrong header if intact chunks follow, since chunks have their own checksums.
fn check_header(bytes: &[u8], path: &Path) -> Result<Option<Damage>, TraceFileError> {
    let path = || path.to_owned();
    let number = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
    let ours = bytes.get(..8) == Some(MAGIC);
    match (number(8), number(12)) {
        (Some(found), Some(crc)) if ours && crc == crc32fast::hash(&bytes[..12]) => match found {
            VERSION => Ok(None),
            _ => Err(TraceFileError::Version { path: path(), found }),
        },
        _ if matches!(chunk::parse(bytes, HEADER), chunk::ChunkScan::Chunk(..)) => {
            let reason = "the file's header is damaged; reading the chunks after it".into();
            Ok(Some(Damage { offset: 0, len: HEADER as u64, reason }))
        }
        _ if ours => Err(TraceFileError::Header { path: path() }),
        _ => Err(TraceFileError::NotATraceFile { path: path(), found: bytes[..bytes.len().min(8)].to_vec() }),
    }
}

/// Sites of all opened files: a stamp needs a site with a static lifetime, so each site is leaked once.
static KNOWN: Mutex<Option<HashMap<String, &'static StampSite>>> = Mutex::new(None);

/// Returns the site of a stage; `None` for a stage unknown to this program.
fn known_site(site: &Site) -> Option<&'static StampSite> {
    let marks = [&recorder::BEGIN, &recorder::END, &recorder::WAITS];
    if site.stage.is_empty() {
        return marks.into_iter().find(|m| m.file == site.file);
    }
    let stage = catalogue::find(&site.stage)?.id;
    let key = format!("{}:{}:{}:{}:{:?}", site.stage, site.file, site.line, site.function, site.fields);
    let mut known = KNOWN.lock();
    let known = known.get_or_insert_default();
    Some(*known.entry(key).or_insert_with(|| {
        let keep = |s: &str| -> &'static str { Box::leak(s.to_owned().into_boxed_str()) };
        let fields: Vec<&'static str> = site.fields.iter().map(|f| keep(f)).collect();
        let fields = Box::leak(fields.into_boxed_slice());
        let made = StampSite::recorded(stage, keep(&site.file), site.line, fields, keep(&site.function));
        Box::leak(Box::new(made))
    }))
}
