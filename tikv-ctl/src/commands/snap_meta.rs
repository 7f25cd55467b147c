//! `dump-snap-meta`: prints the files of a snapshot.
use std::path::Path;

use kvproto::raft_serverpb::SnapshotMeta;
use prost::Message;
use serde_json::json;
use store_files::io::read_whole;

use crate::{Error, Result, encryption::Keyring, print::output::Output};

/// Prints the files that a snapshot's `.meta` file lists.
pub fn run(path: &Path, keyring: &Keyring, out: &mut Output<'_>) -> Result<()> {
    let bytes = read_whole(path, keyring)?;
    let meta = SnapshotMeta::decode(bytes.as_slice()).map_err(|e| {
        let what = "expected the SnapshotMeta of a .meta file in snap/, but decoding failed";
        Error::other(format!("{} at byte 0 of {}: {what}: {e}", path.display(), bytes.len()))
    })?;
    if meta.cf_files.is_empty() {
        return Err(Error::other(format!(
            "{} at byte 0 of {}: expected a snapshot's .meta file with at least one file, found none",
            path.display(),
            bytes.len()
        )));
    }
    let rows = meta.cf_files.iter().map(|file| (file.cf.clone(), file.size, file.checksum));
    if out.is_json() {
        let list = rows.map(|(cf, size, checksum)| json!({ "cf": cf, "size": size, "checksum": checksum }));
        return out.json(&list.collect::<Vec<_>>());
    }
    rows.map(|(cf, size, checksum)| format!("cf {cf}, size {size}, checksum: {checksum}"))
        .try_for_each(|line| out.line(line))
}
