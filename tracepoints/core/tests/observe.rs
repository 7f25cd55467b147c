//! The collector's handling of ended requests: kept, counted, reported if slow, listed while in flight. One
//! test, since a process has one collector.
use std::time::Duration;

use tracepoints::{
    Collector, CollectorConfig, Ending, Outcome, Req, RequestKind,
    collector::{self, CollectorHandle, InFlight, RecordedRequest, TailConfig, TextWriter, Wanted, Why},
    ending::Wait,
    request::{begin, end_with, waits},
};

fn get(key: &[u8], ending: Ending) -> Req {
    let req = begin(RequestKind::KvGet, key, 4);
    tracepoints::stamp!(GRPC_RECEIVE, req);
    tracepoints::stamp!(GRPC_REPLY, req);
    end_with(req, ending);
    req
}

fn ids(requests: &[RecordedRequest]) -> Vec<u64> {
    requests.iter().map(|r| r.id).collect()
}

fn row(table: &[InFlight], req: Req) -> &InFlight {
    table.iter().find(|r| r.request == req.id()).expect("it is in flight")
}

#[test]
fn requests_are_kept_counted_reported_and_listed() {
    tracepoints::register_thread("test", 1);
    assert!(collector::current().is_none());
    let tail = TailConfig {
        slow_by_kind: vec![(RequestKind::KvScan, 1)],
        one_in: 0,
        keep: 3,
        ..TailConfig::default()
    };
    let config = CollectorConfig { recent: 2, interval: Duration::from_secs(60), tail, ..Default::default() };
    let running = Collector::start(config).unwrap();
    let collector = collector::current().expect("it runs");
    let slow = collector.slow_requests(1);

    let ok = Ending::with_outcome(Outcome::Ok);
    let failed: Vec<Req> = (0..5).map(|_| get(b"bad", Ending::with_outcome(Outcome::RegionError))).collect();
    let asked = get(b"traced", Ending { asked: true, trace_id: *b"0123456789abcdef", ..ok });
    collector.want(Wanted { key: b"wan".to_vec(), count: 1, ..Wanted::default() });
    let wanted: Vec<Req> = (0..2).map(|_| get(b"wanted", ok)).collect();
    let late = begin(RequestKind::KvGet, b"late", 4);
    std::thread::sleep(Duration::from_millis(2));
    end_with(late, Ending { limit_ms: 1, ..ok });
    let scan = begin(RequestKind::KvScan, b"scan", 4);
    end_with(scan, ok);
    // These replace the earlier requests among the last two.
    (0..4).for_each(|_| _ = get(b"usual", ok));

    assert_eq!(ids(&collector.kept(Why::Failed)), failed[2..].iter().map(|r| r.id()).collect::<Vec<_>>());
    assert_eq!(ids(&collector.kept(Why::Asked)), [asked.id(), wanted[0].id()]);
    assert_eq!(collector.kept(Why::Asked)[0].ending.trace_id, *b"0123456789abcdef");
    assert_eq!(ids(&collector.kept(Why::Slow)), [late.id(), scan.id()]);
    assert_eq!(ids(&collector.kept(Why::Sampled)), [] as [u64; 0]);
    assert_eq!(collector.recent().len(), 2);

    let reported = slow.try_recv().unwrap();
    assert_eq!((reported.request.id, reported.past_deadline), (late.id(), true));
    assert!(slow.try_recv().is_err());
    assert_eq!(collector.stats().slow_dropped, 1, "the channel has room for one");

    check_in_flight(&collector);
    check_metrics(&collector);
    drop(running);
    assert!(collector::current().is_none() && !collector.is_running());
}

/// Lists a request that waits for the latch of another one.
fn check_in_flight(collector: &CollectorHandle) {
    let ok = Ending::with_outcome(Outcome::Ok);
    let holder = begin(RequestKind::KvPrewrite, b"k", 4);
    tracepoints::stamp!(SCHED_RECEIVE, holder, cid = 70u64);
    let waiter = begin(RequestKind::KvCommit, b"k", 4);
    tracepoints::stamp!(LATCH_WAIT, waiter, cid = 71u64);
    waits(waiter, Wait::Latch { cid: 71, holder: 70 });
    let (table, all) = collector.in_flight(1, 10);
    assert_eq!((table.len(), all), (2, 2));
    assert_eq!(row(&table, waiter).waits_for.as_ref().unwrap().request, Some(holder.id()));
    assert_eq!(
        (row(&table, holder).stage.as_str(), row(&table, holder).thread.as_str()),
        ("sched_receive", "test")
    );
    assert!(!row(&table, holder).uncertain);
    assert_eq!(collector.in_flight(2, 10).1, 0, "of another store");
    assert_eq!((collector.in_flight(0, 1).0.len(), collector.in_flight(0, 1).1), (1, 2));
    [holder, waiter].into_iter().for_each(|req| end_with(req, ok));
    assert_eq!(collector.in_flight(0, 10).1, 0);
}

/// The metrics count every request by its kind and outcome.
fn check_metrics(collector: &CollectorHandle) {
    let mut out = TextWriter::default();
    collector.write_metrics(1, &mut out);
    let text = out.finish();
    for line in [
        "tikv_trace_requests_total{type=\"kv_get\",outcome=\"ok\"} 8",
        "tikv_trace_requests_total{type=\"kv_get\",outcome=\"region_error\"} 5",
        "tikv_grpc_msg_duration_seconds_count{type=\"kv_get\",priority=\"unknown\"} 13",
        "tikv_trace_in_flight 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\nis not in\n{text}");
    }
}
