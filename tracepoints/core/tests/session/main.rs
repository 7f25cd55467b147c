//! Sessions with real threads, tasks and FSMs: requests are held, engine time stops, requests are released.
use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use tracepoints::{
    EngineClock, FsmGate, Gate, Probe, Req, RequestKind, Session, SessionConfig, SessionEvent, StageId,
    request::{begin, end},
    session::{Matcher, Mode, SessionError, joined, joined_read, watches_region},
    stage,
    trace::Trace,
};

mod gates;

/// The test fails if a wait takes longer.
const BOUND: Duration = Duration::from_secs(10);

/// Serializes the tests, since a process has one session at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock()
}

fn any(mode: Mode) -> SessionConfig {
    SessionConfig { matcher: Matcher { any: true, ..Matcher::default() }, mode, ..SessionConfig::default() }
}

fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let from = Instant::now();
    while !done() {
        assert!(from.elapsed() < BOUND, "waited {BOUND:?} for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn held_at(session: &Session) -> Vec<&'static str> {
    session.held().iter().map(|h| h.stage.name()).collect()
}

fn wait_held(session: &Session, stages: &[&str]) {
    eventually(&format!("{stages:?} to be held"), || held_at(session) == stages);
}

fn join<T>(thread: JoinHandle<T>) -> T {
    eventually("the thread", || thread.is_finished());
    thread.join().unwrap()
}

/// Runs a future on its own thread: its waker unparks the thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(out) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return out;
        }
        std::thread::park();
    }
}

fn stages(session: &Session) -> Vec<&'static str> {
    let steps = session.events().try_iter().filter_map(|e| match e {
        SessionEvent::Step(s) => s.stamp.site.map(|s| s.stage.name()),
        _ => None,
    });
    steps.collect()
}

#[test]
fn a_task_is_held_and_stepped_while_engine_time_is_stopped() {
    let _one = alone();
    let session = Session::start(any(Mode::Step)).unwrap();
    let task = std::thread::spawn(|| {
        block_on(async {
            let req = begin(RequestKind::KvGet, b"k", 1);
            tracepoints::step!(GRPC_RECEIVE, req, region = 1u64);
            tracepoints::step!(GRPC_DECODE, req);
            tracepoints::stamp!(READ_DONE, req);
            end(req);
        });
    });
    wait_held(&session, &["grpc_receive"]);
    let stood = EngineClock::now();
    std::thread::sleep(Duration::from_millis(30));
    assert!(EngineClock::is_frozen() && EngineClock::now() == stood);
    assert!(session.step());
    wait_held(&session, &["grpc_decode"]);
    assert!(EngineClock::is_frozen());
    assert!(session.step());
    join(task);
    assert!(!session.step(), "no request is held any more");
    assert!(!EngineClock::is_frozen());
    let mut trace = Trace::new();
    session.events().try_iter().for_each(|e| trace.apply(&e, None));
    assert!(trace.finished());
    let summary = trace.summary();
    assert_eq!(summary.stage_ns, summary.wall_ns);
    assert!(summary.wall_ns < 30_000_000, "the hold of 30 ms does not count: {} ns", summary.wall_ns);
    assert_eq!(trace.requests[0].key, b"k");
}

#[test]
fn a_thread_is_held_only_at_a_gate_and_runs_to_the_end() {
    let _one = alone();
    let session = Session::start(any(Mode::ToGate)).unwrap();
    session.set_gate(stage::WRITE_CF_SEEK.into());
    let read = || {
        let req = begin(RequestKind::KvGet, b"k", 1);
        tracepoints::step_thread!(LOCK_CF_GET, req);
        tracepoints::step_thread!(WRITE_CF_SEEK, req);
        tracepoints::step_thread!(WRITE_CF_FOUND, req);
    };
    let thread = std::thread::spawn(read);
    wait_held(&session, &["write_cf_seek"]);
    assert!(session.to_gate());
    join(thread);
    let thread = std::thread::spawn(read);
    wait_held(&session, &["write_cf_seek"]);
    assert!(session.run());
    join(thread);
    join(std::thread::spawn(read));
    assert!(session.remove_gate("write_cf_seek"), "it was set");
    assert_eq!(stages(&session).len(), 9);
}

#[test]
fn two_held_requests_are_released_one_after_the_other() {
    let _one = alone();
    let session = Session::start(any(Mode::Step)).unwrap();
    let read = || {
        let req = begin(RequestKind::KvGet, b"k", 1);
        tracepoints::step_thread!(MVCC_GET, req);
    };
    let threads = [std::thread::spawn(read), std::thread::spawn(read)];
    wait_held(&session, &["mvcc_get", "mvcc_get"]);
    let second = session.held()[1].id;
    assert!(session.step());
    assert_eq!(session.held().iter().map(|h| h.id).collect::<Vec<_>>(), [second]);
    assert!(EngineClock::is_frozen(), "while one is held");
    assert!(session.step());
    assert!(!EngineClock::is_frozen());
    threads.into_iter().for_each(join);
}

/// An FSM on a poller: a parked FSM does not run; its wake-up is a message.
#[test]
fn an_fsm_parks_and_comes_back_where_it_was() {
    let _one = alone();
    let session = Session::start(any(Mode::Step)).unwrap();
    let req = begin(RequestKind::RawPut, b"k", 1);
    let (wake, mailbox) = mpsc::channel();
    let mut gate = FsmGate::default();
    let mut done = Vec::new();
    let mut run = |gate: &mut FsmGate| {
        let again = wake.clone();
        if tracepoints::step_fsm!(gate, move || again.send(()).unwrap(), RAFT_PROPOSE, req, region = 1u64) {
            return;
        }
        done.push("proposed");
    };
    run(&mut gate);
    assert!(gate.parked() && held_at(&session) == ["raft_propose"]);
    run(&mut gate);
    assert!(gate.parked(), "another message does not get it past the gate");
    assert!(mailbox.try_recv().is_err());
    assert!(session.step());
    mailbox.recv_timeout(BOUND).unwrap();
    assert!(!gate.parked());
    run(&mut gate);
    assert_eq!(done, ["proposed"]);
    assert_eq!(stages(&session), ["raft_propose"], "stamped once");
    assert!(mailbox.try_recv().is_err(), "woken once");
}

#[test]
fn another_request_at_the_stage_of_a_parked_one_is_stamped() {
    let _one = alone();
    let session = Session::start(any(Mode::Step)).unwrap();
    let (a, b) = (begin(RequestKind::RawPut, b"a", 1), begin(RequestKind::RawPut, b"b", 1));
    let mut gate = FsmGate::default();
    assert!(tracepoints::step_fsm!(gate, || (), RAFT_PROPOSE, a));
    session.run();
    // The FSM dropped the first proposal while it was parked; the next one is another request.
    assert!(!tracepoints::step_fsm!(gate, || (), RAFT_PROPOSE, b));
    assert_eq!(stages(&session).len(), 2);
}

#[test]
fn a_hold_ends_with_the_task_or_the_fsm_that_waited() {
    let _one = alone();
    let session = Session::start(any(Mode::Step)).unwrap();
    let req = begin(RequestKind::KvGet, b"k", 1);
    let mut gate = FsmGate::default();
    assert!(tracepoints::step_fsm!(gate, || panic!("nothing to wake"), RAFT_PROPOSE, req));
    drop(gate);
    assert!(session.held().is_empty() && !EngineClock::is_frozen());
    {
        let mut task = pin!(async { tracepoints::step!(GRPC_RECEIVE, req) });
        assert!(task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(held_at(&session), ["grpc_receive"]);
    }
    assert!(session.held().is_empty() && !EngineClock::is_frozen());
    let released = session.events().try_iter().filter(|e| matches!(e, SessionEvent::Released { .. })).count();
    assert_eq!(released, 2);
}

#[test]
fn a_dropped_session_releases_all_requests() {
    let _one = alone();
    let session = Session::start(any(Mode::Step)).unwrap();
    let woken = Arc::new(AtomicUsize::new(0));
    let req = begin(RequestKind::KvGet, b"k", 1);
    let mut gate = FsmGate::default();
    let wake = woken.clone();
    assert!(tracepoints::step_fsm!(gate, move || _ = wake.fetch_add(1, Ordering::SeqCst), RAFT_PROPOSE, req));
    let thread = std::thread::spawn(move || tracepoints::step_thread!(MVCC_GET, req));
    let task = std::thread::spawn(move || block_on(async { tracepoints::step!(GRPC_RECEIVE, req) }));
    eventually("three to be held", || session.held().len() == 3);
    drop(session);
    join(thread);
    join(task);
    assert_eq!(woken.load(Ordering::SeqCst), 1);
    assert!(!EngineClock::is_frozen() && !watches_region(1));
}

#[test]
fn a_callback_may_call_into_the_session() {
    let _one = alone();
    let session = Arc::new(Session::start(any(Mode::Step)).unwrap());
    let req = begin(RequestKind::RawPut, b"k", 1);
    let mut gate = FsmGate::default();
    let (of_wake, (sender, receiver)) = (session.clone(), mpsc::channel());
    let wake = move || {
        tracepoints::stamp!(RAFT_SEND, req);
        sender.send(of_wake.held().len()).unwrap();
    };
    assert!(tracepoints::step_fsm!(gate, wake, RAFT_PROPOSE, req));
    let stepper = std::thread::spawn({
        let session = session.clone();
        move || session.step()
    });
    assert_eq!(receiver.recv_timeout(BOUND), Ok(0));
    assert!(join(stepper));
}

#[test]
fn one_session_at_a_time() {
    let _one = alone();
    let first = Session::start(SessionConfig::default()).unwrap();
    let busy = Session::start(SessionConfig::default()).err().unwrap();
    assert!(matches!(busy, SessionError::Busy) && busy.to_string().contains("end it first"));
    drop(first);
    assert!(Session::start(SessionConfig::default()).is_ok());
}

#[test]
fn a_request_of_an_earlier_session_is_not_held_by_the_next() {
    let _one = alone();
    let first = Session::start(any(Mode::Run)).unwrap();
    let old = begin(RequestKind::KvGet, b"k", 1);
    drop(first);
    let second = Session::start(any(Mode::Step)).unwrap();
    tracepoints::step_thread!(MVCC_GET, old);
    tracepoints::probe!(old, || Probe::Note("of the first".into()));
    end(old);
    assert_eq!(second.events().try_iter().count(), 0);
}

#[test]
fn requests_are_adopted_by_matcher_up_to_the_bound() {
    let _one = alone();
    let matcher = Matcher { key: Some(b"k".to_vec()), ..Matcher::default() };
    let config = SessionConfig { matcher, max_requests: 1, ..SessionConfig::default() };
    let session = Session::start(config).unwrap();
    assert!(!begin(RequestKind::KvGet, b"other", 1).stepped());
    assert!(begin(RequestKind::KvGet, b"k", 1).stepped());
    assert!(!begin(RequestKind::KvGet, b"k", 1).stepped(), "max_requests is one");
    drop(session);
    assert!(!begin(RequestKind::KvGet, b"k", 1).stepped());
}

#[test]
fn an_operation_adopts_requests_that_arrive_while_it_runs() {
    let _one = alone();
    let session = Session::start(SessionConfig::default()).unwrap();
    assert!(!begin(RequestKind::KvGet, b"k", 1).stepped());
    let op = session.begin_op(b"k");
    tracepoints::stamp!(CLIENT_SEND, op);
    let get = begin(RequestKind::KvGet, b"k", 7);
    tracepoints::stamp!(GRPC_RECEIVE, get);
    assert!(watches_region(7) && !watches_region(8));
    end(get);
    tracepoints::stamp!(CLIENT_REPLY, op);
    session.end_op(op);
    assert!(!begin(RequestKind::KvGet, b"k", 1).stepped());
    let mut trace = Trace::new();
    session.events().try_iter().for_each(|e| trace.apply(&e, None));
    let parents: Vec<_> = trace.requests.iter().map(|r| (r.id, r.parent)).collect();
    assert_eq!(parents, [(op.id(), 0), (get.id(), op.id())]);
    assert!(trace.finished());
    let summary = trace.summary();
    assert_eq!((summary.stage_ns, summary.dropped), (summary.wall_ns, 0));
}

#[test]
fn replicas_and_read_rounds_join_their_request() {
    let _one = alone();
    assert!(joined(1, 6, 1, 99).is_none() && joined_read(5).is_none());
    let session = Session::start(any(Mode::Run)).unwrap();
    let (put, get) = (begin(RequestKind::RawPut, b"k", 1), begin(RequestKind::KvGet, b"k", 2));
    tracepoints::stamp!(RAFT_PROPOSE, put, region = 1u64, term = 6u64, index = 11u64);
    tracepoints::stamp!(READ_INDEX_PROPOSE, get, region = 2u64, term = 6u64, read_id = 77u64);
    assert_eq!(joined(1, 6, 10, 12), put);
    assert_eq!(joined(1, 6, 11, 11), put);
    for (region, term, first, last) in [(1, 6, 12, 20), (1, 6, 1, 10), (1, 7, 10, 12), (2, 6, 10, 12)] {
        assert_eq!(joined(region, term, first, last), Req::NONE, "{region} {term} {first} {last}");
    }
    assert_eq!((joined_read(77), joined_read(78)), (get, Req::NONE));
    drop(session);
    assert!(joined(1, 6, 10, 12).is_none());
}

#[test]
fn probes_are_made_only_for_a_watching_session() {
    let _one = alone();
    let never = || -> Probe { panic!("no session watches") };
    tracepoints::probe!(begin(RequestKind::KvGet, b"k", 1), never);
    tracepoints::probe_region!(1, never);
    let session = Session::start(any(Mode::Run)).unwrap();
    tracepoints::probe_region!(1, never);
    let req = begin(RequestKind::KvGet, b"k", 1);
    tracepoints::probe_region!(2, never);
    tracepoints::probe!(req, || Probe::Note("a".into()));
    tracepoints::probe_region!(1, || Probe::Note("b".into()));
    let notes = session.events().try_iter().filter(|e| matches!(e, SessionEvent::Probe(_))).count();
    assert_eq!(notes, 2);
}

#[test]
fn many_threads_keep_the_order_of_engine_time() {
    let _one = alone();
    let session = Session::start(any(Mode::Run)).unwrap();
    let threads = (0..4).map(|_| {
        std::thread::spawn(|| {
            let req = begin(RequestKind::KvGet, b"k", 1);
            for i in 0..500u64 {
                tracepoints::stamp!(MVCC_GET, req, i = i);
            }
            end(req);
        })
    });
    threads.collect::<Vec<_>>().into_iter().for_each(join);
    let mut last = 0;
    let mut steps = 0;
    for event in session.events().try_iter() {
        if let SessionEvent::Step(step) = event {
            assert!(step.engine_ns >= last);
            (last, steps) = (step.engine_ns, steps + 1);
        }
    }
    assert_eq!(steps, 2000);
}

#[test]
fn a_stack_leads_from_the_stamp_to_its_caller() {
    let _one = alone();
    let session = Session::start(SessionConfig { stacks: true, ..any(Mode::Run) }).unwrap();
    #[inline(never)]
    fn stamps_in_here(req: Req) {
        tracepoints::stamp!(MVCC_GET, req);
        std::hint::black_box(req);
    }
    stamps_in_here(begin(RequestKind::KvGet, b"k", 1));
    let mut symbols = tracepoints::symbolize::Symbolizer::for_this_process().unwrap();
    let mut trace = Trace::new();
    session.events().try_iter().for_each(|e| trace.apply(&e, Some(&mut symbols)));
    let stack = &trace.steps[0].stack;
    let names: Vec<&str> = stack.iter().map(|f| f.function.as_str()).collect();
    let at = names.iter().position(|n| n.ends_with("stamps_in_here"));
    assert_eq!(at, Some(0), "{names:#?}");
    assert!(stack[0].file.ends_with("tests/session/main.rs") && stack[0].line > 0, "{:?}", stack[0]);
    assert!(!names.iter().any(|n| n.contains("__rust_begin_short_backtrace")), "{names:#?}");
    assert!(names[1..].iter().any(|n| n.contains("a_stack_leads_from_the_stamp")), "{names:#?}");
}

#[test]
fn observed_stages_cannot_be_held() {
    let _one = alone();
    let session = Session::start(any(Mode::Step)).unwrap();
    let req = begin(RequestKind::KvGet, b"k", 1);
    let observed: StageId = stage::READ_DONE;
    assert!(!tracepoints::step_fsm!(FsmGate::default(), || (), READ_DONE, req), "{}", observed.name());
    assert!(session.held().is_empty());
}

#[test]
fn a_stepper_that_does_not_read_misses_steps_and_gets_a_count() {
    let _one = alone();
    let session = Session::start(any(Mode::Run)).unwrap();
    let req = begin(RequestKind::KvGet, b"k", 1);
    for _ in 0..300_000 {
        tracepoints::stamp!(MVCC_GET, req);
    }
    end(req);
    let events: Vec<SessionEvent> = session.events().try_iter().collect();
    let steps = events.iter().filter(|e| matches!(e, SessionEvent::Step(_))).count() as u64;
    assert!(session.missed() > 0 && steps + session.missed() == 300_000);
    assert!(matches!(events.last(), Some(SessionEvent::Finished { .. })), "the end is never missed");
}

#[test]
fn work_of_others_during_a_hold_takes_time_the_person_none() {
    let _one = alone();
    let gates = vec![Gate::at(stage::RAFT_PROPOSE)];
    let session = Session::start(SessionConfig { gates, ..any(Mode::ToGate) }).unwrap();
    let from = Instant::now();
    let (held, works) = (begin(RequestKind::RawPut, b"a", 1), begin(RequestKind::RawPut, b"b", 1));
    let thread = std::thread::spawn(move || {
        tracepoints::step_thread!(RAFT_PROPOSE, held);
        tracepoints::stamp!(SCHED_FINISH, held);
        end(held);
    });
    wait_held(&session, &["raft_propose"]);
    let stood = EngineClock::now();
    for _ in 0..10 {
        tracepoints::stamp!(RAFT_WRITE_BEGIN, works);
        std::thread::sleep(Duration::from_millis(3));
        tracepoints::stamp!(RAFT_WRITE_END, works);
    }
    end(works);
    assert_eq!(EngineClock::now(), stood);
    // Longer than the pause between two events of one piece of work.
    std::thread::sleep(Duration::from_millis(1100));
    session.run();
    join(thread);
    let mut trace = Trace::new();
    session.events().try_iter().for_each(|e| trace.apply(&e, None));
    let disk: u64 = trace.steps.iter().filter(|s| s.stage == "raft_write_begin").map(|s| s.dur_ns).sum();
    assert!(disk >= 3_000_000, "{disk} ns of fsync, and engine time stood");
    let held = trace.steps.iter().find(|s| s.stage == "raft_propose").unwrap();
    assert!(held.held_ns >= disk, "{held:?}");
    let all = Duration::from_nanos(trace.steps.last().unwrap().at_ns);
    assert!(all + Duration::from_secs(1) <= from.elapsed(), "the person's time does not count: {all:?}");
}

#[test]
fn the_user_chooses_which_held_request_continues() {
    let _one = alone();
    let session = Session::start(any(Mode::Step)).unwrap();
    let read = |key: &'static [u8]| {
        std::thread::spawn(move || {
            let req = begin(RequestKind::KvGet, key, 1);
            tracepoints::step_thread!(MVCC_GET, req);
        })
    };
    let first = read(b"a");
    wait_held(&session, &["mvcc_get"]);
    let second = read(b"b");
    wait_held(&session, &["mvcc_get", "mvcc_get"]);
    let ids: Vec<u64> = session.held().iter().map(|h| h.id).collect();
    assert!(session.release(ids[1], Mode::Step));
    join(second);
    assert_eq!(session.held().iter().map(|h| h.id).collect::<Vec<_>>(), [ids[0]]);
    assert!(!session.release(ids[1], Mode::Run), "it is not held any more");
    let third = read(b"c");
    wait_held(&session, &["mvcc_get", "mvcc_get"]);
    assert!(session.release(session.held()[1].id, Mode::Step), "the late release did not change the mode");
    join(third);
    assert!(EngineClock::is_frozen());
    assert!(session.release(ids[0], Mode::Run));
    join(first);
    assert!(!EngineClock::is_frozen());
}
