//! How commands fail.

use std::io;

use crate::{lsm, text::BadMessage};

/// A command's failure: one line, and where it goes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A message that TiKV's tikv-ctl has too, and prints on standard output.
    #[error("{0}")]
    Tikv(String),
    /// A message that TiKV's tikv-ctl has too, and prints on standard error.
    #[error("{0}")]
    TikvStderr(String),
    /// Any other message: what was expected, what was met, what to do. Goes to standard error.
    #[error("{0}")]
    Other(String),
    /// All was done that could be, around damage that is told before.
    #[error(
        "{0} damaged places, told above: what they held is missing from the output, and older versions of those keys \
         may show; take the keys from another replica"
    )]
    Damaged(usize),
    /// The output could not be written.
    #[error("writing the output: {0}")]
    Output(#[from] io::Error),
}

/// The result of commands.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error that is not TiKV's.
    pub fn other(what: impl Into<String>) -> Error {
        Error::Other(what.into())
    }
}

impl From<lsm::Error> for Error {
    fn from(e: lsm::Error) -> Error {
        Error::Other(e.to_string())
    }
}

impl From<BadMessage> for Error {
    fn from(e: BadMessage) -> Error {
        Error::Other(e.to_string())
    }
}

/// Why a store's debug function failed (TiKV `src/server/debug.rs` `Error`, or the gRPC status it becomes).
#[derive(Debug, thiserror::Error)]
pub enum DebugError {
    #[error("Invalid Argument {0:?}")]
    InvalidArgument(String),
    #[error("Not Found {0:?}")]
    NotFound(String),
    #[error("{0:?}")]
    Other(String),
    /// As grpcio prints it: number, name and message.
    #[error("RpcFailure: {0}")]
    Rpc(String),
    /// Reading a file failed; the message stands for itself.
    #[error("{0}")]
    File(#[from] lsm::Error),
    /// The callback that took the results failed.
    #[error("{0}")]
    Taker(Box<Error>),
}

impl From<Error> for DebugError {
    fn from(e: Error) -> DebugError {
        DebugError::Taker(Box::new(e))
    }
}

impl DebugError {
    /// The line that `function` of the executor prints for it.
    pub fn of(self, function: &str) -> Error {
        self.saying(|e| format!("{function}: {e}"))
    }

    /// The line that TiKV's tool makes of it with `text`.
    pub fn saying(self, text: impl FnOnce(&DebugError) -> String) -> Error {
        match self {
            DebugError::File(e) => e.into(),
            DebugError::Taker(e) => *e,
            other => Error::Tikv(text(&other)),
        }
    }
}
