//! Log files and log batches, the unit of raft-engine's writes (`src/file_pipe_log/format.rs`,
//! `src/log_batch.rs`). Numbers are big-endian, checksums little-endian.
//!
//! ```text
//! field            bytes   meaning
//! file header:
//!   magic          53      RAFT-LOG-FILE-HEADER-9986AB3E47F320B394C8E84916EB0ED5
//!   version        8       1 or 2
//!   alignment      8       only in version 2; padding with zeros to multiples of it; 0: no padding
//! batch:
//!   length         7       bytes of the whole batch
//!   compression    1       of the entries: 0 none, 1 LZ4
//!   footer offset  8       from the start of the batch
//!   entries                may be empty; with LZ4, begins with the plain length (4 bytes, little-endian)
//!   checksum       4       CRC-32 of the entries; left out if there are none
//!   footer                 items; see the module `item`
//!   checksum       4       CRC-32 of the footer; in version 2 XORed with the file's number
//! ```
use super::item::{self, LogItem};
use crate::io::checksum_matches;

pub(super) const FILE_MAGIC: &[u8] = b"RAFT-LOG-FILE-HEADER-9986AB3E47F320B394C8E84916EB0ED5";
/// Offset of the alignment in a file of version 2.
const ALIGNMENT_AT: u64 = FILE_MAGIC.len() as u64 + 8;
/// Maximum alignment in bytes: no disk has larger blocks.
const MAX_ALIGNMENT: u64 = 1 << 20;
pub(super) const BATCH_HEADER: usize = 16;
const CRC: usize = 4;
/// Maximum number of checksums that cover a byte, on average, while an intact batch is searched for.
const MAX_CHECKS_PER_BYTE: usize = 16;

/// The damaged header or batch of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset}")]
pub struct BadBatch {
    /// Offset of the damage, in bytes.
    pub offset: u64,
    /// The expectation and the finding.
    pub what: String,
}

/// A damaged part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Offset of the damage.
    pub offset: u64,
    /// Description of the damage.
    pub what: String,
    /// Offset of the next whole batch; `None` if none follows, as after a torn write.
    pub next: Option<u64>,
}

/// An entries block whose entries cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntriesError {
    /// The checksum is not that of the block.
    #[error("the checksum of the entries does not match")]
    Checksum,
    /// A compressed block has no room for its plain length.
    #[error("expected the 4-byte length of a compressed entries block, found {found} bytes")]
    NoLength {
        /// Bytes of the block.
        found: usize,
    },
    /// The codec cannot make as many plain bytes of the compressed ones.
    #[error("an entries block of {len} bytes cannot contain {plain} plain bytes")]
    Implausible {
        /// Compressed bytes.
        len: usize,
        /// The claimed plain length, in bytes.
        plain: usize,
    },
    /// The codec refuses the bytes, with its reason.
    #[error("lz4: {0}")]
    Lz4(String),
}

/// The decoded header of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// Format version, 1 or 2.
    pub version: u64,
    /// Batches may be padded with zeros to multiples of this many bytes; 0: no padding.
    pub alignment: u64,
    /// Bytes of the header.
    pub len: usize,
}

impl FileHeader {
    /// Decodes the header of a log file.
    pub fn parse(data: &[u8]) -> Result<FileHeader, BadBatch> {
        let bad = |what: &str| BadBatch { offset: 0, what: format!("expected a raft-engine log file{what}") };
        let rest = data.strip_prefix(FILE_MAGIC).ok_or_else(|| bad(", found another header"))?;
        let number = |at: usize| rest.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
        match number(0) {
            Some(1) => Ok(FileHeader { version: 1, alignment: 0, len: FILE_MAGIC.len() + 8 }),
            Some(2) => {
                let alignment = number(8).ok_or_else(|| bad(", found a truncated header"))?;
                if alignment > MAX_ALIGNMENT || (alignment > 0 && !alignment.is_power_of_two()) {
                    let what = format!(
                        "expected an alignment of 0 or a power of two up to {MAX_ALIGNMENT}, found {alignment}"
                    );
                    return Err(BadBatch { offset: ALIGNMENT_AT, what });
                }
                Ok(FileHeader { version: 2, alignment, len: FILE_MAGIC.len() + 16 })
            }
            Some(version) => Err(bad(&format!(" of version 1 or 2, found version {version}"))),
            None => Err(bad(", found a truncated header")),
        }
    }
}

/// A batch with valid checksums.
#[derive(Debug)]
pub struct LogBatch<'a> {
    /// Offset in the file.
    pub offset: u64,
    /// Offset of its entries block in the file.
    pub entries_offset: u64,
    /// Bytes of the entries block, checksum included.
    pub entries_len: u64,
    /// Whether the entries block is an LZ4 block.
    pub compressed: bool,
    /// The entries block, without its checksum.
    pub entries: &'a [u8],
    /// The items in order.
    pub items: Vec<LogItem>,
}

impl LogBatch<'_> {
    /// Decompresses the entries block.
    pub fn plain(&self) -> Result<Vec<u8>, EntriesError> {
        if self.entries.is_empty() { Ok(Vec::new()) } else { plain_entries(self.entries, self.compressed) }
    }
}

/// Iterates over the batches of a file.
#[derive(Debug)]
pub struct BatchIter<'a> {
    data: &'a [u8],
    seq: u64,
    header: FileHeader,
    at: usize,
}

impl<'a> BatchIter<'a> {
    /// Creates an iterator over the file `data` with the sequence number `seq`.
    pub fn new(data: &'a [u8], seq: u64) -> Result<BatchIter<'a>, BadBatch> {
        let header = FileHeader::parse(data)?;
        Ok(BatchIter { data, seq, header, at: header.len })
    }

    /// The file's header.
    pub fn header(&self) -> FileHeader {
        self.header
    }

    /// Moves from damage to the next intact batch and returns its offset.
    pub fn resync(&mut self) -> Option<u64> {
        let last = self.data.len().checked_sub(BATCH_HEADER + CRC)?;
        let damaged = self.at;
        // Limit the bytes checksummed in vain: many false headers with large footers would take forever.
        let mut budget = MAX_CHECKS_PER_BYTE.saturating_mul(self.data.len());
        while self.at < last && budget > 0 {
            self.at += 1;
            let at = self.at;
            if let Some(cost) = self.plausible() {
                if matches!(self.next_batch(), Ok(Some(_))) {
                    self.at = at;
                    return Some(at as u64);
                }
                budget = budget.saturating_sub(cost);
            }
            self.at = at;
        }
        self.at = self.data.len().max(damaged);
        None
    }

    /// Reads the next batch or the gap before it. Returns `None` at the end of the written part.
    pub fn next_or_gap(&mut self) -> Option<Result<LogBatch<'a>, Gap>> {
        match self.next_batch() {
            Ok(batch) => batch.map(Ok),
            Err(BadBatch { offset, what }) => Some(Err(Gap { offset, what, next: self.resync() })),
        }
    }

    /// Tests cheaply whether a batch header may be here. Returns the bytes that its checksums would cover.
    fn plausible(&self) -> Option<usize> {
        let (packed, footer) = (self.number(self.at)?, self.number(self.at.saturating_add(8))?);
        let (total, left) = (packed >> 8, (self.data.len() - self.at) as u64);
        let fits =
            total <= left && footer >= BATCH_HEADER as u64 && footer.saturating_add(CRC as u64) < total;
        (fits && packed & 0xff <= 1).then(|| (total - footer) as usize)
    }

    /// Skips padding, which is zeros up to a multiple of the file's alignment. A batch may begin anywhere.
    fn skip_padding(&mut self) {
        let Ok(alignment) = usize::try_from(self.header.alignment) else { return };
        let next = if alignment > 0 { self.at.checked_next_multiple_of(alignment) } else { None };
        if let Some(next) = next.filter(|next| *next < self.data.len())
            && self.data[self.at..next].iter().all(|byte| *byte == 0)
        {
            self.at = next;
        }
    }

    fn number(&self, at: usize) -> Option<u64> {
        self.data.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_be_bytes)
    }

    /// Reads the next batch. Returns `Ok(None)` at the end of the written part.
    ///
    /// # Errors
    /// The batch is damaged; [`Self::resync`] finds the next one.
    pub fn next_batch(&mut self) -> Result<Option<LogBatch<'a>>, BadBatch> {
        self.skip_padding();
        let at = self.at;
        let bad = |what: &str| BadBatch { offset: at as u64, what: what.to_owned() };
        let (Some(packed), Some(footer_offset)) = (self.number(at), self.number(at.saturating_add(8))) else {
            return Ok(None);
        };
        if packed == 0 && footer_offset == 0 {
            // Preallocated and not written yet.
            return Ok(None);
        }
        let total = usize::try_from(packed >> 8).map_err(|_| bad("an impossible batch length"))?;
        let footer_at = usize::try_from(footer_offset).map_err(|_| bad("an impossible footer offset"))?;
        let batch = at
            .checked_add(total)
            .and_then(|end| self.data.get(at..end))
            .ok_or_else(|| bad("the batch extends beyond the end of the file"))?;
        if footer_at < BATCH_HEADER || footer_at.saturating_add(CRC) > total {
            return Err(bad("the batch's footer is outside of the batch"));
        }
        let compressed = match packed & 0xff {
            0 => false,
            1 => true,
            other => return Err(bad(&format!("expected compression 0 (none) or 1 (lz4), found {other}"))),
        };
        let footer = checked(&batch[footer_at..], self.signature())
            .ok_or_else(|| bad("the checksum of the batch's items does not match"))?;
        let block = &batch[BATCH_HEADER..footer_at];
        let entries = match block.len() {
            0 => block,
            _ => {
                checked(block, 0).ok_or_else(|| bad("the checksum of the batch's entries does not match"))?
            }
        };
        let items = item::parse(footer).ok_or_else(|| bad("an item of the batch does not decode"))?;
        self.at = at + total;
        let entries_offset = (at + BATCH_HEADER) as u64;
        let entries_len = block.len() as u64;
        Ok(Some(LogBatch { offset: at as u64, entries_offset, entries_len, compressed, entries, items }))
    }

    /// Offset of the next batch, or at the end the offset at which it would be written.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The number XORed into checksums: from version 2 on the file's, so older data of a recycled file fails.
    pub(super) fn signature(&self) -> u32 {
        if self.header.version >= 2 { self.seq as u32 } else { 0 }
    }
}

/// Checks the CRC-32 at the end of `block`. Returns the bytes before it, or `None` if it does not match.
fn checked(block: &[u8], signature: u32) -> Option<&[u8]> {
    let (body, crc) = block.split_last_chunk::<CRC>()?;
    checksum_matches(crc32fast::hash(body) ^ signature, u32::from_le_bytes(*crc)).then_some(body)
}

/// Decompresses an entries block without its checksum.
pub(super) fn plain_entries(block: &[u8], compressed: bool) -> Result<Vec<u8>, EntriesError> {
    if !compressed {
        return Ok(block.to_vec());
    }
    let (len, body) = block.split_first_chunk::<4>().ok_or(EntriesError::NoLength { found: block.len() })?;
    let len = u32::from_le_bytes(*len) as usize;
    if len > 1 << 30 || len > body.len().saturating_mul(255) + 16 {
        return Err(EntriesError::Implausible { len: body.len(), plain: len });
    }
    lz4_flex::block::decompress(body, len).map_err(|e| EntriesError::Lz4(e.to_string()))
}

/// Checks the checksum of an entries block as read from a file. Returns the block without it.
pub(super) fn checked_entries(block: &[u8]) -> Result<&[u8], EntriesError> {
    checked(block, 0).ok_or(EntriesError::Checksum)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a file of version 1 with `rest` after its header.
    fn file(rest: &[u8]) -> Vec<u8> {
        [FILE_MAGIC, &1u64.to_be_bytes(), rest].concat()
    }

    #[test]
    fn a_footer_outside_of_its_batch_is_damage() {
        let header = [(40u64 << 8).to_be_bytes(), 300u64.to_be_bytes()].concat();
        let data = file(&header.repeat(8));
        let mut batches = BatchIter::new(&data, 1).unwrap();
        assert!(batches.next_batch().is_err());
        assert_eq!(batches.resync(), None);
        let greatest = file(&[(40u64 << 8).to_be_bytes(), u64::MAX.to_be_bytes()].concat().repeat(8));
        assert!(BatchIter::new(&greatest, 1).unwrap().next_batch().is_err());
    }

    #[test]
    fn a_search_among_false_headers_ends() {
        // Each header claims the whole rest: checksums of all of them would take a minute.
        let len = 2 << 20;
        let headers = (0..len / BATCH_HEADER).flat_map(|i| {
            let left = (len - i * BATCH_HEADER) as u64;
            [(left << 8).to_be_bytes(), (BATCH_HEADER as u64).to_be_bytes()].concat()
        });
        let data = file(&headers.collect::<Vec<u8>>());
        let mut batches = BatchIter::new(&data, 1).unwrap();
        assert_eq!(batches.resync(), None);
    }
}
