//! Whether the replicas of a request have nothing more to stamp.
use tracepoints::{
    Probe, RequestKind, Session, SessionConfig,
    probe::{ProgressProbe, RaftProbe},
    request::{begin, end},
    session::{Matcher, Mode},
    thread::register_thread,
    trace::Trace,
};

/// Works on a thread of a store.
fn on(store: u64, work: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            register_thread(&format!("apply-{store}"), store);
            work();
        });
        thread.join().unwrap();
    });
}

#[test]
fn a_write_is_settled_when_each_local_store_has_applied_it() {
    let matcher = Matcher { any: true, ..Matcher::default() };
    let session =
        Session::start(SessionConfig { matcher, mode: Mode::Run, ..SessionConfig::default() }).unwrap();
    let mut trace = Trace::new();
    let mut settled = || {
        session.events().try_iter().for_each(|event| trace.apply(&event, None));
        trace.settled()
    };
    let req = begin(RequestKind::RawPut, b"k", 7);
    on(2, || tracepoints::stamp!(FOLLOWER_RECEIVE, req, region = 7u64, first = 5u64, last = 5u64));
    on(1, || {
        tracepoints::stamp!(RAFT_ROUTE, req, region = 7u64);
        tracepoints::stamp!(RAFT_PROPOSE, req, region = 7u64, index = 5u64);
        // Store 9 is in another process: its threads are not in this one.
        let progress = [1, 2, 9].map(|store| ProgressProbe { store, ..ProgressProbe::default() });
        let leader = RaftProbe { store: 1, region: 7, progress: progress.to_vec(), ..RaftProbe::default() };
        tracepoints::probe_region!(7, || Probe::Raft(leader));
    });
    let applied = |store, last: u64| {
        on(store, || tracepoints::stamp!(APPLY_DONE, req, region = 7u64, first = 4u64, last = last));
    };
    applied(1, 5);
    assert!(!settled(), "the request has not ended");
    end(req);
    assert!(!settled(), "store 2 has not applied the entry");
    applied(2, 4);
    assert!(!settled(), "store 2 has applied an earlier entry only");
    applied(2, 5);
    assert!(settled());
}
