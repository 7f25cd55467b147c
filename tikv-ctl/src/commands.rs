//! Commands: each runs on a store, a server or a file and prints its result.
mod admin;
mod apply;
mod bad_ssts;
mod cluster;
mod compact;
mod completions;
mod convert;
mod data;
mod diff;
mod encryption;
mod fail;
mod files;
mod find;
mod flamegraph;
mod flashback;
mod inflight;
mod key;
mod not_implemented;
mod open;
mod raft;
mod raft_engine;
mod rocksdb_tools;
mod server;
mod snap_meta;
mod sst;
mod store;
mod store_info;
mod write;

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

use flamegraph::FlamegraphArgs;
use open::load_keys_around;

use crate::{Error, Result, cli::Global, encryption::Keyring, print::output::Output, uses::complete_help};

/// Inspects TiKV data directories and live servers. Only the commands that say so change anything.
#[derive(Debug, Parser)]
#[command(
    name = "tikv-ctl",
    version,
    after_help = "Exit codes: 0 done, 1 failed (message on standard error), 2 wrong flags, 255 failed as TiKV's \
                  tikv-ctl fails (message where that tool prints it, mostly on standard output)."
)]
pub struct Opt {
    #[command(flatten)]
    pub global: Global,
    #[command(flatten)]
    pub convert: convert::Convert,
    #[command(subcommand)]
    pub cmd: Option<Cmd>,
}

/// The commands, grouped by what they need; the help lists them in this order.
#[derive(Debug, Subcommand)]
pub enum Cmd {
    #[command(flatten)]
    Store(store::StoreCmd),
    #[command(flatten)]
    Server(server::ServerCmd),
    /// Run a command on raft-engine's files: `-- dump|check|try-purge --path PATH`, `-- repair --path PATH --queue QUEUE --script FILE`
    RaftEngineCtl(raft_engine::RaftEngineArgs),
    #[command(flatten)]
    Encryption(encryption::EncryptionCmd),
    #[command(flatten)]
    Admin(admin::AdminCmd),
    #[command(flatten)]
    Write(write::WriteCmd),
    /// Compare the data of a region with another store's
    Diff(diff::DiffArgs),
    /// Dump the meta file of a snapshot
    DumpSnapMeta {
        /// The .meta file
        #[arg(short = 'f', long, value_name = "FILE")]
        file: PathBuf,
    },
    #[command(flatten)]
    RocksdbTool(rocksdb_tools::RocksdbToolCmd),
    /// Find damaged SSTs, the data they contained and the repair commands; regions are those of the directory
    BadSsts(bad_ssts::BadSstsArgs),
    /// Inspect an SST file: properties, blocks, keys, checksums
    Sst(sst::SstArgs),
    /// Find every place that stores a version of a key, and explain what a read returns
    #[command(
        after_help = "Searches the Raft log, the WAL, SSTs and blob files. Lists each record once, with all \
                      places that contain the record, in order of time."
    )]
    Find(find::FindArgs),
    /// Explain a key: its forms, its table, its column values, its timestamp, its region
    Key(key::KeyArgs),
    #[command(flatten)]
    NotImplemented(not_implemented::NotImplementedCmd),
    #[command(flatten)]
    Completions(manual::Manual),
    #[command(flatten)]
    Files(files::FilesCmd),
    #[command(flatten)]
    Trace(inflight::TraceCmd),
    /// Draw a flame graph: CPU of a server, or wall clock of a trace
    Flamegraph(Box<FlamegraphArgs>),
}

/// Runs the command that `opt` names.
pub fn run(opt: Opt, out: &mut Output<'_>) -> Result<()> {
    let Opt { global, convert, cmd } = opt;
    let (keyring, damages) = load_keyring(&cmd, &global, out)?;
    if convert.is_some() {
        return convert::run(&convert, out);
    }
    match &cmd {
        Some(cmd) => run_command(cmd, &keyring, &global, out)?,
        None => out.bytes(complete_help(Opt::command()).render_help().to_string().as_bytes())?,
    }
    if damages == 0 { Ok(()) } else { Err(Error::Damaged(damages)) }
}

fn run_command(cmd: &Cmd, keyring: &Keyring, global: &Global, out: &mut Output<'_>) -> Result<()> {
    match cmd {
        Cmd::Store(cmd) => store::run(cmd, global, out),
        Cmd::Server(cmd) => server::run(cmd, global, out),
        Cmd::RaftEngineCtl(args) => raft_engine(args, global, out),
        Cmd::Encryption(cmd) => encryption::run(cmd, global, out),
        Cmd::Admin(cmd) => admin::run(cmd, global, out),
        Cmd::Write(cmd) => write::run(cmd, global, out),
        Cmd::Diff(args) => diff::run(args, global, out),
        Cmd::DumpSnapMeta { file } => snap_meta::run(file, keyring, out),
        Cmd::RocksdbTool(cmd) => rocksdb_tools::run(cmd, global, out),
        Cmd::BadSsts(args) => bad_ssts::run(args, global, out),
        Cmd::Sst(args) => sst::run(args, keyring, global, out),
        Cmd::Find(args) => find::run(args, global, out),
        Cmd::Key(args) => key::run(args, global, out),
        Cmd::NotImplemented(cmd) => Err(not_implemented::error(cmd)),
        Cmd::Completions(cmd) => completions::run(cmd, Opt::command(), out),
        Cmd::Files(cmd) => files::run(cmd, keyring, global, out),
        Cmd::Trace(cmd) => inflight::run(cmd, global, out),
        Cmd::Flamegraph(args) => flamegraph::run(args, global, out),
    }
}

/// Runs `raft-engine-ctl`, whose own arguments name the files to read.
fn raft_engine(args: &raft_engine::RaftEngineArgs, global: &Global, out: &mut Output<'_>) -> Result<()> {
    let Some(ctl) = raft_engine::parse(args, out)? else { return Ok(()) };
    let (keyring, damages) = load_keys_around(ctl.path(), global, out)?;
    raft_engine::run(ctl, &keyring, global, out)?;
    if damages == 0 { Ok(()) } else { Err(Error::Damaged(damages)) }
}

/// Loads the keys of the data directory that contains the command's files, and the number of damaged places
/// in its dictionaries. Other commands load the keys when they open their store.
fn load_keyring(cmd: &Option<Cmd>, global: &Global, out: &mut Output<'_>) -> Result<(Keyring, usize)> {
    let path = match cmd {
        Some(Cmd::Sst(args)) => Some(args.path.as_path()),
        Some(Cmd::Files(cmd)) => cmd.path().or(global.data_dir.as_deref()),
        Some(Cmd::DumpSnapMeta { file }) => Some(file.as_path()),
        _ => None,
    };
    path.map_or_else(|| Ok(Default::default()), |path| load_keys_around(path, global, out))
}
