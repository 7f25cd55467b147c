//! The feed with a running collector. One test, since a process has one collector.
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tracepoints::{
    Collector, CollectorConfig, Req, RequestKind,
    request::{begin, end},
};
use tracepoints_export::{
    Request,
    bridge::{Feed, FeedReport},
};

fn put(index: u64) -> u64 {
    let req = begin(RequestKind::RawPut, b"k", 1);
    tracepoints::stamp!(RAFT_PROPOSE, req, region = 1u64, term = 6u64, index = index);
    end(req);
    // After the reply, like applying on followers.
    tracepoints::stamp!(APPLY_DONE, Req::NONE, region = 1u64, term = 6u64, first = index, last = index);
    req.id()
}

#[test]
fn each_request_is_delivered_once_with_its_late_stamps() {
    let recent = 50;
    let collector =
        Arc::new(Collector::start(CollectorConfig { recent, ..CollectorConfig::default() }).unwrap());
    put(1);
    let delivered: Arc<Mutex<Vec<Request>>> = Arc::default();
    let (of_look, of_take) = (collector.clone(), delivered.clone());
    let look = move || Some((of_look.recent(), of_look.stats().requests));
    let feed = Feed::start(look, move |r| of_take.lock().unwrap().push(r)).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    std::thread::sleep(Duration::from_millis(120));
    let ids: Vec<u64> = (2..12).map(put).collect();
    while delivered.lock().unwrap().len() < ids.len() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    let ids_seen: Vec<u64> = delivered.lock().unwrap().iter().map(|r| r.id).collect();
    assert_eq!(ids_seen, ids, "not the earlier one, and none twice");
    assert!(delivered.lock().unwrap().iter().all(|r| r.spans.iter().any(|s| s.name == "apply_done")));
    // More requests at once than the collector keeps: some are lost and counted.
    for index in 100..600 {
        put(index);
    }
    let FeedReport { delivered, missed } = feed.finish();
    assert_eq!(delivered + missed, 510);
    assert!(delivered >= 60, "the feed delivers what the collector keeps: {delivered}");
}
