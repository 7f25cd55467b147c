//! Real requests: stamped by threads of three stores, folded by the collector.
use std::{sync::OnceLock, time::Duration};

use tracepoints::{
    Collector, CollectorConfig, Req, RequestKind,
    request::{begin, end},
};
use tracepoints_export::{
    Request,
    recorded::{self, Origin},
};

/// A number that a double cannot represent exactly.
pub const START_TS: u64 = 470_598_000_000_000_001;

/// Returns two puts in one batch and a get, read from the collector's recording.
pub fn requests() -> &'static [Request] {
    static SAMPLE: OnceLock<Vec<Request>> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let collector = Collector::start(CollectorConfig::default()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sample.trace");
        collector.record_to(&path).unwrap();
        on("grpc-server-0", 1, run);
        let live: Vec<Request> =
            collector.recent().iter().map(|r| recorded::request(r, Origin::Process)).collect();
        collector.stop_recording().unwrap();
        let file = tracepoints::trace_file::TraceFile::open(&path).unwrap();
        let mut read: Vec<Request> = file.requests().map(|r| recorded::request(&r, Origin::Unix)).collect();
        read.sort_by_key(|r| live.iter().position(|l| l.id == r.id));
        assert_eq!(read, live, "live and recorded requests are equal");
        read
    })
}

fn on(name: &'static str, store: u64, run: impl FnOnce() + Send + 'static) {
    let run = move || {
        tracepoints::register_thread(name, store);
        run();
        std::thread::sleep(Duration::from_millis(1));
    };
    std::thread::spawn(run).join().unwrap();
}

fn run() {
    let puts = [1u64, 2].map(|index| {
        let req = begin(RequestKind::RawPut, b"k\x00y", 7);
        tracepoints::stamp!(GRPC_RECEIVE, req);
        (req, index)
    });
    on("raftstore-1-0", 1, move || {
        for (req, index) in puts {
            tracepoints::stamp!(RAFT_PROPOSE, req, region = 7u64, term = 6u64, index = index);
        }
    });
    for store in [2, 3] {
        let name = if store == 2 { "raftstore-2-0" } else { "raftstore-3-0" };
        on(name, store, || {
            let none = Req::NONE;
            tracepoints::stamp!(FOLLOWER_APPEND, none, region = 7u64, term = 6u64, first = 1u64, last = 2u64);
            tracepoints::stamp!(FOLLOWER_ACK, none, region = 7u64, term = 6u64, first = 1u64, last = 2u64);
        });
    }
    on("apply-0", 1, || {
        tracepoints::stamp!(APPLY_DONE, Req::NONE, region = 7u64, term = 6u64, first = 1u64, last = 2u64);
    });
    for (req, _) in puts {
        tracepoints::stamp!(GRPC_REPLY, req);
        end(req);
    }
    let get = begin(RequestKind::KvGet, b"", 7);
    tracepoints::stamp!(GRPC_RECEIVE, get);
    tracepoints::stamp!(MVCC_GET, get, ts = START_TS, huge = u64::MAX);
    end(get);
}

/// Removes what formats without request times and trace ids lose.
pub fn without_trace_id(requests: &[Request]) -> Vec<Request> {
    requests.iter().map(|r| Request { trace_id: [0; 16], ..r.clone() }).collect()
}

/// Sorts the attributes, since maps have no order.
pub fn in_order(requests: &[Request]) -> Vec<Request> {
    let mut out = requests.to_vec();
    for request in &mut out {
        request.attributes.sort_by(|a, b| a.0.cmp(&b.0));
        request.spans.iter_mut().for_each(|s| s.attributes.sort_by(|a, b| a.0.cmp(&b.0)));
    }
    out
}

#[test]
fn the_sample_is_as_the_other_tests_expect() {
    let requests = requests();
    let shown: Vec<_> = requests.iter().map(|r| (r.name.as_str(), r.spans.len(), r.unfinished)).collect();
    assert_eq!(shown, [("raw_put", 8, false), ("raw_put", 8, false), ("kv_get", 2, false)]);
    for request in requests {
        assert!(request.spans.iter().all(|s| s.start_ns >= request.start_ns), "{request:#?}");
        let main = request.spans.iter().filter(|s| s.lane == tracepoints_export::Lane::Main);
        let sum: u64 = main.map(|s| s.dur_ns).sum();
        // The start of a request is stamped just before its first stage.
        assert!(sum <= request.dur_ns && sum + 50_000_000 > request.dur_ns);
        let year = request.start_ns / 1_000_000_000 / 31_556_952 + 1970;
        assert!((2024..2200).contains(&year), "wall time, not a process's: {year}");
    }
}
