//! The collector with concurrent stamping threads. One test, since a process has one collector.
use std::time::Duration;

use tracepoints::{
    Collector, CollectorConfig, Req, RequestKind,
    collector::CollectorError,
    request::{begin, end},
    ring,
    trace_file::TraceFile,
};

fn put(store: u64, index: u64) -> Req {
    tracepoints::register_thread(&format!("raftstore-{store}-0"), store);
    let req = begin(RequestKind::RawPut, format!("key-{index:04}-and-more-than-fits").as_bytes(), 1);
    tracepoints::stamp!(GRPC_RECEIVE, req);
    tracepoints::stamp!(RAFT_PROPOSE, req, region = 1u64, term = 6u64, index = index);
    std::thread::spawn(move || {
        tracepoints::register_thread("raftstore-2-0", 2);
        tracepoints::stamp!(
            FOLLOWER_RECEIVE,
            Req::NONE,
            region = 1u64,
            term = 6u64,
            first = index,
            last = index
        );
    })
    .join()
    .unwrap();
    tracepoints::stamp!(GRPC_REPLY, req);
    end(req);
    req
}

fn stages(request: &tracepoints::collector::RecordedRequest) -> Vec<&'static str> {
    request.stamps.iter().filter_map(|s| s.site).map(|s| s.stage.name()).collect()
}

#[test]
fn requests_are_folded_recorded_and_read_again() {
    let config =
        CollectorConfig { recent: 10, interval: Duration::from_millis(1), ..CollectorConfig::default() };
    let collector = Collector::start(config.clone()).unwrap();
    assert!(matches!(Collector::start(config.clone()), Err(CollectorError::Busy)));
    assert!(matches!(collector.stop_recording(), Err(CollectorError::NotRecording)));
    put(1, 1);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.trace");
    collector.record_to(&path).unwrap();
    assert!(matches!(collector.record_to(&path), Err(CollectorError::Recording)));
    let reqs: Vec<Req> = (2..=21).map(|index| put(1, index)).collect();
    let written = collector.stop_recording().unwrap();

    let want = ["grpc_receive", "raft_propose", "follower_receive", "grpc_reply"];
    let recent = collector.recent();
    assert_eq!(
        recent.iter().map(|r| r.id).collect::<Vec<_>>(),
        reqs[10..].iter().map(|r| r.id()).collect::<Vec<_>>()
    );
    for request in &recent {
        assert_eq!(stages(request), want);
        assert_eq!((request.kind, request.region, request.store), (RequestKind::RawPut, 1, 1));
        assert_eq!((request.key_head.len(), request.key_len), (16, 27));
        let trace = request.trace();
        assert!(trace.finished() && trace.summary().accounted >= 0.99);
    }

    let file = TraceFile::open(&path).unwrap();
    assert_eq!((file.verify(), file.truncated_at()), (vec![], None));
    let read: Vec<_> = file.requests().collect();
    assert_eq!(
        read.iter().map(|r| r.id).collect::<Vec<_>>(),
        reqs.iter().map(|r| r.id()).collect::<Vec<_>>()
    );
    assert!(read.iter().all(|r| stages(r) == want));
    assert_eq!(written.stamps, 20 * 6, "four stamps, begin and end");
    assert!(written.lost == 0 && written.failed.is_none());
    let of_file = read[19].trace();
    assert_eq!(of_file.steps, recent[9].trace().steps, "the same steps from memory and from the file");

    let stats = collector.stats();
    assert_eq!((stats.dropped, stats.requests, stats.given_up), (0, 21, 0));
    drop(collector);

    // Without a collector, rings fill, drop and count the drops.
    for _ in 0..ring::CAPACITY + 100 {
        tracepoints::stamp!(MVCC_GET, Req::NONE);
    }
    assert!(ring::dropped() >= 100);
    let collector = Collector::start(config).unwrap();
    collector.flush();
    let stats = collector.stats();
    assert_eq!(stats.dropped, ring::dropped());
    assert_eq!(stats.dropped_by_thread.iter().map(|(_, n)| n).sum::<u64>(), stats.dropped);
}
