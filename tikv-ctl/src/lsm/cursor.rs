/// Takes little-endian numbers, varints and slices from the front of a buffer; `None` at its end.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Cursor<'a> {
    /// Reads `data` from its start.
    pub fn new(data: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: data, len: data.len() }
    }

    /// Bytes taken so far.
    pub fn position(&self) -> usize {
        self.len - self.rest.len()
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `n` bytes.
    pub fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(n)?;
        self.rest = tail;
        Some(head)
    }

    /// The next byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.bytes(1).map(|b| b[0])
    }

    /// A fixed 16-bit number.
    pub fn u16(&mut self) -> Option<u16> {
        self.bytes(2)?.try_into().ok().map(u16::from_le_bytes)
    }

    /// A fixed 32-bit number.
    pub fn u32(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    /// A fixed 64-bit number.
    pub fn u64(&mut self) -> Option<u64> {
        self.bytes(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    /// A varint of up to 64 bits.
    pub fn varint(&mut self) -> Option<u64> {
        keys::codec::decode_var_u64(&mut self.rest).ok()
    }

    /// A varint that fits a length or a 32-bit number.
    pub fn varint32(&mut self) -> Option<u32> {
        self.varint().and_then(|v| v.try_into().ok())
    }

    /// A zigzag varint.
    pub fn varint_signed(&mut self) -> Option<i64> {
        keys::codec::decode_var_i64(&mut self.rest).ok()
    }

    /// Bytes after their length.
    pub fn slice(&mut self) -> Option<&'a [u8]> {
        let len = self.varint32()?;
        self.bytes(len as usize)
    }
}
