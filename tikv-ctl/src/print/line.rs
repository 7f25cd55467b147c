//! Formats bytes, escaped or in hexadecimal, and numbers fast, into a reused buffer. A scan prints millions
//! of lines, so nothing here allocates once the buffer has grown.
const ESCAPES: [u64; 256] = escapes();
/// Number of bytes that are processed together.
const CHUNK: usize = 16;
/// Bytes of the buffer for the text of a chunk: twice the maximum of four for each byte, so that the compiler
/// can omit bounds checks.
const WINDOW: usize = 8 * CHUNK;

/// Computes the text of each byte in TiKV's escaped form: the text in the low four bytes of a word, its
/// length in the highest byte.
const fn escapes() -> [u64; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        let short = match b {
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            b'"' | b'\\' => b,
            _ => 0,
        };
        let (text, len) = if short != 0 {
            ([b'\\', short, 0, 0], 2)
        } else if b >= 0x20 && b < 0x7f {
            ([b, 0, 0, 0], 1)
        } else {
            ([b'\\', b'0' + (b >> 6), b'0' + ((b >> 3) & 7), b'0' + (b & 7)], 4)
        };
        table[byte] = u32::from_le_bytes(text) as u64 | len << 56;
        byte += 1;
    }
    table
}

/// Whether no byte needs an escape. The compiler vectorizes this loop.
#[inline(always)]
fn is_plain(chunk: &[u8; CHUNK]) -> bool {
    let mut special = 0u8;
    for byte in chunk {
        special |=
            u8::from(byte.wrapping_sub(0x20) > 0x5e) | u8::from(*byte == b'"') | u8::from(*byte == b'\\');
    }
    special == 0
}

/// A text that grows.
#[derive(Debug, Default)]
pub struct Line {
    buf: Vec<u8>,
    len: usize,
}

impl Line {
    /// The text so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.buf[..self.len]
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the text is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Empties the text and keeps the buffer.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Keeps only the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    #[inline]
    fn room(&mut self, more: usize) -> &mut [u8] {
        let need = self.len + more;
        if self.buf.len() < need {
            self.grow(need);
        }
        &mut self.buf[self.len..need]
    }

    #[cold]
    fn grow(&mut self, need: usize) {
        self.buf.resize(need.max(2 * self.buf.len()).max(4096), 0);
    }

    /// Adds `bytes` as they are.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Adds formatted text.
    pub fn format(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to memory does not fail.
        let _ = std::fmt::Write::write_fmt(self, text);
    }

    /// Adds `bytes` in TiKV's escaped form.
    #[inline]
    pub fn escaped(&mut self, bytes: &[u8]) {
        let room = self.room(4 * bytes.len() + WINDOW);
        let mut at = 0;
        let (chunks, rest) = bytes.as_chunks::<CHUNK>();
        for chunk in chunks {
            let Some(window) = room.get_mut(at..).and_then(<[u8]>::first_chunk_mut) else { break };
            at += if is_plain(chunk) { copy(chunk, window) } else { escape_each(chunk, window) };
        }
        match bytes.last_chunk::<CHUNK>() {
            // The last chunk is plain, so its text is itself: copy it over bytes that are already written.
            Some(last) if is_plain(last) => {
                at += rest.len();
                room[at - CHUNK..at].copy_from_slice(last);
            }
            _ => {
                let window = room.get_mut(at..).and_then(<[u8]>::first_chunk_mut);
                at += window.map_or(0, |window| escape_each(rest, window));
            }
        }
        self.len += at;
    }

    /// Adds `bytes` in TiKV's escaped form, and sets each of `ends`, of the same length, to the end of a
    /// byte's text.
    #[inline]
    pub fn escaped_with_ends(&mut self, bytes: &[u8], ends: &mut [usize]) {
        let start = self.len;
        let room = self.room(4 * bytes.len() + WINDOW);
        let mut at = 0usize;
        for (bytes, ends) in bytes.chunks(CHUNK).zip(ends.chunks_mut(CHUNK)) {
            let Some(window) = room.get_mut(at..).and_then(<[u8]>::first_chunk_mut) else { break };
            let mut ends = ends.iter_mut();
            let base = start.wrapping_add(at);
            let len = escape_with(bytes, window, |end| {
                if let Some(place) = ends.next() {
                    *place = base.wrapping_add(end);
                }
            });
            at = at.wrapping_add(len);
        }
        self.len += at;
    }

    /// Adds `bytes` in upper-case hexadecimal.
    #[inline]
    pub fn hex(&mut self, bytes: &[u8]) {
        let room = self.room(2 * bytes.len());
        let (pairs, _) = room.as_chunks_mut::<2>();
        for (pair, byte) in pairs.iter_mut().zip(bytes) {
            *pair = [digit(byte >> 4), digit(byte & 15)];
        }
        self.len += 2 * bytes.len();
    }

    /// Adds a number in decimal.
    #[inline]
    pub fn number(&mut self, number: u64) {
        let mut digits = itoa::Buffer::new();
        self.push(digits.format(number).as_bytes());
    }
}

#[inline]
fn copy(chunk: &[u8; CHUNK], window: &mut [u8; WINDOW]) -> usize {
    window[..CHUNK].copy_from_slice(chunk);
    CHUNK
}

/// Escapes up to a chunk of bytes one by one. Returns the length of the text.
#[inline]
fn escape_each(bytes: &[u8], window: &mut [u8; WINDOW]) -> usize {
    escape_with(bytes, window, |_| {})
}

/// Escapes up to a chunk of bytes, and calls `end` with each byte's end in the text. Returns its length.
#[inline(always)]
fn escape_with(bytes: &[u8], window: &mut [u8; WINDOW], mut end: impl FnMut(usize)) -> usize {
    let mut at = 0usize;
    for byte in bytes {
        let escape = ESCAPES[usize::from(*byte)];
        // Write four bytes for any length; the next text overwrites the excess. With four single writes the
        // compiler proves the bounds and merges them into one.
        let (place, text) = (at % (WINDOW / 2), (escape as u32).to_le_bytes());
        window[place] = text[0];
        window[place + 1] = text[1];
        window[place + 2] = text[2];
        window[place + 3] = text[3];
        at = at.wrapping_add((escape >> 56) as usize);
        end(at);
    }
    at
}

/// Returns the hexadecimal digit of a number below 16.
#[inline(always)]
fn digit(number: u8) -> u8 {
    number + if number > 9 { b'A' - 10 } else { b'0' }
}

impl std::fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_escapes_match_the_simple_implementation() {
        let all: Vec<u8> = (0..=255).collect();
        let plain = b"a text of more than sixteen bytes, with a \"quote\" and a \\";
        for bytes in [&all[..], &all[3..50], &plain[..], b"", b"\xff"] {
            let mut line = Line::default();
            line.push(b"'");
            line.escaped(bytes);
            line.push(b"' ");
            line.hex(bytes);
            line.push(b" ");
            line.number(18446744073709551615);
            let want = format!("'{}' {} {}", keys::escape(bytes), keys::hex_upper(bytes), u64::MAX);
            assert_eq!(String::from_utf8_lossy(line.as_bytes()), want);
        }
    }

    #[test]
    fn truncate_and_clear_shorten_a_line() {
        let mut line = Line::default();
        line.format(format_args!("{}-{}", 1, "two"));
        line.truncate(2);
        assert_eq!(line.as_bytes(), b"1-");
        line.clear();
        assert!(line.is_empty());
    }
}
