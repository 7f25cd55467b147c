//! The feed beside a running collector. One test: there is one collector in a process.
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
    // After the reply, as applying on followers is.
    tracepoints::stamp!(APPLY_DONE, Req::NONE, region = 1u64, term = 6u64, first = index, last = index);
    req.id()
}

#[test]
fn each_request_is_handed_on_once_with_what_came_late_and_losses_are_counted() {
    let recent = 50;
    let collector =
        Arc::new(Collector::start(CollectorConfig { recent, ..CollectorConfig::default() }).unwrap());
    put(1);
    let told: Arc<Mutex<Vec<Request>>> = Arc::default();
    let (of_look, of_take) = (collector.clone(), told.clone());
    let look = move || Some((of_look.recent(), of_look.stats().requests));
    let feed = Feed::start(look, move |r| of_take.lock().unwrap().push(r)).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    std::thread::sleep(Duration::from_millis(120));
    let ids: Vec<u64> = (2..12).map(put).collect();
    while told.lock().unwrap().len() < ids.len() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    let got: Vec<u64> = told.lock().unwrap().iter().map(|r| r.id).collect();
    assert_eq!(got, ids, "not the one before it, and none twice");
    assert!(told.lock().unwrap().iter().all(|r| r.spans.iter().any(|s| s.name == "apply_done")));
    // More than the collector keeps, all at once: some are lost, and counted.
    for index in 100..600 {
        put(index);
    }
    let FeedReport { told, missed } = feed.finish();
    assert_eq!(told + missed, 510);
    assert!(told >= 60, "what the collector keeps is told: {told}");
}
