//! Where a file is not as it was written, and what that costs.
use super::{
    chunk::{self, Kind, Place},
    read::TraceFile,
    row::Row,
};

/// A place where the file is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it begins, in bytes from the file's start.
    pub offset: u64,
    /// Bytes that were passed over.
    pub len: u64,
    /// What it is, and what it costs.
    pub reason: String,
}

impl Damage {
    pub(super) fn of(place: &Place, reason: String) -> Self {
        Self { offset: place.at as u64, len: (place.end() - place.at) as u64, reason }
    }
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "at byte {}: {} ({} bytes passed over)", self.offset, self.reason, self.len)
    }
}

impl TraceFile {
    pub(super) fn note_damage(&self, damage: Damage) {
        let mut found = self.found.lock();
        if !found.contains(&damage) {
            found.push(damage);
        }
    }

    /// Notes a chunk whose body is not as it was written.
    pub(super) fn note_bad_body(&self, place: &Place) {
        if let Some(chunk) = self.index().stamps.iter().find(|c| c.place.at == place.at) {
            self.lost.lock().insert(chunk.of.number, u64::from(chunk.of.rows));
        }
        self.note_damage(self.bad_body(place));
    }

    pub(super) fn bad_body(&self, place: &Place) -> Damage {
        let index = self.index();
        let at = |p: &Place| p.at == place.at;
        let what = if let Some(chunk) = index.stamps.iter().find(|c| at(&c.place)) {
            format!("the checksum of {} stamps is wrong: they are lost", chunk.of.rows)
        } else if let Some((_, of)) = index.requests.iter().find(|(p, _)| at(p)) {
            format!(
                "the checksum of a table of {} requests is wrong: they are taken from their stamps",
                of.rows
            )
        } else {
            let kind = index.others.iter().find(|(_, p)| at(p)).map(|(kind, _)| *kind);
            format!("the checksum of {} is wrong", kind.map_or("a chunk", cost))
        };
        Damage::of(place, what)
    }

    /// What was found damaged so far. [`TraceFile::verify`] looks at all of it.
    pub fn damage(&self) -> Vec<Damage> {
        let mut all = self.index().damage.clone();
        all.extend(self.found.lock().iter().cloned());
        all.sort_by_key(|d| d.offset);
        all
    }

    /// Looks at every checksum; returns all damage.
    pub fn verify(&self) -> Vec<Damage> {
        let mut all: Vec<Place> = self.index().all().collect();
        all.sort_by_key(|p| p.at);
        for place in all {
            let header = chunk::parse(self.bytes(), place.at);
            if !chunk::body_is_whole(self.bytes(), &place) {
                self.note_bad_body(&place);
            } else if !matches!(header, chunk::Met::Chunk(_, found) if found == place) {
                let reason = "a chunk's header is damaged: a directory tells the same, nothing is lost";
                let len = (chunk::HEADER + place.head) as u64;
                self.note_damage(Damage { offset: place.at as u64, len, reason: reason.into() });
            }
            self.forget(place.at, place.end());
        }
        self.damage()
    }

    /// Notes the chunks of stamps that are missing among those that are there.
    pub(super) fn note_gaps(&self) {
        let mut lost = self.lost.lock();
        let (mut number, mut end) = (0, super::HEADER);
        for chunk in &self.index().stamps {
            let missing = chunk.of.number.saturating_sub(number);
            // What they held is not known; no more than would fit.
            let bytes = chunk.place.at.saturating_sub(end);
            for n in number..chunk.of.number.min(number.saturating_add(MAX_GAP)) {
                lost.insert(n, (bytes / Row::SIZE / missing.max(1) as usize).max(1) as u64);
            }
            (number, end) = (chunk.of.number.saturating_add(1), chunk.place.end());
        }
        // A hole behind the last of them may have been one.
        let behind = self.index().damage.iter().filter(|d| d.offset as usize >= end);
        let bytes: u64 =
            behind.map(|d| d.len).filter(|len| *len as usize > chunk::HEADER + 2 * Row::SIZE).sum();
        if bytes > 0 {
            lost.insert(number, bytes / Row::SIZE as u64);
        }
    }

    /// Stamps of missing chunks between these times, and of damaged ones if they are wanted.
    pub(super) fn lost_between(&self, from: u64, to: u64, damaged: bool) -> u64 {
        let stamps = &self.index().stamps;
        // Of a missing chunk the times of those beside it are known.
        let near = |number: u32| {
            let next = stamps.partition_point(|c| c.of.number < number);
            let behind = stamps.get(next);
            if let Some(of) = behind.map(|c| &c.of).filter(|of| of.number == number) {
                return (of.min_at, of.max_at, true);
            }
            let before = next.checked_sub(1).map_or(0, |i| stamps[i].of.min_at);
            (before, behind.map_or(u64::MAX, |c| c.of.max_at), false)
        };
        let counts = |number: u32| {
            let (first, last, is_there) = near(number);
            (damaged || !is_there) && first <= to && last >= from
        };
        self.lost.lock().iter().filter(|(number, _)| counts(**number)).map(|(_, rows)| rows).sum()
    }

    /// Stamps of a chunk that is damaged.
    pub(super) fn lost_of(&self, number: u32) -> u64 {
        self.lost.lock().get(&number).copied().unwrap_or(0)
    }
}

/// A gap of more chunks is no gap: the number of the chunk behind it is wrong.
const MAX_GAP: u32 = 1 << 16;

/// A chunk of another kind, and what it is to lose it.
fn cost(kind: Kind) -> &'static str {
    match kind {
        Kind::Trace => "a stepped trace",
        Kind::Sites => "a table of places in the source",
        Kind::Threads => "a table of threads",
        Kind::Late => "a table of late stamps",
        Kind::Live => "a table of requests on their way",
        Kind::Note => "a note on the recording",
        Kind::Directory => "a directory",
        Kind::End => "the end",
        Kind::Stamps | Kind::Requests => "a chunk",
    }
}
