//! Commands of TiKV's tool that this one does not have.
use clap::Subcommand;

use crate::Error;

/// Commands that only TiKV's tool has.
#[derive(Clone, Debug, Subcommand)]
pub enum NotImplementedCmd {
    /// Not implemented: use TiKV's own tool
    #[command(hide = true)]
    ReuseReadonlyRemains {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Not implemented: use TiKV's own tool
    #[command(hide = true)]
    CompactLogBackup {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

/// Returns the error that says what to use in its place.
pub fn error(cmd: &NotImplementedCmd) -> Error {
    Error::other(match cmd {
        NotImplementedCmd::ReuseReadonlyRemains { .. } => {
            "reuse-readonly-remains is not implemented: use TiKV's own tikv-ctl. Reading a directory on a read-only \
             disk needs no agent directory: give the read-only directory to any command that reads"
        }
        NotImplementedCmd::CompactLogBackup { .. } => {
            "compact-log-backup is not implemented: log backups are in object storage; use TiKV's own tikv-ctl or br"
        }
    })
}
