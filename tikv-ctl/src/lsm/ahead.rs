//! A long walk on two cores: a second thread reads, checks and decompresses the blocks that come next, and the walk
//! itself does so where it would have to wait.

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
    Index, Result, Table,
    reader::{BlockReader, READAHEAD},
    table::BLOCK_TRAILER_LEN,
};

/// Below so many bytes of file a thread costs more than it gives.
const WORTH: u64 = 1 << 20;
/// Bytes of file that are handed over at once, about: blocks are small, and to wake a thread is dear.
const PIECE: u64 = 64 << 10;
/// Pieces that wait to be used, at most, on each side.
const WAITING: usize = 2;

/// Threads that read ahead, of all walks.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// The right to run one of as many threads as there are cores beside the first.
#[derive(Debug)]
struct Permit;

impl Permit {
    fn take() -> Option<Permit> {
        static MOST: OnceLock<usize> = OnceLock::new();
        let most = *MOST.get_or_init(|| thread::available_parallelism().map_or(0, |cores| cores.get() - 1));
        let more = |running| (running < most).then_some(running + 1);
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

/// Blocks one after another; the first `len` count, the others are memory for the next time.
#[derive(Debug, Default)]
struct Piece {
    number: usize,
    blocks: Vec<Block>,
    len: usize,
}

/// The blocks of a table from one on, in pieces of as many blocks, and which piece nobody reads yet.
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

    /// The number of a piece that is the caller's to read; at most `last`.
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
        // Not beyond the piece: the other thread reads on from there.
        let end = self.index.handle(blocks.end - 1);
        let end = end.offset.saturating_add(end.size).saturating_add(BLOCK_TRAILER_LEN);
        for (block, at) in piece.blocks.iter_mut().zip(blocks) {
            let handle = self.index.handle(at);
            let ahead = READAHEAD.min(end.saturating_sub(handle.offset));
            block.read = reader.load_into(&self.table, handle, ahead, &mut block.plain);
        }
    }
}

/// The blocks of a table from one on, in order. The thread behind it ends with it.
#[derive(Debug)]
pub struct Ahead {
    work: Arc<Work>,
    read: Receiver<Piece>,
    used: SyncSender<Piece>,
    /// What came, or was read here, before its turn; and memory.
    early: Vec<Piece>,
    spare: Vec<Piece>,
    reader: BlockReader,
    piece: Piece,
    at: usize,
    next: usize,
}

impl Ahead {
    /// Reads blocks from number `start` on, where it is worth a thread and a core is left for it.
    pub fn start(table: &Arc<Table>, index: &Arc<Index>, start: usize) -> Option<Ahead> {
        let last = index.len().checked_sub(1).filter(|last| start < *last)?;
        let bytes = index.handle(last).offset.saturating_sub(index.handle(start).offset);
        if bytes < WORTH {
            return None;
        }
        let permit = Permit::take()?;
        let blocks = (PIECE / (bytes / (last - start) as u64).max(1)).max(1) as usize;
        let (table, index) = (table.clone(), index.clone());
        let work = Arc::new(Work { table, index, start, blocks, unread: AtomicUsize::new(0) });
        let (send, read) = sync_channel(WAITING);
        let (used, reuse) = sync_channel(WAITING + 1);
        let beside = work.clone();
        let run = move || {
            let _permit = permit;
            read_on(&beside, &send, &reuse);
        };
        thread::Builder::new().name("read-ahead".to_owned()).spawn(run).ok()?;
        let (early, spare, reader, piece) = Default::default();
        Some(Ahead { work, read, used, early, spare, reader, piece, at: 0, next: 0 })
    }

    /// Puts the next block in `reader`; `None`: the thread is gone.
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
            // Where it cannot be used again it is freed.
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
                    let Some(number) = self.work.claim(self.next + WAITING) else {
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

fn read_on(work: &Work, read: &SyncSender<Piece>, reuse: &Receiver<Piece>) {
    let mut reader = BlockReader::default();
    while let Some(number) = work.claim(usize::MAX) {
        let mut piece = reuse.try_recv().unwrap_or_default();
        work.read(number, &mut reader, &mut piece);
        // The walk has ended before the table.
        if read.send(piece).is_err() {
            return;
        }
    }
}
