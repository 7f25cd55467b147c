//! The gates of a session: visits that pass, conditions, changes of a value, and gates that hold once.
use tracepoints::{
    Gate, Probe, RequestKind, Session, SessionConfig, SessionEvent, gates::Names, probe::RaftProbe,
    request::begin, session::Mode, stage,
};

use crate::{alone, any, join, stages, wait_held};

/// A timestamp of PD.
const PD_TS: u64 = 470_607_130_216_890_369;

#[test]
fn a_gate_lets_the_first_visits_pass() {
    let _one = alone();
    let gates = vec![Gate::at(stage::MVCC_GET).from_hit(3)];
    let session = Session::start(SessionConfig { gates, ..any(Mode::ToGate) }).unwrap();
    let req = begin(RequestKind::KvGet, b"k", 1);
    let thread = std::thread::spawn(move || {
        for visit in 0..4u64 {
            tracepoints::step_thread!(LOCK_CF_GET, req);
            tracepoints::step_thread!(MVCC_GET, req, visit = visit);
        }
    });
    wait_held(&session, &["mvcc_get"]);
    let visits = stages(&session).iter().filter(|stage| **stage == "mvcc_get").count();
    assert_eq!(visits, 3, "the third one is held, at its first arrival");
    session.to_gate();
    wait_held(&session, &["mvcc_get"]);
    session.run();
    join(thread);
}

#[test]
fn a_condition_holds_only_the_arrivals_for_which_it_is_true() {
    let _one = alone();
    let parse = |text: &str| Gate::parse(text, &Names::default()).unwrap();
    let gates = vec![parse("write_cf_found if commit_ts > ts1")];
    let session = Session::start(SessionConfig { gates, ..any(Mode::ToGate) }).unwrap();
    let read = |key: &'static [u8]| {
        std::thread::spawn(move || {
            let req = begin(RequestKind::KvGet, key, 1);
            tracepoints::step_thread!(WRITE_CF_SEEK, req, ts = PD_TS);
            for commit_ts in [PD_TS - 10, PD_TS, PD_TS + 10, PD_TS + 20] {
                tracepoints::step_thread!(WRITE_CF_FOUND, req, commit_ts = commit_ts);
            }
        })
    };
    let thread = read(b"k");
    wait_held(&session, &["write_cf_found"]);
    let commits = || {
        let steps = session.events().try_iter().filter_map(|e| match e {
            SessionEvent::Step(s) => s.stamp.field("commit_ts"),
            _ => None,
        });
        steps.last()
    };
    assert_eq!(commits(), Some(PD_TS + 10));
    assert_eq!(session.held()[0].reason, "write_cf_found if commit_ts > ts1");
    session.to_gate();
    wait_held(&session, &["write_cf_found"]);
    assert_eq!(commits(), Some(PD_TS + 20));
    assert_eq!(session.gates()[0].hits, 2);
    assert!(session.switch_gate("write_cf_found if commit_ts > ts1", false));
    assert!(!session.switch_gate("write_cf_found", false), "no such gate");
    session.to_gate();
    join(thread);
    join(read(b"other"));
    session.set_gate_once(parse(&format!("any if key == other and commit_ts == {}", PD_TS + 20)));
    let thread = read(b"other");
    wait_held(&session, &["write_cf_found"]);
    assert_eq!(session.gates().len(), 1, "a gate that holds once is removed");
    session.to_gate();
    join(thread);
}

#[test]
fn a_gate_that_holds_once_leaves_the_users_gates_alone() {
    let _one = alone();
    let session = Session::start(SessionConfig { gates: vec![stage::MVCC_GET.into()], ..any(Mode::ToGate) });
    let session = session.unwrap();
    // The user's gate holds first; the two others must end with the same hold.
    session.set_gate_once(stage::MVCC_GET.into());
    session.set_gate_once(Gate::parse("any", &Names::default()).unwrap());
    assert_eq!(session.gates().len(), 1, "only the user's are listed");
    let thread = std::thread::spawn(|| {
        let req = begin(RequestKind::KvGet, b"k", 1);
        tracepoints::step_thread!(MVCC_GET, req);
        tracepoints::step_thread!(WRITE_CF_SEEK, req);
        tracepoints::step_thread!(MVCC_GET, req);
    });
    wait_held(&session, &["mvcc_get"]);
    session.to_gate();
    wait_held(&session, &["mvcc_get"]);
    assert_eq!(session.gates()[0].hits, 2, "the user's gate still holds, and no other one did between");
    assert!(session.remove_gate("mvcc_get"));
    session.run();
    join(thread);
}

#[test]
fn a_change_of_a_value_holds_at_the_next_stage() {
    let _one = alone();
    let gates = vec![Gate::parse("change of commit if store == 2 and new > 7", &Names::default()).unwrap()];
    let session = Session::start(SessionConfig { gates, ..any(Mode::ToGate) }).unwrap();
    let thread = std::thread::spawn(|| {
        let req = begin(RequestKind::RawPut, b"k", 1);
        for (store, commit) in [(1, 8), (2, 6), (2, 7), (1, 9), (2, 8)] {
            let raft = RaftProbe { store, region: 1, commit, ..RaftProbe::default() };
            tracepoints::probe_region!(1, || Probe::Raft(raft));
            tracepoints::step_thread!(MVCC_GET, req, commit = commit);
        }
    });
    wait_held(&session, &["mvcc_get"]);
    assert_eq!(
        session.held()[0].reason,
        "change of commit if store == 2 and new > 7: commit of store 2: 7 → 8"
    );
    session.run();
    join(thread);
}

#[test]
fn a_change_while_all_requests_run_does_not_hold_later() {
    let _one = alone();
    let gates = vec![Gate::parse("change of commit", &Names::default()).unwrap()];
    let session = Session::start(SessionConfig { gates, ..any(Mode::Run) }).unwrap();
    let read = || {
        std::thread::spawn(|| {
            let req = begin(RequestKind::KvGet, b"k", 1);
            tracepoints::step_thread!(MVCC_GET, req);
        })
    };
    join(read());
    for commit in [7, 8] {
        let raft = RaftProbe { store: 1, region: 1, commit, ..RaftProbe::default() };
        tracepoints::probe_region!(1, || Probe::Raft(raft));
    }
    assert_eq!(session.gates()[0].hits, 1, "the change was noticed");
    session.set_mode(Mode::ToGate);
    join(read());
}
