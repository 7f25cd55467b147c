//! Made-up operations with all parts of a real one, for the tests and the example of the screen.
#![allow(dead_code)]
use tikv_tui::{source::recorded::Recorded, state::Start};
use tracepoints::{
    RequestInfo, RequestKind, find_stage,
    probe::{
        DefaultRow, LatchSlot, LatchesProbe, LeaseProbe, LockRow, MvccProbe, PerfProbe, ProgressProbe,
        RaftProbe, WriteRow,
    },
    symbolize::Frame,
    trace::{StateView, Step, Summary},
};

const FILE: &str = "tui/tests/data/point_getter.rs";
const TS: u64 = 445_645_312_341_835_777;

struct Maker {
    steps: Vec<Step>,
    state: StateView,
    now: u64,
}

impl Maker {
    /// A step of the main lane that lasts `ns`.
    fn main(&mut self, stage: &str, kind: &str, store: u64, thread: &str, ns: u64, fields: &[(&str, u64)]) {
        self.step(stage, kind, "main", store, thread, ns, fields);
        self.now += ns;
    }

    #[allow(clippy::too_many_arguments)]
    fn step(
        &mut self,
        stage: &str,
        kind: &str,
        lane: &str,
        store: u64,
        thread: &str,
        ns: u64,
        fields: &[(&str, u64)],
    ) {
        let entry = find_stage(stage).unwrap_or_else(|| panic!("no stage {stage}"));
        let request = if kind == "client" { 1 } else { 2 };
        let function = match stage {
            "mvcc_get" => "storage::mvcc::reader::point_getter::PointGetter<S>::get".into(),
            "lock_cf_get" => {
                "storage::mvcc::reader::point_getter::PointGetter<S>::load_and_check_lock".into()
            }
            s if s.starts_with("write_cf") => {
                "storage::mvcc::reader::point_getter::PointGetter<S>::load_data".into()
            }
            s => format!("engine::{}::{s}", entry.layer),
        };
        let line = match stage {
            "mvcc_get" => 15,
            "lock_cf_get" => 23,
            "write_cf_seek" => 31,
            "write_cf_found" => 38,
            _ => 4,
        };
        self.steps.push(Step {
            step: self.steps.len(),
            stage: stage.into(),
            layer: entry.layer.into(),
            store,
            thread: thread.into(),
            request,
            kind: kind.into(),
            lane: lane.into(),
            at_ns: self.now,
            dur_ns: ns,
            held_ns: 0,
            late: false,
            file: FILE.into(),
            line,
            function: function.clone(),
            tikv: entry.tikv_for(kind).into(),
            tikv_file: entry.tikv_file().into(),
            fields: fields.iter().map(|(k, v)| ((*k).into(), *v)).collect(),
            stack: stack(&function, line, thread),
            state: self.state.clone(),
        });
    }

    /// Changes the published state at the newest step.
    fn publish(&mut self, change: impl FnOnce(&mut StateView)) {
        change(&mut self.state);
        if let Some(last) = self.steps.last_mut() {
            last.state = self.state.clone();
        }
    }
}

fn stack(function: &str, line: u32, thread: &str) -> Vec<Frame> {
    let frame = |function: &str, file: &str, line, inlined| Frame {
        function: function.into(),
        file: file.into(),
        line,
        inlined,
    };
    let pool = if thread.starts_with("unified") {
        "storage::read_pool::ReadPool::run"
    } else {
        "server::service::kv::serve"
    };
    vec![
        frame(function, FILE, line, false),
        frame("storage::store::SnapshotStore<S>::get", FILE, 19, true),
        frame("storage::Storage<E>::get::{{closure}}", FILE, 17, false),
        frame(pool, FILE, 12, false),
        frame(
            "tokio::runtime::task::harness::Harness<T,S>::poll",
            "/root/.cargo/registry/src/index/tokio-1.48.0/src/runtime/task/harness.rs",
            153,
            false,
        ),
        frame(
            "std::sys::thread::unix::Thread::new::thread_start",
            "/rustc/abc/library/std/src/sys/thread/unix.rs",
            118,
            false,
        ),
        frame("start_thread", "", 0, false),
    ]
}

fn peer(store: u64, leader: bool, commit: u64, applied: u64, last: u64) -> RaftProbe {
    let progress =
        |s| ProgressProbe { peer: s + 2, store: s, matched: last, next: last + 1, state: "Replicate".into() };
    RaftProbe {
        store,
        region: 2,
        peer: store + 2,
        role: if leader { "Leader" } else { "Follower" }.into(),
        term: 6,
        vote: 3,
        leader: 3,
        first_index: 6,
        last_index: last,
        persisted: last,
        commit,
        applied,
        lease: leader.then(|| LeaseProbe { state: "valid".into(), remaining_ms: 8_700, until_ns: 0 }),
        progress: if leader { [1, 2, 3].map(progress).to_vec() } else { Vec::new() },
    }
}

fn maker() -> Maker {
    let raft = vec![peer(1, true, 12, 12, 12), peer(2, false, 12, 12, 12), peer(3, false, 12, 11, 12)];
    Maker { steps: Vec::new(), state: StateView { raft, ..StateView::default() }, now: 0 }
}

fn mvcc() -> MvccProbe {
    let write = |at: u64, kind: &str, value: Option<&str>| WriteRow {
        commit_ts: TS - at,
        start_ts: TS - at - 8,
        kind: kind.into(),
        short_value: value.map(String::from),
    };
    MvccProbe {
        store: 1,
        key: "k1".into(),
        read_ts: TS,
        lock: None,
        writes: vec![
            write(262_144, "Rollback", None),
            write(524_288, "Put", Some("v1")),
            write(900_000, "Put", None),
        ],
        defaults: vec![DefaultRow {
            start_ts: TS - 900_008,
            value_len: 4096,
            value: "aaaaaaaaaaaaaaaa".into(),
        }],
        chosen: None,
        more: false,
    }
}

/// A point get by lease: 21 steps.
pub fn point_get() -> Vec<Step> {
    let mut m = maker();
    let (grpc, pool) = ("grpc-server-1-0", "unified-read-pool-0");
    m.main("client_send", "client", 0, "client", 412_300, &[]);
    m.main("grpc_receive", "kv_get", 1, grpc, 21_400, &[]);
    m.main("grpc_decode", "kv_get", 1, grpc, 9_800, &[("region", 2)]);
    m.main("read_pool_queue", "kv_get", 1, grpc, 48_100, &[]);
    m.main("read_pool_run", "kv_get", 1, pool, 6_200, &[]);
    m.main("mem_lock_check", "kv_get", 1, pool, 3_900, &[("ts", TS)]);
    m.main("snapshot_request", "kv_get", 1, pool, 11_700, &[("region", 2)]);
    m.main("local_read", "kv_get", 1, pool, 15_300, &[("region", 2), ("term", 6)]);
    m.publish(|s| s.raft[2].applied = 12);
    m.main("snapshot_ready", "kv_get", 1, pool, 4_400, &[]);
    m.main("mvcc_get", "kv_get", 1, pool, 5_100, &[("ts", TS)]);
    m.main("lock_cf_get", "kv_get", 1, pool, 18_900, &[("ts", TS)]);
    m.publish(|s| s.mvcc = Some(mvcc()));
    m.main("write_cf_seek", "kv_get", 1, pool, 37_600, &[("ts", TS)]);
    m.main("write_cf_found", "kv_get", 1, pool, 8_200, &[("start_ts", TS - 524_296), ("short", 1)]);
    m.publish(|s| {
        if let Some(mvcc) = &mut s.mvcc {
            mvcc.chosen = Some(TS - 524_288);
        }
    });
    m.main("rocksdb_perf", "kv_get", 1, pool, 2_700, &[]);
    m.publish(|s| {
        s.perf = Some(PerfProbe {
            block_cache_hit_count: 3,
            get_from_memtable_count: 2,
            internal_key_skipped_count: 1,
            ..PerfProbe::default()
        });
    });
    m.main("read_done", "kv_get", 1, pool, 13_000, &[]);
    m.main("grpc_reply", "kv_get", 1, grpc, 96_500, &[]);
    m.main("client_reply", "client", 0, "client", 1_200, &[("ok", 1)]);
    m.steps
}

/// The point getter's file in this program's sources.
pub const GETTER: &str = "engine/storage/src/mvcc/reader/point_getter.rs";

/// The line of a text in a packed file, from 1.
pub fn line_of(file: &str, text: &str) -> u32 {
    let (_, source) = tikv_tui::state::code::packed(file).unwrap_or_else(|| panic!("{file} is not packed"));
    let at = source.lines().position(|l| l.contains(text)).unwrap_or_else(|| panic!("no line with {text}"));
    at as u32 + 1
}

/// The point get with the places of this program's own sources at the stages of MVCC.
pub fn point_get_in_sources() -> Vec<Step> {
    let frame = |text: &str, function: &str| Frame {
        function: function.into(),
        file: format!("/build/{GETTER}"),
        line: line_of(GETTER, text),
        inlined: false,
    };
    let mut steps = point_get();
    for step in &mut steps {
        let (stamp, frames) = match step.stage.as_str() {
            "lock_cf_get" => {
                let inner = frame("step_thread!(LOCK_CF_GET", "{closure#0}");
                ("step_thread!(LOCK_CF_GET", vec![inner, frame("self.load_and_check_lock(user_key", "x")])
            }
            "write_cf_seek" => {
                let inner = frame("step_thread!(WRITE_CF_SEEK", "x::PointGetter<S>::load_data");
                ("step_thread!(WRITE_CF_SEEK", vec![inner, frame("self.load_data(user_key)?", "x")])
            }
            "write_cf_found" => {
                let inner = frame("WRITE_CF_FOUND,", "x::PointGetter<S>::publish_version");
                ("WRITE_CF_FOUND,", vec![inner, frame("self.publish_version(user_key", "x")])
            }
            _ => continue,
        };
        (step.file, step.line) = (format!("/build/{GETTER}"), line_of(GETTER, stamp));
        step.stack.splice(..3, frames);
    }
    steps
}

/// The lanes of the three stores that write, acknowledge and apply an entry.
fn replicate(m: &mut Maker, kind: &str, entry: &[(&str, u64)]) {
    let (poller, sent) = ("raftstore-1-0", m.now);
    for (at, stage, store, thread, ns) in [
        (1_060_000, "raft_write_begin", 1, "store-writer-1-0", 410_000),
        (980_000, "follower_receive", 2, "raftstore-2-0", 21_000),
        (975_000, "follower_receive", 3, "raftstore-3-0", 30_000),
        (950_000, "raft_write_begin", 2, "store-writer-2-0", 400_000),
        (640_000, "raft_write_end", 1, "store-writer-1-0", 12_000),
        (600_000, "raft_persisted", 1, poller, 120_000),
        (540_000, "raft_write_end", 2, "store-writer-2-0", 9_000),
        (520_000, "follower_ack", 2, "raftstore-2-0", 30_000),
        (490_000, "raft_ack", 1, poller, 10_000),
        (480_000, "raft_commit", 1, poller, 40_000),
        (430_000, "apply_begin", 1, "apply-0", 60_000),
        (370_000, "apply_write", 1, "apply-0", 300_000),
    ] {
        m.now = sent - at;
        let ack = [entry, &[("from", 2)]].concat();
        m.step(stage, kind, "replica", store, thread, ns, if stage == "raft_ack" { &ack } else { entry });
        match stage {
            "raft_commit" => m.publish(|s| (s.raft[0].commit, s.raft[1].last_index) = (13, 13)),
            "apply_write" => m.publish(|s| {
                s.raft[0].applied = 13;
                let start_ts = TS - 16;
                let short_value = Some("v2".into());
                let lock = LockRow {
                    kind: "Put".into(),
                    start_ts,
                    primary: "k1".into(),
                    ttl_ms: 3_000,
                    short_value,
                    ..LockRow::default()
                };
                s.mvcc = Some(MvccProbe { lock: Some(lock), read_ts: 0, ..mvcc() });
            }),
            _ => {}
        }
    }
}

/// A prewrite with its Raft round on three stores, with latches, a lock and replicas' lanes.
pub fn prewrite() -> Vec<Step> {
    let mut m = maker();
    let (grpc, sched, poller) = ("grpc-server-1-0", "sched-worker-pool-0", "raftstore-1-0");
    let entry = [("region", 2), ("term", 6), ("first", 13), ("last", 13)];
    let kind = "kv_prewrite";
    m.main("client_send", "client", 0, "client", 390_000, &[]);
    m.main("grpc_receive", kind, 1, grpc, 19_000, &[]);
    m.main("sched_receive", kind, 1, sched, 7_000, &[("cid", 7)]);
    m.main("latch_wait", kind, 1, sched, 2_000, &[]);
    m.main("latch_acquired", kind, 1, sched, 5_000, &[]);
    m.publish(|s| {
        let slots = vec![LatchSlot { slot: 1_412, queue: vec![7, 8, 9], keys: vec!["k1".into()] }];
        s.latches = Some(LatchesProbe { store: 1, slots, command: 7, since_ns: 4_200_000, held_ns: 0 });
    });
    m.main("sched_process", kind, 1, sched, 31_000, &[]);
    m.main("raft_propose", kind, 1, poller, 9_000, &[("region", 2), ("term", 6), ("index", 13)]);
    m.publish(|s| s.raft[0].last_index = 13);
    m.main("raft_ready", kind, 1, poller, 6_000, &entry);
    m.main("raft_send", kind, 1, poller, 1_080_000, &entry);
    let sent = m.now;
    replicate(&mut m, kind, &entry);
    m.now = sent;
    m.main("sched_finish", kind, 1, sched, 14_000, &[("cid", 7)]);
    m.publish(|s| {
        s.latches = Some(LatchesProbe {
            store: 1,
            command: 7,
            held_ns: 900_000,
            since_ns: 4_200_000,
            slots: Vec::new(),
        })
    });
    m.main("grpc_reply", kind, 1, grpc, 71_000, &[]);
    m.main("client_reply", "client", 0, "client", 1_000, &[("ok", 1)]);
    m.steps
}

pub fn summary(steps: &[Step]) -> Summary {
    let wall_ns = steps.iter().filter(|s| s.lane == "main").map(|s| s.dur_ns).sum();
    Summary { stage_ns: wall_ns, wall_ns, accounted: 1.0, dropped: 0 }
}

pub fn source(title: &str, steps: Vec<Step>, start: &Start) -> Recorded {
    let kind = RequestKind::parse(&steps[1].kind).unwrap_or(RequestKind::Other);
    let request = |id, parent, kind, region, store| RequestInfo {
        id,
        parent,
        kind,
        key: b"k1".to_vec(),
        region,
        store,
    };
    let requests = vec![request(1, 0, RequestKind::Client, 0, 0), request(2, 1, kind, 2, 1)];
    let summary = summary(&steps);
    Recorded::new(title, steps, summary, start)
        .with(if kind == RequestKind::KvGet { "v1" } else { "ok" }, requests)
}
