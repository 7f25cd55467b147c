//! Formats one line of the slow log.
use std::{fmt::Write, time::Duration};

use raftstore::store::RejectReason;
use tracepoints::{
    Ending, StageId, Stamp, clock,
    collector::{RecordedRequest, SlowRequest},
    ending::Wait,
    stage::{
        GRPC_RECEIVE, LOCAL_READ_REJECT, RAFT_ACK, RAFT_PROPOSE, READ_DONE, READ_INDEX_ACK, READ_POOL_QUEUE,
        ROCKSDB_PERF, SCHED_RECEIVE,
    },
    thread,
};

use crate::logger;

/// `[time] [INFO] [line.rs:1] [slow-query] [type=kv_get] ..`: the stages' times sum to `total_lifetime`.
pub(super) fn format(slow: &SlowRequest) -> String {
    let request = &slow.request;
    let message = if slow.past_deadline { "deadline-exceeded" } else { "slow-query" };
    let end_ns = clock::unix_base_ns() + request.end_ns.unwrap_or(request.begin_ns);
    let mut line = Line(logger::head(end_ns, log::Level::Info, "line.rs", line!(), message));
    about(request, &mut line);
    ending(&request.ending, &mut line);
    waits(request, &mut line);
    for (stage, ns, count) in stages(request) {
        line.field(stage.name(), format_args!("{:?}", Duration::from_nanos(ns)));
        if count > 1 {
            line.field(&format!("{}.count", stage.name()), count);
        }
    }
    details(request, &mut line);
    if request.lost + request.truncated > 0 {
        line.field("stamps_lost", request.lost + request.truncated);
    }
    line.0.push('\n');
    line.0
}

struct Line(String);

impl Line {
    fn field(&mut self, key: &str, value: impl std::fmt::Display) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, " [{key}={}]", logger::escape(&value.to_string()));
    }
}

/// Returns the first stamp of a stage on the request's own store.
fn own(request: &RecordedRequest, stage: StageId) -> Option<&Stamp> {
    own_stamps(request).find(|s| s.site.is_some_and(|site| site.stage == stage))
}

fn own_stamps(request: &RecordedRequest) -> impl Iterator<Item = &Stamp> {
    request.stamps.iter().filter(|s| u64::from(s.store) == request.store)
}

fn about(request: &RecordedRequest, line: &mut Line) {
    line.field("type", request.kind.name());
    line.field("request_id", request.id);
    line.field("region_id", request.region);
    line.field("store_id", request.store);
    if request.key_len > 0 {
        let key: String = request.key_head.iter().map(|b| format!("{b:02X}")).collect();
        line.field("key", key);
        line.field("key_len", request.key_len);
    }
    let ts = |stage| own(request, stage).and_then(|s| s.field("ts")).filter(|ts| *ts != 0);
    if let Some(ts) = ts(READ_POOL_QUEUE).or_else(|| ts(SCHED_RECEIVE)) {
        line.field("txn_start_ts", ts);
    }
    line.field("total_lifetime", format_args!("{:?}", Duration::from_nanos(request.took_ns())));
}

fn ending(ending: &Ending, line: &mut Line) {
    line.field("outcome", ending.outcome.name());
    if ending.limit_ms > 0 {
        line.field("max_execution_duration", format_args!("{:?}", Duration::from_millis(ending.limit_ms)));
    }
    if ending.trace_id != [0; 16] {
        line.field("trace_id", ending.trace_id.map(|b| format!("{b:02x}")).concat());
    }
}

fn waits(request: &RecordedRequest, line: &mut Line) {
    match request.wait {
        Some((_, Wait::Latch { holder, .. })) => line.field("latch_holder_cid", holder),
        Some((_, Wait::Lock { lock_ts })) => line.field("lock_ts", lock_ts),
        None => {}
    }
}

/// Returns every stage on the request's own store with its time in nanoseconds and its number of visits,
/// ordered by first visit. A stage lasts until the next one; the first includes the time before it.
fn stages(request: &RecordedRequest) -> Vec<(StageId, u64, u64)> {
    let end = request.end_ns.unwrap_or(request.begin_ns);
    let mut out: Vec<(StageId, u64, u64)> = Vec::new();
    let mut add = |stage: StageId, ns: u64, n: u64| match out.iter_mut().find(|(s, ..)| *s == stage) {
        Some((_, sum, count)) => (*sum, *count) = (*sum + ns, *count + n),
        None => out.push((stage, ns, n)),
    };
    let is_answer = |s: &StageId| matches!(*s, RAFT_ACK | READ_INDEX_ACK);
    // Stamps after the end, e.g. from the apply on other stores, are not part of the request's time.
    let stamps = own_stamps(request).filter(|s| s.at < end);
    let here = stamps.filter_map(|s| Some((s.at, s.site?.stage))).filter(|(_, stage)| !is_answer(stage));
    let mut before = (request.begin_ns, None);
    for (at, stage) in here {
        add(before.1.unwrap_or(stage), at.saturating_sub(before.0), 0);
        add(stage, 0, 1);
        before = (at.max(before.0), Some(stage));
    }
    add(before.1.unwrap_or(GRPC_RECEIVE), end.saturating_sub(before.0), 0);
    out
}

fn details(request: &RecordedRequest, line: &mut Line) {
    if let Some(reason) = own(request, LOCAL_READ_REJECT).and_then(|s| s.field("reason")) {
        line.field("local_read_reject", RejectReason::from_code(reason).map_or("unknown", |r| r.name()));
    }
    if let Some((term, index)) =
        own(request, RAFT_PROPOSE).and_then(|s| Some((s.field("term")?, s.field("index")?)))
    {
        line.field("raft_term", term);
        line.field("raft_index", index);
    }
    if let Some(keys) = own(request, READ_DONE).and_then(|s| s.field("processed_keys")) {
        line.field("scan.processed", keys);
    }
    if let Some(perf) = own(request, ROCKSDB_PERF) {
        for name in perf.site.map_or(&[][..], |site| site.fields) {
            line.field(&format!("perf_stats.{name}"), perf.field(name).unwrap_or_default());
        }
    }
    let mut threads: Vec<String> = own_stamps(request).map(|s| thread::info(s.thread).name).collect();
    threads.dedup();
    line.field("threads", threads.join(","));
}
