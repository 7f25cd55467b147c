//! Violations of a format inside of a buffer. The reader of the file adds the file and the buffer's offset.

/// A block that is not a sequence of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The parts at the end of the block do not fit in it.
    #[error("{what} in a block of {len} bytes")]
    Tail {
        /// The part and its fault.
        what: &'static str,
        /// Bytes of the block.
        len: usize,
    },
    /// The lengths of an entry do not decode, or exceed the block.
    #[error("the entry at byte {at} of the plain block does not decode")]
    Entry {
        /// Offset in the plain block, in bytes.
        at: usize,
    },
    /// The offset of a restart point is not one of an entry.
    #[error("restart point {index} is outside the block")]
    RestartPoint {
        /// Index of the restart point.
        index: usize,
    },
}

/// A compressed block or record whose plain bytes cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompressError {
    /// A format_version in which this codec's blocks have another form.
    #[error("{codec} blocks of format_version 0 and 1 are not supported")]
    Version {
        /// RocksDB's name of the compression.
        codec: &'static str,
    },
    /// A compression that is not supported.
    #[error(
        "expected a block compressed with none, Snappy, Zlib, LZ4 or ZSTD, found type {kind} ({name}): the block \
         is damaged, or only the program that wrote the file can read it"
    )]
    Type {
        /// RocksDB's number of the compression.
        kind: u8,
        /// RocksDB's name of the compression.
        name: &'static str,
    },
    /// The codec refuses the bytes.
    #[error("{codec}: {what}")]
    Codec {
        /// The codec.
        codec: &'static str,
        /// The codec's reason.
        what: String,
    },
    /// The plain length at the front does not decode.
    #[error("the plain length of a compressed block does not decode")]
    Length,
    /// The plain length exceeds the limit of a block.
    #[error("expected a block of up to {limit} plain bytes, found {found}: the block is damaged")]
    TooLong {
        /// Maximum plain length, in bytes.
        limit: usize,
        /// The claimed plain length, in bytes.
        found: u64,
    },
    /// The codec cannot make as many plain bytes of the compressed ones.
    #[error("{codec}: {len} bytes cannot contain {plain} plain bytes: the block is damaged")]
    Implausible {
        /// The codec.
        codec: &'static str,
        /// Compressed bytes.
        len: usize,
        /// The claimed plain length, in bytes.
        plain: usize,
    },
    /// A block above TiKV's largest value that is compressed too well to be one of a store.
    #[error(
        "{codec}: {len} bytes claim to contain {plain} plain bytes: a block above 8 MiB, the largest value of TiKV, is \
         read only if it was compressed at most {max_ratio} times"
    )]
    Suspicious {
        /// The codec.
        codec: &'static str,
        /// Compressed bytes.
        len: usize,
        /// The claimed plain length, in bytes.
        plain: usize,
        /// Maximum number of plain bytes per compressed byte.
        max_ratio: usize,
    },
    /// Another plain length than the one at the front.
    #[error("{codec}: expected {expected} plain bytes, found {found}")]
    Size {
        /// The codec.
        codec: &'static str,
        /// The plain length at the front, in bytes.
        expected: usize,
        /// The actual plain length, in bytes.
        found: u64,
    },
}

/// A record that is not a write batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// No room for the header.
    #[error("expected a write batch of at least 12 bytes, found {found}")]
    Header {
        /// Bytes of the record.
        found: usize,
    },
    /// A change with an unknown tag, or whose key or value exceeds the record.
    #[error("tag {tag:#x} at byte {at} of a write batch does not decode")]
    Change {
        /// The tag.
        tag: u8,
        /// Offset after the tag, in bytes.
        at: usize,
    },
    /// Another number of changes than the header has.
    #[error("expected a write batch of {expected} changes, found {found}")]
    Count {
        /// The number in the header.
        expected: u32,
        /// The number of changes in the record.
        found: u64,
    },
}

/// A blob record that is not a key and a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// No room for the header.
    #[error("expected a blob record of at least {expected} bytes, found {found}")]
    Header {
        /// Bytes of the header.
        expected: usize,
        /// Bytes of the record.
        found: usize,
    },
    /// Another length than the header has.
    #[error("expected a blob record of {expected} bytes by its header, found {found}")]
    Size {
        /// The length in the header, in bytes.
        expected: u32,
        /// Bytes after the header.
        found: usize,
    },
    /// The checksum is not that of the record.
    #[error("the checksum of the blob record does not match: the record is damaged")]
    Checksum,
    /// The record cannot be decompressed.
    #[error(transparent)]
    Compress(#[from] CompressError),
    /// The plain record is not a key and a value.
    #[error("the blob record's key and value do not decode")]
    Pair,
}

/// A line of an OPTIONS file that is neither a section nor a setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: expected [section] or name=value, found {found:?}")]
pub struct OptionsError {
    /// Number of the line, from 1.
    pub line: usize,
    /// Offset of the line, in bytes.
    pub offset: u64,
    /// The line without comment and white space at its ends.
    pub found: String,
}
