//! Numbers from bytes, in the order of the machine that wrote them, with the place in the file.

/// What is left to read, and where it begins in the file.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a> {
    pub at: usize,
    pub rest: &'a [u8],
    /// The most significant byte first.
    pub big: bool,
}

impl<'a> Bytes<'a> {
    /// A part of a file; None if the file ends before it does.
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

    /// The next bytes for themselves.
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

    /// Passes over `n` numbers of 8 bytes.
    pub fn skip_words(&mut self, n: u64) -> Option<()> {
        self.take(usize::try_from(n).ok()?.checked_mul(8)?).map(drop)
    }

    /// A text up to its zero, or all that is left.
    pub fn text(&self) -> String {
        let end = self.rest.iter().position(|b| *b == 0).unwrap_or(self.rest.len());
        String::from_utf8_lossy(&self.rest[..end]).into_owned()
    }
}
