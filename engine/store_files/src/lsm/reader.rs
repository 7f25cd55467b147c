//! Reads blocks of an SST into reused buffers, so that memory is bounded by the size of a block.
use std::ops::Range;

use super::{
    checksum::{ChecksumType, context_modifier},
    compress::Decompressor,
    footer::Footer,
    format::{BLOCK_TRAILER_LEN, BlockHandle},
};
use crate::io::{Cursor, RandomFile, Result, checksum_matches};

/// Maximum bytes that a walk over all blocks reads from the file at a time: they fit the second-level cache.
pub const READAHEAD: u64 = 256 << 10;

/// The source of a table's blocks.
#[derive(Debug)]
pub struct Blocks {
    pub file: RandomFile,
    pub footer: Footer,
    /// The compression dictionary; empty: none.
    pub dict: Vec<u8>,
}

impl Blocks {
    /// Reads, checks and decompresses the block at `handle`.
    pub fn read(&self, handle: BlockHandle) -> Result<Vec<u8>> {
        let mut reader = BlockReader::default();
        reader.load(self, handle, 0)?;
        Ok(reader.into_data())
    }
}

/// The block that was read last, and its buffers.
#[derive(Debug, Default)]
pub struct BlockReader {
    /// A piece of the file, from offset `raw_at` on.
    raw: Vec<u8>,
    raw_at: u64,
    plain: Vec<u8>,
    /// Range of the block in `raw`; `None`: the block is all of `plain`.
    in_raw: Option<Range<usize>>,
    codec: Decompressor,
}

impl BlockReader {
    /// Reads, checks and decompresses the block at `handle`. A read of the file has at least `ahead` bytes.
    pub fn load(&mut self, blocks: &Blocks, handle: BlockHandle, ahead: u64) -> Result<()> {
        let (body, kind) = self.checked(blocks, handle, ahead)?;
        self.in_raw = (kind == 0).then(|| body.clone());
        if kind == 0 {
            Ok(())
        } else {
            decompress(&mut self.codec, blocks, handle, (kind, &self.raw[body]), &mut self.plain)
        }
    }

    /// Reads a block as [`Self::load`] does, but puts its plain bytes in `plain` and does not keep the block.
    pub fn load_into(
        &mut self,
        blocks: &Blocks,
        handle: BlockHandle,
        ahead: u64,
        plain: &mut Vec<u8>,
    ) -> Result<()> {
        plain.clear();
        let (body, kind) = self.checked(blocks, handle, ahead)?;
        if kind == 0 {
            plain.extend_from_slice(&self.raw[body]);
            return Ok(());
        }
        decompress(&mut self.codec, blocks, handle, (kind, &self.raw[body]), plain)
    }

    /// Takes the plain bytes of a block loaded elsewhere, and returns the previous buffer in `plain`.
    pub fn swap_plain(&mut self, plain: &mut Vec<u8>) {
        self.in_raw = None;
        std::mem::swap(&mut self.plain, plain);
    }

    /// Reads and checks a block. Returns the range of its bytes in `raw`, and its compression type.
    fn checked(&mut self, blocks: &Blocks, handle: BlockHandle, ahead: u64) -> Result<(Range<usize>, u8)> {
        let len = handle.size.saturating_add(BLOCK_TRAILER_LEN);
        let start = self.fill(blocks, handle.offset, len, ahead)?;
        let end = start + handle.size as usize;
        let (covered, stored) = self.raw[start..start + len as usize].split_at(end + 1 - start);
        check(blocks, handle, covered, stored)?;
        Ok((start..end, covered[covered.len() - 1]))
    }

    /// Returns the plain bytes of the block.
    pub fn data(&self) -> &[u8] {
        match &self.in_raw {
            Some(range) => &self.raw[range.clone()],
            None => &self.plain,
        }
    }

    /// Whether the block is compressed in the file.
    pub fn is_packed(&self) -> bool {
        self.in_raw.is_none()
    }

    /// Converts the reader into the plain bytes of the block.
    pub fn into_data(self) -> Vec<u8> {
        match self.in_raw {
            Some(range) => self.raw[range].to_vec(),
            None => self.plain,
        }
    }

    /// Makes `raw` contain `len` bytes of the file from `offset` on. Returns their position in `raw`.
    fn fill(&mut self, blocks: &Blocks, offset: u64, len: u64, ahead: u64) -> Result<usize> {
        let have = self.raw_at..self.raw_at + self.raw.len() as u64;
        let end = offset.checked_add(len);
        if have.contains(&offset) && end.is_some_and(|end| end <= have.end) {
            return Ok((offset - self.raw_at) as usize);
        }
        let left = blocks.file.size().saturating_sub(offset);
        self.in_raw = None;
        self.raw_at = offset;
        let filled = blocks.file.read_into(offset, len.max(ahead.min(left)), &mut self.raw);
        if filled.is_err() {
            self.raw.clear();
        }
        filled.map(|()| 0)
    }
}

fn decompress(
    codec: &mut Decompressor,
    blocks: &Blocks,
    handle: BlockHandle,
    (kind, body): (u8, &[u8]),
    plain: &mut Vec<u8>,
) -> Result<()> {
    let sized = blocks.footer.version >= 2;
    codec.run(kind, body, &blocks.dict, sized, plain).map_err(|what| blocks.file.corrupt(handle.offset, what))
}

fn check(blocks: &Blocks, handle: BlockHandle, covered: &[u8], stored: &[u8]) -> Result<()> {
    let (kind, base) = (blocks.footer.checksum, blocks.footer.base_context);
    if kind == ChecksumType::None {
        return Ok(());
    }
    let stored = Cursor::new(stored).u32().unwrap_or_default();
    let computed = kind.compute(covered).wrapping_add(context_modifier(base, handle.offset));
    if checksum_matches(computed, stored) {
        return Ok(());
    }
    let what = format!(
        "expected the block checksum {stored:08x}, found {computed:08x}: the block of {} bytes is damaged",
        handle.size
    );
    Err(blocks.file.corrupt(handle.offset, what))
}
