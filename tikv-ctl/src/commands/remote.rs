//! Commands that only a running server can answer.

use kvproto::debugpb::{GetMetricsResponse, GetRegionReadProgressResponse};
use serde_json::{Map, json};

use crate::{Online, Result, cli::Cmd, output::Output};

/// Returns TiKV's message for such a command on a directory.
pub fn only_remote(cmd: &Cmd) -> Option<&'static str> {
    match cmd {
        Cmd::Metrics { .. } | Cmd::GetRegionReadProgress { .. } => Some("only available for remote mode"),
        Cmd::ConsistencyCheck { .. } => Some("only support remote mode"),
        _ => None,
    }
}

/// Runs `cmd` if it is such a command; returns `false` otherwise.
pub fn run(cmd: &Cmd, online: &Online, out: &mut Output<'_>) -> Result<bool> {
    match cmd {
        Cmd::Metrics { tag } => {
            let only_prometheus = tag.len() == 1 && tag[0] == "prometheus";
            let reply = online.metrics(!only_prometheus).map_err(|e| e.into_error("DebugClient::metrics"))?;
            metrics(tag, &reply, out)?;
        }
        Cmd::ConsistencyCheck { region } => {
            let checked = online.check_region_consistency(*region);
            checked.map_err(|e| e.into_error("DebugClient::check_region_consistency"))?;
            out.either(|| "success!".to_owned(), || json!({ "success": true }))?;
        }
        Cmd::GetRegionReadProgress { region, log, min_start_ts } => {
            let reply = online.region_read_progress(*region, *log, *min_start_ts);
            read_progress(&reply.map_err(|e| e.into_error("DebugClient::get_region_read_progress"))?, out)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
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
