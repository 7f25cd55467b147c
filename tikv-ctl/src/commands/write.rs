//! Commands that change a data directory. Each prints its changes, asks for confirmation and writes an undo
//! file.

use std::{
    io::BufRead,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{encryption, open_offline, store_config};
use crate::{
    Error, Offline, Online, Result,
    cli::Global,
    encryption::FILE_DICT,
    key::hex,
    output::Output,
    pd::Pd,
    source::Source,
    write::{
        Change, Engines, Flashback, UndoFile, fate::Fates, flashback, flashback::Stamps, mvcc_check, plans,
        plans::Plan,
    },
};

/// Options of a command that changes something.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Write options (not in TiKV)")]
pub struct WriteOptions {
    /// Print exactly what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Skip the confirmation prompt
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Where to write the undo file; a new file in the working directory if absent
    #[arg(long, value_name = "FILE")]
    pub undo_file: Option<PathBuf>,
}

/// Commands that change a data directory, a server or a cluster.
#[derive(Clone, Debug, Subcommand)]
pub enum WriteCmd {
    /// Set some regions on the node to tombstone by manual
    Tombstone {
        /// The target regions, separated with commas if multiple
        #[arg(short = 'r', value_name = "REGION", value_delimiter = ',', required = true)]
        regions: Vec<u64>,
        /// PD endpoints
        #[arg(short = 'p', value_name = "PD", value_delimiter = ',')]
        pd: Option<Vec<String>>,
        /// Skip the check with PD
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        how: WriteOptions,
    },
    /// Recover mvcc data by deleting records that the other column families contradict
    RecoverMvcc {
        /// Recover the whole db
        #[arg(short = 'a', long, conflicts_with = "regions")]
        all: bool,
        /// The target regions
        #[arg(short = 'r', value_name = "REGION", value_delimiter = ',', required_unless_present = "all")]
        regions: Vec<u64>,
        /// PD endpoints, to take the regions' ranges from; the store's own states if absent
        #[arg(short = 'p', value_name = "PD", value_delimiter = ',', conflicts_with = "all")]
        pd: Option<Vec<String>>,
        /// Number of reading threads, with --all
        #[arg(long, value_name = "N", requires = "all", conflicts_with = "regions", default_value_if("all", "true", "4"),
              value_parser = clap::value_parser!(u16).range(1..))]
        threads: Option<u16>,
        /// Skip deleting: the same as --dry-run
        #[arg(short = 'R', long)]
        read_only: bool,
        #[command(flatten)]
        how: WriteOptions,
    },
    /// Unsafely recover when the store can not start normally; this recover may lose data
    UnsafeRecover {
        #[command(subcommand)]
        cmd: UnsafeRecoverCmd,
    },
    /// Recreate a region with given metadata, but alloc new id for it
    RecreateRegion {
        /// PD endpoints
        #[arg(short = 'p', value_name = "PD", value_delimiter = ',')]
        pd: Option<Vec<String>>,
        /// The origin region id
        #[arg(short = 'r', value_name = "REGION")]
        region: u64,
        #[command(flatten)]
        how: WriteOptions,
    },
    /// Reset data in a TiKV to a certain version: locks and versions committed later are deleted
    ResetToVersion {
        /// The version to reset TiKV to
        #[arg(short = 'v', value_name = "TS")]
        version: u64,
        #[command(flatten)]
        how: WriteOptions,
    },
    /// Flash the data back to a version: its values are written again, newer than all later changes
    #[command(
        after_help = "With --pd: flashes back a running cluster. Each region is closed to other requests, written back \
                      and opened again. Keys outside of --start and --end stay as they are. Undoing it is another \
                      flashback, to just before this one; locks that were rolled back are not restored.\n\
                      With --data-dir: flashes back one stopped store only. Where a region has more replicas, run the \
                      same command on each of them, with the same --start-ts."
    )]
    Flashback {
        /// The version to flash back to
        #[arg(short = 'v', value_name = "TS")]
        version: u64,
        /// Only these regions
        #[arg(short = 'r', alias = "region", value_name = "REGION", value_delimiter = ',')]
        regions: Vec<u64>,
        /// Hex start key, as `raft region` shows it
        #[arg(
            long,
            value_name = "HEX",
            default_value = "",
            hide_default_value = true,
            conflicts_with = "regions"
        )]
        start: String,
        /// Hex end key
        #[arg(
            long,
            value_name = "HEX",
            default_value = "",
            hide_default_value = true,
            conflicts_with = "regions"
        )]
        end: String,
        /// Timestamp of the new versions; later than all others of the store if absent (not in TiKV)
        #[arg(long, value_name = "TS")]
        start_ts: Option<u64>,
        #[command(flatten)]
        how: WriteOptions,
    },
    /// Remove the entries of file.dict whose files are gone
    CleanupEncryptionMeta {
        #[command(flatten)]
        how: WriteOptions,
    },
    /// Undo what a command that writes did (not in TiKV)
    Undo {
        /// The undo file that the command wrote
        file: PathBuf,
        /// Print exactly what would change, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Skip the confirmation prompt
        #[arg(long, short = 'y')]
        yes: bool,
    },
}

/// A list of regions, or all regions; one of the two is required.
#[derive(Clone, Debug, Args)]
pub struct RegionSelector {
    /// Only for these regions
    #[arg(
        short = 'r',
        value_name = "REGION",
        value_delimiter = ',',
        conflicts_with = "all_regions",
        required_unless_present = "all_regions"
    )]
    regions: Option<Vec<u64>>,
    /// Do the command for all regions
    #[arg(long)]
    all_regions: bool,
}

/// `unsafe-recover remove-fail-stores` and `drop-unapplied-raftlog`.
#[derive(Clone, Debug, Subcommand)]
pub enum UnsafeRecoverCmd {
    /// Remove the failed machines from the peer list for the regions
    RemoveFailStores {
        /// Stores to be removed
        #[arg(short = 's', value_name = "STORE", value_delimiter = ',', required = true)]
        stores: Vec<u64>,
        #[command(flatten)]
        which: RegionSelector,
        /// Promote learner to voter
        #[arg(long)]
        promote_learner: bool,
        #[command(flatten)]
        how: WriteOptions,
    },
    /// Remove unapplied raftlogs on the regions
    DropUnappliedRaftlog {
        #[command(flatten)]
        which: RegionSelector,
        #[command(flatten)]
        how: WriteOptions,
    },
}

/// Runs `cmd`.
pub fn run(cmd: &WriteCmd, global: &Global, out: &mut Output<'_>) -> Result<()> {
    if let WriteCmd::Undo { file, dry_run, yes } = cmd {
        let how = WriteOptions { dry_run: *dry_run, yes: *yes, undo_file: None };
        return undo(file, &how, global, out);
    }
    if let (Some(host), WriteCmd::ResetToVersion { version, how }) = (&global.host, cmd) {
        return reset_online(host, *version, how, global, out);
    }
    if let (WriteCmd::Flashback { version, regions, start, end, start_ts, how }, None) =
        (cmd, &global.data_dir)
    {
        if global.pd.is_none() {
            return Err(Error::other(
                "flashback: give --pd ADDR for a running cluster, or --data-dir DIR for a store that is stopped",
            ));
        }
        if start_ts.is_some() {
            return Err(Error::other(
                "--start-ts is for --data-dir: timestamps of a cluster come from its PD",
            ));
        }
        let (start, end) = (hex(start)?, hex(end)?);
        let wanted = Flashback { pd: None, version: *version, regions: regions.clone(), start, end };
        return super::flashback::run(&wanted, false, how, global, out);
    }
    if global.host.is_some() {
        return Err(Error::Tikv("This command is only for local mode".to_owned()));
    }
    if let WriteCmd::CleanupEncryptionMeta { how } = cmd {
        let Some(dir) = &global.data_dir else {
            return Err(Error::other("cleanup-encryption-meta changes a directory: give --data-dir DIR"));
        };
        if !dir.join(FILE_DICT).is_file() {
            return out.either(|| "Encryption is disabled".to_owned(), || json!({ "encrypted": false }));
        }
        return show_or_apply(
            "cleanup-encryption-meta",
            how,
            &encryption::cleanup_plan(dir)?,
            "",
            global,
            out,
        );
    }
    let store = open_offline(global, out)?;
    let (name, how, mut plan, done) = match cmd {
        WriteCmd::Tombstone { regions, pd, force, how } => {
            // As in TiKV: a named PD is asked even with --force.
            let plan = match (pd.clone().or(global.pd.clone().filter(|_| !force).map(|pd| vec![pd])), force) {
                (Some(pd), _) => {
                    let pd = Pd::connect_to(&pd, global)?;
                    let known = |id| pd.region_if_known(id)?.ok_or_else(|| not_in_pd(id));
                    plans::tombstone(&store, regions, Some(&known))?
                }
                (None, true) => plans::tombstone(&store, regions, None)?,
                (None, false) => {
                    return Err(Error::other(
                        "give -p PD to check that the peers are gone, or --force to skip the check",
                    ));
                }
            };
            ("tombstone", how, plan, "success!")
        }
        WriteCmd::RecoverMvcc { all, regions, pd, threads, read_only, how } => {
            let mut plan = Plan::default();
            if *all {
                mvcc_check::check_all(&store, threads.unwrap_or(1).into(), &mut plan)?;
            }
            let ranges = match (all, pd.clone().or(global.pd.clone().map(|pd| vec![pd]))) {
                (true, _) => Vec::new(),
                (false, Some(pd)) => ranges_of_pd(regions, &pd, global)?,
                (false, None) => ranges(&store, Some(regions), &mut plan),
            };
            let mut fates = Fates::new(&store)?;
            for (from, to) in &ranges {
                mvcc_check::check(store.kv(), (from, to), &mut fates, &mut || out.tick("keys"), &mut plan)?;
            }
            plan.place(&store)?;
            refuse_damage(&store, out)?;
            drop(store);
            let how = WriteOptions { dry_run: how.dry_run || *read_only, ..how.clone() };
            return show_or_apply("recover-mvcc", &how, &plan, "success!", global, out);
        }
        WriteCmd::UnsafeRecover { cmd } => match cmd {
            UnsafeRecoverCmd::RemoveFailStores { stores, which, promote_learner, how } => {
                if !out.is_json() {
                    out.line(format!("removing stores {stores:?} from configurations..."))?;
                }
                let plan =
                    plans::remove_fail_stores(&store, stores, which.regions.as_deref(), *promote_learner)?;
                ("remove-fail-stores", how, plan, "success")
            }
            UnsafeRecoverCmd::DropUnappliedRaftlog { which, how } => {
                if !out.is_json() {
                    out.line(format!("removing unapplied raftlog on region {:?} ...", which.regions))?;
                }
                (
                    "drop-unapplied-raftlog",
                    how,
                    plans::drop_unapplied(&store, which.regions.as_deref())?,
                    "success",
                )
            }
        },
        WriteCmd::RecreateRegion { pd, region, how } => {
            plans::check_recreatable(&store)?;
            let pd = match pd {
                Some(pd) => Pd::connect_to(pd, global)?,
                None => Pd::connect(global)?,
            };
            let lost = pd.region_if_known(*region)?;
            let lost = lost.ok_or_else(|| Error::Tikv(format!("no such region {region} on PD")))?;
            let (id, peer) = (pd.alloc_id()?, pd.alloc_id()?);
            if !out.is_json() {
                out.line(format!("initing empty region {id} with peer_id {peer}..."))?;
            }
            ("recreate-region", how, plans::recreate_region(&store, &lost, id, peer)?, "success")
        }
        WriteCmd::ResetToVersion { version, how } => {
            ("reset-to-version", how, plans::reset_to_version(&store, *version)?, "")
        }
        WriteCmd::Flashback { version, regions, start, end, start_ts, how } => {
            plans::check_flushed(&store, regions)?;
            let stamps = Stamps::new(&store, *version, *start_ts)?;
            let mut plan = Plan::whole();
            let ranges = if regions.is_empty() {
                vec![(keys::data_key(&hex(start)?), keys::data_end_key(&hex(end)?))]
            } else {
                ranges(&store, Some(regions), &mut plan)
            };
            if !out.is_json() {
                out.line(format!(
                    "flashback to {version}: new versions have start_ts {}, commit_ts {}",
                    stamps.start, stamps.commit
                ))?;
            }
            flashback::plan(&store, *version, &ranges, stamps, &mut plan)?;
            ("flashback", how, plan, "flashback all stores success!")
        }
        WriteCmd::CleanupEncryptionMeta { .. } | WriteCmd::Undo { .. } => return Ok(()),
    };
    plan.place(&store)?;
    refuse_damage(&store, out)?;
    drop(store);
    show_or_apply(name, how, &plan, done, global, out)
}

/// Fails if data that the plan depends on could not be read: an older version may have been used in its
/// place.
fn refuse_damage(store: &Offline, out: &mut Output<'_>) -> Result<()> {
    store.damages().iter().for_each(|damage| out.note(damage));
    // `unread` leaves out damage of the MANIFEST and logs: a server would continue without that data, too.
    let damages = store.unread();
    if damages.is_empty() {
        return Ok(());
    }
    Err(Error::other(format!(
        "refusing to write: {} damaged places (listed above) are in data that this command must read, so its changes \
         could be wrong: remove the damaged SSTs first (`bad-ssts` prints the commands), or restore them; nothing was \
         changed",
        damages.len()
    )))
}

/// Returns the data-key ranges of the regions, or of the whole store; a missing region becomes an error of
/// the plan.
fn ranges(store: &Offline, regions: Option<&[u64]>, plan: &mut Plan) -> Vec<(Vec<u8>, Vec<u8>)> {
    let Some(regions) = regions else {
        return vec![(keys::DATA_MIN_KEY.to_vec(), keys::DATA_MAX_KEY.to_vec())];
    };
    let mut ranges = Vec::new();
    for id in regions {
        let state = store.region_info(*id).ok().and_then(|info| info.region_local_state);
        match state.and_then(|state| state.region) {
            Some(region) => ranges.push((keys::enc_start_key(&region), keys::enc_end_key(&region))),
            None => plan.errors.push((*id, format!("region {id} is not on this store"))),
        }
    }
    ranges
}

fn not_in_pd(region: u64) -> Error {
    Error::Tikv(format!("no such region in pd: {region}"))
}

/// Returns the data-key ranges of regions as PD has them.
fn ranges_of_pd(regions: &[u64], pd: &[String], global: &Global) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let pd = Pd::connect_to(pd, global)?;
    let range = |id: &u64| {
        let region = pd.region_if_known(*id)?.ok_or_else(|| not_in_pd(*id))?;
        Ok((keys::enc_start_key(&region), keys::enc_end_key(&region)))
    };
    regions.iter().map(range).collect()
}

fn reset_online(
    host: &str,
    version: u64,
    how: &WriteOptions,
    global: &Global,
    out: &mut Output<'_>,
) -> Result<()> {
    if how.dry_run {
        return Err(Error::other("a server cannot list what it would delete: --dry-run needs --data-dir"));
    }
    let online = Online::connect(host, &global.security()?)?;
    let what = format!(
        "{host} deletes all locks and all versions committed after {version}. There is no undo file for a server."
    );
    confirm("reset-to-version", &what, how, out)?;
    online.reset_to_version(version).map_err(|e| e.into_error("DebugClient::reset_to_version"))?;
    match out.is_json() {
        true => out.json(&json!({ "command": "reset-to-version", "dry_run": false, "version": version })),
        false => Ok(()),
    }
}

/// Asks the user to type the command's name.
pub(super) fn confirm(name: &str, what: &str, how: &WriteOptions, out: &mut Output<'_>) -> Result<()> {
    if how.yes {
        return Ok(());
    }
    out.flush()?;
    out.note(&format!("{what}\nType \"{name}\" to continue; anything else aborts:"));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(Error::io(Path::new("standard input")))?;
    if answer.trim() == name {
        return Ok(());
    }
    Err(Error::other("nothing was changed: the command was not confirmed (--yes skips the prompt)"))
}

fn print_changes(changes: &[Change], out: &mut Output<'_>) -> Result<()> {
    changes.iter().try_for_each(|change| out.line(change.text()))
}

/// Prints the plan, or applies it.
pub(super) fn show_or_apply(
    name: &str,
    how: &WriteOptions,
    plan: &Plan,
    done: &str,
    global: &Global,
    out: &mut Output<'_>,
) -> Result<()> {
    plan.notes.iter().for_each(|note| out.note(note));
    if how.dry_run {
        if out.is_json() {
            let regions = plan.errors.iter().map(|(id, e)| json!({ "region_id": id, "error": e }));
            let errors: Vec<_> = regions.chain(plan.failures.iter().map(|e| json!({ "error": e }))).collect();
            out.json(
                &json!({ "command": name, "dry_run": true, "changes": plan.changes, "errors": errors }),
            )?;
        } else {
            print_changes(&plan.changes, out)?;
            out.line(format!("{} changes; nothing was changed (--dry-run)", plan.changes.len()))?;
        }
        return plan.error();
    }
    if plan.all_or_nothing {
        plan.error()?;
    }
    let mut undo_path = None;
    if !plan.changes.is_empty() {
        undo_path = Some(apply_plan(name, how, plan.changes.clone(), true, global, out)?);
    }
    plan.error()?;
    if out.is_json() {
        return out.json(&json!({
            "command": name, "dry_run": false, "changes": plan.changes.len(), "undo_file": undo_path
        }));
    }
    if done.is_empty() { Ok(()) } else { out.line(done) }
}

/// Locks the store, checks the plan against it, writes the undo file if `with_undo`, and applies the changes.
fn apply_plan(
    name: &str,
    how: &WriteOptions,
    changes: Vec<Change>,
    with_undo: bool,
    global: &Global,
    out: &mut Output<'_>,
) -> Result<PathBuf> {
    let dir = global.data_dir.as_ref().ok_or_else(|| Error::other("give --data-dir DIR"))?;
    let config = store_config(global)?;
    let path = how.undo_file.clone().unwrap_or_else(|| UndoFile::default_path(name));
    let what = format!("{} changes of {} (--dry-run shows them).", changes.len(), dir.display());
    confirm(name, &what, how, out)?;
    let engines = Engines::open(dir, &config, &changes)?;
    let changes = engines.pending(changes, !with_undo)?;
    // Fails here, before anything is written, if the changes cannot be applied.
    let prepared = engines.prepare(&changes)?;
    if !with_undo {
        prepared.apply()?;
        return Ok(path);
    }
    UndoFile::new(name, dir, &changes).write(&path)?;
    out.note(&format!("to undo it: tikv-ctl undo {}", path.display()));
    // Databases are changed one by one: a failure may leave some of them changed.
    prepared.apply().map_err(|e| {
        Error::other(format!(
            "{e}; some changes may have been made: `tikv-ctl undo {}` reverts them",
            path.display()
        ))
    })?;
    Ok(path)
}

fn undo(file: &std::path::Path, how: &WriteOptions, global: &Global, out: &mut Output<'_>) -> Result<()> {
    let saved = UndoFile::read(file)?;
    if let Some(back) = &saved.flashback {
        let pd = global.pd.clone().or(back.pd.clone());
        return super::flashback::run(back, true, how, &Global { pd, ..global.clone() }, out);
    }
    let changes = saved.inverse();
    if how.dry_run {
        return out.either(
            || {
                let texts: Vec<String> = changes.iter().map(Change::text).collect();
                format!("{}\n{} changes; nothing was changed (--dry-run)", texts.join("\n"), changes.len())
            },
            || json!({ "command": "undo", "dry_run": true, "changes": changes, "errors": [] }),
        );
    }
    let data_dir = global.data_dir.clone().or(Some(saved.data_dir));
    let global = Global { data_dir, ..global.clone() };
    let (count, none) = (changes.len(), None::<PathBuf>);
    apply_plan("undo", how, changes, false, &global, out)?;
    out.either(
        || format!("{count} changes of {} undone", saved.command),
        || json!({ "command": "undo", "dry_run": false, "changes": count, "undo_file": none }),
    )
}
