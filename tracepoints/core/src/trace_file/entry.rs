//! One line of the request table: the attributes a query can use without the request's stamps.
use super::chunk::{u16_at, u32_at, u64_at};
use crate::{kind::RequestKind, recorded::RecordedRequest};

/// Maximum number of key bytes in a stamp.
pub(super) const KEY_HEAD: usize = 16;

/// A set of stages by their bit in a file. A file's 256th stage and all later ones share the last bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StageSet(pub [u64; 4]);

impl StageSet {
    #[inline]
    pub(super) fn insert(&mut self, bit: u8) {
        self.0[usize::from(bit >> 6)] |= 1 << (bit & 63);
    }

    pub(super) fn contains(&self, bit: u8) -> bool {
        self.0[usize::from(bit >> 6)] & 1 << (bit & 63) != 0
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a |= b);
    }
}

/// A set of chunks of stamps by number: exact for the first 64 after the first one, a range after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkSet {
    pub first: u32,
    pub last: u32,
    pub near: u64,
}

impl ChunkSet {
    pub(super) const EMPTY: Self = Self { first: 0, last: 0, near: 0 };

    /// Adds a number; numbers must come in rising order.
    #[inline]
    pub(super) fn insert(&mut self, number: u32) {
        if self.near == 0 {
            self.first = number;
        }
        self.last = number;
        if number - self.first < 64 {
            self.near |= 1 << (number - self.first);
        }
    }

    /// All chunks that may contain stamps of the request.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        let (first, near) = (self.first, self.near);
        let exact = (0..64).filter(move |i| near & 1 << i != 0).map(move |i| first.saturating_add(i));
        exact.chain(first.saturating_add(64)..=if near == 0 { 0 } else { self.last })
    }
}

/// A request in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub id: u64,
    /// Time of its start, or else of its first own stamp, in ns.
    pub begin_ns: u64,
    /// Time of its end in ns; 0 if its end is unknown.
    pub end_ns: u64,
    pub region: u64,
    pub key_head: [u8; KEY_HEAD],
    pub key_len: u32,
    pub kind: u8,
    pub flags: u8,
    pub store: u16,
    /// Number of its own stamps, without the joined ones of batches and replicas.
    pub stamps: u32,
    pub chunks: ChunkSet,
    /// Stages of its own stamps.
    pub stages: StageSet,
}

/// Flag: the start of the request is known.
pub(super) const BEGAN: u8 = 1;
/// Flag: the request names Raft entries or read rounds, so stamps without a request may belong to it.
pub(super) const JOINS: u8 = 2;
/// Flag: rebuilt from the remaining stamps; lost chunks may have had more of them.
pub(super) const REBUILT: u8 = 4;

impl Entry {
    pub(super) const SIZE: usize = 112;

    pub(super) fn new(id: u64, at: u64) -> Self {
        Self {
            id,
            begin_ns: at,
            end_ns: 0,
            region: 0,
            key_head: [0; KEY_HEAD],
            key_len: 0,
            kind: RequestKind::Other as u8,
            flags: 0,
            store: 0,
            stamps: 0,
            chunks: ChunkSet::EMPTY,
            stages: StageSet::default(),
        }
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Takes kind, region and key from the fields of a start.
    pub(super) fn begin(&mut self, at: u64, store: u16, [kind_and_len, region, low, high]: [u64; 4]) {
        self.kind = (kind_and_len >> 32) as u8;
        self.key_len = kind_and_len as u32;
        self.key_head[..8].copy_from_slice(&low.to_be_bytes());
        self.key_head[8..].copy_from_slice(&high.to_be_bytes());
        (self.region, self.store, self.begin_ns) = (region, store, at);
        self.flags |= BEGAN;
    }

    pub(super) fn key_head(&self) -> &[u8] {
        &self.key_head[..(self.key_len as usize).min(KEY_HEAD)]
    }

    pub(super) fn kind(&self) -> RequestKind {
        RequestKind::ALL.get(usize::from(self.kind)).copied().unwrap_or(RequestKind::Other)
    }

    /// Returns the duration in ns; `None` if the start or the end is unknown.
    pub(super) fn duration_ns(&self) -> Option<u64> {
        (self.has(BEGAN) && self.end_ns != 0).then(|| self.end_ns.saturating_sub(self.begin_ns))
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        for n in [self.id, self.begin_ns, self.end_ns, self.region] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        out.extend_from_slice(&self.key_head);
        out.extend_from_slice(&self.key_len.to_le_bytes());
        out.extend_from_slice(&[self.kind, self.flags]);
        out.extend_from_slice(&self.store.to_le_bytes());
        for n in [self.stamps, self.chunks.first, self.chunks.last] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        out.extend_from_slice(&self.chunks.near.to_le_bytes());
        self.stages.0.iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
        // Reserved.
        out.extend_from_slice(&[0; 4]);
    }

    pub(super) fn get(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < Self::SIZE {
            return None;
        }
        let (first, last, near) = (u32_at(bytes, 60)?, u32_at(bytes, 64)?, u64_at(bytes, 68)?);
        // A valid set contains its first chunk, and its last one is not smaller.
        let sound = near == 0 || (near & 1 == 1 && last >= first);
        Some(Self {
            id: u64_at(bytes, 0)?,
            begin_ns: u64_at(bytes, 8)?,
            end_ns: u64_at(bytes, 16)?,
            region: u64_at(bytes, 24)?,
            key_head: bytes.get(32..48)?.try_into().ok()?,
            key_len: u32_at(bytes, 48)?,
            kind: bytes[52],
            flags: bytes[53],
            store: u16_at(bytes, 54)?,
            stamps: u32_at(bytes, 56)?,
            chunks: if sound { ChunkSet { first, last, near } } else { ChunkSet::EMPTY },
            stages: StageSet([
                u64_at(bytes, 76)?,
                u64_at(bytes, 84)?,
                u64_at(bytes, 92)?,
                u64_at(bytes, 100)?,
            ]),
        })
    }

    /// Reads the entries of a chunk's body.
    pub(super) fn all(body: &[u8]) -> impl Iterator<Item = Self> {
        body.chunks_exact(Self::SIZE).filter_map(Self::get)
    }

    /// Converts the entry to a request without stamps.
    pub(super) fn to_request(self) -> RecordedRequest {
        let mut request = RecordedRequest::new(self.id);
        request.kind = self.kind();
        request.key_head = self.key_head().to_vec();
        request.key_len = self.key_len;
        (request.region, request.store) = (self.region, u64::from(self.store));
        (request.began, request.begin_ns) = (self.has(BEGAN), self.begin_ns);
        request.end_ns = (self.end_ns != 0).then_some(self.end_ns);
        request
    }
}
