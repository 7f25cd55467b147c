//! Observing requests while they run and afterwards: slow log, deadline log, in-flight table, metrics. The
//! collector belongs to the process, so one test at a time.
mod harness;
mod prometheus;

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    time::Duration,
};

use harness::Harness;
use kvproto::{
    kvrpcpb::{
        Context, GetRequest, Mutation, Op, PessimisticLockRequest, PessimisticLockResponse, PrewriteRequest,
        RawGetRequest,
    },
    tikvpb::tikv_client::TikvClient,
    tracecontrol::{
        InFlightRequest, KeepRequest, KeptRequest, RecordChunk, trace_control_client::TraceControlClient,
    },
};
use parking_lot::{Mutex, MutexGuard};
use server::config::ReadableDuration;
use tonic::{Streaming, transport::Channel};
use tracepoints::{
    Probe, RequestKind, Session, SessionConfig, SessionEvent,
    collector::InFlight,
    find_stage,
    session::{Matcher, Mode},
    trace_file::TraceFile,
};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

struct Observed {
    h: Harness,
    ctx: Context,
    kv: TikvClient<Channel>,
    control: TraceControlClient<Channel>,
    slow_log: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

fn observed(stores: usize) -> Observed {
    let turn = ONE_AT_A_TIME.lock();
    let logs = tempfile::tempdir().unwrap().keep();
    let slow_log = logs.join("slow.log");
    let file = slow_log.display().to_string();
    let h = Harness::start_with(stores, move |config| {
        config.slow_log_file.clone_from(&file);
        config.slow_log_threshold = ReadableDuration::hours(1);
        config.trace.slow_thresholds.insert("kv_get".into(), ReadableDuration::millis(30));
    });
    let (ctx, kv) = h.leader();
    let leader =
        h.stores.iter().flatten().find(|s| Some(s.store_id()) == ctx.peer.map(|p| p.store_id)).unwrap();
    let control = h.block_on(TraceControlClient::connect(format!("http://{}", leader.addr()))).unwrap();
    Observed { h, ctx, kv, control, slow_log, _turn: turn }
}

impl Drop for Observed {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.slow_log.parent().unwrap());
    }
}

impl Observed {
    fn context(&self) -> Option<Context> {
        Some(self.ctx.clone())
    }

    fn get(&self, key: &[u8]) -> tokio::task::JoinHandle<()> {
        let mut kv = self.kv.clone();
        let request =
            GetRequest { context: self.context(), key: key.to_vec(), version: 100, ..Default::default() };
        self.h.runtime.spawn(async move {
            let reply = kv.kv_get(request).await.unwrap().into_inner();
            assert!(reply.not_found && reply.region_error.is_none(), "{reply:?}");
        })
    }

    /// Locks a key; waits up to a second for the lock.
    fn lock(
        &self,
        key: &[u8],
        ts: u64,
        is_first_lock: bool,
    ) -> tokio::task::JoinHandle<PessimisticLockResponse> {
        let mut kv = self.kv.clone();
        let op = Op::PessimisticLock.into();
        let request = PessimisticLockRequest {
            context: self.context(),
            mutations: vec![Mutation { op, key: key.to_vec(), ..Default::default() }],
            primary_lock: key.to_vec(),
            start_version: ts,
            for_update_ts: ts,
            lock_ttl: 3000,
            is_first_lock,
            wait_timeout: 1000,
            ..Default::default()
        };
        self.h.runtime.spawn(async move { kv.kv_pessimistic_lock(request).await.unwrap().into_inner() })
    }

    fn prewrite(
        &self,
        key: &[u8],
        ts: u64,
        limit_ms: u64,
    ) -> tokio::task::JoinHandle<kvproto::kvrpcpb::PrewriteResponse> {
        let mut kv = self.kv.clone();
        let context = Context { max_execution_duration_ms: limit_ms, ..self.ctx.clone() };
        let request = PrewriteRequest {
            context: Some(context),
            mutations: vec![Mutation { key: key.to_vec(), value: b"v".to_vec(), ..Default::default() }],
            primary_lock: key.to_vec(),
            start_version: ts,
            lock_ttl: 3000,
            ..Default::default()
        };
        self.h.runtime.spawn(async move { kv.kv_prewrite(request).await.unwrap().into_inner() })
    }

    /// Returns the line of the slow log that contains this text.
    fn line(&self, wanted: &str) -> String {
        self.h.until("the slow log has the line", async || {
            let text = std::fs::read_to_string(&self.slow_log).ok()?;
            text.lines().find(|l| l.contains(wanted)).map(str::to_owned)
        })
    }

    fn http(&self, path: &str) -> (String, String) {
        let store =
            self.h.stores.iter().flatten().find(|s| Some(s.store_id()) == self.ctx.peer.map(|p| p.store_id));
        let mut stream = TcpStream::connect(store.unwrap().status_addr().unwrap()).unwrap();
        stream.set_read_timeout(Some(harness::BOUND)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    async fn in_flight(&self) -> Vec<InFlight> {
        let reply = self.control.clone().in_flight(InFlightRequest::default()).await.unwrap();
        serde_json::from_slice(&reply.into_inner().json).unwrap()
    }
}

/// Holds the first request of this kind and key at a stage, until the session is dropped.
fn hold(kind: RequestKind, key: &[u8], stage: &str) -> Session {
    let matcher = Matcher { key: Some(key.to_vec()), kinds: vec![kind], ..Default::default() };
    let gates = vec![find_stage(stage).unwrap().id.into()];
    let config = SessionConfig { matcher, mode: Mode::ToGate, gates, max_requests: 1, ..Default::default() };
    Session::start(config).unwrap()
}

fn until_held(session: &Session) {
    while !matches!(session.events().recv_timeout(harness::BOUND).unwrap(), SessionEvent::Held(_)) {}
}

/// Parses `[key=value]` pairs of a line.
fn fields(line: &str) -> BTreeMap<&str, &str> {
    let inner = line.trim_end().trim_start_matches('[').trim_end_matches(']');
    inner.split("] [").filter_map(|field| field.split_once('=')).collect()
}

/// Parses Rust's form of a duration; returns nanoseconds.
fn ns(text: &str) -> u64 {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap();
    let (number, unit) = text.split_at(digits);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let places = match unit {
        "ns" => 0,
        "µs" => 3,
        "ms" => 6,
        "s" => 9,
        other => panic!("{other}"),
    };
    format!("{whole}{part:0<places$}").parse().unwrap()
}

#[test]
fn a_slow_get_logs_stages_that_sum_to_its_time() {
    let o = observed(1);
    o.h.block_on(o.get(b"fast")).unwrap();
    let session = hold(RequestKind::KvGet, b"slow", "write_cf_seek");
    let get = o.get(b"slow");
    until_held(&session);
    std::thread::sleep(Duration::from_millis(40));
    drop(session);
    o.h.block_on(get).unwrap();

    let line = o.line("[key=736C6F77]");
    let found = fields(&line);
    assert!(line.contains("] [INFO] [line.rs:") && line.contains("] [slow-query] ["), "{line}");
    let want = [("type", "kv_get"), ("txn_start_ts", "100"), ("outcome", "ok"), ("region_id", "2")];
    want.iter().for_each(|(key, value)| assert_eq!(found.get(key), Some(value), "{key} of {line}"));
    let stages: Vec<&str> =
        found.keys().copied().filter(|name| find_stage(name).is_some_and(|s| s.name == *name)).collect();
    for stage in
        ["grpc_receive", "read_pool_queue", "local_read", "lock_cf_get", "write_cf_seek", "grpc_reply"]
    {
        assert!(stages.contains(&stage), "{stage} is not in {line}");
    }
    let sum: u64 = stages.iter().map(|stage| ns(found[stage])).sum();
    assert_eq!(sum, ns(found["total_lifetime"]), "{line}");
    assert!(ns(found["write_cf_seek"]) >= 40_000_000, "the hold is in this stage: {line}");
    let text = std::fs::read_to_string(&o.slow_log).unwrap();
    assert_eq!(
        text.lines().filter(|l| l.contains("kv_get")).count(),
        1,
        "only the slow get is logged: {text}"
    );

    // The request is kept as well, with its stages, and so are requests that are asked for.
    o.h.block_on(o.control.clone().keep(KeepRequest {
        key: b"want".to_vec(),
        count: 1,
        ..Default::default()
    }))
    .unwrap();
    o.h.block_on(o.get(b"wanted")).unwrap();
    let keys = |why: &str| {
        let stream =
            o.h.block_on(o.control.clone().kept(KeptRequest { why: vec![why.into()] })).unwrap().into_inner();
        kept_keys(&o, stream)
    };
    assert_eq!(keys("slow"), [b"slow".to_vec()]);
    o.h.until("the requests asked for are kept", async || {
        (keys_of(&o, "asked").await == [b"wanted".to_vec()]).then_some(())
    });
}

async fn keys_of(o: &Observed, why: &str) -> Vec<Vec<u8>> {
    let mut stream =
        o.control.clone().kept(KeptRequest { why: vec![why.into()] }).await.unwrap().into_inner();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    while let Some(RecordChunk { data }) = stream.message().await.unwrap() {
        file.write_all(&data).unwrap();
    }
    let requests = TraceFile::open(file.path()).unwrap().requests().collect::<Vec<_>>();
    assert!(
        requests.iter().all(|r| r.end_ns.is_some() && r.kind == RequestKind::KvGet && r.stamps.len() > 8)
    );
    requests.into_iter().map(|r| r.key_head).collect()
}

fn kept_keys(o: &Observed, mut stream: Streaming<RecordChunk>) -> Vec<Vec<u8>> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    while let Some(RecordChunk { data }) = o.h.block_on(stream.message()).unwrap() {
        file.write_all(&data).unwrap();
    }
    TraceFile::open(file.path()).unwrap().requests().map(|r| r.key_head).collect()
}

#[test]
fn a_request_that_waits_for_a_latch_names_the_holder() {
    let o = observed(1);
    assert_eq!(o.http("/async_tasks").1, "", "no request is in flight");
    let session = hold(RequestKind::KvPrewrite, b"k", "sched_write");
    let first = o.prewrite(b"k", 10, 0);
    until_held(&session);
    let second = o.prewrite(b"k", 20, 0);
    let (holder, waiter) = o.h.until("the second waits for the first", async || {
        let mut table = o.in_flight().await;
        let waiter = table.pop().filter(|r| r.waits_for.as_ref().is_some_and(|w| w.what == "latch"))?;
        Some((table.pop()?, waiter))
    });
    assert_eq!(
        (holder.stage.as_str(), holder.kind.as_str(), holder.key.as_str()),
        ("sched_write", "kv_prewrite", "k")
    );
    assert_eq!((waiter.stage.as_str(), waiter.region), ("latch_wait", 2));
    let waits = waiter.waits_for.unwrap();
    assert_eq!(waits.request, Some(holder.request));
    assert!(waits.holder.contains("kv_prewrite at sched_write"), "{waits:?}");
    let (head, text) = o.http("/async_tasks");
    assert!(head.starts_with("HTTP/1.1 200") && text.contains("waits for latch: command"), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&o.http("/async_tasks?format=json&limit=1").1).unwrap();
    assert_eq!((json["requests"].as_u64(), json["in_flight"].as_array().map(Vec::len)), (Some(2), Some(1)));
    assert!(o.http("/async_tasks?format=xml").0.starts_with("HTTP/1.1 400"));

    drop(session);
    assert!(o.h.block_on(first).unwrap().errors.is_empty());
    assert_eq!(o.h.block_on(second).unwrap().errors.len(), 1, "it found the first one's lock");
    o.h.until("all have left", async || o.in_flight().await.is_empty().then_some(()));
}

#[test]
fn a_stepped_lock_shows_the_lock_table_and_the_wait_graph() {
    let o = observed(1);
    let matcher = Matcher { kinds: vec![RequestKind::KvPessimisticLock], ..Default::default() };
    let config = SessionConfig { matcher, mode: Mode::Run, max_requests: 3, ..Default::default() };
    let session = Session::start(config).unwrap();
    let next_probe = || loop {
        if let SessionEvent::Probe(event) = session.events().recv_timeout(harness::BOUND).unwrap() {
            return event.probe;
        }
    };
    assert!(o.h.block_on(o.lock(b"k", 10, true)).unwrap().errors.is_empty());
    let table = loop {
        if let Probe::MemoryLocks(table) = next_probe() {
            break table;
        }
    };
    let locks: Vec<_> = table.locks.iter().map(|lock| (lock.key.as_str(), lock.start_ts)).collect();
    assert_eq!((locks, Some(table.region)), (vec![("k", 10)], o.context().map(|ctx| ctx.region_id)));
    assert!(o.h.block_on(o.lock(b"j", 20, true)).unwrap().errors.is_empty());
    let waiting = o.lock(b"k", 20, false);
    let graph = loop {
        if let Probe::WaitGraph(graph) = next_probe() {
            break graph;
        }
    };
    let edges: Vec<_> = graph.edges.iter().map(|edge| (edge.txn, edge.wait_for, edge.key.as_str())).collect();
    assert_eq!(edges, [(20, 10, "k")]);
    drop(session);
    let reply = o.h.block_on(waiting).unwrap();
    assert!(reply.errors[0].locked.is_some(), "the wait ends at its timeout: {reply:?}");
}

#[test]
fn a_request_past_its_deadline_is_refused_and_logged() {
    let o = observed(3);
    let me = o.ctx.peer.unwrap().store_id;
    let others: Vec<u64> = o.h.stores.iter().flatten().map(|s| s.store_id()).collect();
    // The first holds its latch and cannot reach a quorum; the second's deadline passes before.
    o.h.faults.isolate(me, &others);
    let first = o.prewrite(b"k", 10, 0);
    o.h.until("the first waits for a quorum", async || {
        let quorum = |r: &InFlight| r.waits_for.as_ref().is_some_and(|w| w.what == "quorum");
        o.in_flight().await.first().filter(|r| quorum(r)).map(|_| ())
    });
    let reply = o.h.block_on(o.prewrite(b"k", 20, 20)).unwrap();
    let busy = reply.region_error.and_then(|e| e.server_is_busy).unwrap();
    assert_eq!(busy.reason, "deadline is exceeded");
    let line = o.line("[deadline-exceeded]");
    let found = fields(&line);
    for (key, value) in
        [("type", "kv_prewrite"), ("outcome", "deadline_exceeded"), ("max_execution_duration", "20ms")]
    {
        assert_eq!(found.get(key), Some(&value), "{line}");
    }
    assert!(found.contains_key("latch_holder_cid") && found.contains_key("latch_wait"), "{line}");
    o.h.faults.heal_all();
    o.h.block_on(first).unwrap();
}

#[test]
fn metrics_count_every_request_that_was_made() {
    let o = observed(1);
    for n in 0..20 {
        o.h.raw_put(format!("k{n}").as_bytes(), b"v");
        o.h.block_on(o.get(b"k")).unwrap();
    }
    let missing =
        RawGetRequest { context: Some(Context { region_id: 99, ..o.ctx.clone() }), ..Default::default() };
    let reply = o.h.block_on(o.kv.clone().raw_get(missing)).unwrap().into_inner();
    assert!(reply.region_error.is_some());
    let samples = o.h.until("all have been counted", async || {
        let (head, text) = o.http("/metrics");
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/plain; version=0.0.4"), "{head}");
        let samples = prometheus::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let ended = samples.get("tikv_trace_requests_total{type=\"kv_get\",outcome=\"ok\"}");
        (ended == Some(&20.0) && samples["tikv_trace_in_flight"] == 0.0).then_some(samples)
    });
    for (sample, want) in [
        ("tikv_grpc_msg_duration_seconds_count{type=\"kv_get\",priority=\"unknown\"}", 20.0),
        ("tikv_grpc_msg_duration_seconds_count{type=\"raw_put\",priority=\"unknown\"}", 20.0),
        ("tikv_trace_requests_total{type=\"raw_get\",outcome=\"region_error\"}", 1.0),
        ("tikv_storage_command_total{type=\"get\"}", 20.0),
        ("tikv_storage_command_total{type=\"raw_put\"}", 20.0),
        ("tikv_scheduler_kv_scan_details{req=\"get\",cf=\"write\",tag=\"seek\"}", 20.0),
        ("tikv_raftstore_apply_duration_secs_count", 20.0),
        ("tikv_raftstore_store_wf_commit_log_duration_seconds_count", 20.0),
        ("tikv_yatp_pool_schedule_wait_duration_count{name=\"unified-read-pool\",priority=\"medium\"}", 21.0),
        ("tikv_scheduler_memory_quota_size{type=\"capacity\"}", f64::from(256 << 20)),
        ("tikv_scheduler_memory_quota_size{type=\"in_use\"}", 0.0),
        ("tikv_scheduler_writing_bytes", 0.0),
        ("tikv_scheduler_discard_ratio", 0.0),
        ("tikv_scheduler_throttle_flow", 0.0),
    ] {
        assert_eq!(samples.get(sample), Some(&want), "{sample}");
    }
    assert!(!samples.keys().any(|k| k.starts_with("tikv_trace_stamps_dropped_total")), "nothing was dropped");
}

#[test]
fn an_unwritable_slow_log_does_not_fail_requests() {
    let turn = ONE_AT_A_TIME.lock();
    let h = Harness::start_with(1, |config| {
        config.slow_log_file = "/dev/full".into();
        config.slow_log_threshold = ReadableDuration::ZERO;
    });
    for n in 0..50 {
        h.raw_put(format!("k{n}").as_bytes(), b"v");
    }
    assert_eq!(h.raw_get(b"k7"), Some(b"v".to_vec()));
    drop(h);
    drop(turn);
}
