//! Commands that change a running server, through its gRPC address or through PD.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use keys::escape;
use kvproto::{
    debugpb::{BottommostLevelCompaction, CompactRequest, Db, list_fail_points_response},
    kvrpcpb, metapb,
    tikvpb::tikv_client::TikvClient,
};
use serde_json::json;

use super::open_offline;
use crate::{
    Error, Online, Result, StoreConfig, cli::Global, key::escaped, online, output::Output, pd::Pd,
    source::Source, text::message_text, write,
};
use prost::Message;

/// Compacts the database in `--data-dir`, which no server may run on. Its readable data stays the same.
fn compact_dir(args: &CompactArgs, region: Option<u64>, global: &Global, out: &mut Output<'_>) -> Result<()> {
    if args.db == "raft" {
        return Err(Error::Tikv(
            "Debugger::compact: \"[src/server/debug.rs:233]: Get raft db is not allowed\"".to_owned(),
        ));
    }
    let store = open_offline(global, out)?;
    let cf = one_cf(args)?;
    let (from, to) = range(args, region, &store)?;
    drop(store);
    let config = global.config.as_deref().map(StoreConfig::from_file).transpose()?.unwrap_or_default();
    let dir = global.data_dir.as_ref().ok_or_else(|| Error::other("give --data-dir DIR"))?;
    let bottommost = args.bottommost.to_engine();
    write::compact::compact(dir, &config, cf, (&from, &to), args.threads, bottommost)?;
    let verb = if region.is_some() { "compact_region" } else { "compact" };
    out.either(
        || format!("store:\"local\" {verb} db:Kv cf:{cf} range:[{from:?}, {to:?}) success!"),
        || json!({ "store": "local", "db": "kv", "cf": cf, "from": escape(&from), "to": escape(&to) }),
    )
}

fn one_cf(args: &CompactArgs) -> Result<&String> {
    match args.cf.as_slice() {
        [cf] => Ok(cf),
        _ => Err(Error::other("compact takes one column family; compact-cluster takes several")),
    }
}

/// Returns the range to compact: the given one, or that of `region`.
fn range(args: &CompactArgs, region: Option<u64>, source: &dyn Source) -> Result<(Vec<u8>, Vec<u8>)> {
    let Some(region) = region else { return Ok((bound(args.from.as_ref())?, bound(args.to.as_ref())?)) };
    let info = source
        .region_info(region)
        .map_err(|e| e.into_error(&format!("{}::region_info", source.executor())))?;
    let region = info.region_local_state.and_then(|state| state.region).unwrap_or_default();
    Ok((keys::enc_start_key(&region), keys::enc_end_key(&region)))
}

/// Range and options of a compaction.
#[derive(Clone, Debug, Args)]
pub struct CompactArgs {
    /// The database to compact
    #[arg(short = 'd', value_name = "DB", default_value = "kv", value_parser = ["kv", "raft"])]
    pub db: String,
    /// Column families; one for `compact`
    #[arg(short = 'c', value_name = "CF", value_delimiter = ',', default_value = "default",
          value_parser = ["default", "lock", "write", "raft"])]
    pub cf: Vec<String>,
    /// Start key (with z) in escaped form
    #[arg(short = 'f', long, value_name = "KEY")]
    pub from: Option<String>,
    /// End key (with z) in escaped form
    #[arg(short = 't', long, value_name = "KEY")]
    pub to: Option<String>,
    /// Number of threads of one compaction
    #[arg(short = 'n', long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    pub threads: u32,
    /// Treatment of the bottommost level
    #[arg(short = 'b', long, value_enum, default_value_t)]
    pub bottommost: Bottommost,
}

/// `skip`, `force` or `default`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Bottommost {
    /// Leave it as it is
    Skip,
    /// Compact it
    Force,
    /// Compact it if there is a compaction filter
    #[default]
    Default,
}

impl Bottommost {
    fn to_engine(self) -> engine_rocks::BottommostLevelCompaction {
        match self {
            Bottommost::Skip => engine_rocks::BottommostLevelCompaction::Skip,
            Bottommost::Force => engine_rocks::BottommostLevelCompaction::Force,
            Bottommost::Default => engine_rocks::BottommostLevelCompaction::IfHaveCompactionFilter,
        }
    }

    fn to_wire(self) -> BottommostLevelCompaction {
        match self {
            Bottommost::Skip => BottommostLevelCompaction::Skip,
            Bottommost::Force => BottommostLevelCompaction::Force,
            Bottommost::Default => BottommostLevelCompaction::IfHaveCompactionFilter,
        }
    }
}

/// Commands that change a running server or a cluster.
#[derive(Clone, Debug, Subcommand)]
pub enum AdminCmd {
    /// Compact a column family in a specified range (needs --host or --data-dir)
    Compact {
        #[command(flatten)]
        args: CompactArgs,
        /// Compact the range of this region
        #[arg(short = 'r', long, value_name = "REGION", conflicts_with_all = ["from", "to"])]
        region: Option<u64>,
    },
    /// Compact the whole cluster in a specified range in one or more column families (needs --pd)
    CompactCluster {
        #[command(flatten)]
        args: CompactArgs,
    },
    /// Split a region at a key (needs --pd)
    SplitRegion {
        /// The target region id
        #[arg(short = 'r', value_name = "REGION")]
        region: u64,
        /// The key to split it at, unencoded, in escaped form
        #[arg(short = 'k', value_name = "KEY")]
        key: String,
    },
    /// Inject failures to a server and recover from them (needs --host)
    Fail {
        #[command(subcommand)]
        cmd: FailCmd,
    },
    /// Modify a server's config (needs --host)
    ModifyTikvConfig {
        /// The config name, such as rocksdb.defaultcf.disable-auto-compactions
        #[arg(short = 'n', value_name = "NAME")]
        name: String,
        /// The config value, such as true
        #[arg(short = 'v', value_name = "VALUE")]
        value: String,
    },
}

/// `fail inject`, `recover`, `list`.
#[derive(Clone, Debug, Subcommand)]
pub enum FailCmd {
    /// Inject failures
    Inject {
        /// Fail points and their actions: NAME=ACTIONS
        args: Vec<String>,
        /// Read a file of fail points, one NAME=ACTIONS a line
        #[arg(short = 'f', value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Recover failures; all listed ones if none is named
    Recover {
        /// Fail points
        args: Vec<String>,
        /// Read a file of fail points
        #[arg(short = 'f', value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// List all fail points that are set
    List {},
}

/// Runs `cmd`.
pub fn run(cmd: &AdminCmd, global: &Global, out: &mut Output<'_>) -> Result<()> {
    match cmd {
        AdminCmd::CompactCluster { args } => compact_cluster(args, global, out),
        AdminCmd::SplitRegion { region, key } => split_region(*region, key, global, out),
        AdminCmd::Compact { args, region } if global.host.is_none() && global.data_dir.is_some() => {
            compact_dir(args, *region, global, out)
        }
        AdminCmd::Compact { .. } | AdminCmd::Fail { .. } | AdminCmd::ModifyTikvConfig { .. } => {
            let Some(host) = &global.host else {
                return match &global.data_dir {
                    Some(_) if matches!(cmd, AdminCmd::Fail { .. }) => {
                        Err(Error::Tikv("command fail requires host".to_owned()))
                    }
                    Some(_) => Err(Error::Tikv("only support remote mode".to_owned())),
                    None => Err(Error::other("[host|data-dir] is not specified: give --host ADDR")),
                };
            };
            let online = Online::connect(host, &global.security()?)?;
            match cmd {
                AdminCmd::Compact { args, region } => compact(args, *region, host, &online, out),
                AdminCmd::Fail { cmd } => fail(cmd, &online, out),
                AdminCmd::ModifyTikvConfig { name, value } => {
                    let done = online.modify_tikv_config(name, value);
                    done.map_err(|e| e.into_error("DebugClient::modify_tikv_config"))?;
                    out.either(|| "success".to_owned(), || json!({ "success": true }))
                }
                _ => Ok(()),
            }
        }
    }
}

fn bound(text: Option<&String>) -> Result<Vec<u8>> {
    Ok(text.map(|text| escaped(text)).transpose()?.unwrap_or_default())
}

fn compact(
    args: &CompactArgs,
    region: Option<u64>,
    host: &str,
    online: &Online,
    out: &mut Output<'_>,
) -> Result<()> {
    let cf = one_cf(args)?;
    let (from, to) = range(args, region, online)?;
    let verb = if region.is_some() { "compact_region" } else { "compact" };
    compact_one(args, cf, (&from, &to), (host, verb), online, out)
}

fn compact_one(
    args: &CompactArgs,
    cf: &str,
    (from, to): (&[u8], &[u8]),
    (address, verb): (&str, &str),
    online: &Online,
    out: &mut Output<'_>,
) -> Result<()> {
    let db = if args.db == "raft" { Db::Raft } else { Db::Kv };
    let request = CompactRequest {
        db: db.into(),
        cf: cf.to_owned(),
        from_key: from.to_vec(),
        to_key: to.to_vec(),
        threads: args.threads,
        bottommost_level_compaction: args.bottommost.to_wire().into(),
    };
    online.compact(request).map_err(|e| e.into_error("DebugClient::compact"))?;
    out.either(
        || format!("store:{address:?} {verb} db:{db:?} cf:{cf} range:[{from:?}, {to:?}) success!"),
        || json!({ "store": address, "db": args.db, "cf": cf, "from": escape(from), "to": escape(to) }),
    )
}

fn compact_cluster(args: &CompactArgs, global: &Global, out: &mut Output<'_>) -> Result<()> {
    let (pd, security) = (Pd::connect(global)?, global.security()?);
    let (from, to) = (bound(args.from.as_ref())?, bound(args.to.as_ref())?);
    let is_tiflash = |store: &metapb::Store| {
        store.labels.iter().any(|label| label.key == "engine" && label.value.starts_with("tiflash"))
    };
    for store in pd.stores()?.iter().filter(|store| !is_tiflash(store)) {
        let online = Online::connect(&store.address, &security)?;
        for cf in &args.cf {
            compact_one(args, cf, (&from, &to), (&store.address, "compact"), &online, out)?;
        }
    }
    Ok(())
}

fn split_region(region_id: u64, key: &str, global: &Global, out: &mut Output<'_>) -> Result<()> {
    let (pd, security) = (Pd::connect(global)?, global.security()?);
    let key = escaped(key)?;
    let (region, leader) = pd.region(region_id)?;
    let leader = leader.ok_or_else(|| {
        Error::other(format!("PD reports no leader for region {region_id}: try again once it has one"))
    })?;
    let address = pd.store(leader.store_id)?.address;
    let (runtime, channel) = online::connect(&address, &security)?;
    let context = kvrpcpb::Context {
        region_id,
        region_epoch: region.region_epoch,
        peer: Some(leader),
        ..Default::default()
    };
    let request =
        kvrpcpb::SplitRegionRequest { context: Some(context), split_keys: vec![key], ..Default::default() };
    let reply = runtime.block_on(TikvClient::new(channel).split_region(request));
    let reply = reply.map_err(|e| Error::Tikv(format!("split_region: {e}")))?.into_inner();
    if let Some(error) = reply.region_error {
        let text = message_text("errorpb.Error", &error.encode_to_vec())?;
        return out.either(
            || format!("split_region internal error: {text}"),
            || json!({ "region_id": region_id, "error": text }),
        );
    }
    let ids: Vec<u64> = reply.regions.iter().map(|region| region.id).collect();
    let (left, right) = (ids.first().copied().unwrap_or(0), ids.last().copied().unwrap_or(0));
    out.either(
        || format!("split region {region_id} success, left: {left}, right: {right}"),
        || json!({ "region_id": region_id, "left": left, "right": right }),
    )
}

/// Reads fail points from the command line and from a file.
fn fail_points(args: &[String], file: Option<&PathBuf>) -> Result<Vec<(String, String)>> {
    let text = match file {
        Some(path) => {
            std::fs::read_to_string(path).map_err(|e| Error::other(format!("-f {}: {e}", path.display())))?
        }
        None => String::new(),
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let all = args.iter().map(String::as_str).chain(lines);
    let pair = |point: &str| {
        let (name, actions) = point.split_once('=').unwrap_or((point, ""));
        (name.to_owned(), actions.to_owned())
    };
    Ok(all.map(pair).collect())
}

fn fail(cmd: &FailCmd, online: &Online, out: &mut Output<'_>) -> Result<()> {
    let list = || online.fail_points().map_err(|e| e.into_error("DebugClient::list_fail_points"));
    match cmd {
        FailCmd::Inject { args, file } => {
            let mut injected = Vec::new();
            for (name, actions) in fail_points(args, file.as_ref())? {
                if actions.is_empty() {
                    let passed_over = format!("No action for fail point {name}");
                    if out.is_json() {
                        out.note(&passed_over)
                    } else {
                        out.line(passed_over)?
                    }
                    continue;
                }
                online
                    .inject_fail_point(&name, &actions)
                    .map_err(|e| e.into_error("DebugClient::inject_fail_point"))?;
                injected.push(json!({ "name": name, "actions": actions }));
            }
            if out.is_json() { out.json(&json!({ "injected": injected })) } else { Ok(()) }
        }
        FailCmd::Recover { args, file } => {
            let mut points = fail_points(args, file.as_ref())?;
            if points.is_empty() {
                points = list()?;
            }
            for (name, _) in &points {
                online
                    .recover_fail_point(name)
                    .map_err(|e| e.into_error("DebugClient::recover_fail_point"))?;
            }
            let names = || points.iter().map(|(name, _)| name).collect::<Vec<_>>();
            if out.is_json() { out.json(&json!({ "recovered": names() })) } else { Ok(()) }
        }
        FailCmd::List {} => {
            let points = list()?;
            let entry = |(name, actions): &(String, String)| {
                let (name, actions) = (name.clone(), actions.clone());
                let entry = list_fail_points_response::Entry { name, actions };
                message_text("debugpb.ListFailPointsResponse.Entry", &entry.encode_to_vec())
            };
            let text = points.iter().map(entry).collect::<std::result::Result<Vec<_>, _>>()?;
            out.either(
                || format!("[{}]", text.join(", ")),
                || {
                    points
                        .iter()
                        .map(|(name, actions)| json!({ "name": name, "actions": actions }))
                        .collect::<Vec<_>>()
                },
            )
        }
    }
}
