//! The data blocks of an SST whose index or footer is lost: they lie one behind the other from the first byte on, and
//! each carries a checksum, so that where it ends can be found.

use super::{
    BlockHandle, Cursor, Error, InternalKey, RandomFile, Result, Table,
    block::BlockCursor,
    checksum::{ChecksumType, context_modifier, crc32c, mask},
    footer::Footer,
    index::Index,
    table::BLOCK_TRAILER_LEN,
};

/// So much of the file is looked at for the end of a block: TiKV's blocks have 16 to 64 KiB before they are compressed.
const MOST: u64 = 4 << 20;
/// What is looked at first.
const USUAL: u64 = 128 << 10;
/// A hash must be made anew for every length, so less is looked at.
const MOST_HASHED: usize = 64 << 10;
/// Compression types that a block can have.
const KINDS: [u8; 6] = [0, 1, 2, 4, 5, 7];

/// The footer that `file` must have had, as far as data blocks tell: where its own cannot be read.
pub fn footer(file: &RandomFile) -> Option<Footer> {
    let end = file.size();
    let guess = |checksum| Footer {
        checksum,
        version: 2,
        metaindex: BlockHandle { offset: end, size: 0 },
        index: None,
        offset: end,
        base_context: 0,
    };
    // TiKV's, and RocksDB's own default.
    [ChecksumType::Crc32c, ChecksumType::Xxh3]
        .into_iter()
        .map(guess)
        .find(|footer| block_len(file, footer, 0, end).ok().flatten().is_some())
}

/// The index that the data blocks of `table` make, in the place of one that cannot be read because of `why`.
///
/// # Errors
/// `why` itself, when not even the first block is whole.
pub fn index(table: &Table, why: Error) -> Result<Index> {
    let end = data_end(table);
    let mut index = Index::default();
    let (mut at, mut last) = (0, Vec::new());
    let lost = loop {
        if at >= end {
            break None;
        }
        let Ok(Some(size)) = block_len(table.file(), table.footer(), at, end) else {
            break Some("no block begins here");
        };
        let handle = BlockHandle { offset: at, size };
        match last_key(table, handle, &last, index.first()) {
            Some(key) => last = key,
            None => break Some("the block that begins here has no data"),
        }
        index.push(&last, handle);
        at += size + BLOCK_TRAILER_LEN;
    };
    if index.is_empty() {
        return Err(why);
    }
    let told = table.properties().number("rocksdb.num.data.blocks").filter(|count| *count > 0);
    let found = index.len() as u64;
    let whole = told.map_or(lost.is_none(), |count| count == found);
    let of = told.map_or(String::new(), |count| format!(" of {count}"));
    let how = format!("instead of it {found}{of} data blocks were found one behind the other");
    let damage = why.also(&how);
    index.note(if whole {
        damage.also("nothing is lost")
    } else {
        damage.also(&format!("at byte {at}: {}", lost.unwrap_or("the file ends"))).losing(&last, &[])
    });
    Ok(index)
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
        let bytes = file.read(at, window)?;
        let modifier = context_modifier(footer.base_context, at);
        let found = match footer.checksum {
            ChecksumType::Crc32c => by_crc(&bytes, modifier),
            ChecksumType::None => None,
            kind => by_hash(&bytes, kind, modifier),
        };
        if found.is_some() || window == left {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Compression type and stored checksum of a block that ends before `at`.
fn trailer(bytes: &[u8], at: usize) -> Option<(u8, u32)> {
    let kind = *bytes.get(at)?;
    let stored = bytes.get(at + 1..at + 5)?;
    KINDS.contains(&kind).then_some(())?;
    Some((kind, u32::from_le_bytes(stored.try_into().ok()?)))
}

/// A CRC grows with its data, so one pass is enough.
fn by_crc(bytes: &[u8], modifier: u32) -> Option<u64> {
    let (mut crc, mut covered) = (0, 0);
    for at in 1..bytes.len().saturating_sub(4) {
        let Some((kind, stored)) = trailer(bytes, at) else { continue };
        crc = crc32c(crc, &bytes[covered..at]);
        covered = at;
        if mask(crc32c(crc, &[kind])).wrapping_add(modifier) == stored {
            return Some(at as u64);
        }
    }
    None
}

fn by_hash(bytes: &[u8], kind: ChecksumType, modifier: u32) -> Option<u64> {
    let most = bytes.len().min(MOST_HASHED);
    (1..most.saturating_sub(4)).find_map(|at| {
        let (_, stored) = trailer(bytes, at)?;
        (kind.of(&bytes[..=at]).wrapping_add(modifier) == stored).then_some(at as u64)
    })
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
