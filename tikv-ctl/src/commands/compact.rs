//! `compact` and `compact-cluster`.
use clap::{Args, ValueEnum};
use keys::escape;
use kvproto::{
    debugpb::{BottommostLevelCompaction, CompactRequest, Db},
    metapb,
};
use serde_json::json;

use super::open::{connect, open_offline, store_config};
use crate::{
    Error, Online, Result, cli::Global, key::escaped, pd::Pd, print::output::Output, source::Source, write,
};

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

/// The target of `compact`: a range, or a region.
#[derive(Clone, Debug, Args)]
pub struct CompactRangeArgs {
    #[command(flatten)]
    range: CompactArgs,
    /// Compact the range of this region
    #[arg(short = 'r', long, value_name = "REGION", conflicts_with_all = ["from", "to"])]
    region: Option<u64>,
}

impl CompactRangeArgs {
    /// Returns the command that TiKV's message names.
    fn verb(&self) -> &'static str {
        if self.region.is_some() { "compact_region" } else { "compact" }
    }
}

impl CompactArgs {
    /// Returns the given range; an absent bound is empty.
    fn bounds(&self) -> Result<(Vec<u8>, Vec<u8>)> {
        let bound = |text: &Option<String>| text.as_deref().map_or(Ok(Vec::new()), escaped);
        Ok((bound(&self.from)?, bound(&self.to)?))
    }
}

/// Runs `compact` on the directory of `--data-dir` or the server of `--host`.
pub fn compact(args: &CompactRangeArgs, global: &Global, out: &mut Output<'_>) -> Result<()> {
    if global.host.is_none() && global.data_dir.is_some() {
        return compact_dir(args, global, out);
    }
    let (host, online) = connect(global, "only support remote mode")?;
    compact_server(args, host, &online, out)
}

/// Compacts the database in `--data-dir`, which no server may run on. Its readable data stays the same.
fn compact_dir(args: &CompactRangeArgs, global: &Global, out: &mut Output<'_>) -> Result<()> {
    if args.range.db == "raft" {
        return Err(Error::Tikv(
            "Debugger::compact: \"[src/server/debug.rs:233]: Get raft db is not allowed\"".to_owned(),
        ));
    }
    let store = open_offline(global, out)?;
    let cf = one_cf(&args.range)?;
    let (from, to) = range(args, &store)?;
    drop(store);
    let config = store_config(global)?;
    let dir = global.data_dir.as_ref().ok_or_else(|| Error::other("expected --data-dir DIR, found none"))?;
    let bottommost = args.range.bottommost.to_engine();
    write::compact::compact(dir, &config, cf, (&from, &to), args.range.threads, bottommost)?;
    let verb = args.verb();
    out.either(
        || format!("store:\"local\" {verb} db:Kv cf:{cf} range:[{from:?}, {to:?}) success!"),
        || json!({ "store": "local", "db": "kv", "cf": cf, "from": escape(&from), "to": escape(&to) }),
    )
}

fn one_cf(args: &CompactArgs) -> Result<&String> {
    match args.cf.as_slice() {
        [cf] => Ok(cf),
        _ => Err(Error::other("compact: expected one column family, found several: use compact-cluster")),
    }
}

/// Returns the range to compact: the given one, or that of `region`.
fn range(args: &CompactRangeArgs, source: &dyn Source) -> Result<(Vec<u8>, Vec<u8>)> {
    let Some(region) = args.region else { return args.range.bounds() };
    let info = source
        .region_info(region)
        .map_err(|e| e.into_error(&format!("{}::region_info", source.executor())))?;
    let region = info.region_local_state.and_then(|state| state.region).unwrap_or_default();
    Ok((keys::enc_start_key(&region), keys::enc_end_key(&region)))
}

fn compact_server(args: &CompactRangeArgs, host: &str, online: &Online, out: &mut Output<'_>) -> Result<()> {
    let cf = one_cf(&args.range)?;
    let (from, to) = range(args, online)?;
    compact_one(&args.range, cf, (&from, &to), (host, args.verb()), online, out)
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

/// Runs `compact-cluster`.
pub fn compact_cluster(args: &CompactArgs, global: &Global, out: &mut Output<'_>) -> Result<()> {
    let (pd, security) = (Pd::connect(global)?, global.security()?);
    let (from, to) = args.bounds()?;
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
