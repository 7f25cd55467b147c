//! Reads ahead of a long walk: a second thread reads, checks and decompresses the next blocks, and the walk
//! reads blocks itself instead of waiting.
use std::{
    mem,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread,
};

use super::{
    format::BLOCK_TRAILER_LEN,
    index::Index,
    reader::{BlockReader, READAHEAD},
    table::Table,
};
use crate::io::Result;

/// Minimum bytes of file for a thread: reading less costs less than starting a thread.
const MIN_BYTES: u64 = 1 << 20;
/// Approximate bytes of file in a piece: blocks are small and waking a thread is expensive.
const PIECE_BYTES: u64 = 64 << 10;
/// Maximum number of pieces that wait on each side.
const MAX_WAITING: usize = 2;

/// Number of read-ahead threads of all walks.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// Permission to run a read-ahead thread. The process has one fewer of them than cores.
#[derive(Debug)]
struct Permit;

impl Permit {
    fn take() -> Option<Permit> {
        static MAX: OnceLock<usize> = OnceLock::new();
        let max = *MAX.get_or_init(|| thread::available_parallelism().map_or(0, |cores| cores.get() - 1));
        let more = |running| (running < max).then_some(running + 1);
        RUNNING.fetch_update(Relaxed, Relaxed, more).ok().map(|_| Permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Relaxed);
    }
}

#[derive(Debug)]
struct Block {
    read: Result<()>,
    plain: Vec<u8>,
}

/// Consecutive blocks. The first `len` are in use, the others are spare memory.
#[derive(Debug, Default)]
struct Piece {
    number: usize,
    blocks: Vec<Block>,
    len: usize,
}

/// The blocks of a table from number `start` on, in pieces of `blocks` blocks, and the first unclaimed piece.
#[derive(Debug)]
struct Work {
    table: Arc<Table>,
    index: Arc<Index>,
    start: usize,
    blocks: usize,
    unread: AtomicUsize,
}

impl Work {
    fn pieces(&self) -> usize {
        (self.index.len() - self.start).div_ceil(self.blocks)
    }

    /// Claims the next piece, up to number `last`, for the caller to read. Returns its number.
    fn claim(&self, last: usize) -> Option<usize> {
        let end = self.pieces().min(last.saturating_add(1));
        self.unread.fetch_update(Relaxed, Relaxed, |next| (next < end).then_some(next + 1)).ok()
    }

    fn read(&self, number: usize, reader: &mut BlockReader, piece: &mut Piece) {
        let start = self.start + number * self.blocks;
        let blocks = start..(start + self.blocks).min(self.index.len());
        (piece.number, piece.len) = (number, blocks.len());
        while piece.blocks.len() < piece.len {
            piece.blocks.push(Block { read: Ok(()), plain: Vec::new() });
        }
        // Do not read beyond the piece: the other thread may read the next one.
        let end = self.index.handle(blocks.end - 1);
        let end = end.offset.saturating_add(end.size).saturating_add(BLOCK_TRAILER_LEN);
        for (block, at) in piece.blocks.iter_mut().zip(blocks) {
            let handle = self.index.handle(at);
            let ahead = READAHEAD.min(end.saturating_sub(handle.offset));
            block.read = reader.load_into(self.table.blocks(), handle, ahead, &mut block.plain);
        }
    }
}

/// The blocks of a table in order. Its thread ends when this is dropped.
#[derive(Debug)]
pub struct Ahead {
    work: Arc<Work>,
    read: Receiver<Piece>,
    used: SyncSender<Piece>,
    /// Pieces that were read before their turn.
    early: Vec<Piece>,
    /// Memory to reuse.
    spare: Vec<Piece>,
    reader: BlockReader,
    piece: Piece,
    at: usize,
    next: usize,
}

impl Ahead {
    /// Starts to read blocks from number `start` on. Returns `None` if they are too few or no core is free.
    pub fn start(table: &Arc<Table>, index: &Arc<Index>, start: usize) -> Option<Ahead> {
        let last = index.len().checked_sub(1).filter(|last| start < *last)?;
        let bytes = index.handle(last).offset.saturating_sub(index.handle(start).offset);
        if bytes < MIN_BYTES {
            return None;
        }
        let permit = Permit::take()?;
        let blocks = (PIECE_BYTES / (bytes / (last - start) as u64).max(1)).max(1) as usize;
        let (table, index) = (table.clone(), index.clone());
        let work = Arc::new(Work { table, index, start, blocks, unread: AtomicUsize::new(0) });
        let (send, read) = sync_channel(MAX_WAITING);
        let (used, reuse) = sync_channel(MAX_WAITING + 1);
        let shared = work.clone();
        let run = move || {
            let _permit = permit;
            read_pieces(&shared, &send, &reuse);
        };
        thread::Builder::new().name("read-ahead".to_owned()).spawn(run).ok()?;
        let (early, spare, reader, piece) = Default::default();
        Some(Ahead { work, read, used, early, spare, reader, piece, at: 0, next: 0 })
    }

    /// Puts the next block in `reader`. Returns `None` if the thread has ended.
    pub fn next_block(&mut self, reader: &mut BlockReader) -> Option<Result<()>> {
        if self.at == self.piece.len {
            let next = self.next_piece()?;
            self.give_back(next);
        }
        let block = self.piece.blocks.get_mut(self.at)?;
        self.at += 1;
        reader.swap_plain(&mut block.plain);
        Some(mem::replace(&mut block.read, Ok(())))
    }

    fn give_back(&mut self, next: Piece) {
        let empty = mem::replace(&mut self.piece, next);
        self.at = 0;
        self.next += 1;
        match self.spare.len() {
            0 => self.spare.push(empty),
            // The thread has enough spare memory, or has ended: free the piece.
            _ => drop(self.used.try_send(empty)),
        }
    }

    fn next_piece(&mut self) -> Option<Piece> {
        loop {
            if let Some(at) = self.early.iter().position(|piece| piece.number == self.next) {
                return Some(self.early.swap_remove(at));
            }
            match self.read.try_recv() {
                Ok(piece) => self.early.push(piece),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {
                    let Some(number) = self.work.claim(self.next + MAX_WAITING) else {
                        self.early.push(self.read.recv().ok()?);
                        continue;
                    };
                    let mut piece = self.spare.pop().unwrap_or_default();
                    self.work.read(number, &mut self.reader, &mut piece);
                    self.early.push(piece);
                }
            }
        }
    }
}

fn read_pieces(work: &Work, read: &SyncSender<Piece>, reuse: &Receiver<Piece>) {
    let mut reader = BlockReader::default();
    while let Some(number) = work.claim(usize::MAX) {
        let mut piece = reuse.try_recv().unwrap_or_default();
        work.read(number, &mut reader, &mut piece);
        // The walk ended before the table did.
        if read.send(piece).is_err() {
            return;
        }
    }
}
