//! The fixed-size form of a stamp.
use super::chunk::{u32_at, u64_at};
use crate::stamp::Stamp;

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
    pub(super) const SIZE: usize = 64;

    pub(super) fn new(stamp: &Stamp, at: u64, site: u32, thread: u16) -> Self {
        Self { at, req: stamp.req.id(), site, thread, store: stamp.store, fields: stamp.fields }
    }

    /// Encodes the row; bytes 24 to 32 are reserved.
    pub(super) fn put(&self, out: &mut [u8]) {
        let mut put = |at: usize, bytes: &[u8]| {
            if let Some(to) = out.get_mut(at..at + bytes.len()) {
                to.copy_from_slice(bytes);
            }
        };
        put(0, &self.at.to_le_bytes());
        put(8, &self.req.to_le_bytes());
        put(16, &self.site.to_le_bytes());
        put(20, &self.thread.to_le_bytes());
        put(22, &self.store.to_le_bytes());
        put(24, &[0; 8]);
        self.fields.iter().enumerate().for_each(|(i, f)| put(32 + 8 * i, &f.to_le_bytes()));
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

    /// Reads the request id of the row at an index of a chunk's body.
    pub(super) fn req_of(body: &[u8], index: usize) -> Option<u64> {
        u64_at(body, index * Self::SIZE + 8)
    }

    pub(super) fn nth(body: &[u8], index: usize) -> Option<Self> {
        Self::get(body.get(index * Self::SIZE..(index + 1) * Self::SIZE)?)
    }
}
