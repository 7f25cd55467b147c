//! Iterates over the entries of all Raft groups, and reads each block of entries once.
use super::{
    batch::{BatchIter, plain_entries},
    dir::RaftEngineDir,
    item::Content,
};
use crate::io::{Damage, Result};

impl RaftEngineDir {
    /// Calls `take` with the group and the bytes of each entry that was not overwritten or compacted. Returns
    /// the damage of blocks that could not be read.
    pub fn each_entry(&self, take: &mut dyn FnMut(u64, &[u8])) -> Result<Vec<Damage>> {
        let mut damages = Vec::new();
        for file in self.files()? {
            let Ok(data) = file.read(self.keyring()) else {
                // A running server purged it.
                continue;
            };
            // The replay has already reported damage of files and batches.
            let Ok(mut batches) = BatchIter::new(&data, file.seq) else { continue };
            while let Some(next) = batches.next_or_gap() {
                let Ok(batch) = next else { continue };
                if batch.entries.is_empty() {
                    continue;
                }
                let plain = match plain_entries(batch.entries, batch.compressed) {
                    Ok(plain) => plain,
                    Err(what) => {
                        damages.push(Damage::at(&file.path, batch.entries_offset, what));
                        continue;
                    }
                };
                for item in &batch.items {
                    let Content::Entries(indexes) = &item.content else { continue };
                    for index in indexes {
                        let counts = self
                            .group(item.group)
                            .and_then(|group| group.entry(index.index))
                            .is_some_and(|place| {
                                place.block_offset == batch.entries_offset
                                    && place.index == *index
                                    && place.path == file.path
                            });
                        let (start, len) = (index.offset as usize, index.len as usize);
                        let bytes = start.checked_add(len).and_then(|end| plain.get(start..end));
                        if let (true, Some(bytes)) = (counts, bytes) {
                            take(item.group, bytes);
                        }
                    }
                }
            }
        }
        Ok(damages)
    }
}
