//! A directory: the heads of all chunks since the previous directory, so that a reader need not visit those
//! chunks.
//!
//! Head: offset of the previous directory (0: none), offset of the live table of the same checkpoint (0:
//! none), and the first offset that this directory covers; then the offsets of up to [`EARLIER`] earlier
//! directories, so that a reader can request all of them from the disk at once. Body: for each chunk its
//! offset and lengths, its kind and a copy of its head.
use super::chunk::{HEADER, Kind, Place, u32_at, u64_at};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub previous: u64,
    pub live: u64,
    /// First byte covered: the directory lists all chunks from there up to itself.
    pub from: u64,
}

/// Number of earlier directories that each directory names: enough for a file of about 10 GB.
pub(super) const EARLIER: usize = 255;
const NUMBERS: usize = 24;

impl Head {
    /// Encodes the head with the offsets of earlier directories, newest first.
    pub(super) fn put(&self, earlier: impl IntoIterator<Item = u64>) -> Vec<u8> {
        let numbers = [self.previous, self.live, self.from].into_iter();
        numbers.chain(earlier.into_iter().take(EARLIER)).flat_map(u64::to_le_bytes).collect()
    }

    pub(super) fn get(bytes: &[u8]) -> Option<Self> {
        Some(Self { previous: u64_at(bytes, 0)?, live: u64_at(bytes, 8)?, from: u64_at(bytes, 16)? })
    }
}

/// Reads the offsets of earlier directories from a directory's head; files of an older version have none.
pub(super) fn earlier(head: &[u8]) -> impl Iterator<Item = u64> {
    (NUMBERS..head.len()).step_by(8).map_while(|at| u64_at(head, at))
}

const LINE: usize = 20;

/// Adds a chunk to the body of the next directory.
pub(super) fn note(body: &mut Vec<u8>, kind: Kind, place: &Place, head: &[u8]) {
    body.extend_from_slice(&(place.at as u64).to_le_bytes());
    for n in [kind as u32, place.head as u32, place.body as u32] {
        body.extend_from_slice(&n.to_le_bytes());
    }
    body.extend_from_slice(head);
}

/// The chunks in a directory's body, with their heads; `None` for an invalid item.
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
    Some((Kind::from_number(number(8)?)?, place, body.get(from..from.checked_add(place.head)?)?))
}

/// Encodes the head of an end chunk: the offset of the last directory, and why the recording ended.
pub(super) fn put_end(directory: u64, why: u32) -> Vec<u8> {
    [directory.to_le_bytes(), u64::from(why).to_le_bytes()].concat()
}

pub(super) fn get_end(head: &[u8]) -> Option<(u64, u32)> {
    Some((u64_at(head, 0)?, u64_at(head, 8)? as u32))
}

/// Length of an end chunk in bytes: a reader looks for it at the end of the file.
pub(super) const END_LEN: usize = HEADER + 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_names_at_most_max_earlier_directories() {
        let head = Head { previous: 900, live: 0, from: 910 };
        let many: Vec<u64> = (0..300).rev().map(|n| n * 3).collect();
        let bytes = head.put(many.iter().copied());
        assert_eq!(Head::get(&bytes), Some(head));
        assert_eq!(earlier(&bytes).collect::<Vec<_>>(), many[..EARLIER]);
        let of_before = &bytes[..NUMBERS];
        assert_eq!((Head::get(of_before), earlier(of_before).count()), (Some(head), 0), "an earlier version");
    }
}
