//! Decompression of blocks, with limits so that a corrupt length cannot exhaust memory.

/// No block is allowed to claim more than this, in bytes.
const MAX_BLOCK: usize = 1 << 30;
/// Claims above this are not trusted: the memory is mapped, and touched only by what comes out.
const PLAUSIBLE: usize = 4 << 20;
/// What the codecs can make of a byte at most: a claim of more is a lie, and no memory is taken for it.
const LZ4_MOST: usize = 255;
const SNAPPY_MOST: usize = 32;
const DEFLATE_MOST: usize = 1040;
const ZSTD_MOST: usize = 128 << 10;
/// A block is larger than this only by a value that is: TiKV writes none above 8 MiB, and a larger one of another program
/// does not shrink more than so many times. What claims to is made to exhaust memory.
const LARGE: usize = (8 << 20) + (64 << 10);
const LARGE_MOST: usize = 64;

/// The name RocksDB gives a compression type, as in `LOG` files.
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

/// Decompresses blocks one after another, with the contexts of its libraries kept.
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
    /// Puts the plain bytes of `data`, compressed as `kind` says, in `out` instead of what it held; `dict` may be
    /// empty.
    ///
    /// `sized`: a varint of the plain length stands before the data (RocksDB format_version 2 and later).
    /// The error says what was wrong.
    pub fn run(
        &mut self,
        kind: u8,
        data: &[u8],
        dict: &[u8],
        sized: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        match kind {
            0 => {
                out.clear();
                out.extend_from_slice(data);
                Ok(())
            }
            1 => snappy(data, out),
            2 | 4 | 5 | 7 | 0x40 if !sized => {
                Err(format!("{} blocks of format_version 0 and 1 are not supported", name(kind)))
            }
            2 => zlib(data, out),
            4 | 5 => lz4(data, dict, out),
            7 | 0x40 => self.zstd(data, dict, out),
            _ => Err(format!(
                "expected a block compressed with none, Snappy, Zlib, LZ4 or ZSTD, met type {kind} ({}): damage, or a file \
                 that only the program that wrote it reads",
                name(kind)
            )),
        }
    }

    fn zstd(&mut self, data: &[u8], dict: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let (len, body) = plain_len(data)?;
        let explain = |code| format!("zstd: {}", zstd_safe::get_error_name(code));
        // What the frame says of itself must agree before memory is taken for it.
        if let Ok(Some(said)) = zstd_safe::get_frame_content_size(body)
            && said != len as u64
        {
            return Err(format!("zstd: {len} plain bytes expected, the frame says {said}"));
        }
        plausible("zstd", body, len, ZSTD_MOST)?;
        if self.zstd.is_none() {
            self.zstd = zstd_safe::DCtx::try_create();
        }
        let context = self.zstd.as_mut().ok_or("zstd: no memory for a context")?;
        room(out, len);
        let written = if dict.is_empty() {
            context.decompress(&mut out[..], body)
        } else {
            context.decompress_using_dict(&mut out[..], body, dict)
        };
        exact(written.map_err(explain)?, len)
    }
}

/// The plain bytes of one block; see [`Decompressor::run`].
pub fn decompress(kind: u8, data: &[u8], dict: &[u8], sized: bool) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    Decompressor::default().run(kind, data, dict, sized, &mut out)?;
    Ok(out)
}

/// The plain bytes of a zstd frame that does not tell its size, as logs have them.
pub fn decompress_stream(data: &[u8]) -> Result<Vec<u8>, String> {
    let explain = |code| format!("zstd: {}", zstd_safe::get_error_name(code));
    let mut context = zstd_safe::DCtx::try_create().ok_or("zstd: no memory for a context")?;
    let (mut plain, mut input) = (Vec::new(), zstd_safe::InBuffer::around(data));
    let mut piece = vec![0; zstd_safe::DCtx::out_size()];
    loop {
        let mut output = zstd_safe::OutBuffer::around(&mut piece[..]);
        let left = context.decompress_stream(&mut output, &mut input).map_err(explain)?;
        let written = output.as_slice();
        plain.extend_from_slice(written);
        limit(plain.len())?;
        if left == 0 {
            return Ok(plain);
        }
        if written.is_empty() && input.pos() == data.len() {
            return Err("zstd: the compressed record ends too early".into());
        }
    }
}

/// The compressions that [`compress_with`] knows.
pub fn compressions() -> impl Iterator<Item = &'static str> {
    ["none", "snappy", "zlib", "lz4", "zstd-1", "zstd-3", "zstd-9"].into_iter()
}

/// `block` compressed as `name` says; `None`: it cannot be.
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

fn snappy(data: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let len = snap::raw::decompress_len(data).map_err(|e| format!("snappy: {e}"))?;
    limit(len)?;
    plausible("snappy", data, len, SNAPPY_MOST)?;
    room(out, len);
    let written = snap::raw::Decoder::new().decompress(data, out).map_err(|e| format!("snappy: {e}"))?;
    exact(written, len)
}

fn zlib(data: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let (len, body) = plain_len(data)?;
    plausible("zlib", body, len, DEFLATE_MOST)?;
    room(out, len);
    // RocksDB writes raw deflate, without zlib's header.
    let written =
        miniz_oxide::inflate::decompress_slice_iter_to_slice(out, std::iter::once(body), false, true);
    exact(written.map_err(|e| format!("zlib: {e:?}"))?, len)
}

fn lz4(data: &[u8], dict: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let (len, body) = plain_len(data)?;
    plausible("lz4", body, len, LZ4_MOST)?;
    room(out, len);
    let written = if dict.is_empty() {
        lz4_flex::block::decompress_into(body, out)
    } else {
        lz4_flex::block::decompress_into_with_dict(body, out, dict)
    };
    exact(written.map_err(|e| format!("lz4: {e}"))?, len)
}

fn plausible(codec: &str, body: &[u8], len: usize, most: usize) -> Result<(), String> {
    let fits = |most: usize| len <= body.len().saturating_mul(most).saturating_add(64);
    if !fits(most) {
        return Err(format!("{codec}: {} bytes cannot hold {len} plain bytes", body.len()));
    }
    if len > LARGE && !fits(LARGE_MOST) {
        return Err(format!(
            "{codec}: {} bytes that claim to hold {len} plain bytes: above 8 MiB, which no value of TiKV reaches, a block \
             is read where it shrank at most {LARGE_MOST} times",
            body.len()
        ));
    }
    Ok(())
}

/// Makes `out` `len` bytes long; what they are does not matter.
fn room(out: &mut Vec<u8>, len: usize) {
    if len > PLAUSIBLE && len > out.capacity() {
        *out = vec![0; len];
    } else {
        out.resize(len, 0);
    }
}

fn plain_len(data: &[u8]) -> Result<(usize, &[u8]), String> {
    let mut rest = data;
    let len = keys::codec::decode_var_u64(&mut rest).map_err(|e| e.to_string())?;
    let len = usize::try_from(len).map_err(|_| "the plain length does not fit memory")?;
    limit(len)?;
    Ok((len, rest))
}

fn limit(len: usize) -> Result<(), String> {
    if len > MAX_BLOCK {
        Err(format!("it claims {len} plain bytes, more than any block has"))
    } else {
        Ok(())
    }
}

fn exact(written: usize, len: usize) -> Result<(), String> {
    if written == len { Ok(()) } else { Err(format!("{len} plain bytes expected, {written} came out")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_bytes_that_claim_many_are_refused_before_memory_is_taken() {
        let zeros = |len: usize| {
            let mut block = Vec::new();
            keys::codec::encode_var_u64(&mut block, len as u64);
            block.extend(compress_with("zstd-1", &vec![0; len]).unwrap());
            block
        };
        // The largest value of TiKV, which shrinks to next to nothing, is read.
        assert_eq!(decompress(7, &zeros(8 << 20), &[], true).unwrap().len(), 8 << 20);
        let refused = decompress(7, &zeros(64 << 20), &[], true).unwrap_err();
        assert!(refused.contains("at most 64 times"), "{refused}");
    }
}
