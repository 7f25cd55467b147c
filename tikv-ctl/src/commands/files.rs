//! Commands that read individual files of a store: `manifest`, `wal`, `lsm`, `log`.
mod log;
mod lsm;
mod lsm_levels;
mod lsm_svg;
mod manifest;
mod paths;
mod wal;

pub(super) use lsm::{open_db, report_damages};

use std::path::{Path, PathBuf};

use clap::Subcommand;

use crate::{Error, Result, cli::Global, encryption::Keyring, print::output::Output};

/// Commands that read individual files of a store.
#[derive(Debug, Subcommand)]
pub enum FilesCmd {
    /// Print the version edits of a MANIFEST and the resulting state
    Manifest {
        /// A MANIFEST file, a RocksDB directory or a data directory; --data-dir if absent
        path: Option<PathBuf>,
        /// Print only the resulting state
        #[arg(long)]
        summary: bool,
    },
    /// Print the write batches of RocksDB's logs
    Wal {
        /// A .log file, a RocksDB directory or a data directory; --data-dir if absent
        path: Option<PathBuf>,
        /// Print keys without values
        #[arg(long)]
        keys_only: bool,
    },
    /// Print the levels of each column family: files, bounds, overlaps, region borders
    Lsm {
        /// A RocksDB directory or a data directory; --data-dir if absent
        path: Option<PathBuf>,
        /// Draw the levels as an SVG picture into FILE
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
    /// Print raft-engine's log files: batches, entries, states
    Log {
        /// A .raftlog or .rewrite file, a raft-engine directory or a data directory; --data-dir if absent
        path: Option<PathBuf>,
        /// Raft groups (regions), separated with commas; all if absent
        #[arg(short = 'r', long = "region", value_delimiter = ',')]
        regions: Vec<u64>,
        /// Print only a summary of each file and group
        #[arg(long)]
        summary: bool,
    },
}

impl FilesCmd {
    /// Returns the file or directory to read.
    pub fn path(&self) -> Option<&Path> {
        match self {
            FilesCmd::Manifest { path, .. }
            | FilesCmd::Wal { path, .. }
            | FilesCmd::Log { path, .. }
            | FilesCmd::Lsm { path, .. } => path.as_deref(),
        }
    }
}

/// Runs one of these commands.
pub fn run(cmd: &FilesCmd, keyring: &Keyring, global: &Global, out: &mut Output<'_>) -> Result<()> {
    let Some(path) = cmd.path().or(global.data_dir.as_deref()) else {
        return Err(Error::other("this command reads files: give a file or a directory, or --data-dir DIR"));
    };
    match cmd {
        FilesCmd::Manifest { summary, .. } => manifest::run(path, *summary, keyring, out),
        FilesCmd::Wal { keys_only, .. } => wal::run(path, *keys_only, keyring, global, out),
        FilesCmd::Lsm { svg, .. } => lsm::run(path, svg.as_deref(), keyring, global, out),
        FilesCmd::Log { regions, summary, .. } => log::run(path, regions, *summary, keyring, out),
    }
}

/// Prints every version edit of a MANIFEST and the resulting state.
pub(super) fn manifest(path: &Path, keyring: &Keyring, out: &mut Output<'_>) -> Result<()> {
    manifest::run(path, false, keyring, out)
}
