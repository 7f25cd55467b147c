//! The footer: the last bytes of an SST (RocksDB `table/format.cc`). Fixed numbers are little-endian.
//!
//! ```text
//! format_version 0          1 to 5           6 and 7
//! 48 bytes                  53 bytes         53 bytes
//!
//!                           1 checksum type  1 checksum type
//! 40 handles of metaindex   40 as before     4 extended magic 3e 00 7a 00
//!    and index, then zeros                   4 checksum of the footer with this field zeroed
//!                                            4 base context, mixed into every checksum
//!                                            4 size of the metaindex, which ends before the footer
//!                                            24 zeros
//!                           4 format_version 4 format_version
//! 8 magic db4775248b80fb57  8 magic          8 magic 88e241b785f4cff7
//! ```
use super::{
    checksum::{ChecksumType, context_modifier},
    format::{BLOCK_TRAILER_LEN, BlockHandle},
};
use crate::io::{Cursor, RandomFile, Result, checksum_matches};

const MAGIC: u64 = 0x88e2_41b7_85f4_cff7;
const LEGACY_MAGIC: u64 = 0xdb47_7524_8b80_fb57;
const PLAIN_TABLE_MAGICS: [u64; 2] = [0x8242_2296_63bf_9564, 0x4f34_18eb_7a8f_13b8];
const EXTENDED_MAGIC: [u8; 4] = [0x3e, 0x00, 0x7a, 0x00];
const LEN: u64 = 53;
const LEGACY_LEN: u64 = 48;

/// A decoded footer.
#[derive(Clone, Copy, Debug)]
pub struct Footer {
    /// Checksum type of the blocks.
    pub checksum: ChecksumType,
    /// The table's format_version.
    pub version: u32,
    /// Handle of the meta index block.
    pub metaindex: BlockHandle,
    /// Handle of the index; `None` from version 6 on, where the meta index has it.
    pub index: Option<BlockHandle>,
    /// Offset of the footer in the file.
    pub offset: u64,
    /// Number that is mixed into checksums from version 6 on; 0 before.
    pub base_context: u32,
}

impl Footer {
    /// Reads the footer of `file`.
    pub fn read(file: &RandomFile) -> Result<Footer> {
        let not_sst = |what: String| {
            file.corrupt(file.size().saturating_sub(8), format!("expected an SST of RocksDB: {what}"))
        };
        if file.size() < LEGACY_LEN {
            return Err(not_sst(format!("expected at least {LEGACY_LEN} bytes, found {}", file.size())));
        }
        let len = LEN.min(file.size());
        let start = file.size() - len;
        let data = file.read(start, len)?;
        let magic = data.last_chunk::<8>().map(|m| u64::from_le_bytes(*m)).unwrap_or_default();
        match magic {
            MAGIC if len == LEN => parse(file, start, &data),
            LEGACY_MAGIC => {
                parse_legacy(file, file.size() - LEGACY_LEN, &data[data.len() - LEGACY_LEN as usize..])
            }
            m if PLAIN_TABLE_MAGICS.contains(&m) => {
                Err(file
                    .unsupported("expected a block-based table, found a plain table: use RocksDB's sst_dump"))
            }
            m => Err(not_sst(format!(
                "expected the magic number {MAGIC:#018x}, found {m:#018x}: it is another file or was truncated"
            ))),
        }
    }
}

fn handles(file: &RandomFile, at: u64, data: &[u8]) -> Result<(BlockHandle, BlockHandle)> {
    let mut cursor = Cursor::new(data);
    match (BlockHandle::decode(&mut cursor), BlockHandle::decode(&mut cursor)) {
        (Some(metaindex), Some(index)) => Ok((metaindex, index)),
        _ => Err(file.corrupt(at, "the footer's block handles do not decode")),
    }
}

fn parse_legacy(file: &RandomFile, start: u64, data: &[u8]) -> Result<Footer> {
    let (metaindex, index) = handles(file, start, &data[..40])?;
    Ok(Footer {
        checksum: ChecksumType::Crc32c,
        version: 0,
        metaindex,
        index: Some(index),
        offset: start,
        base_context: 0,
    })
}

fn parse(file: &RandomFile, start: u64, data: &[u8]) -> Result<Footer> {
    let checksum = ChecksumType::from_u8(data[0]).ok_or_else(|| {
        file.corrupt(start, format!("expected a checksum type from 0 to 4, found {}", data[0]))
    })?;
    let version = Cursor::new(&data[41..]).u32().unwrap_or_default();
    match version {
        1..=5 => {
            let (metaindex, index) = handles(file, start + 1, &data[1..41])?;
            Ok(Footer { checksum, version, metaindex, index: Some(index), offset: start, base_context: 0 })
        }
        6 | 7 => parse_extended(file, start, data, checksum, version),
        _ => Err(file.unsupported(format!("expected a format_version from 0 to 7, found {version}"))),
    }
}

fn parse_extended(
    file: &RandomFile,
    start: u64,
    data: &[u8],
    checksum: ChecksumType,
    version: u32,
) -> Result<Footer> {
    let mut cursor = Cursor::new(&data[1..41]);
    let bad = || file.corrupt(start, "the footer of format_version 6 does not decode");
    if cursor.bytes(4) != Some(&EXTENDED_MAGIC[..]) {
        return Err(bad());
    }
    let stored = cursor.u32().ok_or_else(bad)?;
    let base_context = cursor.u32().ok_or_else(bad)?;
    let metaindex_size = u64::from(cursor.u32().ok_or_else(bad)?);
    let mut plain = data.to_vec();
    plain[5..9].fill(0);
    let computed = checksum.compute(&plain).wrapping_add(context_modifier(base_context, start));
    if checksum != ChecksumType::None && !checksum_matches(computed, stored) {
        let what = format!("expected the footer checksum {stored:08x}, found {computed:08x}");
        return Err(file.corrupt(start, what));
    }
    let offset = start.checked_sub(metaindex_size + BLOCK_TRAILER_LEN).ok_or_else(bad)?;
    let metaindex = BlockHandle { offset, size: metaindex_size };
    Ok(Footer { checksum, version, metaindex, index: None, offset: start, base_context })
}
