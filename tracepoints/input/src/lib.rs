//! Reads files of other tools in any form: from a pipe, compressed, with a byte order mark, in UTF-16.
//!
//! [`Input::open`] reads a file, a pipe or standard input. [`plain`] returns the bytes that a format's reader
//! expects: unpacked, and text as UTF-8.
#![warn(missing_docs)]
#![deny(unsafe_code)]

mod encoding;
mod open;
mod unpack;

use std::borrow::Cow;

pub use memmap2::Mmap;
pub use open::{Input, OnDisk, is_stdin, map_file, read_text};
pub use unpack::{MAX_UNPACKED, unpack_stream};

/// Why a file cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The compressed data is damaged.
    #[error("cannot unpack the {kind} data: {why}")]
    Packed {
        /// The compression.
        kind: &'static str,
        /// The error.
        why: String,
    },
    /// The unpacked data is larger than [`MAX_UNPACKED`].
    #[error("the file unpacks to more than {} GiB: unpack it and cut out the part of interest", MAX_UNPACKED >> 30)]
    TooLarge,
    /// There are more layers of compression than are unpacked.
    #[error("the file is compressed {0} times: unpack it first")]
    Nested(usize),
    /// The compression is not supported.
    #[error("the file is packed by {kind}: unpack it first with `{command}`")]
    Foreign {
        /// The compression.
        kind: &'static str,
        /// The command that unpacks it.
        command: &'static str,
    },
}

/// Bytes in the form that a format's reader expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain<'a> {
    /// The bytes.
    pub bytes: Cow<'a, [u8]>,
    /// Descriptions of the losses.
    pub notes: Vec<String>,
}

/// Maximum number of compression layers.
const MAX_LAYERS: usize = 4;

/// Unpacks gzip, zlib and zstd, removes a byte order mark and zeros after the end of a text, decodes UTF-16,
/// UTF-32 and Latin-1, and turns a lone CR at the end of lines into LF. Other bytes stay unchanged.
///
/// # Errors
/// If nothing can be unpacked, or the compression is not supported. The readable part of a damaged file is
/// returned with a note.
pub fn plain(bytes: &[u8]) -> Result<Plain<'_>, InputError> {
    let mut out = Plain { bytes: Cow::Borrowed(bytes), notes: Vec::new() };
    for layer in 0.. {
        let Some(packing) = unpack::packing(&out.bytes)? else { break };
        if layer == MAX_LAYERS {
            return Err(InputError::Nested(layer + 1));
        }
        let (unpacked, note) = unpack::unpack(packing, &out.bytes)?;
        out.bytes = Cow::Owned(unpacked);
        out.notes.extend(note);
    }
    encoding::to_utf8(&mut out);
    Ok(out)
}

#[cfg(test)]
mod tests;
