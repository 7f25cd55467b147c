//! The steps inside of `local_read` and `raft_commit`, and what each of them decides.
use std::{
    thread,
    time::{Duration, Instant},
};

use tracepoints::{
    Facts, Probe, RequestKind, Session, SessionConfig, SessionEvent, StageId, request,
    session::{Matcher, Mode},
    stage,
};

use crate::harness::{Cluster, REGION, WAIT, error_of, quick_config, until};

/// A stamped stage with its store, and the facts of the stages in the order of their publication.
type Seen = (Vec<(StageId, u64)>, Vec<Facts>);

fn session(kind: RequestKind, mode: Mode) -> Session {
    until("a session", || {
        let matcher = Matcher { kinds: vec![kind], ..Default::default() };
        Session::start(SessionConfig { matcher, mode, ..Default::default() }).ok()
    })
}

/// Steps into each stage until `finished`.
fn step_into(session: &Session, finished: impl Fn() -> bool) -> Seen {
    let (mut stamped, mut facts) = (Vec::new(), Vec::new());
    let end = Instant::now() + WAIT;
    loop {
        assert!(Instant::now() < end, "held at {:?} within {WAIT:?}", session.held());
        match session.events().recv_timeout(Duration::from_millis(50)) {
            Ok(SessionEvent::Step(step)) => {
                stamped.extend(step.stamp.site.map(|site| (site.stage, u64::from(step.stamp.store))));
            }
            Ok(SessionEvent::Probe(event)) => {
                if let Probe::Facts(published) = event.probe {
                    facts.push(published);
                }
            }
            Ok(_) => {}
            // No more events arrived: release what is held.
            Err(_) if !session.held().is_empty() => _ = session.step_into(),
            Err(_) if finished() => return (stamped, facts),
            Err(_) => {}
        }
    }
}

/// Reads once on the leader, stepped in `mode`.
fn read(cluster: &Cluster, leader: u64, mode: Mode) -> Seen {
    let session = session(RequestKind::RawGetKeyTtl, mode);
    let header = cluster.header(leader, REGION);
    let req = request::begin(RequestKind::RawGetKeyTtl, b"k", REGION);
    assert!(req.stepped());
    thread::scope(|s| {
        let read = s.spawn(|| {
            crate::harness::wait(cluster.nodes[&leader].reader.snapshot(header, None, req)).map(drop)
        });
        let seen = step_into(&session, || read.is_finished());
        read.join().unwrap().unwrap();
        seen
    })
}

#[test]
fn a_local_read_has_a_step_for_each_check() {
    let cluster = Cluster::new(&[1], quick_config());
    cluster.must_put(b"k", b"v");
    let leader = cluster.wait_leader(REGION);
    // The lease may end between two reads; the next read renews it.
    let (stamped, facts) = until("a local read", || {
        let seen = read(&cluster, leader, Mode::Into);
        seen.0.iter().any(|(stage, _)| *stage == stage::LOCAL_READ).then_some(seen)
    });
    let stages: Vec<StageId> = stamped.into_iter().map(|(stage, _)| stage).collect();
    let want = [
        stage::LOCAL_READ_DELEGATE,
        stage::LOCAL_READ_CHECK,
        stage::LOCAL_READ_APPLIED,
        stage::LOCAL_READ_LEASE,
        stage::LOCAL_READ_LEASE,
        stage::LOCAL_READ,
    ];
    assert_eq!(stages, want);
    let outcome =
        |title: &str| facts.iter().find(|f| f.title == title).map(|f| (f.outcome.as_str(), f.failed));
    assert_eq!(outcome("Delegate"), Some(("found", false)));
    assert_eq!(outcome("Checks"), Some(("all agree", false)));
    assert_eq!(outcome("Applied term"), Some(("applied", false)));
    assert_eq!(outcome("Lease"), Some(("valid", false)));
}

#[test]
fn the_check_that_refuses_a_local_read_is_named() {
    let cluster = Cluster::new(&[1], quick_config());
    cluster.must_put(b"k", b"v");
    let leader = cluster.wait_leader(REGION);
    let session = session(RequestKind::RawGetKeyTtl, Mode::Into);
    let mut header = cluster.header(leader, REGION);
    header.read_quorum = true;
    let req = request::begin(RequestKind::RawGetKeyTtl, b"k", REGION);
    let (stamped, facts) = thread::scope(|s| {
        let read = s.spawn(|| {
            crate::harness::wait(cluster.nodes[&leader].reader.snapshot(header, None, req)).map(drop)
        });
        let seen = step_into(&session, || read.is_finished());
        read.join().unwrap().unwrap();
        seen
    });
    let stages: Vec<StageId> = stamped.into_iter().map(|(stage, _)| stage).collect();
    assert_eq!(stages[..3], [stage::LOCAL_READ_DELEGATE, stage::LOCAL_READ_CHECK, stage::LOCAL_READ_REJECT]);
    let checks = facts.iter().find(|f| f.title == "Checks").unwrap();
    assert_eq!((checks.outcome.as_str(), checks.failed), ("read quorum", true));
}

#[test]
fn a_commit_has_a_step_for_each_peer_and_for_the_quorum() {
    let cluster = Cluster::new(&[1, 2, 3], quick_config());
    cluster.must_put(b"k", b"v0");
    let leader = cluster.wait_leader(REGION);
    let session = session(RequestKind::RawDelete, Mode::Into);
    let cmd = cluster.put_cmd(leader, REGION, b"k", b"v1");
    let req = request::begin(RequestKind::RawDelete, b"k", REGION);
    let (stamped, facts) = thread::scope(|s| {
        let put = s.spawn(|| cluster.send(leader, cmd, req));
        let seen = step_into(&session, || put.is_finished());
        let resp = put.join().unwrap();
        assert!(error_of(&resp).is_none(), "{resp:?}");
        seen
    });
    drop(session);
    let (commit, entry) = (stage::RAFT_COMMIT, stage::RAFT_COMMIT_ENTRY);
    let (matched, quorum) = (stage::RAFT_COMMIT_MATCHED, stage::RAFT_COMMIT_QUORUM);
    // The leader's own disk may stamp between them.
    let on_leader: Vec<StageId> = stamped
        .iter()
        .filter(|(stage, store)| *store == leader && [commit, matched, quorum, entry].contains(stage))
        .map(|(stage, _)| *stage)
        .collect();
    assert_eq!(on_leader, [commit, matched, matched, matched, quorum, entry]);
    let followers = stamped.iter().filter(|(_, store)| *store != leader);
    assert!(followers.clone().all(|(stage, _)| *stage != matched && *stage != quorum), "{stamped:?}");
    let peers = facts.iter().filter(|f| f.title == "Matched index");
    assert!(peers.filter(|f| f.outcome == "has the entry").count() >= 2, "a quorum has it: {facts:?}");
    let outcome = |title: &str| facts.iter().find(|f| f.title == title).map(|f| f.outcome.as_str());
    assert_eq!(outcome("Quorum index"), Some("covers the entry"));
    for store in 1..=3 {
        cluster.wait_applied(store, b"k", b"v1");
    }
}
