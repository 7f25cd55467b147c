//! The lock file of a snapshot (`..._lock.sst`): a sequence of key-value pairs. Despite its extension it is
//! not an SST (TiKV `store::snap::io::build_plain_cf_file`).
//!
//! ```text
//! field         bytes          meaning
//! key length    zigzag varint  0 ends the file
//! key
//! value length  zigzag varint
//! value
//! ```
use keys::codec::decode_compact_bytes;

/// Iterates over the pairs of a lock file.
#[derive(Debug)]
pub struct LockFile<'a> {
    all: &'a [u8],
    rest: &'a [u8],
    done: bool,
}

/// A key and its value.
pub type LockPair<'a> = (&'a [u8], &'a [u8]);

impl<'a> LockFile<'a> {
    /// Creates an iterator over the file with the contents `bytes`.
    pub fn new(bytes: &'a [u8]) -> LockFile<'a> {
        LockFile { all: bytes, rest: bytes, done: false }
    }

    fn pair(&mut self) -> Result<Option<LockPair<'a>>, &'static str> {
        let key = decode_compact_bytes(&mut self.rest)
            .map_err(|_| "expected a key or the end mark, found the end of the file: it was truncated")?;
        match (key, self.rest) {
            ([], []) => Ok(None),
            ([], _) => Err(
                "expected the end of the file after the end mark of a snapshot's lock file, found more bytes",
            ),
            _ => {
                let value = decode_compact_bytes(&mut self.rest).map_err(
                    |_| "expected a key and a value, found the end of the file within them: it was truncated",
                )?;
                Ok(Some((key, value)))
            }
        }
    }
}

impl<'a> Iterator for LockFile<'a> {
    /// A pair, or the offset and description of damage.
    type Item = Result<LockPair<'a>, (usize, &'static str)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let at = self.all.len() - self.rest.len();
        let pair = self.pair();
        self.done = !matches!(pair, Ok(Some(_)));
        pair.map_err(|what| (at, what)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_key_ends_the_pairs() {
        let file = [2, b'k', 4, b'v', b'w', 0];
        fn all(bytes: &[u8]) -> Option<Result<LockPair<'_>, usize>> {
            LockFile::new(bytes).map(|pair| pair.map_err(|(at, _)| at)).last()
        }
        assert_eq!(all(&file), Some(Ok((&b"k"[..], &b"vw"[..]))));
        assert_eq!(all(&file[..5]), Some(Err(5)));
        assert_eq!(all(&file[..3]), Some(Err(0)));
        assert_eq!(all(&[0, 7]), Some(Err(0)));
        assert_eq!(all(&[0]), None);
    }
}
