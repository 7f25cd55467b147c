//! Reads a trace file as far as it is whole: over damage to the next chunk, and up to a cut.
use std::{collections::HashMap, fs::File, ops::Range, path::Path, path::PathBuf};

use parking_lot::Mutex;

use super::{
    HEADER, MAGIC, Query, TraceFileError, VERSION,
    chunk::{self, Kind, Met, Row, Site, Thread},
};
use crate::{
    catalogue,
    collector::{Folder, RecordedRequest},
    recorder::{self, Stamp},
    request::Req,
    site::StampSite,
    thread,
    trace::TraceRecord,
};

/// A place where the file is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it begins, in bytes from the file's start.
    pub offset: u64,
    /// Bytes that were passed over.
    pub len: u64,
    pub reason: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "at byte {}: {} ({} bytes passed over)", self.offset, self.reason, self.len)
    }
}

/// An opened trace file.
#[derive(Debug)]
pub struct TraceFile {
    path: PathBuf,
    bytes: memmap2::Mmap,
    chunks: Vec<(Kind, Range<usize>)>,
    sites: Vec<Option<&'static StampSite>>,
    threads: Vec<u16>,
    damage: Vec<Damage>,
    cut: Option<u64>,
}

impl TraceFile {
    /// Opens a file and checks all of it.
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
        check_header(&bytes, path)?;
        let mut opened = Self {
            path: path.into(),
            bytes,
            chunks: Vec::new(),
            sites: Vec::new(),
            threads: Vec::new(),
            damage: Vec::new(),
            cut: None,
        };
        opened.index();
        Ok(opened)
    }

    fn index(&mut self) {
        let mut at = HEADER;
        while at < self.bytes.len() {
            match chunk::parse(&self.bytes, at) {
                Met::Chunk(kind, content) => {
                    let from = at + chunk::HEADER;
                    at = from + content.len();
                    self.chunks.push((kind, from..at));
                    self.read_table(kind, from..at);
                }
                Met::Unknown(kind, len) => {
                    let reason = format!("a chunk of kind {kind}, which this version does not know");
                    self.skip(at, at + chunk::HEADER + len, reason);
                    at += chunk::HEADER + len;
                }
                Met::Bad(reason) => at = self.resume_behind(at, reason),
                // A length that is wrong looks like a cut, too: only if no chunk follows it is one.
                Met::Cut => match self.next_chunk(at + 1) {
                    Some(next) => {
                        self.skip(at, next, "the chunk's length is wrong".into());
                        at = next;
                    }
                    None => {
                        self.cut = Some(at as u64);
                        break;
                    }
                },
            }
        }
    }

    fn resume_behind(&mut self, at: usize, reason: &str) -> usize {
        let next = self.next_chunk(at + 1).unwrap_or(self.bytes.len());
        self.skip(at, next, reason.to_owned());
        next
    }

    fn skip(&mut self, from: usize, to: usize, reason: String) {
        self.damage.push(Damage { offset: from as u64, len: (to - from) as u64, reason });
    }

    /// The next offset at which a whole chunk stands.
    fn next_chunk(&self, from: usize) -> Option<usize> {
        let mut at = from;
        loop {
            let found = self.bytes.get(at..)?.windows(chunk::MARK.len()).position(|w| w == chunk::MARK)?;
            at += found;
            if matches!(chunk::parse(&self.bytes, at), Met::Chunk(..) | Met::Unknown(..)) {
                return Some(at);
            }
            at += 1;
        }
    }

    fn read_table(&mut self, kind: Kind, range: Range<usize>) {
        let content = &self.bytes[range];
        match kind {
            Kind::Sites => match serde_json::from_slice::<Vec<Site>>(content) {
                Ok(sites) => self.sites.extend(sites.iter().map(known_site)),
                Err(e) => self.bad_table("sites", &e),
            },
            Kind::Threads => match serde_json::from_slice::<Vec<Thread>>(content) {
                Ok(rows) => self.threads.extend(rows.into_iter().map(|t| thread::intern_as(t.name, t.store))),
                Err(e) => self.bad_table("threads", &e),
            },
            Kind::Trace | Kind::Stamps => {}
        }
    }

    fn bad_table(&mut self, what: &str, e: &serde_json::Error) {
        let offset = self.chunks.last().map_or(0, |(_, r)| r.start as u64);
        self.damage.push(Damage {
            offset,
            len: 0,
            reason: format!("the table of {what} cannot be read: {e}"),
        });
    }

    /// What every trace file begins with.
    pub const MAGIC: &[u8; 8] = MAGIC;

    /// Times of the first and of the last stamp, in Unix ns.
    pub fn span(&self) -> Option<(u64, u64)> {
        self.rows().map(|r| r.at).fold(None, |span, at| match span {
            None => Some((at, at)),
            Some((first, last)) => Some((at.min(first), at.max(last))),
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was passed over.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// Where the file ends within a chunk: its writer was killed, or still writes.
    pub fn cut(&self) -> Option<u64> {
        self.cut
    }

    /// Where the last whole chunk ends.
    pub(super) fn end(&self) -> u64 {
        self.cut.unwrap_or(self.bytes.len() as u64)
    }

    /// Numbers of sites and threads used so far; damaged tables may have used up some, so all stamps are asked too.
    pub(super) fn table_sizes(&self) -> (u32, u16) {
        let (mut sites, mut threads) = (self.sites.len() as u32, self.threads.len() as u16);
        for row in self.rows() {
            sites = sites.max(row.site.saturating_add(1));
            threads = threads.max(row.thread.saturating_add(1));
        }
        (sites, threads)
    }

    /// The finished traces, in the order they were written; one that cannot be decoded is reported by its offset.
    pub fn traces(&self) -> impl Iterator<Item = Result<TraceRecord, Damage>> {
        self.of(Kind::Trace).map(|range| {
            serde_json::from_slice(&self.bytes[range.clone()]).map_err(|e| Damage {
                offset: range.start as u64,
                len: range.len() as u64,
                reason: format!("the trace cannot be decoded: {e}"),
            })
        })
    }

    fn of(&self, wanted: Kind) -> impl Iterator<Item = Range<usize>> {
        self.chunks.iter().filter(move |(kind, _)| *kind == wanted).map(|(_, range)| range.clone())
    }

    fn rows(&self) -> impl Iterator<Item = Row> {
        self.of(Kind::Stamps)
            .flat_map(|range| self.bytes[range].chunks_exact(chunk::STAMP).filter_map(Row::get))
    }

    /// The recorded stamps, `at` in ns since the Unix epoch. Those of a stage that this program does not know, or whose
    /// site is lost, are left out.
    pub fn stamps(&self) -> impl Iterator<Item = Stamp> {
        self.rows().filter_map(|row| {
            let site = self.sites.get(row.site as usize).copied().flatten()?;
            let thread = self.threads.get(usize::from(row.thread)).copied().unwrap_or(u16::MAX);
            Some(Stamp {
                at: row.at,
                req: Req::of(row.req),
                site: Some(site),
                thread,
                store: row.store,
                field_count: site.fields.len() as u32,
                fields: row.fields,
            })
        })
    }

    /// The requests that a query wants.
    pub fn find<'a>(&'a self, query: &'a Query) -> impl Iterator<Item = RecordedRequest> + 'a {
        self.requests().into_iter().filter(|r| query.matches(r))
    }

    /// One request, by the number that people see.
    pub fn request(&self, id: u64) -> Option<RecordedRequest> {
        self.requests().into_iter().find(|r| r.id == id)
    }

    /// The recorded requests with all their stamps, in the order of their ids.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        let mut folder = Folder::new(usize::MAX, usize::MAX, usize::MAX);
        self.stamps().for_each(|stamp| folder.push(&stamp));
        folder.end_round();
        folder.all()
    }
}

fn check_header(bytes: &[u8], path: &Path) -> Result<(), TraceFileError> {
    let path = || path.to_owned();
    if bytes.get(..8) != Some(MAGIC) {
        let found = bytes[..bytes.len().min(8)].to_vec();
        return Err(TraceFileError::NotATraceFile { path: path(), found });
    }
    let number = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
    match (number(8), number(12)) {
        (Some(found), Some(crc)) if crc == crc32fast::hash(&bytes[..12]) => match found {
            VERSION => Ok(()),
            _ => Err(TraceFileError::Version { path: path(), found }),
        },
        _ => Err(TraceFileError::Header { path: path() }),
    }
}

/// Sites of files that were opened: a stamp holds its site for good, so each is made once and kept.
static KNOWN: Mutex<Option<HashMap<String, &'static StampSite>>> = Mutex::new(None);

/// None for a stage of which this program knows nothing.
fn known_site(site: &Site) -> Option<&'static StampSite> {
    let marks = [&recorder::BEGIN, &recorder::END];
    if site.stage.is_empty() {
        return marks.into_iter().find(|m| m.file == site.file);
    }
    let stage = catalogue::find(&site.stage)?.id;
    let key = format!("{site:?}");
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
