//! Commands that only a running server can answer.
use clap::Subcommand;
use kvproto::debugpb::{GetMetricsResponse, GetRegionReadProgressResponse};
use serde_json::{Map, json};

use super::open::no_store;
use crate::{Error, Online, Result, cli::Global, print::output::Output};

/// Commands that ask a running server.
#[derive(Clone, Debug, Subcommand)]
pub enum ServerCmd {
    /// Print the metrics of a server
    Metrics {
        /// The metrics to print
        #[arg(short = 't', long, value_delimiter = ',', default_value = "prometheus",
              value_parser = ["prometheus", "jemalloc", "rocksdb_raft", "rocksdb_kv"])]
        tag: Vec<String>,
    },
    /// Check on a server that all replicas of a region have the same data
    ConsistencyCheck {
        /// The target region
        #[arg(short = 'r', value_name = "REGION")]
        region: u64,
    },
    /// Print the safe_ts and resolved_ts state of a region on a server
    GetRegionReadProgress {
        /// The target region id
        #[arg(short = 'r', long, value_name = "REGION")]
        region: u64,
        /// Make the server log the locks of the transaction with the smallest start_ts
        #[arg(long)]
        log: bool,
        /// The smallest start_ts of the target transaction
        #[arg(long, default_value_t = 0)]
        min_start_ts: u64,
    },
}

/// Runs `cmd` on the server of `--host`.
pub fn run(cmd: &ServerCmd, global: &Global, out: &mut Output<'_>) -> Result<()> {
    let online = connect(cmd, global)?;
    match cmd {
        ServerCmd::Metrics { tag } => {
            let only_prometheus = tag.len() == 1 && tag[0] == "prometheus";
            let reply = online.metrics(!only_prometheus);
            metrics(tag, &reply.map_err(|e| e.into_error("DebugClient::metrics"))?, out)
        }
        ServerCmd::ConsistencyCheck { region } => {
            let checked = online.check_region_consistency(*region);
            checked.map_err(|e| e.into_error("DebugClient::check_region_consistency"))?;
            out.either(|| "success!".to_owned(), || json!({ "success": true }))
        }
        ServerCmd::GetRegionReadProgress { region, log, min_start_ts } => {
            let reply = online.region_read_progress(*region, *log, *min_start_ts);
            read_progress(&reply.map_err(|e| e.into_error("DebugClient::get_region_read_progress"))?, out)
        }
    }
}

/// Connects to the server; a directory gets TiKV's message.
fn connect(cmd: &ServerCmd, global: &Global) -> Result<Online> {
    let only_remote = match cmd {
        ServerCmd::Metrics { .. } | ServerCmd::GetRegionReadProgress { .. } => {
            "only available for remote mode"
        }
        ServerCmd::ConsistencyCheck { .. } => "only support remote mode",
    };
    match (&global.host, &global.data_dir) {
        (Some(host), _) => Online::connect(host, &global.security()?),
        (None, Some(_)) => Err(Error::Tikv(only_remote.to_owned())),
        (None, None) => Err(no_store()),
    }
}

fn metrics(tags: &[String], reply: &GetMetricsResponse, out: &mut Output<'_>) -> Result<()> {
    let of = |tag: &str| match tag {
        "rocksdb_kv" => &reply.rocksdb_kv,
        "rocksdb_raft" => &reply.rocksdb_raft,
        "jemalloc" => &reply.jemalloc,
        _ => &reply.prometheus,
    };
    if out.is_json() {
        return out.json(&tags.iter().map(|tag| (tag.clone(), json!(of(tag)))).collect::<Map<_, _>>());
    }
    tags.iter().try_for_each(|tag| out.line(format!("tag:{tag}\n{}", of(tag))))
}

/// Formats milliseconds; the greatest number stands for "never".
fn since(ms: u64) -> String {
    if ms == u64::MAX { "none".to_owned() } else { format!("{ms} ms") }
}

fn read_progress(reply: &GetRegionReadProgressResponse, out: &mut Output<'_>) -> Result<()> {
    if !reply.error.is_empty() {
        let error = format!("error: {}", reply.error);
        if out.is_json() { out.note(&error) } else { out.line(error)? }
    }
    let text = |value: u64| value.to_string();
    let progress = [
        ("exist", reply.region_read_progress_exist.to_string()),
        ("safe_ts", text(reply.safe_ts)),
        ("applied_index", text(reply.applied_index)),
        ("read_state.ts", text(reply.read_state_ts)),
        ("read_state.apply_index", text(reply.read_state_apply_index)),
        ("pending front item (oldest) ts", text(reply.pending_front_ts)),
        ("pending front item (oldest) applied index", text(reply.pending_front_applied_index)),
        ("pending back item (latest) ts", text(reply.pending_back_ts)),
        ("pending back item (latest) applied index", text(reply.pending_back_applied_index)),
        ("paused", reply.region_read_progress_paused.to_string()),
        ("discarding", reply.discard.to_string()),
        (
            "duration since resolved-ts last called update_safe_ts()",
            since(reply.duration_to_last_update_safe_ts_ms),
        ),
        ("duration to last consume_leader_info()", since(reply.duration_to_last_consume_leader_ms)),
    ];
    let resolver = [
        ("exist", reply.resolver_exist.to_string()),
        ("resolved_ts", text(reply.resolved_ts)),
        ("tracked index", text(reply.resolver_tracked_index)),
        ("number of locks", text(reply.num_locks)),
        ("number of transactions", text(reply.num_transactions)),
        ("stopped", reply.resolver_stopped.to_string()),
    ];
    if out.is_json() {
        let object = |list: &[(&str, String)]| {
            list.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect::<Map<_, _>>()
        };
        return out
            .json(&json!({ "region_read_progress": object(&progress), "resolver": object(&resolver) }));
    }
    for (title, list) in [("Region read progress:", &progress[..]), ("Resolver:", &resolver[..])] {
        out.line(title)?;
        list.iter().try_for_each(|(name, value)| out.line(format!("    {name}: {value}, ")))?;
    }
    Ok(())
}
