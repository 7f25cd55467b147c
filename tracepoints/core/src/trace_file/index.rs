//! Finds the chunks of a file: by its directories, or chunk by chunk where a directory is damaged or missing.
use super::{
    HEADER,
    chunk::{self, ChunkScan, Kind, Place},
    damage::Damage,
    directory::{self, END_LEN},
    summary::{RequestsSummary, StampsSummary},
    tables::Ended,
};

/// A chunk of stamps. [`Index::joins`] has its ranges.
#[derive(Clone, Debug)]
pub(super) struct StampsChunk {
    pub place: Place,
    pub summary: StampsSummary,
}

/// One range of entries that a chunk's batches and replicas refer to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Join {
    pub region: u64,
    pub term: u64,
    pub first: u64,
    pub last: u64,
    /// Largest `last` of this range and the preceding ranges of the same region and term.
    pub reach: u64,
    /// Number of the chunk with these rows.
    pub chunk: u32,
}

/// Offsets of all chunks of a file.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Chunks of stamps, by number.
    pub stamps: Vec<StampsChunk>,
    pub requests: Vec<(Place, RequestsSummary)>,
    /// Ranges by region, term and first entry.
    pub joins: Vec<Join>,
    /// Numbers of chunks that may contain stamps of any entry.
    pub any_range: Vec<u32>,
    /// Chunks of the other kinds, in file order.
    pub others: Vec<(Kind, Place)>,
    pub damage: Vec<Damage>,
    pub truncated_at: Option<u64>,
    /// Start and end offset of the last directory; both 0 if there is none.
    pub directory: (u64, u64),
    /// Chunks after the last directory, encoded as the body of the next one.
    pub undirected: Vec<u8>,
    pub ending: Option<Ended>,
}

/// Bytes to read around a directory: its tables are before it, the directory itself begins at its offset.
const BEFORE: u64 = 64 << 10;
const AFTER: u64 = 32 << 10;

impl Index {
    /// Builds the index. `prefetch` announces a range that will be read: its first byte and its length.
    pub(super) fn scan(bytes: &[u8], prefetch: impl Fn(usize, usize)) -> Self {
        let mut index = Self::default();
        let tail = index.by_directories(bytes, &prefetch);
        index.walk(bytes, tail, bytes.len(), true);
        index.stamps.sort_by_key(|c| c.summary.number);
        index.stamps.dedup_by_key(|c| c.summary.number);
        index.gather_joins();
        index
    }

    /// Adds all chunks that directories cover; returns the offset where the rest begins.
    fn by_directories(&mut self, bytes: &[u8], prefetch: &impl Fn(usize, usize)) -> usize {
        let Some(last) = last_directory(bytes) else { return HEADER };
        let mut chain = vec![last];
        let mut gap = HEADER;
        let mut asked_from = u64::MAX;
        while let Some(head) = chain.last().and_then(|p| directory_head(bytes, p)) {
            let own = chain.last().and_then(|p| bytes.get(p.head_range())).unwrap_or_default();
            for at in directory::earlier(own) {
                if at < asked_from && at < bytes.len() as u64 {
                    asked_from = at;
                    let from = at.saturating_sub(BEFORE);
                    prefetch(from as usize, (at + AFTER - from) as usize);
                }
            }
            let before = (head.previous != 0).then(|| directory_at(bytes, head.previous as usize));
            match before {
                Some(Some(place)) if place.end() as u64 == head.from => chain.push(place),
                Some(_) => {
                    // The previous directory is damaged: walk the chunks that it covered.
                    gap = (head.from as usize).min(bytes.len());
                    break;
                }
                None => break,
            }
        }
        self.walk(bytes, HEADER, gap, false);
        for place in chain.iter().rev() {
            self.take_directory(bytes, place);
        }
        self.directory = (last.at as u64, last.end() as u64);
        last.end()
    }

    fn take_directory(&mut self, bytes: &[u8], place: &Place) {
        for one in directory::chunks(bytes.get(place.body_range()).unwrap_or_default()) {
            match one.filter(|(_, p, _)| {
                p.at.checked_add(HEADER + p.head + p.body).is_some_and(|end| end <= bytes.len())
            }) {
                Some((kind, chunk, head)) => self.take(kind, chunk, head),
                None => self.skip(place.at, place.end(), "the directory has an invalid item".into()),
            }
        }
        self.others.push((Kind::Directory, *place));
    }

    fn take(&mut self, kind: Kind, place: Place, head: &[u8]) {
        match kind {
            Kind::Stamps => match StampsSummary::get(head)
                .filter(|of| of.rows as usize * super::row::Row::SIZE <= place.body)
            {
                Some(of) => self.stamps.push(StampsChunk { place, summary: of }),
                None => {
                    self.skip(place.at, place.end(), "the summary of a chunk of stamps is invalid".into())
                }
            },
            Kind::Requests => match RequestsSummary::get(head) {
                Some(of) => self.requests.push((place, of)),
                None => {
                    self.skip(place.at, place.end(), "the summary of a chunk of requests is invalid".into())
                }
            },
            _ => self.others.push((kind, place)),
        }
    }

    /// Visits each chunk of a part of the file; `tail` is for chunks that no directory covers yet.
    fn walk(&mut self, bytes: &[u8], from: usize, to: usize, tail: bool) {
        let mut at = from;
        while at < to {
            match chunk::parse(bytes, at) {
                ChunkScan::Chunk(kind, place) => {
                    self.visit(bytes, kind, place, tail);
                    at = place.end();
                }
                ChunkScan::Unknown(kind, place) => {
                    let reason = format!("a chunk of kind {kind}, which this version cannot read");
                    self.skip(at, place.end(), reason);
                    at = place.end();
                }
                ChunkScan::Bad(reason) => {
                    let next = chunk::next(bytes, at + 1).unwrap_or(bytes.len()).min(to);
                    self.skip(at, next, reason.into());
                    at = next;
                }
                // A wrong length also looks like a truncated file, which only has no chunk after that point.
                ChunkScan::Cut => match chunk::next(bytes, at + 1) {
                    Some(next) => {
                        self.skip(at, next.min(to), "the chunk's length is wrong".into());
                        at = next;
                    }
                    None => {
                        self.truncated_at = Some(at as u64);
                        return;
                    }
                },
            }
        }
    }

    fn visit(&mut self, bytes: &[u8], kind: Kind, place: Place, tail: bool) {
        let head = bytes.get(place.head_range()).unwrap_or_default();
        if tail {
            directory::note(&mut self.undirected, kind, &place, head);
            // A writer that continued after an end has not written its own end yet.
            self.ending = match kind {
                Kind::End => directory::get_end(head).map(|(_, why)| Ended::from_number(why)),
                _ => None,
            };
        }
        self.take(kind, place, head);
    }

    fn skip(&mut self, from: usize, to: usize, reason: String) {
        self.damage.push(Damage { offset: from as u64, len: to.saturating_sub(from) as u64, reason });
    }

    fn gather_joins(&mut self) {
        for chunk in &mut self.stamps {
            if chunk.summary.any_range {
                self.any_range.push(chunk.summary.number);
            }
            let number = chunk.summary.number;
            self.joins.extend(std::mem::take(&mut chunk.summary.ranges).into_iter().map(|r| Join {
                region: r.region,
                term: r.term,
                first: r.first,
                last: r.last,
                reach: r.last,
                chunk: number,
            }));
        }
        self.joins.sort_unstable_by_key(|j| (j.region, j.term, j.first, j.chunk));
        for i in 1..self.joins.len() {
            let before = self.joins[i - 1];
            let join = &mut self.joins[i];
            if (before.region, before.term) == (join.region, join.term) {
                join.reach = join.reach.max(before.reach);
            }
        }
    }

    /// Returns the numbers of the chunks whose batches and replicas may refer to an entry.
    pub(super) fn chunks_of_entry(
        &self,
        (region, term, index): (u64, u64, u64),
    ) -> impl Iterator<Item = u32> {
        let end = self.joins.partition_point(|j| (j.region, j.term, j.first) <= (region, term, index));
        let same = move |j: &&Join| (j.region, j.term) == (region, term) && j.reach >= index;
        self.joins[..end].iter().rev().take_while(same).filter(move |j| j.last >= index).map(|j| j.chunk)
    }

    pub(super) fn stamps_chunk(&self, number: u32) -> Option<usize> {
        self.stamps.binary_search_by_key(&number, |c| c.summary.number).ok()
    }

    /// Chunks of one of the other kinds, in file order.
    pub(super) fn of_kind(&self, wanted: Kind) -> impl Iterator<Item = Place> {
        self.others.iter().filter(move |(kind, _)| *kind == wanted).map(|(_, place)| *place)
    }

    /// All chunks, unordered.
    pub(super) fn all(&self) -> impl Iterator<Item = Place> {
        let stamps = self.stamps.iter().map(|c| c.place);
        stamps.chain(self.requests.iter().map(|(p, _)| *p)).chain(self.others.iter().map(|(_, p)| *p))
    }
}

fn directory_at(bytes: &[u8], at: usize) -> Option<Place> {
    match chunk::parse(bytes, at) {
        ChunkScan::Chunk(Kind::Directory, place) if chunk::body_is_whole(bytes, &place) => Some(place),
        _ => None,
    }
}

fn directory_head(bytes: &[u8], place: &Place) -> Option<directory::Head> {
    // Directories reach backwards only, so a chain of them is finite.
    directory::Head::get(bytes.get(place.head_range())?)
        .filter(|h| h.previous < place.at as u64 && h.from <= place.at as u64)
}

/// Finds the last intact directory: the one that the end chunk names, otherwise the last one in the file.
fn last_directory(bytes: &[u8]) -> Option<Place> {
    if let Some(at) = bytes.len().checked_sub(END_LEN)
        && let ChunkScan::Chunk(Kind::End, place) = chunk::parse(bytes, at)
        && let Some((directory, _)) = directory::get_end(bytes.get(place.head_range())?)
        && let Some(found) = directory_at(bytes, directory as usize)
    {
        return Some(found);
    }
    let mut to = bytes.len();
    const BLOCK: usize = 1 << 20;
    while to > HEADER {
        let from = to.saturating_sub(BLOCK).max(HEADER);
        // The block is longer by a mark, to find marks that cross the border.
        let block = bytes.get(from..(to + chunk::MARK.len() - 1).min(bytes.len()))?;
        for at in (0..block.len()).rev() {
            if block[at..].starts_with(&chunk::MARK)
                && let Some(found) = directory_at(bytes, from + at)
            {
                return Some(found);
            }
        }
        to = from;
    }
    None
}
