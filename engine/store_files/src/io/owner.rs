//! The owner of new files.
use std::{
    fs::File,
    os::unix::fs::{MetadataExt, fchown},
    path::Path,
};

/// Makes the owner of `like` the owner of the new file `file`, so that a server with that user can read and
/// remove it. Does nothing if the system does not permit it.
pub fn own_as(file: &File, like: &Path) -> std::io::Result<()> {
    let (owner, now) = (std::fs::metadata(like)?, file.metadata()?);
    if (owner.uid(), owner.gid()) == (now.uid(), now.gid()) {
        return Ok(());
    }
    match fchown(file, Some(owner.uid()), Some(owner.gid())) {
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
        done => done,
    }
}
