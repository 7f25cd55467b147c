//! Commands: each runs on a store, a server or a file and prints its result.

mod admin;
mod cluster;
mod convert;
mod damage;
mod data;
mod diff;
mod encryption;
mod files;
mod find;
mod flashback;
mod inside;
mod key;
mod manual;
mod mvcc_text;
mod raft;
mod raft_engine;
mod remote;
mod rocksdb_tools;
mod sst;
mod store;
mod write;

use std::path::Path;

use kvproto::metapb::Region;

pub use admin::AdminCmd;
pub use write::WriteCmd;

use crate::{
    Error, Offline, Online, Result, StoreConfig,
    cli::{Cmd, Global, Opt, RaftCmd},
    encryption::Keyring,
    flamegraph,
    output::Output,
    pd::Pd,
    source::Source,
};

pub use files::FilesCmd;
pub use sst::SstArgs;

/// Runs the command that `opt` names.
pub fn run(opt: Opt, out: &mut Output<'_>) -> Result<()> {
    let Opt { global, convert, cmd } = opt;
    let (keyring, damages) = load_keyring(&cmd, &global, out)?;
    if convert::run(&convert, out)? {
        return Ok(());
    }
    run_command(cmd, &keyring, &global, out)?;
    if damages == 0 { Ok(()) } else { Err(Error::Damaged(damages)) }
}

fn run_command(cmd: Option<Cmd>, keyring: &Keyring, global: &Global, out: &mut Output<'_>) -> Result<()> {
    match cmd {
        Some(Cmd::Sst(args)) => sst::run(&args, keyring, global.key_format, out),
        Some(Cmd::Files(cmd)) => files::run(&cmd, keyring, global, out),
        Some(Cmd::RaftEngineCtl { args }) => raft_engine::run(&args, global, out),
        Some(Cmd::EncryptionMeta { cmd }) => encryption::run(&cmd, global, out),
        Some(Cmd::DecryptFile { file, out_file, yes }) => {
            encryption::decrypt_file(&file, &out_file, yes, global, out)
        }
        Some(Cmd::Admin(cmd)) => admin::run(&cmd, global, out),
        Some(Cmd::Write(cmd)) => write::run(&cmd, global, out),
        Some(Cmd::Ldb { args }) => rocksdb_tools::ldb(&args, global, out),
        Some(Cmd::SstDump { args }) => rocksdb_tools::sst_dump(&args, global, out),
        Some(Cmd::DumpSnapMeta { file }) => damage::snap_meta(&file, keyring, out),
        Some(Cmd::BadSsts { manifest }) => {
            let store = open_offline(global, out)?;
            let done = damage::bad_ssts(&store, manifest.as_deref(), global, out);
            report_damages(&store, done, out)
        }
        Some(Cmd::Diff { region, to_data_dir, to_config, to_host }) => {
            let other = Global { data_dir: to_data_dir, config: to_config, host: to_host, ..global.clone() };
            match (open_source(global, out)?, open_source(&other, out)?) {
                (Some(ours), Some(theirs)) => {
                    let done = diff::run(region, &*ours, &*theirs, out);
                    let done = report_damages(&*ours, done, out);
                    report_damages(&*theirs, done, out)
                }
                _ => {
                    Err(Error::other("[host|data-dir] is not specified: give --data-dir DIR or --host ADDR"))
                }
            }
        }
        Some(Cmd::Find { key, ts }) => find::run(&key, ts, global, out),
        Some(Cmd::Key { key, value }) => key::run(&key, value.as_deref(), global, out),
        Some(Cmd::Completions { shell }) => manual::completions(shell, out),
        Some(Cmd::Man { dir }) => manual::pages(&dir, out),
        Some(Cmd::ReuseReadonlyRemains { .. }) => Err(Error::other(
            "reuse-readonly-remains is not implemented: use TiKV's own tikv-ctl. Reading a directory on a read-only \
             disk needs no agent directory: give it to any command that reads",
        )),
        Some(Cmd::CompactLogBackup { .. }) => Err(Error::other(
            "compact-log-backup is not implemented: log backups are in object storage; use TiKV's own tikv-ctl or br",
        )),
        Some(Cmd::Flamegraph(args)) => flamegraph::run(&args, global, out),
        Some(Cmd::Inflight(args)) => inside::inflight(&args, global, out),
        Some(Cmd::Keep(args)) => inside::keep(&args, global, out),
        Some(Cmd::Kept(args)) => inside::kept(&args, global, out),
        Some(Cmd::Cluster {}) if global.pd.is_some() => cluster::print_from_pd(global, out),
        Some(cmd) => with_store(cmd, global, out),
        None => {
            let help = <Opt as clap::CommandFactory>::command().render_help();
            out.bytes(help.to_string().as_bytes())
        }
    }
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

/// Loads the encryption keys for `path`, a file or directory that a command reads. Also returns the number of
/// damaged places in the dictionaries.
fn load_keys_around(path: &Path, global: &Global, out: &mut Output<'_>) -> Result<(Keyring, usize)> {
    let config = store_config(global)?.encryption;
    let (mut keyring, mut notes) = Keyring::load_around(path, &config)?;
    // The path may be outside of the data directory and still be encrypted by it: raft-engine has its own
    // directory.
    if let Some(dir) = &global.data_dir {
        let (others, more) = Keyring::load(dir, &config)?;
        keyring = keyring.join(others);
        notes.warnings.extend(more.warnings);
        notes.damages.extend(more.damages);
    }
    notes.warnings.sort();
    notes.warnings.dedup();
    notes.damages.sort();
    notes.damages.dedup();
    notes.warnings.iter().for_each(|warning| out.note(&format!("warning: {warning}")));
    notes.damages.iter().for_each(|damage| out.note(&damage.to_string()));
    Ok((keyring, notes.damages.len()))
}

/// Reads the configuration that `--config` names.
fn store_config(global: &Global) -> Result<StoreConfig> {
    Ok(global.config.as_deref().map(StoreConfig::from_file).transpose()?.unwrap_or_default())
}

/// Runs a command that needs a store: a server or a data directory.
fn with_store(cmd: Cmd, global: &Global, out: &mut Output<'_>) -> Result<()> {
    if let Some(host) = &global.host {
        let online = Online::connect(host, &global.security()?)?;
        return match remote::run(&cmd, &online, out)? {
            true => Ok(()),
            false => dispatch(cmd, global, &online, out),
        };
    }
    if let (Some(message), Some(_)) = (remote::only_remote(&cmd), &global.data_dir) {
        return Err(Error::Tikv(message.to_owned()));
    }
    let offline = open_debugger(global, out)?;
    let done = dispatch(cmd, global, &offline, out);
    report_damages(&offline, done, out)
}

/// Finishes a command that read `source`: reports unreadable data even if the command failed, since the
/// damage may be the cause.
fn report_damages(source: &dyn Source, done: Result<()>, out: &mut Output<'_>) -> Result<()> {
    let damages = source.damages();
    damages.iter().for_each(|damage| out.note(damage));
    done?;
    if damages.is_empty() { Ok(()) } else { Err(Error::Damaged(damages.len())) }
}

/// Opens the directory that `--data-dir` names.
fn open_offline(global: &Global, out: &mut Output<'_>) -> Result<Offline> {
    let Some(dir) = &global.data_dir else {
        return Err(Error::other(
            "[host|data-dir] is not specified: give --data-dir DIR to read a directory, or --host ADDR to ask a server",
        ));
    };
    let offline = Offline::open(dir, &store_config(global)?)?;
    for warning in offline.warnings() {
        out.note(&format!("warning: {warning}"));
    }
    Ok(offline)
}

/// Opens the store that `--host` or `--data-dir` names; none without either flag.
fn open_source(global: &Global, out: &mut Output<'_>) -> Result<Option<Box<dyn Source>>> {
    if let Some(host) = &global.host {
        return Ok(Some(Box::new(Online::connect(host, &global.security()?)?)));
    }
    if global.data_dir.is_none() {
        return Ok(None);
    }
    Ok(Some(Box::new(open_debugger(global, out)?)))
}

/// Opens the directory of `--data-dir` for a command of TiKV's tool; prints TiKV's notice if there is a
/// RocksDB for each region.
fn open_debugger(global: &Global, out: &mut Output<'_>) -> Result<Offline> {
    let offline = open_offline(global, out)?;
    if offline.has_tablets() && !out.is_json() {
        out.line("Debugger for raftstore-v2 is used")?;
    }
    Ok(offline)
}

fn dispatch(cmd: Cmd, global: &Global, source: &dyn Source, out: &mut Output<'_>) -> Result<()> {
    let format = global.key_format;
    match cmd {
        Cmd::Raft { cmd: RaftCmd::Region(args) } => raft::regions(&args, None, source, out),
        Cmd::Region(args) => {
            let pd = global.pd.is_some().then(|| Pd::connect(global)).transpose()?;
            let leader_of = |region: &Region| match &pd {
                Some(pd) => pd.leader(region.id),
                None => Ok(source.leader(region)),
            };
            // The files do not record the leader.
            let known = pd.is_some() || global.host.is_some();
            raft::regions(&args, known.then_some(&leader_of as raft::LeaderOf<'_>), source, out)
        }
        Cmd::Raft { cmd: RaftCmd::Log { region, index, key, binary } } => {
            let (region, index) = raft::entry_place(region, index, key.as_deref())?;
            raft::log(region, index, binary, source, out)
        }
        Cmd::Size { region, cf, approximate } => data::size(region, &cf, approximate, source, out),
        Cmd::Scan { from, to, limit, filter } => {
            data::scan(&from, to.as_deref(), limit, &filter, format, source, out)
        }
        Cmd::Mvcc { key, filter } => data::mvcc(&key, &filter, format, source, out),
        Cmd::RawScan { from, to, limit, cf } => data::raw_scan((&from, &to), limit, &cf, format, source, out),
        Cmd::Print { cf, key } => data::print(&cf, &key, format, source, out),
        Cmd::BadRegions {} => store::bad_regions(source, out),
        Cmd::RegionProperties { region } => store::region_properties(region, source, out),
        Cmd::RangeProperties { start, end } => store::range_properties(&start, &end, source, out),
        Cmd::Store {} => store::info(source, out),
        Cmd::Cluster {} => cluster::print_from_source(source, out),
        Cmd::ShowClusterId {} => store::cluster_id(source, out),
        Cmd::Metrics { .. }
        | Cmd::ConsistencyCheck { .. }
        | Cmd::GetRegionReadProgress { .. }
        | Cmd::RaftEngineCtl { .. }
        | Cmd::EncryptionMeta { .. }
        | Cmd::DecryptFile { .. }
        | Cmd::Sst(_)
        | Cmd::Key { .. }
        | Cmd::Find { .. }
        | Cmd::Admin(_)
        | Cmd::Write(_)
        | Cmd::Diff { .. }
        | Cmd::DumpSnapMeta { .. }
        | Cmd::BadSsts { .. }
        | Cmd::Ldb { .. }
        | Cmd::SstDump { .. }
        | Cmd::ReuseReadonlyRemains { .. }
        | Cmd::CompactLogBackup { .. }
        | Cmd::Completions { .. }
        | Cmd::Man { .. }
        | Cmd::Files(_)
        | Cmd::Inflight(_)
        | Cmd::Keep(_)
        | Cmd::Kept(_)
        | Cmd::Flamegraph(_) => Err(Error::other("this command does not use a store")),
    }
}
