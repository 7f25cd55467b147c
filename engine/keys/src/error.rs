//! Errors of decoding.
use crate::hex::hex_upper;

/// Error of decoding a key or an encoded value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A key that should start with the data prefix `z` does not.
    #[error("expected a data key, which starts with 'z' (7A), found {}", hex_upper(.0))]
    NotDataKey(Vec<u8>),
    /// Not of the form `01 02 region_id 01 index`.
    #[error("expected a raft log key (01 02, region id, 01, index: 19 bytes), found {}", hex_upper(.0))]
    InvalidRaftLogKey(Vec<u8>),
    /// Wrong length of a region raft key (`01 02 region_id suffix`) or meta key (`01 03 region_id suffix`).
    #[error("expected a region {category} key of 11 bytes, found {} bytes: {}", .key.len(), hex_upper(.key))]
    InvalidRegionKeyLength {
        /// "raft" or "meta".
        category: &'static str,
        /// The key found.
        key: Vec<u8>,
    },
    /// Right length, but another prefix.
    #[error("expected a region {category} key, its prefix does not match: {}", hex_upper(.key))]
    InvalidRegionPrefix {
        /// "raft" or "meta".
        category: &'static str,
        /// The key found.
        key: Vec<u8>,
    },
    /// The input ends within the value.
    #[error("expected {need} bytes for {what}, found {have}")]
    UnexpectedEof {
        /// The value being read.
        what: &'static str,
        /// Bytes needed.
        need: usize,
        /// Bytes left.
        have: usize,
    },
    /// Memcomparable group with nonzero padding or an invalid marker.
    #[error(
        "expected zeros and a matching marker (F7 to FF) as memcomparable padding, found marker {marker:02X} after \
         group {}",
        hex_upper(.group)
    )]
    BadPadding {
        /// The eight bytes before the marker.
        group: Vec<u8>,
        /// The marker byte, which should be in F7..=FF.
        marker: u8,
    },
    /// More bytes after the value.
    #[error("expected the end after the value, found {0} more bytes")]
    TrailingBytes(usize),
    /// Varint longer than 64 bits.
    #[error("expected a varint of up to 64 bits, found a longer one")]
    VarintOverflow,
    /// Negative length.
    #[error("expected a length of compact bytes of 0 or more, found {0}")]
    NegativeLength(i64),
    /// Key too short for a timestamp.
    #[error("expected a key with an 8-byte timestamp at its end, found {0} bytes")]
    KeyLength(usize),
    /// Text that is not an escaped or hexadecimal byte string.
    #[error("expected {expected}, found {text:?}, which is invalid from byte {position} on")]
    BadText {
        /// "escaped bytes" or "hexadecimal".
        expected: &'static str,
        /// The text as given.
        text: String,
        /// Byte offset of the first invalid character.
        position: usize,
    },
}

/// Result of this crate's decoders.
pub type Result<T> = std::result::Result<T, Error>;
