//! Reads numbers in the byte order of the recording machine, with their offsets in the file.

/// Unread bytes, and their offset in the file.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a> {
    pub at: usize,
    pub rest: &'a [u8],
    /// Whether the byte order is big-endian.
    pub big: bool,
}

impl<'a> Bytes<'a> {
    /// Returns a part of a file; `None` if the file ends before it does.
    pub fn part(file: &'a [u8], offset: u64, len: u64, big: bool) -> Option<Self> {
        let at = usize::try_from(offset).ok()?;
        let end = at.checked_add(usize::try_from(len).ok()?)?;
        Some(Self { at, rest: file.get(at..end)?, big })
    }

    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        self.at += len;
        Some(head)
    }

    /// Takes the next bytes as a part of their own.
    pub fn sub(&mut self, len: usize) -> Option<Self> {
        let (at, big) = (self.at, self.big);
        Some(Self { at, rest: self.take(len)?, big })
    }

    pub fn u16(&mut self) -> Option<u16> {
        let bytes = self.take(2)?.try_into().ok()?;
        Some(if self.big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    pub fn u32(&mut self) -> Option<u32> {
        let bytes = self.take(4)?.try_into().ok()?;
        Some(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    pub fn u64(&mut self) -> Option<u64> {
        let bytes = self.take(8)?.try_into().ok()?;
        Some(if self.big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }

    /// Skips `n` numbers of 8 bytes.
    pub fn skip_words(&mut self, n: u64) -> Option<()> {
        self.take(usize::try_from(n).ok()?.checked_mul(8)?).map(drop)
    }

    /// Reads a text up to its zero, or all remaining bytes.
    pub fn text(&self) -> String {
        let end = self.rest.iter().position(|b| *b == 0).unwrap_or(self.rest.len());
        String::from_utf8_lossy(&self.rest[..end]).into_owned()
    }
}
