//! Verifies an SST: reads every block and every entry, on one thread or on several.
use std::{
    cmp::Ordering,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use super::{
    block::BlockCursor,
    decode_error::BlockError,
    index::Index,
    internal_key::{InternalKey, ValueType, compare},
    reader::{BlockReader, READAHEAD},
    table::Table,
};
use crate::io::{Context, Damage, Result};

/// Number of data blocks that a thread claims at a time.
const PIECE: usize = 64;

/// The result of a verification.
#[derive(Debug, Default)]
pub struct Verified {
    /// Number of entries in data blocks.
    pub entries: u64,
    /// Number of range deletions, which have a block of their own.
    pub range_deletions: u64,
    /// Number of data blocks.
    pub blocks: u64,
    /// Bytes of user keys and values.
    pub bytes: u64,
    /// Number of entries of each type.
    pub types: Vec<(ValueType, u64)>,
    /// All damage, in the order of the file.
    pub damages: Vec<Damage>,
}

/// The result for one piece of the table.
#[derive(Debug, Default)]
struct Piece {
    number: usize,
    entries: u64,
    bytes: u64,
    types: Vec<(u8, u64)>,
    first: Vec<u8>,
    last: Vec<u8>,
    damages: Vec<Damage>,
}

/// Verifies `table` with `threads` threads: checksums, entries, the order of keys, and the number of entries
/// in the properties.
///
/// # Errors
/// The index cannot be read. All other damage is in the result.
pub fn verify(table: &Table, threads: usize) -> Result<Verified> {
    let index = table.index()?;
    let pieces = read_pieces(table, &index, threads.max(1));
    let mut found = Verified { blocks: index.len() as u64, ..Default::default() };
    if table.meta_blocks().is_empty() {
        // Damage to the footer or the meta index; reading the other meta blocks below finds theirs.
        found.damages.extend_from_slice(table.damages());
    }
    found.damages.extend_from_slice(index.damages());
    let mut types = [0u64; 256];
    let mut last: &[u8] = &[];
    for piece in &pieces {
        found.entries += piece.entries;
        found.bytes += piece.bytes;
        piece.types.iter().for_each(|(kind, count)| types[usize::from(*kind)] += count);
        if !last.is_empty() && !piece.first.is_empty() && order(last, &piece.first) != Ordering::Less {
            found.damages.push(out_of_order(table, &index, piece.number * PIECE, &piece.first));
        }
        if !piece.last.is_empty() {
            last = &piece.last;
        }
    }
    found.damages.extend(pieces.into_iter().flat_map(|piece| piece.damages));
    let counted = types.iter().enumerate().filter(|(_, count)| **count > 0);
    found.types = counted.map(|(kind, count)| (ValueType::from_u8(kind as u8), *count)).collect();
    verify_meta(table, &mut found);
    Ok(found)
}

/// Verifies the meta blocks and the number of entries.
fn verify_meta(table: &Table, found: &mut Verified) {
    for block in table.meta_blocks() {
        if let Err(e) = table.read_block(block.handle) {
            found.damages.push(e.context(Context::Part(&block.name)).into());
        }
    }
    // The properties count range deletions as entries, although they have their own block.
    match table.range_deletions() {
        Ok(deletions) => found.range_deletions = deletions.len() as u64,
        Err(_) => return,
    }
    let (counted, expected) = (found.entries + found.range_deletions, table.properties().num_entries());
    if counted != expected && expected != 0 && found.damages.is_empty() {
        let at = table.find_meta(&["rocksdb.properties", "rocksdb.stats"]).unwrap_or_default().offset;
        let what = format!("expected {expected} entries by the properties, found {counted}");
        found.damages.push(table.file().corrupt(at, what).into());
    }
}

fn read_pieces(table: &Table, index: &Index, threads: usize) -> Vec<Piece> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        let (mut reader, mut cursor) = (BlockReader::default(), BlockCursor::default());
        loop {
            let number = next.fetch_add(1, Relaxed);
            if number * PIECE >= index.len() {
                return;
            }
            let piece = read_piece(table, index, number, &mut reader, &mut cursor);
            done.lock().unwrap_or_else(PoisonError::into_inner).push(piece);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(index.len().div_ceil(PIECE)) {
            scope.spawn(work);
        }
        work();
    });
    let mut pieces = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    pieces.sort_by_key(|piece| piece.number);
    pieces
}

fn read_piece(
    table: &Table,
    index: &Index,
    number: usize,
    reader: &mut BlockReader,
    cursor: &mut BlockCursor,
) -> Piece {
    let mut piece = Piece { number, ..Default::default() };
    let mut types = [0u64; 256];
    let start = number * PIECE;
    for at in start..(start + PIECE).min(index.len()) {
        let handle = index.handle(at);
        // Do not read beyond the last block of the piece: another thread reads the rest.
        let end = index.handle((start + PIECE).min(index.len()) - 1);
        let left = end.offset.saturating_add(end.size).saturating_add(5).saturating_sub(handle.offset);
        let read = reader.load(table.blocks(), handle, READAHEAD.min(left));
        let read = read.and_then(|()| {
            let data = reader.data();
            cursor.reset(data).map_err(|e| table.file().corrupt(handle.offset, e))?;
            read_block(table, index, at, (data, cursor), &mut piece, &mut types)
        });
        if let Err(e) = read {
            piece.damages.push(
                e.context(Context::Lost { after: index.before(at), up_to: index.separator(at) }).into(),
            );
        }
    }
    let counted = types.iter().enumerate().filter(|(_, count)| **count > 0);
    piece.types = counted.map(|(kind, count)| (kind as u8, *count)).collect();
    piece
}

fn read_block(
    table: &Table,
    index: &Index,
    at: usize,
    (data, cursor): (&[u8], &mut BlockCursor),
    piece: &mut Piece,
    types: &mut [u64; 256],
) -> Result<()> {
    let offset = index.handle(at).offset;
    let wrong = |e: BlockError| table.file().corrupt(offset, e);
    let mut first = true;
    while let Some(order_now) = cursor.advance_ordered(data).map_err(wrong)? {
        let key = cursor.key();
        let Some(kind) = key.len().checked_sub(8).map(|at| key[at]) else {
            return Err(table
                .file()
                .corrupt(offset, "a key of this block is shorter than its 8-byte trailer"));
        };
        types[usize::from(kind)] += 1;
        piece.entries += 1;
        piece.bytes += (key.len() - 8 + cursor.value(data).len()) as u64;
        let ordered = match first {
            true if piece.last.is_empty() => true,
            true => order(&piece.last, key) == Ordering::Less,
            false => order_now == Ordering::Greater,
        };
        if !ordered {
            piece.damages.push(out_of_order(table, index, at, key));
        }
        if first && piece.first.is_empty() {
            piece.first = key.to_vec();
        }
        first = false;
    }
    if !first {
        piece.last.clear();
        piece.last.extend_from_slice(cursor.key());
        let last = InternalKey::decode(cursor.key()).map_or(&[][..], |key| key.user_key);
        if last > index.separator(at) {
            let what = format!("the block's last key {} is beyond its index entry", keys::escape(last));
            return Err(table.file().corrupt(offset, what));
        }
    }
    Ok(())
}

/// Compares two encoded internal keys.
fn order(a: &[u8], b: &[u8]) -> Ordering {
    let split = |key| InternalKey::decode(key).map_or((&[][..], 0), |key| (key.user_key, key.packed));
    compare(split(a), split(b))
}

fn out_of_order(table: &Table, index: &Index, at: usize, key: &[u8]) -> Damage {
    let user_key = InternalKey::decode(key).map_or(&[][..], |key| key.user_key);
    let what = format!("key {} is not in order", keys::escape(user_key));
    Damage::at(table.file().path(), index.handle(at).offset, what)
}
