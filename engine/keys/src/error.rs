use crate::escape::hex_upper;

/// What can be wrong with a key or an encoded value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A key that should start with the data prefix `z` does not.
    #[error("expected a data key, which starts with 'z' (7A), met {}", hex_upper(.0))]
    NotDataKey(Vec<u8>),
    /// Not `01 02 region_id 01 index`.
    #[error("expected a raft log key (01 02, region id, 01, index: 19 bytes), met {}", hex_upper(.0))]
    InvalidRaftLogKey(Vec<u8>),
    /// Neither `01 02 region_id suffix` nor `01 03 region_id suffix`, whichever was asked for.
    #[error("expected a region {category} key of 11 bytes, met {} bytes: {}", .key.len(), hex_upper(.key))]
    InvalidRegionKeyLength {
        /// "raft" or "meta".
        category: &'static str,
        /// The key that was met.
        key: Vec<u8>,
    },
    /// The right length, but the prefix of something else.
    #[error("expected a region {category} key, its prefix does not match: {}", hex_upper(.key))]
    InvalidRegionPrefix {
        /// "raft" or "meta".
        category: &'static str,
        /// The key that was met.
        key: Vec<u8>,
    },
    /// The input ended before the value did.
    #[error("unexpected end of input: {what} needs {need} bytes, {have} are left")]
    UnexpectedEof {
        /// What was being read.
        what: &'static str,
        /// Bytes that it takes.
        need: usize,
        /// Bytes that were left.
        have: usize,
    },
    /// A memcomparable group whose padding is not zero or whose marker is impossible.
    #[error("bad memcomparable padding: marker {marker:02X} after group {}", hex_upper(.group))]
    BadPadding {
        /// The eight bytes before the marker.
        group: Vec<u8>,
        /// The marker byte, which should be in F7..=FF.
        marker: u8,
    },
    /// Bytes follow a value that should have ended the input.
    #[error("{0} unexpected bytes after the value")]
    TrailingBytes(usize),
    /// A varint that does not fit 64 bits.
    #[error("varint is longer than 64 bits")]
    VarintOverflow,
    /// A length that is negative.
    #[error("compact bytes have a negative length: {0}")]
    NegativeLength(i64),
    /// A key too short to end in a timestamp.
    #[error("expected a key with an 8-byte timestamp at its end, met {0} bytes")]
    KeyLength(usize),
    /// A text that is not an escaped or hexadecimal byte string.
    #[error("cannot read {text:?} as {expected}: position {position}")]
    BadText {
        /// "escaped bytes" or "hexadecimal".
        expected: &'static str,
        /// The text as given.
        text: String,
        /// The byte offset of the first character that does not fit.
        position: usize,
    },
}

/// The result of this crate's decoders.
pub type Result<T> = std::result::Result<T, Error>;
