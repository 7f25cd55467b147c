//! Checks a file and counts the stamps lost in its damaged parts.
use super::{
    chunk::{self, Kind, Place},
    damage::Damage,
    read::TraceFile,
    row::Row,
};

impl TraceFile {
    pub(super) fn note_damage(&self, damage: Damage) {
        let mut found = self.found.lock();
        if !found.contains(&damage) {
            found.push(damage);
        }
    }

    /// Records a chunk whose body is damaged.
    pub(super) fn note_bad_body(&self, place: &Place) {
        if let Some(chunk) = self.index().stamps.iter().find(|c| c.place.at == place.at) {
            self.lost.lock().insert(chunk.summary.number, u64::from(chunk.summary.rows));
        }
        self.note_damage(self.bad_body(place));
    }

    pub(super) fn bad_body(&self, place: &Place) -> Damage {
        let index = self.index();
        let at = |p: &Place| p.at == place.at;
        let what = if let Some(chunk) = index.stamps.iter().find(|c| at(&c.place)) {
            format!("the checksum of {} stamps is wrong: they are lost", chunk.summary.rows)
        } else if let Some((_, of)) = index.requests.iter().find(|(p, _)| at(p)) {
            format!("the checksum of a table of {} requests is wrong: rebuilding it from the stamps", of.rows)
        } else {
            let kind = index.others.iter().find(|(_, p)| at(p)).map(|(kind, _)| *kind);
            format!("the checksum of {} is wrong", kind.map_or("a chunk", cost))
        };
        Damage::at(place, what)
    }

    /// Returns the damage found so far. [`TraceFile::verify`] checks the whole file.
    pub fn damage(&self) -> Vec<Damage> {
        let mut all = self.index().damage.clone();
        all.extend(self.found.lock().iter().cloned());
        all.sort_by_key(|d| d.offset);
        all
    }

    /// Checks every checksum; returns all damage.
    pub fn verify(&self) -> Vec<Damage> {
        let mut all: Vec<Place> = self.index().all().collect();
        all.sort_by_key(|p| p.at);
        for place in all {
            let header = chunk::parse(self.bytes(), place.at);
            if !chunk::body_is_whole(self.bytes(), &place) {
                self.note_bad_body(&place);
            } else if !matches!(header, chunk::ChunkScan::Chunk(_, found) if found == place) {
                let reason = "a chunk's header is damaged: a directory has a copy, nothing is lost";
                let len = (chunk::HEADER + place.head) as u64;
                self.note_damage(Damage { offset: place.at as u64, len, reason: reason.into() });
            }
            self.forget(place.at, place.end());
        }
        self.damage()
    }

    /// Records the chunks of stamps that are missing between intact ones.
    pub(super) fn note_gaps(&self) {
        let mut lost = self.lost.lock();
        let (mut number, mut end) = (0, super::HEADER);
        for chunk in &self.index().stamps {
            let missing = chunk.summary.number.saturating_sub(number);
            // Their contents are unknown; this is the most that fits into the gap.
            let bytes = chunk.place.at.saturating_sub(end);
            for n in number..chunk.summary.number.min(number.saturating_add(MAX_GAP)) {
                lost.insert(n, (bytes / Row::SIZE / missing.max(1) as usize).max(1) as u64);
            }
            (number, end) = (chunk.summary.number.saturating_add(1), chunk.place.end());
        }
        // Damage after the last chunk of stamps may have been another such chunk.
        let after = self.index().damage.iter().filter(|d| d.offset as usize >= end);
        let bytes: u64 =
            after.map(|d| d.len).filter(|len| *len as usize > chunk::HEADER + 2 * Row::SIZE).sum();
        if bytes > 0 {
            lost.insert(number, bytes / Row::SIZE as u64);
        }
    }

    /// Counts the stamps of missing chunks between these times in Unix ns, and of damaged chunks if
    /// `damaged`.
    pub(super) fn lost_between(&self, from: u64, to: u64, damaged: bool) -> u64 {
        let stamps = &self.index().stamps;
        // The times of a missing chunk are bounded by the chunks around it.
        let near = |number: u32| {
            let next = stamps.partition_point(|c| c.summary.number < number);
            let after = stamps.get(next);
            if let Some(of) = after.map(|c| &c.summary).filter(|of| of.number == number) {
                return (of.min_at, of.max_at, true);
            }
            let before = next.checked_sub(1).map_or(0, |i| stamps[i].summary.min_at);
            (before, after.map_or(u64::MAX, |c| c.summary.max_at), false)
        };
        let counts = |number: u32| {
            let (first, last, is_there) = near(number);
            (damaged || !is_there) && first <= to && last >= from
        };
        self.lost.lock().iter().filter(|(number, _)| counts(**number)).map(|(_, rows)| rows).sum()
    }

    /// Counts the stamps of a damaged chunk.
    pub(super) fn lost_of(&self, number: u32) -> u64 {
        self.lost.lock().get(&number).copied().unwrap_or(0)
    }
}

/// A larger gap means that the number of the next chunk is wrong, not that chunks are missing.
const MAX_GAP: u32 = 1 << 16;

/// Names the data of a chunk for a damage report.
fn cost(kind: Kind) -> &'static str {
    match kind {
        Kind::Trace => "a stepped trace",
        Kind::Sites => "a table of source locations",
        Kind::Threads => "a table of threads",
        Kind::Late => "a table with late stamps",
        Kind::Live => "a table of requests in flight",
        Kind::Note => "a note about the recording",
        Kind::Directory => "a directory",
        Kind::End => "the end",
        Kind::Stamps | Kind::Requests => "a chunk",
    }
}
