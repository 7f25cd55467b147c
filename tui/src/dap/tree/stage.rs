//! The stage of a step, its request and its answer.
use tracepoints::{
    catalogue::find, field::named, gates::is_timestamp, probe::PerfProbe, request::RequestInfo, trace::Step,
};

use super::node::{Node, timestamp};
use crate::state::{tikv::Place, timeline::OperationEnd, units};

/// A field of the stamp by its name, in readable form; also `stage`, `store`, `thread`, `request`, `kind`, `key`.
pub fn field(step: &Step, name: &str) -> Option<String> {
    if let Some(value) = step.fields.get(name) {
        return Some(shown(name, *value));
    }
    Some(match name {
        "stage" => step.stage.clone(),
        "layer" => step.layer.clone(),
        "store" => step.store.to_string(),
        "thread" => step.thread.clone(),
        "request" => step.request.to_string(),
        "kind" => step.kind.clone(),
        "lane" => step.lane.clone(),
        "at" => units::duration(step.at_ns),
        "took" => units::duration(step.dur_ns),
        "tikv" => step.tikv.clone(),
        "function" => step.function.clone(),
        "key" => step.state.mvcc.as_ref()?.key.clone(),
        _ => return None,
    })
}

fn shown(name: &str, value: u64) -> String {
    match named(name, value) {
        Some(word) => word.to_owned(),
        None if is_timestamp(name) => timestamp(value),
        None if name.ends_with("_ns") => units::duration(value),
        None => value.to_string(),
    }
}

pub(super) fn stage(step: &Step) -> Vec<Node> {
    let mut out = vec![Node::leaf("stage", &step.stage)];
    out.extend(step.fields.iter().map(|(name, value)| match is_timestamp(name) {
        true => Node::timestamp(name, *value),
        false => Node::leaf(name, shown(name, *value)),
    }));
    let place = if step.store == 0 { "client or PD".into() } else { format!("store {}", step.store) };
    out.push(Node::leaf("place", format!("{place}, thread {}", step.thread)));
    out.push(Node::leaf("at", units::duration(step.at_ns)));
    out.push(Node::leaf("took", if step.dur_ns == 0 { "runs".into() } else { units::duration(step.dur_ns) }));
    if step.held_ns > 0 {
        out.push(Node::leaf(
            "held",
            format!("{}, not part of the time it took", units::duration(step.held_ns)),
        ));
    }
    if let Some(entry) = find(&step.stage) {
        out.push(Node::leaf("meaning", entry.meaning));
        if !entry.metric.is_empty() {
            out.push(Node::leaf("metric", entry.metric));
        }
    }
    let place = Place::parse(&step.tikv);
    out.push(Node::leaf("tikv", format!("{} in {} {}", place.name(), place.whose(), place.file)));
    let differs = find(&step.stage).map(|entry| entry.differs).filter(|text| !text.is_empty());
    out.extend(differs.map(|text| Node::leaf("differs", text)));
    out
}

pub(super) fn request(step: &Step, info: Option<&RequestInfo>) -> Vec<Node> {
    let mut out = vec![Node::leaf("kind", &step.kind), Node::leaf("id", step.request)];
    let Some(info) = info else { return out };
    if !info.key.is_empty() {
        let forms = super::rows::key_forms(&info.key);
        out.push(Node::parent("key", keys::escape(&info.key), forms));
    }
    for (name, value) in [("region", info.region), ("store", info.store), ("parent", info.parent)] {
        if value != 0 {
            out.push(Node::leaf(name, value));
        }
    }
    out
}

pub(super) fn answer(step: &Step, ending: Option<&OperationEnd>) -> Vec<Node> {
    let mut out: Vec<Node> = ["outcome", "ok", "found"]
        .into_iter()
        .filter_map(|name| step.fields.get(name).map(|value| Node::leaf(name, shown(name, *value))))
        .collect();
    if let Some(end) = ending {
        out.push(Node::leaf("result", &end.outcome));
        out.push(Node::leaf("took", units::duration(end.summary.wall_ns)));
        out.push(Node::leaf("in stages", format!("{:.1} %", end.summary.accounted * 100.0)));
        out.push(Node::leaf("dropped stamps", end.summary.dropped));
    }
    out
}

pub(super) fn memory_locks(step: &Step) -> Vec<Node> {
    if step.stage != "mem_lock_check" {
        return Vec::new();
    }
    step.fields.iter().map(|(name, value)| Node::leaf(name, shown(name, *value))).collect()
}

pub(super) fn perf(perf: &PerfProbe) -> Vec<Node> {
    vec![
        Node::leaf("block_cache_hit_count", perf.block_cache_hit_count),
        Node::leaf("block_read_count", perf.block_read_count),
        Node::leaf("block_read_byte", perf.block_read_byte),
        Node::leaf("block_read_nanos", perf.block_read_nanos),
        Node::leaf("get_from_memtable_count", perf.get_from_memtable_count),
        Node::leaf("internal_key_skipped_count", perf.internal_key_skipped_count),
        Node::leaf("internal_delete_skipped_count", perf.internal_delete_skipped_count),
        Node::leaf("seek_on_memtable_count", perf.seek_on_memtable_count),
        Node::leaf("seek_child_seek_count", perf.seek_child_seek_count),
        Node::leaf("bloom_memtable_miss_count", perf.bloom_memtable_miss_count),
        Node::leaf("bloom_sst_miss_count", perf.bloom_sst_miss_count),
    ]
}
