//! `ldb` and `sst_dump`: the reading commands of RocksDB's tools, with RocksDB's own flags and our own
//! readers.
mod ldb;
mod manifest_dump;
mod options;
mod remove_sst;
mod sst_dump;

use clap::Subcommand;

use crate::{Result, cli::Global, print::output::Output};

/// RocksDB's tools.
#[derive(Clone, Debug, Subcommand)]
pub enum RocksdbToolCmd {
    /// Run RocksDB's ldb: scan, dump, get, multi_get, list_column_families, manifest_dump, checkconsistency,
    /// unsafe_remove_sst_file
    #[command(disable_help_flag = true)]
    Ldb {
        /// Arguments of ldb, such as --db=DIR --column_family=write --hex scan
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run RocksDB's sst_dump: --command=check, scan, raw, verify, recompress, identify, none
    #[command(name = "sst_dump", alias = "sst-dump", disable_help_flag = true)]
    SstDump {
        /// Arguments of sst_dump, such as --file=FILE --command=scan --output_hex
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

/// Runs `cmd`.
pub fn run(cmd: &RocksdbToolCmd, global: &Global, out: &mut Output<'_>) -> Result<()> {
    match cmd {
        RocksdbToolCmd::Ldb { args } => ldb::run(args, global, out),
        RocksdbToolCmd::SstDump { args } => sst_dump::run(args, global, out),
    }
}
