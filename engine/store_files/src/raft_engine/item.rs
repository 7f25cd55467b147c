//! The items in the footer of a log batch (raft-engine `src/log_batch.rs`).
//!
//! ```text
//! field          bytes    meaning
//! count          varint   number of items
//! items:
//!   group        varint   Raft group id
//!   type         1        1 entries, 2 command, 3 key and value
//!   entries:
//!     count      varint   number of entries
//!     first      varint   index of the first entry; left out if there is none
//!     ends       varints  end of each entry in the batch's plain entries block
//!   command:
//!     kind       1        1 clean; 2 compact, followed by the index (varint)
//!   key and value:
//!     kind       1        1 put, 2 delete
//!     key                 length (varint) and bytes
//!     value               length (varint) and bytes; only for put
//! ```
use std::fmt;

use crate::io::Cursor;

/// Keys with this prefix are raft-engine's own (marks of atomic groups).
pub(super) const INTERNAL_KEY_PREFIX: &[u8] = b"__";

const KEY_VALUE: u8 = 3;
const PUT: u8 = 1;
const DELETE: u8 = 2;

/// The location of an entry in the plain entries block of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryIndex {
    /// Raft index of the entry.
    pub index: u64,
    /// Offset in the plain block.
    pub offset: u64,
    /// Bytes of the entry.
    pub len: u64,
}

/// The change of an item to its Raft group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Appends entries.
    Entries(Vec<EntryIndex>),
    /// Removes the group.
    Clean,
    /// Drops entries below this index.
    Compact(u64),
    /// Sets a key.
    Put(Vec<u8>, Vec<u8>),
    /// Removes a key.
    Delete(Vec<u8>),
}

/// An item of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogItem {
    /// The Raft group; in TiKV, the region id.
    pub group: u64,
    /// The change.
    pub content: Content,
}

/// A change: Raft group, key, and new value; `None` deletes the key.
pub type Written<'a> = (u64, &'a [u8], Option<&'a [u8]>);

/// Parses the items of a batch's footer. Returns `None` if they do not decode.
pub(super) fn parse(footer: &[u8]) -> Option<Vec<LogItem>> {
    let mut cursor = Cursor::new(footer);
    let count = cursor.varint()?;
    let mut items = Vec::new();
    let mut offset = 0;
    for _ in 0..count {
        let group = cursor.varint()?;
        let content = match cursor.u8()? {
            1 => Content::Entries(entries(&mut cursor, &mut offset)?),
            2 => command(&mut cursor)?,
            KEY_VALUE => key_value(&mut cursor)?,
            _ => return None,
        };
        items.push(LogItem { group, content });
    }
    cursor.is_empty().then_some(items)
}

/// Encodes the footer of a batch of keys without its checksum.
pub(super) fn encode(items: &[Written<'_>]) -> Vec<u8> {
    let varint = keys::codec::encode_var_u64;
    let mut footer = Vec::new();
    varint(&mut footer, items.len() as u64);
    for (group, key, value) in items {
        varint(&mut footer, *group);
        footer.extend_from_slice(&[KEY_VALUE, if value.is_some() { PUT } else { DELETE }]);
        for part in std::iter::once(*key).chain(*value) {
            varint(&mut footer, part.len() as u64);
            footer.extend_from_slice(part);
        }
    }
    footer
}

/// Decodes the locations of entries. `offset` is the end of the batch's previous entry, also in other items.
fn entries(cursor: &mut Cursor<'_>, offset: &mut u64) -> Option<Vec<EntryIndex>> {
    let count = cursor.varint()?;
    let first = if count > 0 { cursor.varint()? } else { 0 };
    let mut indexes = Vec::new();
    for i in 0..count {
        let end = cursor.varint()?;
        let len = end.checked_sub(*offset)?;
        indexes.push(EntryIndex { index: first.checked_add(i)?, offset: *offset, len });
        *offset = end;
    }
    Some(indexes)
}

fn command(cursor: &mut Cursor<'_>) -> Option<Content> {
    match cursor.u8()? {
        1 => Some(Content::Clean),
        2 => cursor.varint().map(Content::Compact),
        _ => None,
    }
}

fn key_value(cursor: &mut Cursor<'_>) -> Option<Content> {
    let kind = cursor.u8()?;
    let key = cursor.slice()?.to_vec();
    match kind {
        PUT => Some(Content::Put(key, cursor.slice()?.to_vec())),
        DELETE => Some(Content::Delete(key)),
        _ => None,
    }
}

/// An item in the format of raft-engine's own tool: the `Debug` text of its types.
pub(super) struct ItemText<'a> {
    pub item: &'a LogItem,
    pub file: String,
    pub block: (u64, u64),
    pub compressed: bool,
}

impl fmt::Display for ItemText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = &self.file;
        write!(f, "LogItem {{ raft_group_id: {}, content: ", self.item.group)?;
        match &self.item.content {
            Content::Entries(indexes) => {
                f.write_str("EntryIndexes(EntryIndexes([")?;
                let compression = if self.compressed { "Lz4" } else { "None" };
                let (offset, len) = self.block;
                for (i, entry) in indexes.iter().enumerate() {
                    let comma = if i > 0 { ", " } else { "" };
                    let handle =
                        format!("Some(FileBlockHandle {{ id: {file}, offset: {offset}, len: {len} }})");
                    write!(
                        f,
                        "{comma}EntryIndex {{ index: {}, entries: {handle}, compression_type: {compression}, \
                         entry_offset: {}, entry_len: {} }}",
                        entry.index, entry.offset, entry.len
                    )?;
                }
                f.write_str("]))")?;
            }
            Content::Clean => f.write_str("Command(Clean)")?,
            Content::Compact(index) => write!(f, "Command(Compact {{ index: {index} }})")?,
            Content::Put(key, value) => {
                write!(
                    f,
                    "Kv(KeyValue {{ op_type: Put, key: {key:?}, value: Some({value:?}), file_id: Some({file}) }})"
                )?;
            }
            Content::Delete(key) => {
                write!(
                    f,
                    "Kv(KeyValue {{ op_type: Del, key: {key:?}, value: None, file_id: Some({file}) }})"
                )?;
            }
        }
        f.write_str(" }")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_print_as_raft_engine_prints_them() {
        let footer = [3, 2, 1, 2, 6, 4, 9, 2, 3, 1, 1, b'R', 2, 10, 4, 4, 2, 2, 5];
        let items = parse(&footer).unwrap();
        let indexes =
            vec![EntryIndex { index: 6, offset: 0, len: 4 }, EntryIndex { index: 7, offset: 4, len: 5 }];
        assert_eq!(items[0], LogItem { group: 2, content: Content::Entries(indexes) });
        assert_eq!(items[1].content, Content::Put(b"R".to_vec(), vec![10, 4]));
        assert_eq!(items[2], LogItem { group: 4, content: Content::Compact(5) });
        let file = "FileId { queue: Append, seq: 1 }".to_owned();
        let text = ItemText { item: &items[1], file, block: (0, 0), compressed: false };
        assert_eq!(
            text.to_string(),
            "LogItem { raft_group_id: 2, content: Kv(KeyValue { op_type: Put, key: [82], value: Some([10, 4]), \
             file_id: Some(FileId { queue: Append, seq: 1 }) }) }"
        );
        for cut in 0..footer.len() {
            assert_eq!(parse(&footer[..cut]), None);
        }
    }
}
