//! Failures of commands.
use std::{
    io,
    path::{Path, PathBuf},
};

use store_files::{io::FileError, protobuf_text::BadMessage};

/// A command's failure: one line for standard output or standard error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A message of TiKV's tikv-ctl that it prints on standard output.
    #[error("{0}")]
    Tikv(String),
    /// A message of TiKV's tikv-ctl that it prints on standard error.
    #[error("{0}")]
    TikvStderr(String),
    /// Any other message, for standard error: the expectation, the finding, and the remedy.
    #[error("{0}")]
    Other(String),
    /// The command finished, but skipped damage that it reported before.
    #[error(
        "damaged places reported above: {0}; their data is missing from the output, and older versions of the \
         affected keys may appear instead; recover these keys from another replica"
    )]
    Damaged(usize),
    /// The operating system refused access to a path other than the output.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The output could not be written. Only [`Output`](crate::print::output::Output) creates this error: a closed
    /// reader of the output ends the command with success.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
}

/// The result of commands.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error that is not TiKV's.
    pub fn other(what: impl Into<String>) -> Error {
        Error::Other(what.into())
    }

    /// Wraps the system's error of an access to `path`, for `map_err`.
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> Error + use<'_> {
        move |source| Error::Io { path: path.to_owned(), source }
    }
}

impl From<FileError> for Error {
    fn from(e: FileError) -> Error {
        Error::Other(e.to_string())
    }
}

impl From<store_files::Error> for Error {
    fn from(e: store_files::Error) -> Error {
        Error::Other(e.to_string())
    }
}

impl From<BadMessage> for Error {
    fn from(e: BadMessage) -> Error {
        Error::Other(e.to_string())
    }
}

/// The failure of a store's debug function (TiKV `src/server/debug.rs` `Error`, or its gRPC status).
#[derive(Debug, thiserror::Error)]
pub enum DebugError {
    /// The request is invalid.
    #[error("Invalid Argument {0:?}")]
    InvalidArgument(String),
    /// The store does not have the region, key or log entry.
    #[error("Not Found {0:?}")]
    NotFound(String),
    /// Any other failure.
    #[error("{0:?}")]
    Other(String),
    /// A gRPC status as grpcio prints it: number, name and message.
    #[error("RpcFailure: {0}")]
    Rpc(String),
    /// A failure to read a file, printed without a prefix.
    #[error("{0}")]
    File(#[from] FileError),
    /// A failure of the callback that takes the results.
    #[error("{0}")]
    Taker(Box<Error>),
}

impl From<Error> for DebugError {
    fn from(e: Error) -> DebugError {
        DebugError::Taker(Box::new(e))
    }
}

impl DebugError {
    /// Converts to the line that TiKV's tool prints for a failure of the executor's `function`.
    pub fn into_error(self, function: &str) -> Error {
        self.into_error_with(|e| format!("{function}: {e}"))
    }

    /// Converts to the line that `text` formats, as TiKV's tool prints it.
    pub fn into_error_with(self, text: impl FnOnce(&DebugError) -> String) -> Error {
        match self {
            DebugError::File(e) => e.into(),
            DebugError::Taker(e) => *e,
            other => Error::Tikv(text(&other)),
        }
    }
}
