use super::*;
use crate::{
    catalogue::stage::*,
    ending::{Ending, Outcome},
    site::StampSite,
    stamp::Stamp,
};

fn stamp(at: u64, store: u16, stage: StageId, names: &'static [&'static str], fields: [u64; 4]) -> Stamp {
    let site = StampSite::new(stage, "f.rs", 1, names, || "f::__here");
    let site: &'static StampSite = Box::leak(Box::new(site));
    Stamp { at, site: Some(site), fields, store, ..Stamp::EMPTY }
}

fn request(id: u64, kind: RequestKind, took_ns: u64, stamps: Vec<Stamp>) -> RecordedRequest {
    let mut request = RecordedRequest::new(id);
    (request.kind, request.begin_ns, request.end_ns, request.store) = (kind, 1000, Some(1000 + took_ns), 1);
    request.began = true;
    request.ending = Ending::with_outcome(Outcome::Ok);
    request.stamps = stamps;
    request
}

fn get(id: u64) -> RecordedRequest {
    let stamps = vec![
        stamp(1_000, 1, READ_POOL_QUEUE, &[], [0; 4]),
        stamp(41_000, 1, READ_POOL_RUN, &[], [0; 4]),
        stamp(42_000, 1, MEM_LOCK_CHECK, &[], [0; 4]),
        stamp(44_000, 1, SNAPSHOT_REQUEST, &[], [0; 4]),
        stamp(45_000, 1, LOCAL_READ, &[], [0; 4]),
        stamp(46_000, 1, SNAPSHOT_READY, &[], [0; 4]),
        stamp(47_000, 1, WRITE_CF_SEEK, &[], [0; 4]),
        stamp(48_000, 1, ROCKSDB_PERF, &["block_read_count", "a", "b", "c"], [2, 1, 0, 0]),
        stamp(49_000, 1, READ_DONE, &["processed_keys"], [1, 0, 0, 0]),
    ];
    request(id, RequestKind::KvGet, 70_000, stamps)
}

fn text_of(metrics: &Metrics) -> String {
    let mut out = TextWriter::default();
    metrics.write(1, &mut out);
    out.finish()
}

#[test]
fn a_point_get_is_counted_under_tikvs_names() {
    let mut metrics = Metrics::new(|_| "reason");
    (0..3).for_each(|id| metrics.count(&get(id)));
    let text = text_of(&metrics);
    for line in [
        "tikv_grpc_msg_duration_seconds_count{type=\"kv_get\",priority=\"unknown\"} 3",
        "tikv_grpc_msg_duration_seconds_bucket{type=\"kv_get\",priority=\"unknown\",le=\"0.00005\"} 0",
        "tikv_grpc_msg_duration_seconds_bucket{type=\"kv_get\",priority=\"unknown\",le=\"0.0001\"} 3",
        "tikv_yatp_pool_schedule_wait_duration_sum{name=\"unified-read-pool\",priority=\"medium\"} 0.00012",
        "tikv_storage_check_mem_lock_duration_seconds_count{type=\"get\",result=\"unlocked\"} 3",
        "tikv_storage_engine_async_request_duration_seconds_count{type=\"snapshot_local_read\"} 3",
        "tikv_scheduler_kv_scan_details{req=\"get\",cf=\"write\",tag=\"seek\"} 3",
        "tikv_scheduler_kv_scan_details{req=\"get\",cf=\"write\",tag=\"processed_keys\"} 3",
        "tikv_storage_rocksdb_perf{req=\"get\",metric=\"block_read_count\"} 6",
        "tikv_storage_command_total{type=\"get\"} 3",
        "tikv_raftstore_local_read_executed_requests 3",
        "tikv_trace_requests_total{type=\"kv_get\",outcome=\"ok\"} 3",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\nis not in\n{text}");
    }
    assert!(!text.contains("raftstore_store_wf"), "metrics without samples are left out");
    assert_eq!(Metrics::new(|_| "").stores.len(), 0);
    let mut out = TextWriter::default();
    metrics.write(2, &mut out);
    assert_eq!(out.finish(), "", "another store has counts of its own");
}

#[test]
fn work_of_garbage_collection_is_no_grpc_message() {
    let mut metrics = Metrics::new(|_| "reason");
    metrics.count(&request(1, RequestKind::GcTask, 500, vec![stamp(1_000, 1, GC_TASK, &[], [0; 4])]));
    metrics.count(&request(2, RequestKind::GcCompaction, 500, vec![stamp(1_000, 1, GC_FILTER, &[], [0; 4])]));
    let text = text_of(&metrics);
    assert!(!text.contains("tikv_grpc_msg_duration_seconds"), "{text}");
    assert!(text.contains("tikv_trace_requests_total{type=\"gc_task\",outcome=\"ok\"} 1"), "{text}");
}

#[test]
fn a_writes_waterfall_is_measured_on_its_own_store() {
    let mut metrics = Metrics::new(|_| "reason");
    let stamps = vec![
        stamp(100_000, 1, SCHED_RECEIVE, &[], [0; 4]),
        stamp(200_000, 1, RAFT_ROUTE, &[], [0; 4]),
        stamp(250_000, 2, RAFT_WRITE_END, &[], [0; 4]),
        stamp(300_000, 1, RAFT_WRITE_END, &[], [0; 4]),
    ];
    metrics.count(&request(1, RequestKind::KvCommit, 1_000_000, stamps));
    let text = text_of(&metrics);
    assert!(text.contains("tikv_raftstore_store_wf_write_end_duration_seconds_sum 0.0001\n"), "{text}");
    assert!(text.contains("tikv_scheduler_stage_total{type=\"commit\",stage=\"new\"} 1\n"), "{text}");
}

#[test]
fn every_metric_of_the_catalogue_is_served() {
    let mut metrics = Metrics::new(|_| "lease_expire");
    let stage = |s: &crate::Stage| stamp(1_000 + u64::from(s.id.0), 1, s.id, &["processed_keys"], [1; 4]);
    // One request reaches every stage; the others cover the cases that exclude each other.
    let without =
        |stages: &[StageId]| STAGES.iter().filter(|s| !stages.contains(&s.id)).map(stage).collect::<Vec<_>>();
    let read = without(&[LOCAL_READ_REJECT, SCHED_RECEIVE]);
    metrics.count(&request(1, RequestKind::KvGet, 500, read));
    metrics.count(&request(2, RequestKind::KvPrewrite, 500, without(&[])));
    let text = text_of(&metrics);
    for stage in STAGES.iter().filter(|s| !s.metric.is_empty()) {
        let served = text.contains(&format!("# TYPE {} ", stage.metric));
        assert!(served, "{}: nothing is counted as {}", stage.name, stage.metric);
    }
}

#[test]
fn labels_are_escaped_and_rows_of_a_metric_are_adjacent() {
    let mut out = TextWriter::default();
    out.family("a_total", "Two\nlines.", "counter");
    out.sample(&[("thread", "a\"b\\c\nd")], 1);
    out.family("b_total", "Nothing.", "counter");
    let want = "# HELP a_total Two\\nlines.\n# TYPE a_total counter\na_total{thread=\"a\\\"b\\\\c\\nd\"} 1\n";
    assert_eq!(out.finish(), want);
    let mut names: Vec<&str> = DURATIONS.iter().map(|d| d.metric).collect();
    names.dedup();
    let in_a_row = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), in_a_row);
}
