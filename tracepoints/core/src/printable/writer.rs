//! A guard around a whole output.
use std::io::{self, Write};

use super::{Form, push_bytes};

/// Passes text on with terminal commands replaced by escapes; a character may be split between two writes.
///
/// For text only: binary output must bypass it.
pub struct Writer<W: Write> {
    inner: W,
    form: Form,
    /// The start of a character whose other bytes have not been written yet.
    begun: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Creates a guard around `inner`; `form` says which characters stay.
    pub fn new(inner: W, form: Form) -> Self {
        Self { inner, form, begun: Vec::new() }
    }

    /// Whether bytes can be passed on unchanged: ASCII without control characters other than those that stay.
    fn is_plain(&self, bytes: &[u8]) -> bool {
        bytes.iter().all(|b| b.is_ascii() && !self.form.escapes(char::from(*b)))
    }

    fn pass(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut out = String::with_capacity(bytes.len() + 16);
        push_bytes(bytes, self.form, &mut out);
        self.inner.write_all(out.as_bytes())
    }
}

/// Returns the offset of an incomplete character at the end of `bytes`.
fn begun_at(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes.get(bytes.len().saturating_sub(3)..).unwrap_or_default()) {
        Ok(_) => bytes.len(),
        Err(_) => {
            // Only the last chunk can be incomplete; its invalid part is at most three bytes.
            let last = bytes.utf8_chunks().last().map_or(&[][..], |c| c.invalid());
            let incomplete = std::str::from_utf8(last).is_err_and(|e| e.error_len().is_none());
            if incomplete { bytes.len() - last.len() } else { bytes.len() }
        }
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.begun.is_empty() && self.is_plain(bytes) {
            self.inner.write_all(bytes)?;
            return Ok(bytes.len());
        }
        let mut all = std::mem::take(&mut self.begun);
        all.extend_from_slice(bytes);
        self.begun = all.split_off(begun_at(&all));
        self.pass(&all)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Write> Drop for Writer<W> {
    /// Writes the bytes of an incomplete character. Call `flush` before to get errors.
    fn drop(&mut self) {
        let begun = std::mem::take(&mut self.begun);
        if !begun.is_empty() {
            // A destructor cannot report an error.
            let _ = self.pass(&begun);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::printable_bytes, *};

    #[test]
    fn lines_stay_and_terminal_commands_are_escaped() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, Form::Lines);
        for piece in [&b"a\n\x1b[31m"[..], b"z\xc3", b"\xbc\xe2\x80", b"\xae!\xff", b"\xf0\x9f"] {
            writer.write_all(piece).unwrap();
        }
        drop(writer);
        assert_eq!(String::from_utf8(out).unwrap(), "a\n\\x1b[31mzü\\u{202e}!\\xff\\xf0\\x9f");
    }

    proptest! {
        #[test]
        fn how_it_is_split_does_not_matter(pieces in proptest::collection::vec(any::<Vec<u8>>(), 0..6), text in any::<String>(), at in any::<prop::sample::Index>()) {
            let mut pieces = pieces;
            let (a, b) = text.as_bytes().split_at(at.index(text.len() + 1));
            pieces.extend([a.to_vec(), b.to_vec()]);
            let mut out = Vec::new();
            let mut writer = Writer::new(&mut out, Form::Line);
            pieces.iter().for_each(|p| writer.write_all(p).unwrap());
            drop(writer);
            prop_assert_eq!(String::from_utf8(out).unwrap(), printable_bytes(&pieces.concat()).into_owned());
        }
    }
}
