//! Commands that change a running server or a cluster.
use clap::Subcommand;
use kvproto::{kvrpcpb, tikvpb::tikv_client::TikvClient};
use prost::Message;
use serde_json::json;

use super::{
    compact::{self, CompactArgs, CompactRangeArgs},
    fail::{self, FailCmd},
    open::connect,
};
use crate::{
    Error, Result, cli::Global, grpc, key::escaped, pd::Pd, print::output::Output, text::message_text,
};

/// Commands that change a running server or a cluster.
#[derive(Clone, Debug, Subcommand)]
pub enum AdminCmd {
    /// Compact a column family in a specified range (needs --host or --data-dir)
    Compact(CompactRangeArgs),
    /// Compact the whole cluster in a specified range in one or more column families (needs --pd)
    CompactCluster(CompactArgs),
    /// Split a region at a key (needs --pd)
    SplitRegion {
        /// The target region id
        #[arg(short = 'r', value_name = "REGION")]
        region: u64,
        /// The key to split it at, unencoded, in escaped form
        #[arg(short = 'k', value_name = "KEY")]
        key: String,
    },
    /// Set, remove and list the fail points of a server (needs --host)
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

/// Runs `cmd`.
pub fn run(cmd: &AdminCmd, global: &Global, out: &mut Output<'_>) -> Result<()> {
    match cmd {
        AdminCmd::Compact(args) => compact::compact(args, global, out),
        AdminCmd::CompactCluster(args) => compact::compact_cluster(args, global, out),
        AdminCmd::SplitRegion { region, key } => split_region(*region, key, global, out),
        AdminCmd::Fail { cmd } => fail::run(cmd, global, out),
        AdminCmd::ModifyTikvConfig { name, value } => modify_config(name, value, global, out),
    }
}

fn modify_config(name: &str, value: &str, global: &Global, out: &mut Output<'_>) -> Result<()> {
    let (_, online) = connect(global, "only support remote mode")?;
    let done = online.modify_tikv_config(name, value);
    done.map_err(|e| e.into_error("DebugClient::modify_tikv_config"))?;
    out.either(|| "success".to_owned(), || json!({ "success": true }))
}

fn split_region(region_id: u64, key: &str, global: &Global, out: &mut Output<'_>) -> Result<()> {
    let (pd, security) = (Pd::connect(global)?, global.security()?);
    let key = escaped(key)?;
    let (region, leader) = pd.region(region_id)?;
    let leader = leader.ok_or_else(|| {
        Error::other(format!("PD reports no leader for region {region_id}: try again once it has one"))
    })?;
    let address = pd.store(leader.store_id)?.address;
    let (runtime, channel) = grpc::connect(&address, &security)?;
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
