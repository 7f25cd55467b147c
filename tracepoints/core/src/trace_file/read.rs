//! Reads a trace file as far as it is whole: over damage to the next chunk, and up to a cut.
use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;

use super::{
    Damage, Ended, HEADER, MAGIC, Note, Query, TraceFileError, VERSION,
    chunk::{self, Kind, Place},
    entry::Entry,
    index::Index,
    opened::{Cache, Names, Opened},
    rebuild::Remade,
    row::Row,
    summary::OfRequests,
    tables::{Site, Thread},
};
use crate::{
    catalogue,
    collector::RecordedRequest,
    recorder::{self, Stamp},
    site::StampSite,
    thread,
    trace::TraceRecord,
};

/// An opened trace file. Opening reads the directories only; the rest is read, and its checksums are looked at, when it is
/// asked for, so that a file of any size opens at once and little of it is held in memory.
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
    /// Entries that no table has, as far as that was seen when the file was opened.
    pub(super) rebuilt: Vec<Entry>,
    /// The same of late stamps.
    pub(super) rebuilt_late: Vec<Entry>,
    /// Entries of tables that were found damaged since.
    pub(super) remade: Mutex<Remade>,
    /// Entries of late stamps, by request.
    late: OnceLock<HashMap<u64, Vec<Entry>>>,
    with_reads: OnceLock<Vec<u32>>,
    cache: Mutex<Cache>,
    /// Damage that was found since the file was opened.
    pub(super) found: Mutex<Vec<Damage>>,
    /// Stamps of chunks that are missing or damaged, by the chunk's number, as far as they were found.
    pub(super) lost: Mutex<BTreeMap<u32, u64>>,
}

/// What a writer that goes on with the file must know.
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
    /// How much of a file [`TraceFile::begins`] looks at.
    pub const HEAD: usize = HEADER + chunk::MARK.len();

    /// Whether a file that begins like this is a trace file, be its first bytes damaged.
    pub fn begins(head: &[u8]) -> bool {
        head.starts_with(MAGIC) || head.get(HEADER..Self::HEAD) == Some(&chunk::MARK)
    }

    /// Opens a file by its directories.
    ///
    /// # Errors
    /// If it cannot be read, is no trace file or one of another version. Damage behind the header is no error: see
    /// [`TraceFile::damage`] and [`TraceFile::cut`].
    pub fn open(path: &Path) -> Result<Self, TraceFileError> {
        let io = |source| TraceFileError::Io { path: path.into(), source };
        let file = File::open(path).map_err(io)?;
        if !file.metadata().map_err(io)?.is_file() {
            return Err(TraceFileError::NotATraceFile { path: path.into(), found: Vec::new() });
        }
        // SAFETY: trace files are only appended to, and a half-written end is cut off only before a writer goes on; what
        // is mapped here is the length as of now. All content is checked before it is used.
        let bytes = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
        let header = check_header(&bytes, path)?;
        let soon = |from: usize, len: usize| {
            let len = len.min(bytes.len().saturating_sub(from));
            // A wish: without it the file is read all the same, a seek at a time.
            #[cfg(unix)]
            let _ = bytes.advise_range(memmap2::Advice::WillNeed, from, len);
            #[cfg(not(unix))]
            let _ = len;
        };
        let mut index = Index::of(&bytes, soon);
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
            remade: Mutex::default(),
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
        /// A file with more sites than this is no recording of a program.
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

    /// Decodes a chunk of JSON; what cannot be is damage.
    fn json<T: serde::de::DeserializeOwned>(&self, place: &Place) -> Option<T> {
        let reason = match self.checked_body(place).map(serde_json::from_slice) {
            Some(Ok(value)) => return Some(value),
            Some(Err(e)) => format!("the chunk cannot be decoded: {e}"),
            // Noted when it was looked at.
            None => return None,
        };
        self.note_damage(Damage::of(place, reason));
        None
    }

    /// The body of a chunk, if it is as it was written.
    pub(super) fn checked_body(&self, place: &Place) -> Option<&[u8]> {
        if !chunk::body_is_whole(&self.bytes, place) {
            self.note_bad_body(place);
            return None;
        }
        self.bytes.get(place.body_range())
    }

    /// The entries of a table; those of a damaged one are made again.
    pub(super) fn entries_of(&self, place: &Place, of: &OfRequests) -> Vec<Entry> {
        match self.checked_body(place) {
            Some(body) => Entry::all(&body[..body.len().min(of.rows as usize * Entry::SIZE)]).collect(),
            None => self.remade(place).to_vec(),
        }
    }

    fn late(&self) -> &HashMap<u64, Vec<Entry>> {
        self.late.get_or_init(|| self.read_late())
    }

    /// Whether a request with a number between these has stamps that came late.
    pub(super) fn has_late(&self, min_id: u64, max_id: u64) -> bool {
        self.late().keys().any(|id| (min_id..=max_id).contains(id))
    }

    pub(super) fn late_of(&self, id: u64) -> &[Entry] {
        self.late().get(&id).map_or(&[], Vec::as_slice)
    }

    pub(super) fn chunks_with_reads(&self) -> &[u32] {
        let of = || self.index.stamps.iter().filter(|c| c.of.reads).map(|c| c.of.number).collect();
        self.with_reads.get_or_init(of)
    }

    /// Drops that the writer noticed between two chunks, both included.
    pub(super) fn dropped_in(&self, first: u32, last: u32) -> u64 {
        let from = self.index.stamps.partition_point(|c| c.of.number < first);
        let of = self.index.stamps[from..].iter().take_while(|c| c.of.number <= last);
        of.map(|c| c.of.dropped).sum()
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

    /// The bit of a stage in this file; None if no stamp has it.
    pub(super) fn bit_of(&self, stage: catalogue::StageId) -> Option<u8> {
        self.stages.iter().position(|s| s == stage.name()).map(|bit| bit.min(255) as u8)
    }

    /// A chunk of stamps by its number; None if it is missing or damaged.
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

    /// Lets the system take back the memory of a part that was read; it is read again if asked for again.
    pub(super) fn forget(&self, from: usize, to: usize) {
        #[cfg(unix)]
        // SAFETY: the map is of a file and never written: what is given back comes from the file again.
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

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes.
    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Never: a file without a header is not opened.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Where the file ends within a chunk: its writer was killed, or still writes.
    pub fn cut(&self) -> Option<u64> {
        self.index.cut
    }

    /// Why the recording ended; None if its writer was killed or still writes.
    pub fn ending(&self) -> Option<Ended> {
        self.index.ending
    }

    /// What was noted at the begin, at checkpoints and at the end, in this order.
    pub fn notes(&self) -> Vec<Note> {
        self.index.of_kind(Kind::Note).filter_map(|place| self.json(&place)).collect()
    }

    /// Times of the first and of the last stamp, in Unix ns.
    pub fn span(&self) -> Option<(u64, u64)> {
        let of = |c: &super::index::StampsChunk| (c.of.min_at, c.of.max_at);
        self.index.stamps.iter().map(of).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    /// Stamps in the file, marks of begin and end included.
    pub fn stamp_count(&self) -> u64 {
        self.index.stamps.iter().map(|c| u64::from(c.of.rows)).sum()
    }

    /// Requests in the table.
    pub fn request_count(&self) -> u64 {
        let entered: u64 = self.index.requests.iter().map(|(_, of)| u64::from(of.rows)).sum();
        entered + self.rebuilt.len() as u64
    }

    /// Stamps that full rings dropped while this was recorded.
    pub fn dropped(&self) -> u64 {
        self.index.stamps.iter().map(|c| c.of.dropped).sum()
    }

    /// Where the last whole chunk ends.
    pub(super) fn end(&self) -> u64 {
        self.index.cut.unwrap_or(self.bytes.len() as u64)
    }

    pub(super) fn numbers(&self) -> Numbers {
        // Tables that are damaged may have used numbers up: all rows are asked.
        let (mut site, mut thread) = (self.next_site, self.next_thread);
        for row in self.rows() {
            site = site.max(row.site.saturating_add(1));
            thread = thread.max(row.thread.saturating_add(1));
        }
        let (directory, end) = self.index.directory;
        Numbers {
            site,
            thread,
            chunk: self.index.stamps.last().map_or(0, |c| c.of.number + 1),
            stages: self.stages.clone(),
            directory,
            directory_end: end.max(HEADER as u64),
            undirected: self.index.undirected.clone(),
        }
    }

    /// The finished traces, in the order they were written; one that cannot be decoded is reported by its offset.
    pub fn traces(&self) -> impl Iterator<Item = Result<TraceRecord, Damage>> {
        self.index.of_kind(Kind::Trace).map(|place| {
            let body = self.checked_body(&place).ok_or_else(|| self.bad_body(&place))?;
            serde_json::from_slice(body)
                .map_err(|e| Damage::of(&place, format!("the trace cannot be decoded: {e}")))
        })
    }

    fn rows(&self) -> impl Iterator<Item = Row> {
        let numbers = self.index.stamps.iter().map(|c| c.of.number);
        numbers
            .filter_map(|n| self.chunk(n))
            .flat_map(move |chunk| (0..chunk.rows).filter_map(move |i| Row::nth(self.body(&chunk), i)))
    }

    /// The recorded stamps, `at` in ns since the Unix epoch, by chunk and request. Those of a stage that this program does
    /// not know, or whose site is lost, are left out.
    pub fn stamps(&self) -> impl Iterator<Item = Stamp> {
        self.rows().filter_map(|row| self.names.stamp(&row))
    }

    /// The stamps of one chunk; none of one that is damaged.
    pub(super) fn stamps_of(&self, number: u32) -> impl Iterator<Item = Stamp> {
        let chunk = self.chunk(number);
        let rows = chunk
            .into_iter()
            .flat_map(move |chunk| (0..chunk.rows).filter_map(move |i| Row::nth(self.body(&chunk), i)));
        rows.filter_map(|row| self.names.stamp(&row))
    }

    /// All requests with their stamps, in the order of their begin as far as the writer knew it.
    pub fn requests(&self) -> impl Iterator<Item = RecordedRequest> {
        self.entries(Query::default()).map(|entry| self.load(&entry))
    }
}

/// Returns the damage of a header that is wrong where chunks follow that are right: they bear their own checksums.
fn check_header(bytes: &[u8], path: &Path) -> Result<Option<Damage>, TraceFileError> {
    let path = || path.to_owned();
    let number = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
    let ours = bytes.get(..8) == Some(MAGIC);
    match (number(8), number(12)) {
        (Some(found), Some(crc)) if ours && crc == crc32fast::hash(&bytes[..12]) => match found {
            VERSION => Ok(None),
            _ => Err(TraceFileError::Version { path: path(), found }),
        },
        _ if matches!(chunk::parse(bytes, HEADER), chunk::Met::Chunk(..)) => {
            let reason = "the file's header is damaged; the chunks behind it are read".into();
            Ok(Some(Damage { offset: 0, len: HEADER as u64, reason }))
        }
        _ if ours => Err(TraceFileError::Header { path: path() }),
        _ => Err(TraceFileError::NotATraceFile { path: path(), found: bytes[..bytes.len().min(8)].to_vec() }),
    }
}

/// Sites of files that were opened: a stamp holds its site for good, so each is made once and kept.
static KNOWN: Mutex<Option<HashMap<String, &'static StampSite>>> = Mutex::new(None);

/// None for a stage of which this program knows nothing.
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
