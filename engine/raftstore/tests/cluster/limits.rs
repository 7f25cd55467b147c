//! Limits of a peer: messages in its mailbox, bytes in its log.
use std::thread;

use raftstore::{
    Error,
    store::{Callback, Config},
    util::{ReadableDuration, ReadableSize},
};
use tracepoints::{
    Req, RequestKind, Session, SessionConfig, request,
    session::{Matcher, Mode},
    stage,
};

use crate::harness::{Cluster, REGION, error_of, quick_config, until, wait};

#[test]
fn a_peer_with_a_full_mailbox_refuses_commands() {
    let cluster = Cluster::new(&[1], Config { notify_capacity: 16, ..quick_config() });
    cluster.must_put(b"k", b"v0");
    let session = until("a session", || {
        let matcher = Matcher { kinds: vec![RequestKind::RawPut], ..Default::default() };
        let gates = vec![stage::RAFT_PROPOSE.into()];
        Session::start(SessionConfig { matcher, mode: Mode::ToGate, gates, ..Default::default() }).ok()
    });
    let req = request::begin(RequestKind::RawPut, b"k", REGION);
    let held = cluster.put_cmd(1, REGION, b"k", b"held");
    // Created before the hold: a held peer does not answer the harness.
    let waiting = cluster.put_cmd(1, REGION, b"k", b"waits");
    let (taken, refused) = thread::scope(|s| {
        let put = s.spawn(|| cluster.send(1, held, req));
        until("the peer is held", || (!session.held().is_empty()).then_some(()));
        let mut taken = Vec::new();
        let refused = loop {
            assert!(taken.len() < 100, "the mailbox takes more than its capacity");
            let (callback, answer) = Callback::paired_write();
            match cluster.nodes[&1].router.send_command(waiting.clone(), callback, Req::NONE) {
                Ok(()) => taken.push(answer),
                Err(error) => {
                    assert!(matches!(error, Error::Transport(_)), "{error}");
                    break wait(answer).unwrap();
                }
            }
        };
        session.run();
        assert!(error_of(&put.join().unwrap()).is_none());
        (taken, refused)
    });
    assert!(taken.len() <= 16, "{}", taken.len());
    let error = refused.error().expect("an error");
    assert!(error.server_is_busy.is_some(), "{error:?}");
    for answer in taken {
        assert!(wait(answer).unwrap().error().is_none(), "accepted commands are applied");
    }
    cluster.must_put(b"k", b"v1");
}

#[test]
fn a_too_large_log_is_compacted_despite_a_slow_follower() {
    let config = Config {
        raft_log_gc_tick_interval: ReadableDuration::millis(100),
        raft_log_gc_count_limit: Some(1 << 30),
        raft_log_gc_size_limit: Some(ReadableSize::mb(1)),
        ..quick_config()
    };
    let cluster = Cluster::new(&[1, 2, 3], config);
    cluster.must_put(b"k", b"v");
    let leader = cluster.wait_leader(REGION);
    let away = (1..=3).find(|store| *store != leader).unwrap();
    cluster.isolate(away);
    let first = || cluster.meta(leader, REGION).unwrap().raft.first_index;
    let before = first();
    for n in 0..20_u8 {
        cluster.must_put(&[b'x', n], &vec![n; 100 << 10]);
    }
    until("log compaction", || (first() > before + 3).then_some(()));
}
