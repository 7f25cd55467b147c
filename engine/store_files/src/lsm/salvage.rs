//! Finds the data blocks of an SST whose index or footer is lost. The blocks follow each other from the first
//! byte on, and the end of a block is the place where its checksum matches.
use std::hash::Hasher;

use twox_hash::{XxHash3_64, XxHash32, XxHash64};

use super::{
    block::BlockCursor,
    checksum::{ChecksumType, context_modifier, crc32c, mask, with_last_byte},
    compress::Decompressor,
    footer::Footer,
    format::{BLOCK_TRAILER_LEN, BlockHandle},
    index::Index,
    internal_key::InternalKey,
    reader::Blocks,
};
use crate::io::{Context, Cursor, Damage, FileError, RandomFile, Result};

/// Maximum bytes of a block: TiKV's blocks have 16 to 64 KiB before they are compressed.
const MAX_BLOCK: u64 = 4 << 20;
/// Bytes in which the end of a block is searched for first.
const FIRST_WINDOW: u64 = 128 << 10;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Compression types that a block can have.
const KINDS: [u8; 6] = [0, 1, 2, 4, 5, 7];
/// Maximum bytes of the length of LZ4's first literals.
const MAX_LENGTH_BYTES: usize = 64;
/// Maximum number of places in a table that are tried as the next block after damage.
const MAX_TRIES: usize = 1 << 14;
/// Maximum bytes of plain blocks that are decoded in search of the first block of a table.
const MAX_DECODED: usize = 64 << 20;
/// Maximum number of holes that are reported individually.
const MAX_HOLES: usize = 1000;

/// Reconstructs an unreadable footer of `file` from its data blocks: checksum type and format. Returns `None`
/// if no block matches.
pub fn footer(file: &RandomFile) -> Option<Footer> {
    let end = file.size();
    let guess = |checksum, version, base_context| Footer {
        checksum,
        version,
        metaindex: BlockHandle { offset: end, size: 0 },
        index: None,
        offset: end,
        base_context,
    };
    // TiKV's checksum type, and RocksDB's default.
    let kinds = [ChecksumType::Crc32c, ChecksumType::Xxh3];
    let plain = kinds.into_iter().map(|kind| guess(kind, 2, 0));
    let found = plain.into_iter().find(|footer| matches!(block_len(file, footer, 0, end), Ok(Some(_))));
    found.or_else(|| {
        kinds.into_iter().find_map(|kind| {
            let (len, base) = with_context(file, kind)?;
            let footer = guess(kind, 6, base);
            // Any block matches some base context; the right one also matches the next block.
            let next = block_len(file, &footer, len + BLOCK_TRAILER_LEN, end);
            matches!(next, Ok(Some(_))).then_some(footer)
        })
    })
}

/// Finds the base context, which only the footer contains and which format_version 6 mixes into checksums.
///
/// Returns the length of the first block that decodes, and the base context with which its checksum matches.
fn with_context(file: &RandomFile, kind: ChecksumType) -> Option<(u64, u32)> {
    let bytes = file.read(0, FIRST_WINDOW.min(file.size())).ok()?;
    let claimed = Cursor::new(&bytes).varint().unwrap_or_default();
    if !may_begin(&bytes) {
        return None;
    }
    let (mut sums, mut budget) = (Sums::new(kind, &bytes), MAX_DECODED);
    let mut plain = Vec::new();
    let mut codec = Decompressor::default();
    (1..bytes.len().saturating_sub(4)).find_map(|at| {
        let (compression, stored) = trailer(&bytes, at)?;
        let block = match compression {
            0 => &bytes[..at],
            _ if claimed > MAX_BLOCK => return None,
            _ => {
                codec.run(compression, &bytes[..at], &[], true, &mut plain).ok()?;
                &plain
            }
        };
        budget = budget.checked_sub(block.len())?;
        is_data(block).then(|| (at as u64, stored.wrapping_sub(sums.up_to(at))))
    })
}

/// Whether all of `block` decodes as one or more entries.
fn is_data(block: &[u8]) -> bool {
    let Ok(mut cursor) = BlockCursor::new(block) else { return false };
    let mut entries = 0;
    while let Ok(moved) = cursor.advance(block) {
        if !moved {
            return entries > 0;
        }
        if InternalKey::decode(cursor.key()).is_none() {
            return false;
        }
        entries += 1;
    }
    false
}

/// Rebuilds the index of a table from its data blocks, which end at the offset `end`; `expected` is their
/// number, if it is known. The index itself is unreadable because of `why`.
///
/// # Errors
/// `why`, if there is no whole block.
pub fn index(blocks: &Blocks, end: u64, expected: Option<u64>, why: FileError) -> Result<Index> {
    let mut found =
        FoundBlocks { blocks, end, index: Index::default(), last: Vec::new(), largest: 0, tries: MAX_TRIES };
    let (mut at, mut holes) = (0, Vec::new());
    let lost = loop {
        if at >= end {
            break None;
        }
        match found.block(at) {
            Candidate::Data(next) => at = next,
            Candidate::Other => break Some("the block that begins here has no data"),
            Candidate::Nothing => {
                let before = found.last.clone();
                let Some(next) = found.after(at) else {
                    break Some("no block begins here or after this byte");
                };
                let what = format!("no block begins here; the next whole one is at byte {next}");
                let hole = Damage::at(blocks.file.path(), at, what);
                at = next;
                let first = found.first_key(next).unwrap_or_default();
                if holes.len() < MAX_HOLES {
                    holes.push(hole.losing(&before, &first));
                }
            }
        }
    };
    let FoundBlocks { mut index, last, .. } = found;
    if index.is_empty() {
        return Err(why);
    }
    let count = index.len() as u64;
    let whole = holes.is_empty() && expected.map_or(lost.is_none(), |expected| expected == count);
    let of = expected.map_or(String::new(), |expected| format!(" of {expected}"));
    let order = if holes.is_empty() { " without a hole" } else { ", with holes between them" };
    let damage = why.context(Context::More(&format!("instead, {count}{of} data blocks were found{order}")));
    let damage = match lost {
        _ if whole => damage.context(Context::More("nothing is lost")),
        None if !holes.is_empty() => damage,
        _ => {
            let more = format!("at byte {at}: {}", lost.unwrap_or("the file ends"));
            damage.context(Context::More(&more)).context(Context::Lost { after: &last, up_to: &[] })
        }
    };
    index.note(damage.into());
    holes.into_iter().for_each(|hole| index.note(hole));
    Ok(index)
}

/// The data blocks found so far.
struct FoundBlocks<'a> {
    blocks: &'a Blocks,
    /// Offset of the end of the last data block.
    end: u64,
    index: Index,
    /// The last key of the last block.
    last: Vec<u8>,
    /// Bytes of the largest block.
    largest: u64,
    /// Number of places that may still be tried.
    tries: usize,
}

/// The result of searching for a block at an offset.
enum Candidate {
    /// A data block, and the offset of the next block.
    Data(u64),
    /// Another block: the data blocks end before it.
    Other,
    /// No block with a matching checksum.
    Nothing,
}

impl FoundBlocks<'_> {
    /// Adds the block that begins at `at` to the index.
    fn block(&mut self, at: u64) -> Candidate {
        match block_len(&self.blocks.file, &self.blocks.footer, at, self.end) {
            Ok(Some(size)) => self.take(BlockHandle { offset: at, size }),
            _ => Candidate::Nothing,
        }
    }

    fn take(&mut self, handle: BlockHandle) -> Candidate {
        let Some(key) = last_key(self.blocks, handle, &self.last, self.index.first()) else {
            return Candidate::Other;
        };
        self.index.push(&key, handle);
        self.last = key;
        self.largest = self.largest.max(handle.size);
        Candidate::Data(handle.offset + handle.size + BLOCK_TRAILER_LEN)
    }

    /// Finds the first data block after the damage at `at`. Returns its offset; `None` if there is none.
    fn after(&mut self, at: u64) -> Option<u64> {
        let file = &self.blocks.file;
        let window = (2 * self.largest).clamp(FIRST_WINDOW, MAX_BLOCK);
        let mut start = at + 1;
        while start < self.end {
            let bytes = file.read(start, window.min(self.end - start)).ok()?;
            // A block that begins in the second half is whole in the next window.
            let half = if start + window < self.end { bytes.len() / 2 } else { bytes.len() };
            for at in (0..half).filter(|at| may_begin(&bytes[*at..])) {
                self.tries = self.tries.checked_sub(1)?;
                let offset = start + at as u64;
                if let Some(size) = find_len(&bytes[at..], &self.blocks.footer, offset) {
                    return matches!(self.take_after(offset, size)?, Candidate::Data(_)).then_some(offset);
                }
            }
            start += half.max(1) as u64;
        }
        None
    }

    /// Checks that a block after damage has data; [`FoundBlocks::block`] adds it later.
    fn take_after(&mut self, offset: u64, size: u64) -> Option<Candidate> {
        let handle = BlockHandle { offset, size };
        last_key(self.blocks, handle, &self.last, self.index.first()).map(|_| Candidate::Data(offset))
    }

    /// Reads the first user key of the block that begins at `at`.
    fn first_key(&self, at: u64) -> Option<Vec<u8>> {
        let size = block_len(&self.blocks.file, &self.blocks.footer, at, self.end).ok()??;
        let data = self.blocks.read(BlockHandle { offset: at, size }).ok()?;
        let mut cursor = BlockCursor::new(&data).ok()?;
        cursor
            .advance(&data)
            .ok()?
            .then(|| InternalKey::decode(cursor.key()).map(|key| key.user_key.to_vec()))?
    }
}

/// Finds the bytes of the block at `at` without its trailer. Returns `None` if no checksum matches.
fn block_len(file: &RandomFile, footer: &Footer, at: u64, end: u64) -> Result<Option<u64>> {
    let left = end.min(file.size()).saturating_sub(at);
    for window in [FIRST_WINDOW.min(left), MAX_BLOCK.min(left)] {
        let found = find_len(&file.read(at, window)?, footer, at);
        if found.is_some() || window == left {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Finds the bytes of the block at the start of `bytes`, which are at offset `at` of the file.
fn find_len(bytes: &[u8], footer: &Footer, at: u64) -> Option<u64> {
    if footer.checksum == ChecksumType::None {
        return None;
    }
    let modifier = context_modifier(footer.base_context, at);
    let mut sums = Sums::new(footer.checksum, bytes);
    (1..bytes.len().saturating_sub(4)).find_map(|at| {
        let (_, stored) = trailer(bytes, at)?;
        (sums.up_to(at).wrapping_add(modifier) == stored).then_some(at as u64)
    })
}

/// Whether a data block may begin with these bytes, by a cheap test: the first entry shares no bytes, so its
/// first byte is 0, which no compression changes.
fn may_begin(bytes: &[u8]) -> bool {
    let mut cursor = Cursor::new(bytes);
    // Each key ends with 8 bytes of sequence number and type.
    let plain = |cursor: &mut Cursor<'_>| {
        cursor.u8() == Some(0) && cursor.varint32().is_some_and(|len| len > 8) && cursor.varint32().is_some()
    };
    if plain(&mut cursor.clone()) {
        return true;
    }
    if !cursor.varint32().is_some_and(|len| (16..=64 << 20).contains(&len)) {
        return false;
    }
    let rest = cursor.rest();
    let lz4 = || match rest.first().map(|token| token >> 4) {
        Some(0) | None => false,
        // More bytes of the length follow.
        Some(15) => {
            let more = rest.iter().skip(1).take(MAX_LENGTH_BYTES).position(|byte| *byte != 0xff);
            more.is_some_and(|more| rest.get(more + 2) == Some(&0))
        }
        Some(_) => rest.get(1) == Some(&0),
    };
    let snappy = || match rest.first() {
        Some(tag) if tag & 3 == 0 => {
            let more = usize::from(tag >> 2).saturating_sub(59);
            rest.get(1 + more) == Some(&0)
        }
        _ => false,
    };
    rest.starts_with(&ZSTD_MAGIC) || lz4() || snappy()
}

/// Reads the compression type and the stored checksum of a block that ends before `at`.
fn trailer(bytes: &[u8], at: usize) -> Option<(u8, u32)> {
    let kind = *bytes.get(at)?;
    let stored = bytes.get(at + 1..at + 5)?;
    KINDS.contains(&kind).then_some(())?;
    Some((kind, u32::from_le_bytes(stored.try_into().ok()?)))
}

/// Checksums of all prefixes of a block, computed incrementally in one pass.
struct Sums<'a> {
    bytes: &'a [u8],
    /// Number of bytes that the state covers.
    covered: usize,
    state: State,
}

enum State {
    None,
    Crc(u32),
    XxHash(XxHash32),
    XxHash64(XxHash64),
    Xxh3(Box<XxHash3_64>),
}

impl<'a> Sums<'a> {
    fn new(kind: ChecksumType, bytes: &'a [u8]) -> Sums<'a> {
        let state = match kind {
            ChecksumType::None => State::None,
            ChecksumType::Crc32c => State::Crc(0),
            ChecksumType::XxHash => State::XxHash(XxHash32::with_seed(0)),
            ChecksumType::XxHash64 => State::XxHash64(XxHash64::with_seed(0)),
            ChecksumType::Xxh3 => State::Xxh3(Box::new(XxHash3_64::new())),
        };
        Sums { bytes, covered: 0, state }
    }

    /// Computes the checksum of the bytes up to `last`, the compression type. `last` must not decrease.
    fn up_to(&mut self, last: usize) -> u32 {
        let new = &self.bytes[self.covered..last];
        let kind = self.bytes[last];
        self.covered = last;
        match &mut self.state {
            State::None => 0,
            State::Crc(crc) => {
                *crc = crc32c(*crc, new);
                mask(crc32c(*crc, &[kind]))
            }
            State::XxHash(state) => {
                state.write(new);
                let mut all = state.clone();
                all.write(&[kind]);
                all.finish_32()
            }
            State::XxHash64(state) => {
                state.write(new);
                let mut all = state.clone();
                all.write(&[kind]);
                all.finish() as u32
            }
            State::Xxh3(state) => {
                state.write(new);
                with_last_byte(state.finish() as u32, kind)
            }
        }
    }
}

/// Reads the last user key of the data block at `handle`. Returns `None` if the block is not a data block, or
/// is not in order after the key `after`.
fn last_key(
    blocks: &Blocks,
    handle: BlockHandle,
    after: &[u8],
    first: Option<BlockHandle>,
) -> Option<Vec<u8>> {
    let data = blocks.read(handle).ok()?;
    let mut cursor = BlockCursor::new(&data).ok()?;
    let mut last: Option<Vec<u8>> = None;
    while cursor.advance(&data).ok()? {
        let key = InternalKey::decode(cursor.key())?.user_key;
        let before = last.as_deref().unwrap_or(after);
        // Meta blocks also parse: the index contains the first block's handle, the properties their names.
        let of_index = last.is_none() && BlockHandle::decode(&mut Cursor::new(cursor.value(&data))) == first;
        if key < before || (first.is_some() && of_index) || cursor.key().starts_with(b"rocksdb.") {
            return None;
        }
        last = Some(key.to_vec());
    }
    last
}
