//! Files that other tools wrote, as they come: from a pipe, compressed, with a byte order mark, in UTF-16.
//!
//! [`Input::open`] reads a file, a pipe or standard input. [`plain`] gives the bytes that a reader of some format expects:
//! unpacked, and text as UTF-8.
mod encoding;
mod open;
mod unpack;

use std::borrow::Cow;

pub use open::{Input, OnDisk, is_stdin};
pub use unpack::{MAX_UNPACKED, unpack_stream};

#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error("cannot unpack it ({kind}): {why}")]
    Packed { kind: &'static str, why: String },
    #[error("it unpacks to more than {} GiB; unpack it and cut out the part of interest", MAX_UNPACKED >> 30)]
    TooLarge,
    #[error("it is compressed {0} times; unpack it first")]
    Nested(usize),
    #[error("it is compressed by {kind}; unpack it first: `{command}`")]
    Foreign { kind: &'static str, command: &'static str },
}

/// Bytes as the reader of a format expects them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain<'a> {
    pub bytes: Cow<'a, [u8]>,
    /// Losses, in words.
    pub notes: Vec<String>,
}

/// The most layers of compression that are taken off.
const MAX_LAYERS: usize = 4;

/// Unpacks gzip, zlib and zstd, takes off a byte order mark, decodes UTF-16 and UTF-32, and turns a lone CR at the end of
/// lines into LF. Other bytes stay as they are.
///
/// # Errors
/// If nothing can be unpacked, or the packing is one that is not read here. Of a damaged file the part that can be
/// unpacked is given, with a note.
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
