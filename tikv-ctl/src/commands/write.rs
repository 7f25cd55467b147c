//! Commands that change a data directory, a server or a cluster. Each prints its changes, asks for
//! confirmation and writes an undo file.
mod cleanup_encryption_meta;
mod flashback;
mod recover_mvcc;
mod recreate_region;
mod reset_to_version;
mod stopped;
mod tombstone;
mod undo;
mod unsafe_recover;

use clap::Subcommand;

use super::apply::WriteOptions;
use crate::{Result, cli::Global, print::output::Output};

/// Commands that change a data directory, a server or a cluster.
#[derive(Clone, Debug, Subcommand)]
pub enum WriteCmd {
    /// Mark the peers of regions on this store as removed (tombstone)
    Tombstone(tombstone::TombstoneArgs),
    /// Delete MVCC records that the other column families contradict
    RecoverMvcc(recover_mvcc::RecoverMvccArgs),
    /// Remove failed stores or unapplied entries from regions; may lose data
    UnsafeRecover {
        #[command(subcommand)]
        cmd: unsafe_recover::UnsafeRecoverCmd,
    },
    /// Create an empty region, with a new id, in place of a lost one
    RecreateRegion(recreate_region::RecreateRegionArgs),
    /// Reset a store to a version: delete all locks and all later versions
    ResetToVersion(reset_to_version::ResetToVersionArgs),
    /// Flash the data back to a version: its values are written again, newer than all later changes
    #[command(
        after_help = "With --pd: flashes back a running cluster. Each region is closed to other requests, written back \
                      and opened again. Keys outside of --start and --end stay as they are. Undoing it is another \
                      flashback, to just before this one; locks that were rolled back are not restored.\n\
                      With --data-dir: flashes back one stopped store only. Where a region has more replicas, run the \
                      same command on each of them, with the same --start-ts."
    )]
    Flashback(flashback::FlashbackArgs),
    /// Remove the entries of file.dict whose files are gone
    CleanupEncryptionMeta {
        #[command(flatten)]
        how: WriteOptions,
    },
    /// Undo the changes of a command that writes
    Undo(undo::UndoArgs),
}

/// Runs `cmd`.
pub fn run(cmd: &WriteCmd, global: &Global, out: &mut Output<'_>) -> Result<()> {
    match cmd {
        WriteCmd::Tombstone(args) => tombstone::run(args, global, out),
        WriteCmd::RecoverMvcc(args) => recover_mvcc::run(args, global, out),
        WriteCmd::UnsafeRecover { cmd } => unsafe_recover::run(cmd, global, out),
        WriteCmd::RecreateRegion(args) => recreate_region::run(args, global, out),
        WriteCmd::ResetToVersion(args) => reset_to_version::run(args, global, out),
        WriteCmd::Flashback(args) => flashback::run(args, global, out),
        WriteCmd::CleanupEncryptionMeta { how } => cleanup_encryption_meta::run(how, global, out),
        WriteCmd::Undo(args) => undo::run(args, global, out),
    }
}
