//! Held requests: the FSM is parked and engine time is frozen, so that no election takes place.
use std::{thread, time::Duration};

use tracepoints::{
    Gate, Probe, RequestKind, Session, SessionConfig, SessionEvent, request,
    session::{Matcher, Mode},
    stage,
};

use crate::harness::{Cluster, REGION, WAIT, error_of, quick_config, until};

/// Longer than two election timeouts.
const HOLD: Duration = Duration::from_millis(2500);

#[test]
fn a_write_held_at_every_stage_changes_no_leader() {
    let cluster = Cluster::new(&[1, 2, 3], quick_config());
    cluster.must_put(b"k", b"v0");
    let leader = cluster.wait_leader(REGION);
    let term = cluster.meta(leader, REGION).unwrap().raft.term;
    let gates = [
        stage::RAFT_PROPOSE,
        stage::RAFT_READY,
        stage::RAFT_WRITE_BEGIN,
        stage::FOLLOWER_RECEIVE,
        stage::FOLLOWER_APPEND,
        stage::RAFT_PERSISTED,
        stage::RAFT_COMMIT,
        stage::APPLY_BEGIN,
        stage::APPLY_WRITE,
    ];
    let session = until("a session", || {
        let matcher = Matcher { kinds: vec![RequestKind::RawPut], ..Default::default() };
        let gates = gates.into_iter().map(Gate::at).collect();
        Session::start(SessionConfig { matcher, mode: Mode::ToGate, gates, ..Default::default() }).ok()
    });
    let cmd = cluster.put_cmd(leader, REGION, b"k", b"v1");
    let req = request::begin(RequestKind::RawPut, b"k", REGION);
    assert!(req.stepped());
    let (held, stamped, probes) = thread::scope(|s| {
        let put = s.spawn(|| cluster.send(leader, cmd, req));
        let seen = drive(&session, || put.is_finished());
        let resp = put.join().unwrap();
        assert!(error_of(&resp).is_none(), "{resp:?}");
        seen
    });
    for gate in gates {
        assert!(held.contains(&gate), "never held at {gate:?}: {held:?}");
    }
    for stage in
        [stage::RAFT_ROUTE, stage::RAFT_SEND, stage::RAFT_ACK, stage::FOLLOWER_ACK, stage::APPLY_DONE]
    {
        assert!(stamped.contains(&stage), "never stamped: {stage:?}");
    }
    assert!(probes.len() >= 3, "all three peers published their state: {probes:?}");
    drop(session);
    let meta = cluster.meta(leader, REGION).unwrap();
    assert_eq!((meta.raft.role.as_str(), meta.raft.term), ("Leader", term), "no election took place");
    for store in 1..=3 {
        cluster.wait_applied(store, b"k", b"v1");
    }
    quorum_read(&cluster, leader);
}

/// The read's round is held at its stages too.
fn quorum_read(cluster: &Cluster, leader: u64) {
    let session = until("a session", || {
        let matcher = Matcher { kinds: vec![RequestKind::RawGet], ..Default::default() };
        Session::start(SessionConfig { matcher, mode: Mode::Step, ..Default::default() }).ok()
    });
    let mut header = cluster.header(leader, REGION);
    header.read_quorum = true;
    let req = request::begin(RequestKind::RawGet, b"k", REGION);
    let (held, stamped, _) = thread::scope(|s| {
        let read =
            s.spawn(|| crate::harness::wait(cluster.nodes[&leader].reader.snapshot(header, None, req)));
        let seen = drive(&session, || read.is_finished());
        let snap = read.join().unwrap().unwrap();
        assert_eq!(crate::harness::read(&snap, b"k").as_deref(), Some(&b"v1"[..]));
        seen
    });
    for gate in [stage::READ_INDEX_PROPOSE, stage::READ_INDEX_HEARTBEAT, stage::READ_INDEX_CONFIRM] {
        assert!(held.contains(&gate), "never held at {gate:?}: {held:?}");
    }
    for stage in [stage::LOCAL_READ_REJECT, stage::READ_INDEX_ACK] {
        assert!(stamped.contains(&stage), "never stamped: {stage:?}");
    }
}

type Seen = (Vec<tracepoints::StageId>, Vec<tracepoints::StageId>, std::collections::BTreeSet<u64>);

/// Releases the request at each hold until `finished`; the first hold is a long one. Returns the stages of
/// the holds, the stamped stages, and the stores that published their state.
fn drive(session: &Session, finished: impl Fn() -> bool) -> Seen {
    let (mut held, mut stamped, mut stores) = (Vec::new(), Vec::new(), std::collections::BTreeSet::new());
    let end = std::time::Instant::now() + WAIT;
    loop {
        assert!(std::time::Instant::now() < end, "held at {:?} within {WAIT:?}", session.held());
        match session.events().recv_timeout(Duration::from_millis(50)) {
            Ok(SessionEvent::Held(hold)) => {
                if held.is_empty() {
                    thread::sleep(HOLD);
                }
                held.push(hold.stage);
            }
            Ok(SessionEvent::Step(step)) => stamped.extend(step.stamp.site.map(|s| s.stage)),
            Ok(SessionEvent::Probe(event)) => {
                if let Probe::Raft(raft) = event.probe {
                    stores.insert(raft.store);
                }
            }
            Ok(_) => {}
            Err(_) if !session.held().is_empty() => {
                // No more events arrived: release all held requests.
                resume(session);
            }
            Err(_) if finished() => return (held, stamped, stores),
            Err(_) => {}
        }
    }
}

/// Releases the held requests up to their next gate, or the first one up to its next stage if there are no gates.
fn resume(session: &Session) {
    if session.gates().is_empty() {
        session.step();
    } else {
        session.to_gate();
    }
}
