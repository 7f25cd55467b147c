//! A person's view while stepping: stages in order, the state at each, other requests that continue.
use std::time::{Duration, Instant};

use kvproto::kvrpcpb::{CommandPri, Context};
use parking_lot::Mutex;
use tracepoints::{
    Probe, Req, RequestKind, Session, SessionConfig, SessionEvent,
    facts::FactValue,
    find_stage, request,
    session::{Matcher, Mode},
};
use txn_types::Key;

use super::store::{LIMIT, TestStore, prewrite_request, put, wait};
use crate::txn::commands::{Commit, typed_prewrite};

/// Only one session can exist in a process.
static SESSION: Mutex<()> = Mutex::new(());

fn session(key: &[u8], mode: Mode, gates: &[&str]) -> Session {
    let matcher = Matcher { key: Some(key.to_vec()), ..Default::default() };
    let gates = gates.iter().map(|name| find_stage(name).unwrap().id.into()).collect();
    Session::start(SessionConfig { matcher, mode, gates, ..Default::default() }).unwrap()
}

/// Steps until the request is finished; returns the stage names, held ones marked by `*`, and all probes.
fn step_through(session: &Session) -> (Vec<String>, Vec<(String, Probe)>) {
    let (mut stages, probes) = step_by(session, Session::step);
    stages.retain(|stage| !find_stage(stage.trim_end_matches('*')).unwrap().inside);
    (stages, probes)
}

/// Like [`step_through`], with every stage and with `release` for each hold.
fn step_by(session: &Session, release: fn(&Session) -> bool) -> (Vec<String>, Vec<(String, Probe)>) {
    let (mut stages, mut probes) = (Vec::<String>::new(), Vec::new());
    let end = Instant::now() + LIMIT;
    loop {
        match session.events().recv_deadline(end).expect("no event in time") {
            SessionEvent::Step(event) => stages.push(event.stamp.site.unwrap().stage.name().into()),
            SessionEvent::Probe(event) => {
                probes.push((stages.last().cloned().unwrap_or_default(), event.probe));
            }
            SessionEvent::Held(_) => {
                stages.last_mut().unwrap().push('*');
                assert!(release(session));
            }
            SessionEvent::Finished { .. } => return (stages, probes),
            SessionEvent::Request(_) | SessionEvent::Released { .. } => {}
        }
    }
}

/// Runs `f` as a request on its own thread.
fn spawn(
    kind: RequestKind,
    key: &'static [u8],
    f: impl FnOnce(Req) + Send + 'static,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let req = request::begin(kind, key, 1);
        f(req);
        request::end(req);
    })
}

fn get(store: &TestStore, key: &'static [u8]) -> impl FnOnce(Req) + Send + 'static {
    let storage = store.storage.clone();
    move |req| drop(wait(storage.get(Context::default(), Key::from_raw(key), 50.into(), req)).unwrap())
}

#[test]
fn a_get_passes_its_stages_in_order_and_can_be_held_at_each() {
    let _one = SESSION.lock();
    let store = TestStore::new();
    let key = b"stepped get";
    store.must_put(key, b"old", 5, 10);
    store.must_put(key, &[b'v'; 300], 15, 20);
    let session = session(key, Mode::Step, &[]);
    let request = spawn(RequestKind::KvGet, key, get(&store, key));
    let (stages, probes) = step_through(&session);
    request.join().unwrap();
    let want = [
        "read_pool_queue*",
        "read_pool_run*",
        "mem_lock_check*",
        "snapshot_request*",
        "snapshot_ready*",
        "mvcc_get*",
        "lock_cf_get*",
        "write_cf_seek*",
        "write_cf_found*",
        "default_cf_get*",
        "rocksdb_perf",
        "read_done",
    ];
    assert_eq!(stages, want);
    // Published before the hold, so the stage name has no mark.
    let rows = |at: &str| {
        probes.iter().find_map(|(stage, probe)| match probe {
            Probe::Mvcc(rows) if stage == at => Some(rows.clone()),
            _ => None,
        })
    };
    let found = rows("write_cf_found").unwrap();
    assert_eq!((found.chosen, found.read_ts, found.key.as_str()), (Some(20), 50, "stepped get"));
    let commits: Vec<u64> = found.writes.iter().map(|w| w.commit_ts).collect();
    assert_eq!(commits, [20, 10]);
    assert_eq!((found.defaults[0].start_ts, found.defaults[0].value_len), (15, 300));
    assert_eq!(rows("mvcc_get").unwrap().chosen, None);
    let perf = probes.iter().any(|(_, p)| matches!(p, Probe::Perf(p) if p.get_from_memtable_count > 0));
    assert!(perf, "RocksDB's counters are missing: {probes:?}");
}

#[test]
fn a_prewrite_and_a_commit_pass_their_stages_in_order() {
    let _one = SESSION.lock();
    let store = TestStore::new();
    let key = b"stepped put";
    let session = session(key, Mode::Step, &[]);
    let want = [
        "sched_receive*",
        "latch_wait",
        "latch_acquired*",
        "snapshot_request*",
        "snapshot_ready*",
        "sched_process*",
        "rocksdb_perf",
        "sched_write*",
        "sched_finish*",
    ];
    let storage = store.storage.clone();
    let request = spawn(RequestKind::KvPrewrite, key, move |req| {
        let prewrite = typed_prewrite(prewrite_request(vec![put(key, b"v")], 10)).unwrap();
        wait(storage.sched_txn_command(prewrite, req)).0.unwrap();
    });
    let (stages, probes) = step_through(&session);
    request.join().unwrap();
    assert_eq!(stages, want);
    let locks = |probes: &[(String, Probe)]| -> Vec<(String, bool)> {
        let lock = |(stage, probe): &(String, Probe)| match probe {
            Probe::Mvcc(rows) => Some((stage.clone(), rows.lock.is_some())),
            _ => None,
        };
        probes.iter().filter_map(lock).collect()
    };
    assert_eq!(locks(&probes), [("sched_process".into(), false), ("sched_finish".into(), true)]);
    let latches = probes.iter().any(|(stage, p)| match p {
        Probe::Latches(l) => stage == "latch_acquired" && l.slots.len() == 1 && l.slots[0].queue.len() == 1,
        _ => false,
    });
    assert!(latches, "{probes:?}");
    assert_eq!(last_latches(&probes), [Vec::<u64>::new()], "released before the request ends: {probes:?}");
    let storage = store.storage.clone();
    let request = spawn(RequestKind::KvCommit, key, move |req| {
        let commit = Commit {
            ctx: Context::default(),
            keys: vec![Key::from_raw(key)],
            lock_ts: 10.into(),
            commit_ts: 20.into(),
            commit_role: kvproto::kvrpcpb::CommitRole::Primary,
        };
        wait(storage.sched_txn_command(commit, req)).0.unwrap();
    });
    let (stages, probes) = step_through(&session);
    request.join().unwrap();
    assert_eq!(stages, want);
    assert_eq!(locks(&probes), [("sched_process".into(), true), ("sched_finish".into(), false)]);
    assert_eq!(last_latches(&probes), [Vec::<u64>::new()], "released before the request ends: {probes:?}");
}

#[test]
fn a_command_of_high_priority_has_its_own_threads() {
    let _one = SESSION.lock();
    let store = TestStore::new();
    let key = b"stepped priority";
    let session = session(key, Mode::Run, &[]);
    for (priority, prefix) in [(CommandPri::Normal, "sched-worker-pool-"), (CommandPri::High, "sched-high-")]
    {
        let storage = store.storage.clone();
        let request = spawn(RequestKind::KvPrewrite, key, move |req| {
            let mut prewrite = prewrite_request(vec![put(key, b"v")], 10);
            prewrite.context.get_or_insert_default().set_priority(priority);
            wait(storage.sched_txn_command(typed_prewrite(prewrite).unwrap(), req)).0.unwrap();
        });
        let mut threads = Vec::new();
        let end = Instant::now() + LIMIT;
        loop {
            match session.events().recv_deadline(end).expect("no event in time") {
                SessionEvent::Step(event) if event.stamp.site.unwrap().stage.name() == "sched_process" => {
                    threads.push(tracepoints::thread::info(event.stamp.thread).name);
                }
                SessionEvent::Finished { .. } => break,
                _ => {}
            }
        }
        request.join().unwrap();
        assert!(threads.len() == 1 && threads[0].starts_with(prefix), "{priority:?}: {threads:?}");
    }
}

#[test]
fn a_write_above_the_speed_limit_waits_and_keeps_its_deadline() {
    let _one = SESSION.lock();
    let store = TestStore::new();
    let key = b"stepped throttle";
    let session = session(key, Mode::Run, &[]);
    let flow = store.storage.get_scheduler().flow_controller();
    flow.limit_for_test(1024.0);
    let prewrite = |key: &[u8], limit_ms| {
        let mut prewrite = prewrite_request(vec![put(key, &[b'v'; 200])], 10);
        prewrite.context.get_or_insert_default().max_execution_duration_ms = limit_ms;
        typed_prewrite(prewrite).unwrap()
    };
    let (storage, first) = (store.storage.clone(), prewrite(key, 0));
    let request = spawn(RequestKind::KvPrewrite, key, move |req| {
        let (result, details) = wait(storage.sched_txn_command(first, req));
        assert!(result.unwrap().locks.is_empty());
        let written = details.write_detail();
        assert!(written.throttle_nanos > 0 && written.throttle_nanos == details.flow_control_nanos);
    });
    let (stages, _) = step_by(&session, Session::step);
    request.join().unwrap();
    let at = stages.iter().position(|stage| stage == "flow_control").expect("the write waits");
    assert_eq!(stages[at + 1], "sched_write");
    // At 16 bytes per second the write needs more than ten seconds. A short deadline could pass before the wait.
    flow.limit_for_test(16.0);
    let (late, details) = wait(store.storage.sched_txn_command(prewrite(b"late", 5_000), Req::NONE));
    let busy = crate::extract_region_error(&late).unwrap().server_is_busy.unwrap();
    assert_eq!(busy.reason, "deadline is exceeded");
    assert!(details.flow_control_nanos > 0, "the deadline passed while it waited for flow control");
    flow.limit_for_test(f64::INFINITY);
    store.must_prewrite(vec![put(b"late", b"v")], 20);
}

#[test]
fn stepping_into_a_commit_shows_its_parts_and_what_they_decide() {
    let _one = SESSION.lock();
    let store = TestStore::new();
    let key = b"stepped into";
    store.must_put(key, b"old", 5, 10);
    let session = session(key, Mode::Into, &[]);
    let storage = store.storage.clone();
    let request = spawn(RequestKind::KvPrewrite, key, move |req| {
        let prewrite = typed_prewrite(prewrite_request(vec![put(key, b"v")], 20)).unwrap();
        wait(storage.sched_txn_command(prewrite, req)).0.unwrap();
    });
    let (stages, probes) = step_by(&session, Session::step_into);
    request.join().unwrap();
    let inside = ["mvcc_load_lock*", "mvcc_seek_write*", "prewrite_check_conflict*", "mvcc_put_lock*"];
    let at = stages.iter().position(|stage| stage == "sched_process*").unwrap();
    assert_eq!(stages[at + 1..at + 5], inside);
    let facts = |wanted: &str| {
        probes.iter().find_map(|(stage, probe)| match probe {
            Probe::Facts(facts) if stage.trim_end_matches('*') == wanted => Some(facts.clone()),
            _ => None,
        })
    };
    assert_eq!(facts("mvcc_load_lock").unwrap().outcome, "no lock");
    assert_eq!(facts("prewrite_check_conflict").unwrap().outcome, "no newer version");
    let lock = facts("mvcc_put_lock").unwrap();
    assert_eq!(lock.rows[0].value, FactValue::Text("stepped into".into()), "{lock:?}");
    let writes = facts("sched_write").unwrap();
    assert_eq!((writes.rows.len(), writes.rows[0].name.as_str()), (1, "put lock"));
}

#[test]
fn the_latches_name_their_key_and_how_long_they_were_held() {
    let _one = SESSION.lock();
    let store = TestStore::new();
    let key = b"latched";
    let session = session(key, Mode::Step, &[]);
    let storage = store.storage.clone();
    let request = spawn(RequestKind::KvPrewrite, key, move |req| {
        let prewrite = typed_prewrite(prewrite_request(vec![put(key, b"v")], 10)).unwrap();
        wait(storage.sched_txn_command(prewrite, req)).0.unwrap();
    });
    let (_, probes) = step_through(&session);
    request.join().unwrap();
    let latches: Vec<_> = probes
        .iter()
        .filter_map(|(_, probe)| if let Probe::Latches(latches) = probe { Some(latches) } else { None })
        .collect();
    assert!(latches.iter().all(|latches| latches.slots[0].keys == ["latched"]), "{latches:?}");
    let (first, last) = (latches[0], latches[latches.len() - 1]);
    assert!(first.since_ns > 0 && first.held_ns == 0, "{first:?}");
    assert_eq!((last.since_ns, last.command), (first.since_ns, first.command));
    assert!(last.held_ns > 0, "{last:?}");
}

/// Returns the queues of the latches as last published.
fn last_latches(probes: &[(String, Probe)]) -> Vec<Vec<u64>> {
    let latches = probes.iter().rev().find_map(|(_, probe)| match probe {
        Probe::Latches(latches) => Some(latches.slots.iter().map(|slot| slot.queue.clone()).collect()),
        _ => None,
    });
    latches.expect("latches were published")
}

/// Waits until the session holds a request at `stage`.
fn wait_held(session: &Session, stage: &str) {
    let end = Instant::now() + LIMIT;
    while !session.held().iter().any(|h| h.stage.name() == stage) {
        assert!(Instant::now() < end, "no request held at {stage}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_held_read_does_not_block_others() {
    let _one = SESSION.lock();
    let config = crate::Config { read_pool_threads: 1, scheduler_worker_pool_size: 1, ..Default::default() };
    let store = TestStore::with_config(config);
    let key = b"held get";
    store.must_put(key, b"v", 5, 10);
    let session = session(key, Mode::ToGate, &["write_cf_seek"]);
    let request = spawn(RequestKind::KvGet, key, get(&store, key));
    wait_held(&session, "write_cf_seek");
    for _ in 0..20 {
        store.must_get(key, 50, b"v");
    }
    assert!(!request.is_finished());
    session.run();
    request.join().unwrap();
}

#[test]
fn a_held_latch_blocks_only_commands_on_its_key() {
    let _one = SESSION.lock();
    let store = TestStore::new();
    let key = b"held latch";
    let session = session(key, Mode::ToGate, &["sched_process"]);
    let prewrite = |store: &TestStore, ts| {
        let storage = store.storage.clone();
        move |req| {
            let prewrite = typed_prewrite(prewrite_request(vec![put(b"held latch", b"v")], ts)).unwrap();
            drop(wait(storage.sched_txn_command(prewrite, req)).0);
        }
    };
    let first = spawn(RequestKind::KvPrewrite, key, prewrite(&store, 10));
    wait_held(&session, "sched_process");
    let second = std::thread::spawn({
        let f = prewrite(&store, 11);
        move || f(Req::NONE)
    });
    store.must_put(b"another key", b"v", 12, 13);
    std::thread::sleep(Duration::from_millis(50));
    assert!(!second.is_finished(), "two commands run on one key");
    session.run();
    first.join().unwrap();
    second.join().unwrap();
    assert_eq!(store.must_be_locked(key, 50).lock_version, 10);
    store.must_become_idle();
}
