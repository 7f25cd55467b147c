//! Formats keys in TiKV's escaped form. Keys in order have most bytes in common with the previous one, so
//! only the other bytes are escaped again.
use super::line::Line;

/// Formats keys one after another.
#[derive(Debug, Default)]
pub struct KeyText {
    text: Line,
    /// End of the text of each byte of the key.
    ends: Vec<usize>,
    /// The previous key, for callers that do not pass the number of shared bytes.
    key: Vec<u8>,
}

impl KeyText {
    /// Formats `key`, whose first `shared` bytes are those of the previous key, if there was one.
    #[inline]
    pub fn following(&mut self, key: &[u8], shared: usize) -> &[u8] {
        let kept = shared.min(self.ends.len()).min(key.len());
        self.text.truncate(kept.checked_sub(1).map_or(0, |last| self.ends[last]));
        self.ends.resize(key.len(), 0);
        self.text.escaped_with_ends(&key[kept..], &mut self.ends[kept..]);
        self.text.as_bytes()
    }

    /// Formats `key`.
    #[inline]
    pub fn render(&mut self, key: &[u8]) -> &[u8] {
        let shared = in_common(&self.key, key);
        self.key.truncate(shared);
        self.key.extend_from_slice(&key[shared..]);
        self.following(key, shared)
    }
}

/// Returns the length of the common prefix.
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
        fn shared_bytes_do_not_change_the_text_of_a_key(
            keys in proptest::collection::vec(proptest::collection::vec(prop_oneof![Just(b'z'), Just(0xff), Just(b'"')], 0..30), 1..9),
            claimed in 0..40usize,
        ) {
            let (mut alone, mut sharing) = (KeyText::default(), KeyText::default());
            let mut before: &[u8] = &[];
            for key in &keys {
                let want = keys::escape(key);
                prop_assert_eq!(alone.render(key), want.as_bytes());
                let shared = claimed.min(in_common(before, key));
                prop_assert_eq!(sharing.following(key, shared), want.as_bytes());
                before = key;
            }
        }
    }
}
