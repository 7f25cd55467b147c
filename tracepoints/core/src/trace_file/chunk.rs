//! One chunk: its header, its checksum, and the fixed-size form of a stamp.
use crate::recorder::Stamp;

/// Begins every chunk, so that a reader finds the next one behind damage.
pub(super) const MARK: [u8; 4] = *b"TPck";
pub(super) const HEADER: usize = 16;
/// Largest content.
pub(super) const MAX: usize = 64 << 20;
pub(super) const STAMP: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// JSON of a [`crate::trace::TraceRecord`].
    Trace = 1,
    /// Stamps of 64 bytes.
    Stamps = 2,
    /// JSON of a list of sites, numbered on.
    Sites = 3,
    /// JSON of a list of threads, numbered on.
    Threads = 4,
}

impl Kind {
    fn of(n: u32) -> Option<Self> {
        [Self::Trace, Self::Stamps, Self::Sites, Self::Threads].into_iter().find(|k| *k as u32 == n)
    }
}

/// A place in the source, as a file keeps it. `stage` is empty for a mark, whose name is in `file`.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Site {
    pub stage: String,
    pub file: String,
    pub line: u32,
    pub function: String,
    pub fields: Vec<String>,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Thread {
    pub name: String,
    pub store: u64,
}

fn checksum(kind: u32, content: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&kind.to_le_bytes());
    crc.update(&(content.len() as u32).to_le_bytes());
    crc.update(content);
    crc.finalize()
}

pub(super) fn head(kind: Kind, content: &[u8]) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    out[..4].copy_from_slice(&MARK);
    out[4..8].copy_from_slice(&(kind as u32).to_le_bytes());
    out[8..12].copy_from_slice(&(content.len() as u32).to_le_bytes());
    out[12..].copy_from_slice(&checksum(kind as u32, content).to_le_bytes());
    out
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// What a reader meets at an offset.
pub(super) enum Met<'a> {
    Chunk(Kind, &'a [u8]),
    /// A whole chunk of a kind that a later program writes.
    Unknown(u32, usize),
    /// The file ends within the chunk.
    Cut,
    Bad(&'static str),
}

pub(super) fn parse(bytes: &[u8], at: usize) -> Met<'_> {
    let Some(head) = bytes.get(at..at + HEADER) else { return Met::Cut };
    let numbers = (u32_at(head, 4), u32_at(head, 8), u32_at(head, 12));
    let (Some(kind), Some(len), Some(crc)) = numbers else { return Met::Cut };
    if head[..4] != MARK {
        return Met::Bad("no chunk begins here");
    }
    if len as usize > MAX {
        return Met::Bad("the chunk's length is out of bounds");
    }
    let from = at + HEADER;
    let Some(content) = bytes.get(from..from + len as usize) else { return Met::Cut };
    if checksum(kind, content) != crc {
        return Met::Bad("the chunk's checksum is wrong");
    }
    match Kind::of(kind) {
        Some(kind) => Met::Chunk(kind, content),
        None => Met::Unknown(kind, content.len()),
    }
}

/// A stamp with the file's own numbers for site and thread, and `at` in Unix ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub at: u64,
    pub req: u64,
    pub site: u32,
    pub thread: u16,
    pub store: u16,
    pub fields: [u64; 4],
}

impl Row {
    pub(super) fn new(stamp: &Stamp, at: u64, site: u32, thread: u16) -> Self {
        Self { at, req: stamp.req.id(), site, thread, store: stamp.store, fields: stamp.fields }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.at.to_le_bytes());
        out.extend_from_slice(&self.req.to_le_bytes());
        out.extend_from_slice(&self.site.to_le_bytes());
        out.extend_from_slice(&self.thread.to_le_bytes());
        out.extend_from_slice(&self.store.to_le_bytes());
        out.extend_from_slice(&[0; 8]);
        self.fields.iter().for_each(|f| out.extend_from_slice(&f.to_le_bytes()));
    }

    pub(super) fn get(bytes: &[u8]) -> Option<Self> {
        let threads = u32_at(bytes, 20)?;
        Some(Self {
            at: u64_at(bytes, 0)?,
            req: u64_at(bytes, 8)?,
            site: u32_at(bytes, 16)?,
            thread: threads as u16,
            store: (threads >> 16) as u16,
            fields: [u64_at(bytes, 32)?, u64_at(bytes, 40)?, u64_at(bytes, 48)?, u64_at(bytes, 56)?],
        })
    }
}
