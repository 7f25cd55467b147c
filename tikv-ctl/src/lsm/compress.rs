//! Decompression of blocks, with limits so that a corrupt length cannot exhaust memory.

/// No block is allowed to claim more than this, in bytes.
const MAX_BLOCK: usize = 1 << 30;

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

/// The plain bytes of `data`, compressed as `kind` says; `dict` may be empty.
///
/// `sized`: a varint of the plain length stands before the data (RocksDB format_version 2 and later).
/// The error says what was wrong.
pub fn decompress(kind: u8, data: &[u8], dict: &[u8], sized: bool) -> Result<Vec<u8>, String> {
    match kind {
        0 => Ok(data.to_vec()),
        1 => {
            let len = snap::raw::decompress_len(data).map_err(|e| format!("snappy: {e}"))?;
            limit(len)?;
            snap::raw::Decoder::new().decompress_vec(data).map_err(|e| format!("snappy: {e}"))
        }
        2 | 4 | 5 | 7 | 0x40 if !sized => {
            Err(format!("{} blocks of format_version 0 and 1 are not supported", name(kind)))
        }
        2 => {
            let (len, body) = plain_len(data)?;
            let out = miniz_oxide::inflate::decompress_to_vec_with_limit(body, len);
            exact(out.map_err(|e| format!("zlib: {:?}", e.status))?, len)
        }
        4 | 5 => {
            let (len, body) = plain_len(data)?;
            let out = lz4_flex::block::decompress_with_dict(body, len, dict);
            exact(out.map_err(|e| format!("lz4: {e}"))?, len)
        }
        7 | 0x40 => {
            let (len, body) = plain_len(data)?;
            exact(zstd(body, len, dict)?, len)
        }
        _ => Err(format!("blocks compressed with {} ({kind}) are not supported", name(kind))),
    }
}

fn zstd(body: &[u8], len: usize, dict: &[u8]) -> Result<Vec<u8>, String> {
    let explain = |code| format!("zstd: {}", zstd_safe::get_error_name(code));
    let mut out = vec![0; len];
    let mut context = zstd_safe::DCtx::try_create().ok_or("zstd: no memory for a context")?;
    let written = if dict.is_empty() {
        context.decompress(&mut out[..], body)
    } else {
        context.decompress_using_dict(&mut out[..], body, dict)
    };
    out.truncate(written.map_err(explain)?);
    Ok(out)
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

fn exact(out: Vec<u8>, len: usize) -> Result<Vec<u8>, String> {
    if out.len() == len {
        Ok(out)
    } else {
        Err(format!("{len} plain bytes expected, {} came out", out.len()))
    }
}
