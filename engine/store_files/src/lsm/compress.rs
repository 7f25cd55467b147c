//! Decompression of blocks, with limits so that a corrupt length cannot exhaust memory.
//!
//! ```text
//! field         bytes    meaning
//! plain length  1 to 5   varint, for Zlib, LZ4 and ZSTD; Snappy's own format begins with it
//! data                   what the codec wrote
//! ```
use super::decode_error::CompressError;

/// Maximum plain length of a block, in bytes.
const MAX_BLOCK: usize = 1 << 30;
/// Plain lengths above this, in bytes, are not trusted: memory is mapped and touched only when written.
const MAX_TRUSTED: usize = 4 << 20;
/// Maximum number of plain bytes per compressed byte, for each codec: a block that claims more is damaged.
const MAX_LZ4_RATIO: usize = 255;
const MAX_SNAPPY_RATIO: usize = 32;
const MAX_DEFLATE_RATIO: usize = 1040;
const MAX_ZSTD_RATIO: usize = 128 << 10;
/// TiKV's values have up to 8 MiB, so a longer block is another program's or made to exhaust memory.
const LARGE: usize = (8 << 20) + (64 << 10);
/// Maximum number of plain bytes per compressed byte in a block above [`LARGE`].
const MAX_LARGE_RATIO: usize = 64;

/// RocksDB's name of a compression type, as in `LOG` files.
pub fn name(kind: u8) -> &'static str {
    match kind {
        0 => "NoCompression",
        1 => "Snappy",
        2 => "Zlib",
        3 => "BZip2",
        4 => "LZ4",
        5 => "LZ4HC",
        6 => "Xpress",
        7 => "ZSTD",
        0x40 => "ZSTDNotFinal",
        _ => "unknown",
    }
}

/// Decompresses blocks and reuses the contexts of the libraries.
#[derive(Default)]
pub struct Decompressor {
    zstd: Option<zstd_safe::DCtx<'static>>,
}

impl std::fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor").finish_non_exhaustive()
    }
}

impl Decompressor {
    /// Replaces the contents of `out` by the plain bytes of `data`, compressed with RocksDB's type `kind`.
    ///
    /// `dict` may be empty. `sized`: the data begins with a varint of the plain length (format_version >= 2).
    ///
    /// # Errors
    /// The compression is unknown, the data is damaged, or it claims an implausible plain length.
    pub fn run(
        &mut self,
        kind: u8,
        data: &[u8],
        dict: &[u8],
        sized: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), CompressError> {
        match kind {
            0 => {
                out.clear();
                out.extend_from_slice(data);
                Ok(())
            }
            1 => snappy(data, out),
            2 | 4 | 5 | 7 | 0x40 if !sized => Err(CompressError::Version { codec: name(kind) }),
            2 => zlib(data, out),
            4 | 5 => lz4(data, dict, out),
            7 | 0x40 => self.zstd(data, dict, out),
            _ => Err(CompressError::Type { kind, name: name(kind) }),
        }
    }

    fn zstd(&mut self, data: &[u8], dict: &[u8], out: &mut Vec<u8>) -> Result<(), CompressError> {
        let (len, body) = plain_len(data)?;
        // The frame must claim the same length before memory is allocated for it.
        if let Ok(Some(claimed)) = zstd_safe::get_frame_content_size(body)
            && claimed != len as u64
        {
            return Err(CompressError::Size { codec: "zstd", expected: len, found: claimed });
        }
        plausible("zstd", body, len, MAX_ZSTD_RATIO)?;
        if self.zstd.is_none() {
            self.zstd = zstd_safe::DCtx::try_create();
        }
        let context = self.zstd.as_mut().ok_or_else(no_context)?;
        room(out, len);
        let written = if dict.is_empty() {
            context.decompress(&mut out[..], body)
        } else {
            context.decompress_using_dict(&mut out[..], body, dict)
        };
        exact("zstd", written.map_err(zstd_error)?, len)
    }
}

/// Returns the plain bytes of one block; see [`Decompressor::run`].
pub fn decompress(kind: u8, data: &[u8], dict: &[u8], sized: bool) -> Result<Vec<u8>, CompressError> {
    let mut out = Vec::new();
    Decompressor::default().run(kind, data, dict, sized, &mut out)?;
    Ok(out)
}

/// Returns the plain bytes of a zstd frame without a content size, as in compressed logs.
pub fn decompress_stream(data: &[u8]) -> Result<Vec<u8>, CompressError> {
    let mut context = zstd_safe::DCtx::try_create().ok_or_else(no_context)?;
    let (mut plain, mut input) = (Vec::new(), zstd_safe::InBuffer::around(data));
    let mut piece = vec![0; zstd_safe::DCtx::out_size()];
    loop {
        let mut output = zstd_safe::OutBuffer::around(&mut piece[..]);
        let left = context.decompress_stream(&mut output, &mut input).map_err(zstd_error)?;
        let written = output.as_slice();
        plain.extend_from_slice(written);
        limit(plain.len())?;
        if left == 0 {
            return Ok(plain);
        }
        if written.is_empty() && input.pos() == data.len() {
            return Err(codec_error("zstd", "the compressed record ends too early"));
        }
    }
}

/// Names of the compressions that [`compress_with`] accepts.
pub fn compressions() -> impl Iterator<Item = &'static str> {
    ["none", "snappy", "zlib", "lz4", "zstd-1", "zstd-3", "zstd-9"].into_iter()
}

/// Compresses `block` with the compression `name`. Returns `None` if the name is unknown or the codec fails.
pub fn compress_with(name: &str, block: &[u8]) -> Option<Vec<u8>> {
    match name {
        "none" => Some(block.to_vec()),
        "snappy" => snap::raw::Encoder::new().compress_vec(block).ok(),
        "zlib" => Some(miniz_oxide::deflate::compress_to_vec(block, 6)),
        "lz4" => Some(lz4_flex::block::compress(block)),
        _ => {
            let level = name.strip_prefix("zstd-")?.parse().ok()?;
            let mut out = vec![0; zstd_safe::compress_bound(block.len())];
            let written = zstd_safe::compress(&mut out[..], block, level).ok()?;
            out.truncate(written);
            Some(out)
        }
    }
}

fn snappy(data: &[u8], out: &mut Vec<u8>) -> Result<(), CompressError> {
    let len = snap::raw::decompress_len(data).map_err(|e| codec_error("snappy", e))?;
    limit(len)?;
    plausible("snappy", data, len, MAX_SNAPPY_RATIO)?;
    room(out, len);
    let written = snap::raw::Decoder::new().decompress(data, out).map_err(|e| codec_error("snappy", e))?;
    exact("snappy", written, len)
}

fn zlib(data: &[u8], out: &mut Vec<u8>) -> Result<(), CompressError> {
    let (len, body) = plain_len(data)?;
    plausible("zlib", body, len, MAX_DEFLATE_RATIO)?;
    room(out, len);
    // RocksDB writes raw deflate without zlib's header.
    let written =
        miniz_oxide::inflate::decompress_slice_iter_to_slice(out, std::iter::once(body), false, true);
    exact("zlib", written.map_err(|e| codec_error("zlib", format_args!("{e:?}")))?, len)
}

fn lz4(data: &[u8], dict: &[u8], out: &mut Vec<u8>) -> Result<(), CompressError> {
    let (len, body) = plain_len(data)?;
    plausible("lz4", body, len, MAX_LZ4_RATIO)?;
    room(out, len);
    let written = if dict.is_empty() {
        lz4_flex::block::decompress_into(body, out)
    } else {
        lz4_flex::block::decompress_into_with_dict(body, out, dict)
    };
    exact("lz4", written.map_err(|e| codec_error("lz4", e))?, len)
}

fn plausible(codec: &'static str, body: &[u8], len: usize, max_ratio: usize) -> Result<(), CompressError> {
    let fits = |ratio: usize| len <= body.len().saturating_mul(ratio).saturating_add(64);
    if !fits(max_ratio) {
        return Err(CompressError::Implausible { codec, len: body.len(), plain: len });
    }
    if len > LARGE && !fits(MAX_LARGE_RATIO) {
        let max_ratio = MAX_LARGE_RATIO;
        return Err(CompressError::Suspicious { codec, len: body.len(), plain: len, max_ratio });
    }
    Ok(())
}

/// Makes `out` `len` bytes long, with any contents.
fn room(out: &mut Vec<u8>, len: usize) {
    if len > MAX_TRUSTED && len > out.capacity() {
        *out = vec![0; len];
    } else {
        out.resize(len, 0);
    }
}

fn plain_len(data: &[u8]) -> Result<(usize, &[u8]), CompressError> {
    let mut rest = data;
    let found = keys::codec::decode_var_u64(&mut rest).map_err(|_| CompressError::Length)?;
    let len = usize::try_from(found).map_err(|_| CompressError::TooLong { limit: MAX_BLOCK, found })?;
    limit(len)?;
    Ok((len, rest))
}

fn limit(len: usize) -> Result<(), CompressError> {
    if len > MAX_BLOCK { Err(CompressError::TooLong { limit: MAX_BLOCK, found: len as u64 }) } else { Ok(()) }
}

fn exact(codec: &'static str, written: usize, len: usize) -> Result<(), CompressError> {
    let wrong = || CompressError::Size { codec, expected: len, found: written as u64 };
    if written == len { Ok(()) } else { Err(wrong()) }
}

fn codec_error(codec: &'static str, what: impl std::fmt::Display) -> CompressError {
    CompressError::Codec { codec, what: what.to_string() }
}

fn zstd_error(code: usize) -> CompressError {
    codec_error("zstd", zstd_safe::get_error_name(code))
}

fn no_context() -> CompressError {
    codec_error("zstd", "not enough memory for a decompression context")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn implausible_plain_lengths_are_refused() {
        let zeros = |len: usize| {
            let mut block = Vec::new();
            keys::codec::encode_var_u64(&mut block, len as u64);
            block.extend(compress_with("zstd-1", &vec![0; len]).unwrap());
            block
        };
        // A value of TiKV's maximum size is read, however small it is when compressed.
        assert_eq!(decompress(7, &zeros(8 << 20), &[], true).unwrap().len(), 8 << 20);
        let refused = decompress(7, &zeros(64 << 20), &[], true).unwrap_err();
        assert!(matches!(refused, CompressError::Suspicious { plain: 67_108_864, .. }), "{refused}");
        assert!(refused.to_string().contains("at most 64 times"), "{refused}");
    }
}
