//! Decoding of numbers and slices from a buffer.

/// Takes little-endian numbers, varints and slices from the front of a buffer. Returns `None` if too few
/// bytes are left.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Cursor<'a> {
    /// Creates a cursor at the start of `data`.
    pub fn new(data: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: data, len: data.len() }
    }

    /// Number of bytes taken so far.
    pub fn position(&self) -> usize {
        self.len - self.rest.len()
    }

    /// The remaining bytes.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether no byte is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes `n` bytes.
    pub fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(n)?;
        self.rest = tail;
        Some(head)
    }

    /// Takes a byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.bytes(1).map(|b| b[0])
    }

    /// Takes a fixed 16-bit number.
    pub fn u16(&mut self) -> Option<u16> {
        self.bytes(2)?.try_into().ok().map(u16::from_le_bytes)
    }

    /// Takes a fixed 32-bit number.
    pub fn u32(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    /// Takes a fixed 64-bit number.
    pub fn u64(&mut self) -> Option<u64> {
        self.bytes(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    /// Takes a varint of up to 64 bits.
    pub fn varint(&mut self) -> Option<u64> {
        keys::codec::decode_var_u64(&mut self.rest).ok()
    }

    /// Takes a varint of up to 32 bits.
    pub fn varint32(&mut self) -> Option<u32> {
        self.varint().and_then(|v| v.try_into().ok())
    }

    /// Takes a zigzag varint.
    pub fn varint_signed(&mut self) -> Option<i64> {
        keys::codec::decode_var_i64(&mut self.rest).ok()
    }

    /// Takes a length as a varint and then as many bytes.
    pub fn slice(&mut self) -> Option<&'a [u8]> {
        let len = self.varint32()?;
        self.bytes(len as usize)
    }
}
