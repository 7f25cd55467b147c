//! Errors of readers of store files.
use std::{io, path::PathBuf};

use super::damage::Damage;
use crate::encryption::KeyError;

/// A failure to read a file of a store. Each message names the file and, if there is one, the offset.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// An error of the operating system.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Bytes that violate the format.
    #[error("{0}")]
    Damaged(Box<Damage>),
    /// A valid file with a feature that this reader does not support.
    #[error("{}: {what}", .path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The missing feature and the remedy.
        what: String,
    },
    /// An encrypted file whose key cannot be used.
    #[error("{}: {source}", .path.display())]
    Encrypted {
        /// The file.
        path: PathBuf,
        /// The failure and the remedy.
        source: KeyError,
    },
    /// A directory that is not a RocksDB, or lacks a column family.
    #[error("{0}")]
    NotADb(String),
}

/// A fact that a caller adds to the error of a reader; see [`FileError::context`].
#[derive(Clone, Copy, Debug)]
pub enum Context<'a> {
    /// The name of the block or part that was read.
    Part(&'a str),
    /// A further clause, such as the action that was taken.
    More(&'a str),
    /// The range in which user keys are lost; an empty bound is unbounded.
    Lost {
        /// Keys before it are not lost.
        after: &'a [u8],
        /// Keys after it are not lost.
        up_to: &'a [u8],
    },
}

impl FileError {
    /// Creates the error of bytes at `offset` of the file `path` that violate the format.
    pub fn corrupt(path: impl Into<PathBuf>, offset: u64, what: impl std::fmt::Display) -> FileError {
        Damage::at(path, offset, what).into()
    }

    /// Adds what the caller knows about the failure, which thereby is damage.
    #[must_use]
    pub fn context(self, context: Context<'_>) -> FileError {
        let mut damage = Damage::from(self);
        match context {
            Context::Part(name) => damage.what = format!("{name}: {}", damage.what),
            Context::More(more) => damage.what = format!("{}; {more}", damage.what),
            Context::Lost { after, up_to } => {
                damage.offset = damage.offset.or(Some(0));
                damage = damage.losing(after, up_to);
            }
        }
        damage.into()
    }

    /// The user-key range in which keys were lost; an empty bound is unbounded.
    pub fn lost_keys(&self) -> Option<(&[u8], &[u8])> {
        match self {
            FileError::Damaged(damage) => damage.lost_keys(),
            _ => None,
        }
    }

    /// Whether a file was missing: a running server may have removed it.
    pub fn is_not_found(&self) -> bool {
        matches!(self, FileError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

impl From<Damage> for FileError {
    fn from(damage: Damage) -> FileError {
        FileError::Damaged(Box::new(damage))
    }
}

impl From<FileError> for Damage {
    fn from(e: FileError) -> Damage {
        match e {
            FileError::Damaged(damage) => *damage,
            FileError::Io { path, source } => Damage::whole(path, source.to_string()),
            FileError::Unsupported { path, what } => Damage::whole(path, what),
            FileError::Encrypted { path, source } => Damage::whole(path, source),
            FileError::NotADb(what) => Damage::whole("", what),
        }
    }
}

/// The result of readers of files.
pub type Result<T> = std::result::Result<T, FileError>;

impl Clone for FileError {
    fn clone(&self) -> FileError {
        match self {
            FileError::Io { path, source } => {
                let again = source.raw_os_error().map(io::Error::from_raw_os_error);
                let again = again.unwrap_or_else(|| io::Error::new(source.kind(), source.to_string()));
                FileError::Io { path: path.clone(), source: again }
            }
            FileError::Damaged(damage) => FileError::Damaged(damage.clone()),
            FileError::Unsupported { path, what } => {
                FileError::Unsupported { path: path.clone(), what: what.clone() }
            }
            FileError::Encrypted { path, source } => {
                FileError::Encrypted { path: path.clone(), source: source.clone() }
            }
            FileError::NotADb(what) => FileError::NotADb(what.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_keeps_every_kind_of_error() {
        let source = io::Error::from(io::ErrorKind::NotFound);
        let text = |e: FileError| e.context(Context::More("it is skipped")).to_string();
        assert_eq!(
            text(FileError::Io { path: "1.sst".into(), source }),
            "1.sst: entity not found; it is skipped"
        );
        assert_eq!(text(FileError::NotADb("db: bad".into())), "db: bad; it is skipped");
        let unsupported = FileError::Unsupported { path: "1.sst".into(), what: "new".into() };
        assert_eq!(text(unsupported), "1.sst: new; it is skipped");
        let bad = FileError::corrupt("1.sst", 7, "bad").context(Context::Part("the footer"));
        assert_eq!(bad.to_string(), "1.sst at byte 7: the footer: bad");
        let lost = bad.context(Context::Lost { after: b"a", up_to: b"" });
        assert_eq!(lost.lost_keys(), Some((&b"a"[..], &b""[..])));
        assert_eq!(text(lost), "1.sst at byte 7: the footer: bad; it is skipped; lost: keys after a");
    }
}
