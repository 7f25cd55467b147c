//! Traces of invented events: the sums of their times.
use super::*;
use crate::{
    Outcome, StageId, StampSite,
    catalogue::stage,
    kind::RequestKind,
    probe::RaftProbe,
    req::{Req, next_id},
    stamp::Stamp,
};

fn leak(stage: StageId) -> &'static StampSite {
    Box::leak(Box::new(StampSite::new(stage, "f.rs", 1, &["x"], || "a::f::__here")))
}

/// A trace fed with engine times from 1000 on.
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
        let event = StepEvent { stamp, engine_ns: 1000 + at, at_ns: 1000 + at, stack: vec![] };
        self.trace.apply(&SessionEvent::Step(event), None);
        self.trace.steps.len() - 1
    }

    fn raft(&mut self, at: u64, req: Req, store: u64, commit: u64) {
        let probe = Probe::Raft(RaftProbe { store, region: 1, commit, ..RaftProbe::default() });
        let thread = self.threads[store as usize];
        self.trace.apply(&SessionEvent::Probe(ProbeEvent { req, thread, engine_ns: 1000 + at, probe }), None);
    }

    fn finish(&mut self, at: u64, req: Req) {
        self.trace.apply(&SessionEvent::Finished { req, at_ns: 1000 + at, outcome: Outcome::Ok }, None);
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
fn an_operation_covers_its_requests_and_the_time_between() {
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
    // A reply lasts until the client's next event: its next request, or its own stamp.
    assert_eq!(feed.durations(), [5, 3, 12, 10, 1]);
    assert_eq!(feed.trace.summary(), Summary { stage_ns: 31, wall_ns: 31, accounted: 1.0, dropped: 0 });
}

#[test]
fn parallel_requests_count_once() {
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
fn time_between_requests_without_a_client_does_not_count() {
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
fn replicas_run_parallel_to_the_main_lane_and_after_the_end() {
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
fn a_probe_belongs_to_its_owners_step_and_all_later_steps() {
    let mut feed = Feed::new();
    feed.raft(0, Req::NONE, 1, 5);
    let put = feed.request(RequestKind::RawPut, Req::NONE);
    let propose = feed.step(0, stage::RAFT_PROPOSE, put, 1);
    let receive = feed.step(3, stage::FOLLOWER_RECEIVE, put, 2);
    let persisted = feed.step(4, stage::RAFT_PERSISTED, put, 1);
    // The follower publishes after the leader's stamp.
    feed.raft(5, put, 2, 6);
    // A store without a step publishes: the state has it only from now on.
    feed.raft(6, put, 3, 7);
    feed.raft(7, put, 1, 8);
    let reply = feed.step(9, stage::GRPC_REPLY, put, 1);
    assert_eq!(feed.commits(propose), [(1, 5)], "earlier probes are there, later ones are not");
    assert_eq!(feed.commits(receive), [(1, 5), (2, 6)]);
    assert_eq!(feed.commits(persisted), [(1, 8), (2, 6), (3, 7)]);
    assert_eq!(feed.commits(reply), [(1, 8), (2, 6), (3, 7)]);
}

#[test]
fn a_state_without_a_request_belongs_to_the_newest_step() {
    let mut feed = Feed::new();
    let put = feed.request(RequestKind::RawPut, Req::NONE);
    let send = feed.step(0, stage::RAFT_SEND, put, 1);
    let append = feed.step(2, stage::FOLLOWER_APPEND, put, 2);
    // Store 1 publishes again, long after its step, which still lasts.
    feed.raft(5, Req::NONE, 1, 8);
    let reply = feed.step(9, stage::SCHED_FINISH, put, 1);
    assert_eq!((feed.commits(send), feed.commits(append)), (vec![], vec![(1, 8)]));
    assert_eq!(feed.commits(reply), [(1, 8)]);
}

#[test]
fn steps_are_in_time_order_even_if_the_clock_ran_backwards() {
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
    assert_eq!(feed.durations(), [4, 5], "later ends add nothing");
}

proptest::proptest! {
    /// For any parallel requests, no time is counted twice, lost or negative.
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

#[test]
fn a_parallel_heartbeat_takes_none_of_the_operations_time() {
    let mut f = Feed::new();
    let op = f.request(RequestKind::Client, Req::NONE);
    let send = f.step(0, stage::CLIENT_SEND, op, 0);
    let put = f.request(RequestKind::KvPrewrite, op);
    let receive = f.step(10, stage::GRPC_RECEIVE, put, 1);
    let backoff = f.step(40, stage::CLIENT_BACKOFF, op, 0);
    f.finish(40, put);
    let beat = f.request(RequestKind::KvTxnHeartBeat, op);
    let latch = f.step(50, stage::LATCH_WAIT, beat, 1);
    f.finish(70, beat);
    f.step(100, stage::CLIENT_REPLY, op, 0);
    f.finish(101, op);
    let took = f.durations();
    assert_eq!([took[send], took[receive], took[backoff], took[latch]], [10, 30, 60, 20]);
    let summary = f.trace.summary();
    assert_eq!((summary.stage_ns, summary.wall_ns), (101, 101));
}

#[test]
fn a_held_step_takes_only_its_own_time() {
    let mut f = Feed::new();
    let op = f.request(RequestKind::Client, Req::NONE);
    let req = f.request(RequestKind::RawPut, op);
    f.step(0, stage::CLIENT_SEND, op, 0);
    let propose = f.step(10, stage::RAFT_PROPOSE, req, 1);
    let hold = crate::session::HoldInfo {
        id: 9,
        req,
        stage: stage::RAFT_PROPOSE,
        store: 1,
        thread: 0,
        reason: String::new(),
    };
    f.trace.apply(&SessionEvent::Held(hold), None);
    // Another lane works during the hold.
    f.step(25, stage::RAFT_WRITE_BEGIN, req, 2);
    f.step(40, stage::RAFT_WRITE_END, req, 2);
    f.trace.apply(&SessionEvent::Released { id: 9, held_ns: 30 }, None);
    f.step(45, stage::RAFT_READY, req, 1);
    f.finish(50, req);
    f.finish(50, op);
    let held = &f.trace.steps[propose];
    assert_eq!((held.held_ns, held.dur_ns, held.end_ns()), (30, 5, 45));
    let summary = f.trace.summary();
    assert_eq!((summary.stage_ns, summary.wall_ns), (20, 20), "work of others is not the operation's time");
}

#[test]
fn leases_run_down_and_counters_belong_to_their_request() {
    let mut f = Feed::new();
    let op = f.request(RequestKind::Client, Req::NONE);
    let (get, second) = (f.request(RequestKind::KvGet, op), f.request(RequestKind::KvGet, op));
    let ms = 1_000_000;
    let first = f.step(0, stage::MVCC_GET, get, 1);
    let lease =
        Some(crate::probe::LeaseProbe { state: "valid".into(), remaining_ms: 9, until_ns: 1000 + 9 * ms });
    let (thread, raft) = (f.threads[1], RaftProbe { store: 1, region: 1, lease, ..RaftProbe::default() });
    for probe in [Probe::Raft(raft), Probe::Perf(Default::default())] {
        f.trace.apply(&SessionEvent::Probe(ProbeEvent { req: get, thread, engine_ns: 1000, probe }), None);
    }
    let same = f.step(4 * ms, stage::READ_DONE, get, 1);
    let late = f.step(10 * ms, stage::MVCC_GET, second, 1);
    let lease = |step: usize| {
        let lease = f.trace.steps[step].state.raft[0].lease.clone().unwrap();
        (lease.state, lease.remaining_ms)
    };
    assert_eq!([lease(first), lease(same)], [("valid".to_owned(), 9), ("valid".to_owned(), 5)]);
    assert_eq!(lease(late), ("expired".to_owned(), 0));
    let perf: Vec<bool> = [first, same, late].map(|s| f.trace.steps[s].state.perf.is_some()).to_vec();
    assert_eq!(perf, [true, true, false]);
}

#[test]
fn replica_steps_after_the_answer_are_late() {
    let mut f = Feed::new();
    let op = f.request(RequestKind::Client, Req::NONE);
    let put = f.request(RequestKind::RawPut, op);
    let early = f.step(10, stage::RAFT_ACK, put, 1);
    f.finish(20, put);
    let reply = f.step(30, stage::CLIENT_REPLY, op, 0);
    f.finish(31, op);
    let late = f.step(40, stage::RAFT_ACK, put, 1);
    assert_eq!([early, reply, late].map(|s| f.trace.steps[s].late), [false, false, true]);
}

#[test]
fn requests_to_pd_during_a_backoff_belong_to_the_backoff() {
    let mut f = Feed::new();
    let op = f.request(RequestKind::Client, Req::NONE);
    let get = f.request(RequestKind::KvGet, op);
    f.step(0, stage::GRPC_RECEIVE, get, 1);
    f.finish(10, get);
    let backoff = f.step(20, stage::CLIENT_BACKOFF, op, 0);
    let tso = f.request(RequestKind::Tso, op);
    f.step(25, stage::PD_TSO, tso, 0);
    f.finish(25, tso);
    let again = f.request(RequestKind::KvGet, op);
    f.step(90, stage::GRPC_RECEIVE, again, 1);
    f.finish(95, again);
    let reply = f.step(100, stage::CLIENT_REPLY, op, 0);
    f.finish(101, op);
    let took = f.durations();
    assert_eq!((took[backoff], took[reply]), (70, 1));
    let path = crate::critical::CriticalPath::find(&f.trace.steps);
    assert_eq!(path.classes[&crate::Class::Backoff], 70, "{:?}", path.segments);
}
