//! Traces of made-up events: who sums to what.
use super::*;
use crate::{
    Outcome, StageId, StampSite,
    catalogue::stage,
    probe::RaftProbe,
    recorder::Stamp,
    request::{Req, RequestKind, next_id},
};

fn leak(stage: StageId) -> &'static StampSite {
    Box::leak(Box::new(StampSite::new(stage, "f.rs", 1, &["x"], || "a::f::__here")))
}

/// A trace that is fed with engine times from 1000 on.
struct Feed {
    trace: Trace,
    threads: Vec<u16>,
}

impl Feed {
    fn new() -> Self {
        let thread = |store: u64| {
            std::thread::spawn(move || {
                thread::register_thread(&format!("t-{store}"), store);
                thread::id()
            })
            .join()
            .unwrap()
        };
        Self { trace: Trace::new(), threads: (0..4).map(thread).collect() }
    }

    fn request(&mut self, kind: RequestKind, parent: Req) -> Req {
        let req = next_id().with_step();
        let info = RequestInfo { id: req.id(), parent: parent.id(), kind, key: vec![], region: 1, store: 1 };
        self.trace.apply(&SessionEvent::Request(info), None);
        req
    }

    fn step(&mut self, at: u64, stage: StageId, req: Req, store: u16) -> usize {
        let thread = self.threads[usize::from(store)];
        let stamp = Stamp {
            req,
            site: Some(leak(stage)),
            thread,
            store,
            field_count: 1,
            fields: [at, 0, 0, 0],
            ..Stamp::EMPTY
        };
        let event = StepEvent { stamp, engine_ns: 1000 + at, stack: vec![] };
        self.trace.apply(&SessionEvent::Step(event), None);
        self.trace.steps.len() - 1
    }

    fn raft(&mut self, at: u64, req: Req, store: u64, commit: u64) {
        let probe = Probe::Raft(RaftProbe { store, region: 1, commit, ..RaftProbe::default() });
        let thread = self.threads[store as usize];
        self.trace.apply(&SessionEvent::Probe(ProbeEvent { req, thread, engine_ns: 1000 + at, probe }), None);
    }

    fn finish(&mut self, at: u64, req: Req) {
        self.trace.apply(&SessionEvent::Finished { req, engine_ns: 1000 + at, outcome: Outcome::Ok }, None);
    }

    fn durations(&self) -> Vec<u64> {
        self.trace.steps.iter().map(|s| s.dur_ns).collect()
    }

    fn commits(&self, step: usize) -> Vec<(u64, u64)> {
        self.trace.steps[step].state.raft.iter().map(|r| (r.store, r.commit)).collect()
    }
}

#[test]
fn a_request_without_a_client_sums_to_its_own_time() {
    let mut feed = Feed::new();
    let get = feed.request(RequestKind::KvGet, Req::NONE);
    feed.step(0, stage::GRPC_RECEIVE, get, 1);
    feed.step(10, stage::MVCC_GET, get, 1);
    feed.step(35, stage::GRPC_REPLY, get, 1);
    assert!(!feed.trace.finished());
    feed.finish(40, get);
    assert!(feed.trace.finished());
    assert_eq!(feed.durations(), [10, 25, 5]);
    assert_eq!(feed.trace.summary(), Summary { stage_ns: 40, wall_ns: 40, accounted: 1.0, dropped: 0 });
    let step = &feed.trace.steps[1];
    assert_eq!((step.at_ns, step.kind.as_str(), step.fields["x"]), (10, "kv_get", 10));
    assert_eq!((step.function.as_str(), step.thread.as_str()), ("a::f", "t-1"));
}

#[test]
fn an_operation_covers_its_requests_and_the_ways_between_them() {
    let mut feed = Feed::new();
    let op = feed.request(RequestKind::Client, Req::NONE);
    feed.step(0, stage::CLIENT_SEND, op, 0);
    let prewrite = feed.request(RequestKind::KvPrewrite, op);
    feed.step(5, stage::GRPC_RECEIVE, prewrite, 1);
    feed.step(8, stage::GRPC_REPLY, prewrite, 1);
    feed.finish(10, prewrite);
    let commit = feed.request(RequestKind::KvCommit, op);
    feed.step(20, stage::GRPC_RECEIVE, commit, 1);
    feed.finish(26, commit);
    feed.step(30, stage::CLIENT_REPLY, op, 0);
    assert!(!feed.trace.finished());
    feed.finish(31, op);
    // A reply lasts until the client is heard of again: its next request, or its own stamp.
    assert_eq!(feed.durations(), [5, 3, 12, 10, 1]);
    assert_eq!(feed.trace.summary(), Summary { stage_ns: 31, wall_ns: 31, accounted: 1.0, dropped: 0 });
}

#[test]
fn requests_side_by_side_count_once() {
    let mut feed = Feed::new();
    let op = feed.request(RequestKind::Client, Req::NONE);
    feed.step(0, stage::CLIENT_SEND, op, 0);
    let (a, b) = (feed.request(RequestKind::KvPrewrite, op), feed.request(RequestKind::KvPrewrite, op));
    feed.step(10, stage::GRPC_RECEIVE, a, 1);
    feed.step(12, stage::GRPC_RECEIVE, b, 2);
    feed.step(20, stage::GRPC_REPLY, a, 1);
    feed.finish(22, a);
    feed.step(30, stage::GRPC_REPLY, b, 2);
    feed.finish(33, b);
    feed.step(34, stage::CLIENT_REPLY, op, 0);
    feed.finish(40, op);
    assert_eq!(feed.durations(), [10, 10, 18, 2, 4, 6]);
    let sum: u64 = feed.durations().iter().sum();
    assert_eq!(sum, 50, "each request's steps are its own");
    assert_eq!(feed.trace.summary(), Summary { stage_ns: 40, wall_ns: 40, accounted: 1.0, dropped: 0 });
}

#[test]
fn two_requests_without_a_client_do_not_count_the_time_between_them() {
    let mut feed = Feed::new();
    let a = feed.request(RequestKind::KvGet, Req::NONE);
    feed.step(0, stage::GRPC_RECEIVE, a, 1);
    feed.finish(10, a);
    let b = feed.request(RequestKind::KvGet, Req::NONE);
    assert!(!feed.trace.finished());
    feed.step(100, stage::GRPC_RECEIVE, b, 1);
    feed.finish(105, b);
    assert!(feed.trace.finished());
    assert_eq!(feed.trace.summary(), Summary { stage_ns: 15, wall_ns: 15, accounted: 1.0, dropped: 0 });
}

#[test]
fn replicas_run_beside_the_main_lane_and_after_the_end() {
    let mut feed = Feed::new();
    let put = feed.request(RequestKind::RawPut, Req::NONE);
    feed.step(0, stage::RAFT_PROPOSE, put, 1);
    feed.step(2, stage::RAFT_WRITE_BEGIN, put, 1);
    feed.step(3, stage::FOLLOWER_RECEIVE, put, 2);
    feed.step(6, stage::RAFT_WRITE_END, put, 1);
    feed.step(7, stage::FOLLOWER_APPEND, put, 2);
    feed.step(9, stage::GRPC_REPLY, put, 1);
    feed.finish(10, put);
    feed.step(15, stage::APPLY_BEGIN, put, 2);
    feed.step(18, stage::SCHED_FINISH, put, 1);
    assert_eq!(feed.durations(), [9, 4, 4, 0, 8, 1, 0, 0]);
    assert_eq!(feed.trace.summary(), Summary { stage_ns: 10, wall_ns: 10, accounted: 1.0, dropped: 0 });
    assert!(feed.trace.steps.iter().enumerate().all(|(i, s)| s.step == i));
}

#[test]
fn a_probe_belongs_to_the_step_of_its_owner_and_is_known_from_there_on() {
    let mut feed = Feed::new();
    feed.raft(0, Req::NONE, 1, 5);
    let put = feed.request(RequestKind::RawPut, Req::NONE);
    let propose = feed.step(0, stage::RAFT_PROPOSE, put, 1);
    let receive = feed.step(3, stage::FOLLOWER_RECEIVE, put, 2);
    let persisted = feed.step(4, stage::RAFT_PERSISTED, put, 1);
    // The follower publishes after the leader's stamp came in between.
    feed.raft(5, Req::NONE, 2, 6);
    // A store that has no step here publishes: known from now on only.
    feed.raft(6, Req::NONE, 3, 7);
    feed.raft(7, put, 1, 8);
    let reply = feed.step(9, stage::GRPC_REPLY, put, 1);
    assert_eq!(feed.commits(propose), [(1, 5)], "what was known before is there, what came later is not");
    assert_eq!(feed.commits(receive), [(1, 5), (2, 6)]);
    assert_eq!(feed.commits(persisted), [(1, 8), (2, 6), (3, 7)]);
    assert_eq!(feed.commits(reply), [(1, 8), (2, 6), (3, 7)]);
}

#[test]
fn steps_are_in_the_order_of_engine_time_whatever_the_clock_of_the_recording_did() {
    let mut feed = Feed::new();
    let get = feed.request(RequestKind::KvGet, Req::NONE);
    feed.step(10, stage::GRPC_RECEIVE, get, 1);
    feed.step(9, stage::GRPC_DECODE, get, 1);
    feed.step(12, stage::MVCC_GET, get, 1);
    feed.finish(11, get);
    assert_eq!(feed.durations(), [0, 2, 0], "none is negative");
    assert!(feed.trace.steps.is_sorted_by_key(|s| s.at_ns));
    assert_eq!(feed.trace.summary().accounted, 1.0);
}

#[test]
fn an_operation_that_ends_before_its_request_does_closes_it() {
    let mut feed = Feed::new();
    let op = feed.request(RequestKind::Client, Req::NONE);
    feed.step(0, stage::CLIENT_SEND, op, 0);
    let get = feed.request(RequestKind::KvGet, op);
    feed.step(4, stage::GRPC_RECEIVE, get, 1);
    feed.finish(9, op);
    assert!(feed.trace.finished());
    assert_eq!(feed.durations(), [4, 5]);
    feed.finish(20, get);
    assert_eq!(feed.durations(), [4, 5], "what ends later adds nothing");
}

proptest::proptest! {
    /// Whatever requests do side by side: no time is counted twice, none is lost, none is negative.
    #[test]
    fn stages_always_cover_the_wall_time(ops in proptest::collection::vec((0u64..50, 0usize..4, 0u8..4), 1..80)) {
        let mut feed = Feed::new();
        let op = feed.request(RequestKind::Client, Req::NONE);
        let stages = [stage::GRPC_RECEIVE, stage::MVCC_GET, stage::RAFT_COMMIT];
        let mut live: Vec<Option<Req>> = vec![None; 4];
        let mut at = 0;
        feed.step(at, stage::CLIENT_SEND, op, 0);
        for (gap, child, what) in ops {
            at += gap;
            match (live[child], what) {
                (None, _) => {
                    let req = feed.request(RequestKind::KvGet, op);
                    feed.step(at, stage::GRPC_RECEIVE, req, 1);
                    live[child] = Some(req);
                }
                (Some(req), 3) => {
                    feed.finish(at, req);
                    live[child] = None;
                }
                (Some(req), what) => _ = feed.step(at, stages[usize::from(what)], req, 1),
            }
        }
        at += 3;
        feed.finish(at, op);
        let summary = feed.trace.summary();
        proptest::prop_assert_eq!(summary.wall_ns, at);
        proptest::prop_assert_eq!(summary.stage_ns, at);
    }
}
