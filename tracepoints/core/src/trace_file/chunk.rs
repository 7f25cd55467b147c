//! One chunk: its header, its checksums and the offset of the next chunk.

/// Marks the beginning of every chunk, so that a reader finds the next chunk after damage.
pub(super) const MARK: [u8; 4] = *b"TPck";
pub(super) const HEADER: usize = 32;
/// Maximum length of head and body together, in bytes.
pub(super) const MAX: usize = 64 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// JSON of a [`crate::trace::TraceRecord`].
    Trace = 1,
    /// Head: [`super::summary::StampsSummary`]; body: rows of 64 bytes, then the numbers of linked rows.
    Stamps = 2,
    /// JSON of a list of [`super::tables::Site`].
    Sites = 3,
    /// JSON of a list of [`super::tables::Thread`].
    Threads = 4,
    /// Head: [`super::summary::RequestsSummary`]; body: entries, then a Bloom filter.
    Requests = 5,
    /// Entries of stamps that arrived after the table entry of their request was written.
    Late = 6,
    /// Entries of requests in flight at a checkpoint.
    Live = 7,
    /// JSON of a [`super::tables::Note`].
    Note = 8,
    /// See [`super::directory`].
    Directory = 9,
    /// The last chunk of a finished file: the offset of its last directory, and why the recording ended.
    End = 10,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Trace,
        Self::Stamps,
        Self::Sites,
        Self::Threads,
        Self::Requests,
        Self::Late,
        Self::Live,
        Self::Note,
        Self::Directory,
        Self::End,
    ];

    pub(super) fn from_number(n: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|k| *k as u32 == n)
    }
}

/// Offset of a chunk and the lengths of its parts, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Offset of the chunk's header from the start of the file, in bytes.
    pub at: usize,
    pub head: usize,
    pub body: usize,
}

impl Place {
    pub(super) fn head_range(&self) -> std::ops::Range<usize> {
        let from = self.at + HEADER;
        from..from + self.head
    }

    pub(super) fn body_range(&self) -> std::ops::Range<usize> {
        let from = self.head_range().end;
        from..from + self.body
    }

    pub(super) fn end(&self) -> usize {
        self.body_range().end
    }
}

/// Encodes a chunk for an offset of the file.
pub(super) fn encode(kind: Kind, at: u64, head: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + head.len() + body.len());
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&(kind as u32).to_le_bytes());
    out.extend_from_slice(&(head.len() as u32).to_le_bytes());
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    out.extend_from_slice(&at.to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
    let crc = head_checksum(&out, head);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(head);
    out.extend_from_slice(body);
    out
}

/// Checksum of the header's first 28 bytes and the head; the body has its own.
fn head_checksum(header: &[u8], head: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(header);
    crc.update(head);
    crc.finalize()
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// Result of parsing the bytes at an offset. It does not cover the body: see [`body_is_whole`].
#[derive(Debug)]
pub(super) enum ChunkScan {
    Chunk(Kind, Place),
    /// A chunk of a kind that a newer program writes.
    Unknown(u32, Place),
    /// The file ends within the chunk.
    Cut,
    Bad(&'static str),
}

pub(super) fn parse(bytes: &[u8], at: usize) -> ChunkScan {
    let Some(header) = at.checked_add(HEADER).and_then(|end| bytes.get(at..end)) else {
        let rest = bytes.get(at..).unwrap_or_default();
        let begins = rest.iter().zip(&MARK).all(|(a, b)| a == b);
        return if begins { ChunkScan::Cut } else { ChunkScan::Bad("no chunk begins here") };
    };
    let number = |at| u32_at(header, at).unwrap_or_default();
    let (kind, head, body) = (number(4), number(8) as usize, number(12) as usize);
    if header[..4] != MARK {
        return ChunkScan::Bad("no chunk begins here");
    }
    if head.saturating_add(body) > MAX {
        return ChunkScan::Bad("the chunk's length is out of bounds");
    }
    if u64_at(header, 16) != Some(at as u64) {
        return ChunkScan::Bad("the chunk was written for another offset");
    }
    let place = Place { at, head, body };
    let Some(head) = bytes.get(place.head_range()) else { return ChunkScan::Cut };
    if head_checksum(&header[..28], head) != number(28) {
        return ChunkScan::Bad("the chunk's checksum is wrong");
    }
    if place.end() > bytes.len() {
        return ChunkScan::Cut;
    }
    match Kind::from_number(kind) {
        Some(kind) => ChunkScan::Chunk(kind, place),
        None => ChunkScan::Unknown(kind, place),
    }
}

/// Whether the body is intact: its checksum is right, or the head's checksum proves that only the body's
/// checksum is damaged.
pub(super) fn body_is_whole(bytes: &[u8], place: &Place) -> bool {
    let (Some(body), Some(head)) = (bytes.get(place.body_range()), bytes.get(place.head_range())) else {
        return false;
    };
    let crc = crc32fast::hash(body);
    let Some(header) = bytes.get(place.at..place.at + HEADER) else { return false };
    if u32_at(header, 24) == Some(crc) {
        return true;
    }
    let proof = [&header[..24], &crc.to_le_bytes()].concat();
    u32_at(header, 28) == Some(head_checksum(&proof, head))
}

/// Returns the next offset of a chunk header, even if the file ends within that chunk.
pub(super) fn next(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let found = bytes.get(at..)?.windows(MARK.len()).position(|w| w == MARK)?;
        at += found;
        if matches!(parse(bytes, at), ChunkScan::Chunk(..) | ChunkScan::Unknown(..)) {
            return Some(at);
        }
        at += 1;
    }
}
