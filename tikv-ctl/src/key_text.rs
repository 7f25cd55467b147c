//! Keys in TiKV's escaped form. They come in order and have most in common with the one before: only what differs is
//! escaped anew.

use crate::line::Line;

/// The text of one key after another.
#[derive(Debug, Default)]
pub struct KeyText {
    text: Line,
    /// Where the text of each byte of the key ends.
    ends: Vec<usize>,
    /// The key before, where it is not told what it shares with the next.
    key: Vec<u8>,
}

impl KeyText {
    /// The text of `key`, whose first `shared` bytes are those of the key that was shown before, if one was.
    #[inline]
    pub fn following(&mut self, key: &[u8], shared: usize) -> &[u8] {
        let kept = shared.min(self.ends.len()).min(key.len());
        self.text.truncate(kept.checked_sub(1).map_or(0, |last| self.ends[last]));
        self.ends.resize(key.len(), 0);
        self.text.escaped_with_ends(&key[kept..], &mut self.ends[kept..]);
        self.text.as_bytes()
    }

    /// The text of `key`.
    #[inline]
    pub fn of(&mut self, key: &[u8]) -> &[u8] {
        let shared = in_common(&self.key, key);
        self.key.truncate(shared);
        self.key.extend_from_slice(&key[shared..]);
        self.following(key, shared)
    }
}

/// How many bytes both begin with.
#[inline]
fn in_common(a: &[u8], b: &[u8]) -> usize {
    let same = |(a, b): &(&[u8; 8], &[u8; 8])| a == b;
    let words = a.as_chunks().0.iter().zip(b.as_chunks().0).take_while(same).count() * 8;
    words + a[words..].iter().zip(&b[words..]).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_key_has_the_text_that_it_has_alone(
            keys in proptest::collection::vec(proptest::collection::vec(prop_oneof![Just(b'z'), Just(0xff), Just(b'"')], 0..30), 1..9),
            claimed in 0..40usize,
        ) {
            let (mut alone, mut told) = (KeyText::default(), KeyText::default());
            let mut before: &[u8] = &[];
            for key in &keys {
                let want = keys::escape(key);
                prop_assert_eq!(alone.of(key), want.as_bytes());
                let shared = claimed.min(in_common(before, key));
                prop_assert_eq!(told.following(key, shared), want.as_bytes());
                before = key;
            }
        }
    }
}
