//! A directory: what a reader must know of all chunks since the directory before, so that it need not visit them.
//!
//! Head: where the directory before stands (0: none), where the live table of the same checkpoint stands (0: none), and
//! how far back this one reaches. Body: for each chunk its place, its kind, and a copy of its head.
use super::chunk::{HEADER, Kind, Place, u32_at, u64_at};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub previous: u64,
    pub live: u64,
    /// The first byte that it speaks for; all chunks from there to itself are in it.
    pub from: u64,
}

impl Head {
    pub(super) fn put(&self) -> Vec<u8> {
        [self.previous, self.live, self.from].iter().flat_map(|n| n.to_le_bytes()).collect()
    }

    pub(super) fn get(bytes: &[u8]) -> Option<Self> {
        Some(Self { previous: u64_at(bytes, 0)?, live: u64_at(bytes, 8)?, from: u64_at(bytes, 16)? })
    }
}

const LINE: usize = 20;

/// Notes a chunk in the body of the next directory.
pub(super) fn note(body: &mut Vec<u8>, kind: Kind, place: &Place, head: &[u8]) {
    body.extend_from_slice(&(place.at as u64).to_le_bytes());
    for n in [kind as u32, place.head as u32, place.body as u32] {
        body.extend_from_slice(&n.to_le_bytes());
    }
    body.extend_from_slice(head);
}

/// The chunks in a directory's body, with their heads; None where it makes no sense.
pub(super) fn chunks(body: &[u8]) -> impl Iterator<Item = Option<(Kind, Place, &[u8])>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= body.len() {
            return None;
        }
        let one = line(body, at);
        at = one.as_ref().map_or(body.len(), |(_, _, head)| at + LINE + head.len());
        Some(one)
    })
}

fn line(body: &[u8], at: usize) -> Option<(Kind, Place, &[u8])> {
    let number = |i: usize| u32_at(body, at + i);
    let place =
        Place { at: u64_at(body, at)? as usize, head: number(12)? as usize, body: number(16)? as usize };
    let from = at + LINE;
    Some((Kind::of(number(8)?)?, place, body.get(from..from.checked_add(place.head)?)?))
}

/// The head of an end: where the last directory stands, why the recording ended.
pub(super) fn put_end(directory: u64, why: u32) -> Vec<u8> {
    [directory.to_le_bytes(), u64::from(why).to_le_bytes()].concat()
}

pub(super) fn get_end(head: &[u8]) -> Option<(u64, u32)> {
    Some((u64_at(head, 0)?, u64_at(head, 8)? as u32))
}

/// An end's whole length: it is looked for at the end of the file.
pub(super) const END_LEN: usize = HEADER + 16;
