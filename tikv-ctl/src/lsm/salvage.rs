//! The data blocks of an SST whose index or footer is lost: they lie one behind the other from the first byte on, and
//! each carries a checksum, so that where it ends can be found.

use std::hash::Hasher;

use twox_hash::{XxHash3_64, XxHash32, XxHash64};

use super::{
    BlockHandle, Cursor, Error, InternalKey, RandomFile, Result, Table,
    block::BlockCursor,
    checksum::{ChecksumType, context_modifier, crc32c, mask, with_last_byte},
    compress::Decompressor,
    footer::Footer,
    index::Index,
    table::BLOCK_TRAILER_LEN,
};

/// So much of the file is looked at for the end of a block: TiKV's blocks have 16 to 64 KiB before they are compressed.
const MOST: u64 = 4 << 20;
/// What is looked at first.
const USUAL: u64 = 128 << 10;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Compression types that a block can have.
const KINDS: [u8; 6] = [0, 1, 2, 4, 5, 7];
/// Bytes that the length of LZ4's first literals takes at most.
const MOST_LENGTH: usize = 64;
/// Places that are tried for the next block behind damage, in all of a table.
const TRIES: usize = 1 << 14;
/// Bytes of plain blocks that are walked in search of the first of a table.
const BUDGET: usize = 64 << 20;
/// Holes that are told one by one.
const MOST_HOLES: usize = 1000;

/// The footer that `file` must have had, as far as data blocks tell: where its own cannot be read.
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
    // TiKV's, and RocksDB's own default.
    let kinds = [ChecksumType::Crc32c, ChecksumType::Xxh3];
    let plain = kinds.into_iter().map(|kind| guess(kind, 2, 0));
    let found = plain.into_iter().find(|footer| matches!(block_len(file, footer, 0, end), Ok(Some(_))));
    found.or_else(|| {
        kinds.into_iter().find_map(|kind| {
            let (len, base) = with_context(file, kind)?;
            let footer = guess(kind, 6, base);
            // One block fits some number; that the next fits the same is no chance.
            let next = block_len(file, &footer, len + BLOCK_TRAILER_LEN, end);
            matches!(next, Ok(Some(_))).then_some(footer)
        })
    })
}

/// From format_version 6 on a number that only the footer tells is mixed into checksums: the length of the first block of
/// which the rest is in order, and the number that makes its checksum fit.
fn with_context(file: &RandomFile, kind: ChecksumType) -> Option<(u64, u32)> {
    let bytes = file.read(0, USUAL.min(file.size())).ok()?;
    let claimed = Cursor::new(&bytes).varint().unwrap_or_default();
    if !may_begin(&bytes) {
        return None;
    }
    let (mut sums, mut budget) = (Sums::new(kind, &bytes), BUDGET);
    let mut plain = Vec::new();
    let mut codec = Decompressor::default();
    (1..bytes.len().saturating_sub(4)).find_map(|at| {
        let (compression, stored) = trailer(&bytes, at)?;
        let block = match compression {
            0 => &bytes[..at],
            _ if claimed > MOST => return None,
            _ => {
                codec.run(compression, &bytes[..at], &[], true, &mut plain).ok()?;
                &plain
            }
        };
        budget = budget.checked_sub(block.len())?;
        is_data(block).then(|| (at as u64, stored.wrapping_sub(sums.up_to(at))))
    })
}

/// Whether all of `block` decodes as entries, and there is one.
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

/// The index that the data blocks of `table` make, in the place of one that cannot be read because of `why`.
///
/// # Errors
/// `why` itself, when there is no whole block.
pub fn index(table: &Table, why: Error) -> Result<Index> {
    let end = data_end(table);
    let mut found = Found { table, end, index: Index::default(), last: Vec::new(), largest: 0, tries: TRIES };
    let (mut at, mut holes) = (0, Vec::new());
    let lost = loop {
        if at >= end {
            break None;
        }
        match found.block(at) {
            Met::Data(next) => at = next,
            Met::Other => break Some("the block that begins here has no data"),
            Met::Nothing => {
                let before = found.last.clone();
                let Some(next) = found.after(at) else { break Some("no block begins here, nor behind it") };
                let what = format!("no block begins here; the next whole one is at byte {next}");
                let hole = table.file().corrupt(at, what);
                at = next;
                let first = found.first_key(next).unwrap_or_default();
                if holes.len() < MOST_HOLES {
                    holes.push(hole.losing(&before, &first));
                }
            }
        }
    };
    let Found { mut index, last, .. } = found;
    if index.is_empty() {
        return Err(why);
    }
    let told = table.properties().number("rocksdb.num.data.blocks").filter(|count| *count > 0);
    let count = index.len() as u64;
    let whole = holes.is_empty() && told.map_or(lost.is_none(), |told| told == count);
    let of = told.map_or(String::new(), |told| format!(" of {told}"));
    let how = if holes.is_empty() { " one behind the other" } else { ", with holes between them" };
    let damage = why.also(&format!("instead of it {count}{of} data blocks were found{how}"));
    index.note(match lost {
        _ if whole => damage.also("nothing is lost"),
        None if !holes.is_empty() => damage,
        _ => damage.also(&format!("at byte {at}: {}", lost.unwrap_or("the file ends"))).losing(&last, &[]),
    });
    holes.into_iter().for_each(|hole| index.note(hole));
    Ok(index)
}

/// The data blocks found so far.
struct Found<'a> {
    table: &'a Table,
    /// Where the last data block must have ended.
    end: u64,
    index: Index,
    /// The last key of the last block.
    last: Vec<u8>,
    /// Bytes of the largest block.
    largest: u64,
    /// Places that may still be tried.
    tries: usize,
}

/// What begins at a place.
enum Met {
    /// A data block; where the next one begins.
    Data(u64),
    /// A block of something else: data ends before it.
    Other,
    /// Nothing whose checksum fits.
    Nothing,
}

impl Found<'_> {
    /// Takes the block that begins at `at`.
    fn block(&mut self, at: u64) -> Met {
        match block_len(self.table.file(), self.table.footer(), at, self.end) {
            Ok(Some(size)) => self.take(BlockHandle { offset: at, size }),
            _ => Met::Nothing,
        }
    }

    fn take(&mut self, handle: BlockHandle) -> Met {
        let Some(key) = last_key(self.table, handle, &self.last, self.index.first()) else {
            return Met::Other;
        };
        self.index.push(&key, handle);
        self.last = key;
        self.largest = self.largest.max(handle.size);
        Met::Data(handle.offset + handle.size + BLOCK_TRAILER_LEN)
    }

    /// Where the first data block behind the damage at `at` begins; `None`: there is none.
    fn after(&mut self, at: u64) -> Option<u64> {
        let file = self.table.file();
        let window = (2 * self.largest).clamp(USUAL, MOST);
        let mut start = at + 1;
        while start < self.end {
            let bytes = file.read(start, window.min(self.end - start)).ok()?;
            // What begins in the second half is seen whole in the next window.
            let half = if start + window < self.end { bytes.len() / 2 } else { bytes.len() };
            for at in (0..half).filter(|at| may_begin(&bytes[*at..])) {
                self.tries = self.tries.checked_sub(1)?;
                let offset = start + at as u64;
                if let Some(size) = len_of(&bytes[at..], self.table.footer(), offset) {
                    return matches!(self.take_after(offset, size)?, Met::Data(_)).then_some(offset);
                }
            }
            start += half.max(1) as u64;
        }
        None
    }

    /// Whether a block behind damage has data; it is taken by [`Found::block`] later.
    fn take_after(&mut self, offset: u64, size: u64) -> Option<Met> {
        let handle = BlockHandle { offset, size };
        last_key(self.table, handle, &self.last, self.index.first()).map(|_| Met::Data(offset))
    }

    /// The first user key of the block that begins at `at`.
    fn first_key(&self, at: u64) -> Option<Vec<u8>> {
        let size = block_len(self.table.file(), self.table.footer(), at, self.end).ok()??;
        let data = self.table.read_block(BlockHandle { offset: at, size }).ok()?;
        let mut cursor = BlockCursor::new(&data).ok()?;
        cursor
            .advance(&data)
            .ok()?
            .then(|| InternalKey::decode(cursor.key()).map(|key| key.user_key.to_vec()))?
    }
}

/// Where the last data block must have ended.
fn data_end(table: &Table) -> u64 {
    let meta = table.meta_blocks().iter().map(|block| block.handle.offset);
    let fixed = [table.metaindex_handle().offset, table.file().size()];
    let first = meta.chain(table.index_handle().ok().map(|handle| handle.offset)).chain(fixed).min();
    let told = table.properties().number("rocksdb.data.size").filter(|size| *size > 0);
    let first = first.unwrap_or_default();
    told.map_or(first, |size| size.min(first))
}

/// Bytes of the block that begins at `at`, without its trailer; `None`: no checksum fits.
fn block_len(file: &RandomFile, footer: &Footer, at: u64, end: u64) -> Result<Option<u64>> {
    let left = end.min(file.size()).saturating_sub(at);
    for window in [USUAL.min(left), MOST.min(left)] {
        let found = len_of(&file.read(at, window)?, footer, at);
        if found.is_some() || window == left {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The same of a block that `bytes`, from the file's byte `at` on, begin with.
fn len_of(bytes: &[u8], footer: &Footer, at: u64) -> Option<u64> {
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

/// Whether a data block may begin with these bytes, as cheaply as can be told: the first entry shares nothing, so that its
/// first byte, which no compression changes, is 0.
fn may_begin(bytes: &[u8]) -> bool {
    let mut cursor = Cursor::new(bytes);
    // Sequence number and type stand behind each key.
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
            let more = rest.iter().skip(1).take(MOST_LENGTH).position(|byte| *byte != 0xff);
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

/// Compression type and stored checksum of a block that ends before `at`.
fn trailer(bytes: &[u8], at: usize) -> Option<(u8, u32)> {
    let kind = *bytes.get(at)?;
    let stored = bytes.get(at + 1..at + 5)?;
    KINDS.contains(&kind).then_some(())?;
    Some((kind, u32::from_le_bytes(stored.try_into().ok()?)))
}

/// The checksums of ever more of a block. All of them grow with their data, so one pass is enough.
struct Sums<'a> {
    bytes: &'a [u8],
    /// So many bytes are in the state.
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

    /// The checksum of the bytes before `last` and of that one, which is the compression type; `last` only grows.
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

/// The last user key of the data block at `handle`; `None` when it is no data block that can follow the key `after`.
fn last_key(table: &Table, handle: BlockHandle, after: &[u8], first: Option<BlockHandle>) -> Option<Vec<u8>> {
    let data = table.read_block(handle).ok()?;
    let mut cursor = BlockCursor::new(&data).ok()?;
    let mut last: Option<Vec<u8>> = None;
    while cursor.advance(&data).ok()? {
        let key = InternalKey::decode(cursor.key())?.user_key;
        let before = last.as_deref().unwrap_or(after);
        // What is behind the data blocks parses, too: the index has the first block's place, the properties their names.
        let of_index = last.is_none() && BlockHandle::decode(&mut Cursor::new(cursor.value(&data))) == first;
        if key < before || (first.is_some() && of_index) || cursor.key().starts_with(b"rocksdb.") {
            return None;
        }
        last = Some(key.to_vec());
    }
    last
}
