//! Unpacks one layer of compression.
use std::io::Read;

use flate2::read::{MultiGzDecoder, ZlibDecoder};
use ruzstd::decoding::{
    StreamingDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

use crate::InputError;

/// Maximum unpacked size in bytes: a larger file may be a decompression bomb.
pub const MAX_UNPACKED: u64 = 2 << 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    Zlib,
    Zstd,
}

impl Packing {
    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zlib => "zlib",
            Self::Zstd => "zstd",
        }
    }
}

const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// First bytes of unsupported archives, and the commands that unpack them.
const FOREIGN: &[(&[u8], &str, &str)] = &[
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz", "xz -d"),
    (b"BZh", "bzip2", "bzip2 -d"),
    (b"PK\x03\x04", "zip", "unzip"),
    (&[0x04, 0x22, 0x4d, 0x18], "lz4", "lz4 -d"),
    (&[b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c], "7z", "7z x"),
    (&[0x1f, 0x9d], "compress", "uncompress"),
    (&[0x5d, 0, 0], "lzma", "xz -d --format=lzma"),
    (&[0xff, 6, 0, 0, b's', b'N', b'a', b'P', b'p', b'Y'], "snappy", "snzip -d"),
    (&[0x89, b'L', b'Z', b'O', 0], "lzop", "lzop -d"),
];
/// Name of the format at its offset in the first header of a tar archive.
const TAR: (&[u8], usize) = (b"ustar", 257);

/// Detects the compression; `None` if there is none.
pub(crate) fn packing(bytes: &[u8]) -> Result<Option<Packing>, InputError> {
    // Text may begin with the three letters `BZh`; in an archive a digit and the magic number of a block
    // follow.
    let is = |magic: &[u8]| {
        bytes.starts_with(magic) && (magic != b"BZh" || bytes[4.min(bytes.len())..].starts_with(b"1AY&SY"))
    };
    if let Some((_, kind, command)) = FOREIGN.iter().find(|(magic, ..)| is(magic)) {
        return Err(InputError::Foreign { kind, command });
    }
    if bytes.get(TAR.1..).is_some_and(|rest| rest.starts_with(TAR.0)) && bytes[..TAR.1].contains(&0) {
        return Err(InputError::Foreign { kind: "tar", command: "tar -xf" });
    }
    Ok(match bytes {
        [0x1f, 0x8b, ..] => Some(Packing::Gzip),
        // A name may begin with `x^`.
        [b'x', 0x01 | 0x5e | 0x9c | 0xda, _, ..] if !is_printable(bytes) => Some(Packing::Zlib),
        _ if bytes.starts_with(ZSTD) || is_skippable(bytes) => Some(Packing::Zstd),
        _ => None,
    })
}

/// Whether the first bytes are ASCII text.
fn is_printable(bytes: &[u8]) -> bool {
    bytes.iter().take(64).all(|b| matches!(b, b'\t' | b'\n' | b'\r' | b' '..=b'~'))
}

/// Whether the bytes begin with a zstd frame without data, which may come first.
fn is_skippable(bytes: &[u8]) -> bool {
    matches!(bytes, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// Returns the unpacked bytes, and a description of any damage.
pub(crate) fn unpack(packing: Packing, bytes: &[u8]) -> Result<(Vec<u8>, Option<String>), InputError> {
    let mut out = Vec::new();
    let result = match packing {
        Packing::Gzip => read(MultiGzDecoder::new(bytes), &mut out),
        Packing::Zlib => read(ZlibDecoder::new(bytes), &mut out),
        Packing::Zstd => zstd(bytes, &mut out),
    };
    if out.len() as u64 > MAX_UNPACKED {
        return Err(InputError::TooLarge);
    }
    let kind = packing.name();
    match result {
        Ok(()) => Ok((out, None)),
        Err(why) if out.is_empty() => Err(InputError::Packed { kind, why }),
        Err(why) => {
            let note = format!(
                "the {kind} data is damaged or cut short after {} unpacked bytes ({why}): the rest is skipped",
                out.len()
            );
            Ok((out, Some(note)))
        }
    }
}

fn read(from: impl Read, out: &mut Vec<u8>) -> Result<(), String> {
    let left = (MAX_UNPACKED + 1).saturating_sub(out.len() as u64);
    from.take(left).read_to_end(out).map(drop).map_err(|e| e.to_string())
}

/// Unpacks all frames of the file in sequence.
fn zstd(mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    while !bytes.is_empty() && out.len() as u64 <= MAX_UNPACKED {
        match StreamingDecoder::new_with_max_window_size(&mut bytes, MAX_UNPACKED) {
            Ok(frame) => read(frame, out)?,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length, ..
            })) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                bytes = bytes.get(length..).ok_or("a skippable frame is truncated")?;
            }
            Err(e) => return Err(e.to_string()),
        }
    }
    Ok(())
}

/// An empty last block, and a checksum that is not verified.
const END_OF_FRAME: [u8; 7] = [1, 0, 0, 0, 0, 0, 0];

/// Unpacks a zstd stream whose writer flushes blocks and may never end the frame, as `perf record -z` does.
/// Returns the readable part, and a description of any damage.
pub fn unpack_stream(mut bytes: Vec<u8>) -> (Vec<u8>, Option<String>) {
    let mut out = Vec::new();
    bytes.extend(END_OF_FRAME);
    let mut rest = bytes.as_slice();
    // A frame that ended by itself leaves the whole added end; one without a checksum leaves its last four
    // bytes.
    while !END_OF_FRAME.ends_with(rest) && out.len() as u64 <= MAX_UNPACKED {
        let frame = StreamingDecoder::new_with_max_window_size(&mut rest, MAX_UNPACKED);
        if let Err(why) = frame.map_err(|e| e.to_string()).and_then(|frame| read(frame, &mut out)) {
            let note = format!(
                "the compressed records are damaged or cut short after {} unpacked bytes ({why})",
                out.len()
            );
            return (out, Some(note));
        }
    }
    (out, None)
}
