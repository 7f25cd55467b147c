//! Commands that use a server's trace control, against a server that replies from a table.
mod common;

use common::ctl;
use kvproto::tracecontrol::{
    InFlightReply, InFlightRequest, KeepReply, KeepRequest, KeptRequest, RecordChunk,
    trace_control_server::{TraceControl, TraceControlServer},
};
use tonic::{
    Request, Response, Status,
    codegen::BoxStream,
    transport::server::{Router, TcpIncoming},
};
use tracepoints::{
    collector::{InFlight, WaitsFor},
    probe::{LockTables, LockWaitEdge, MemoryLock, MemoryLocksProbe, WaitGraphProbe},
};

struct Service;

fn rows() -> Vec<InFlight> {
    let waits_for =
        WaitsFor { what: "latch".into(), holder: "command 7 of request 3".into(), request: Some(3) };
    let row = InFlight {
        request: 4,
        kind: "kv_commit".into(),
        key: "k".into(),
        key_len: 1,
        region: 2,
        store: 1,
        age_ns: 1_234_567,
        stage: "latch_wait".into(),
        in_stage_ns: 1_000_000,
        thread: "grpc-server-0".into(),
        waits_for: Some(waits_for),
        uncertain: false,
    };
    vec![row]
}

fn locks() -> LockTables {
    let lock = MemoryLock { key: "k".into(), start_ts: 5, for_update_ts: 6, ttl_ms: 3000 };
    let edge = LockWaitEdge { txn: 8, wait_for: 5, key: "k".into() };
    LockTables {
        memory_locks: vec![MemoryLocksProbe { store: 1, region: 2, locks: vec![lock], more: 3 }],
        wait_graph: Some(WaitGraphProbe { store: 1, edges: vec![edge], more: 0 }),
    }
}

#[tonic::async_trait]
impl TraceControl for Service {
    async fn in_flight(&self, r: Request<InFlightRequest>) -> Result<Response<InFlightReply>, Status> {
        assert_eq!(r.into_inner().limit, 1);
        let (json, locks) = (serde_json::to_vec(&rows()).unwrap(), serde_json::to_vec(&locks()).unwrap());
        Ok(Response::new(InFlightReply { json, total: 5, locks }))
    }

    async fn keep(&self, r: Request<KeepRequest>) -> Result<Response<KeepReply>, Status> {
        let r = r.into_inner();
        match (r.request_type.as_str(), r.key.as_slice(), r.count) {
            ("kv_get", b"k", 3) => Ok(Response::new(KeepReply {})),
            other => Err(Status::invalid_argument(format!("found {other:?}"))),
        }
    }

    async fn kept(&self, r: Request<KeptRequest>) -> Result<Response<BoxStream<RecordChunk>>, Status> {
        assert_eq!(r.into_inner().why, ["slow", "asked"]);
        let chunks = [b"ab".to_vec(), b"c".to_vec()].map(|data| Ok(RecordChunk { data }));
        Ok(Response::new(Box::pin(tokio_stream::iter(chunks))))
    }
}

/// Starts a server of `services`; it stops with the runtime.
fn serve(services: impl FnOnce(tonic::transport::Server) -> Router) -> (tokio::runtime::Runtime, String) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let incoming = {
        let _context = runtime.enter();
        TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap()
    };
    let address = incoming.local_addr().unwrap().to_string();
    let server = services(tonic::transport::Server::builder());
    runtime.spawn(server.serve_with_incoming(incoming));
    (runtime, address)
}

fn trace_control() -> (tokio::runtime::Runtime, String) {
    serve(|mut server| server.add_service(TraceControlServer::new(Service)))
}

#[test]
fn in_flight_requests_are_listed_with_their_waits() {
    let (_runtime, host) = trace_control();
    let (code, out, err) = ctl(&["--host", &host, "inflight", "--limit", "1"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let want = "requests in flight: 5\n\
        4 kv_commit [store 1 region 2] key k age 1.234 ms at latch_wait for 1.000 ms on grpc-server-0\n\
        \x20   waits for latch: command 7 of request 3\n\
        and 4 more: raise --limit to print them\n\
        locks in memory [store 1 region 2]\n\
        \x20   key k start_ts 5 for_update_ts 6 ttl 3000 ms\n\
        \x20   and 3 more\n\
        waits that the deadlock detector of store 1 knows\n\
        \x20   8 waits for 5 at key k\n";
    assert_eq!(out, want);
    let (_, out, _) = ctl(&["--host", &host, "inflight", "--limit", "1", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (json["requests"].as_u64(), json["in_flight"][0]["waits_for"]["request"].as_u64()),
        (Some(5), Some(3))
    );
    let (lock, wait) = (&json["memory_locks"][0]["locks"][0], &json["wait_graph"]["edges"][0]);
    assert_eq!((lock["key"].as_str(), wait["wait_for"].as_u64()), (Some("k"), Some(5)));
}

#[test]
fn kept_requests_are_asked_for_and_fetched_into_a_new_file() {
    let (_runtime, host) = trace_control();
    let (code, out, _) = ctl(&["--host", &host, "keep", "--type", "kv_get", "-k", "k", "-n", "3"]);
    assert!(code == 0 && out.contains("the next 3"), "{out}");
    let (code, _, err) = ctl(&["--host", &host, "keep", "-n", "3"]);
    assert!(code == 1 && err.contains("found (\"\""), "{err}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("slow.trace");
    let args = ["--host", &host, "kept", "--why", "slow,asked", "-o", file.to_str().unwrap()];
    assert_eq!(ctl(&args).0, 0);
    assert_eq!(std::fs::read(&file).unwrap(), b"abc");
}

#[test]
fn a_missing_trace_control_and_a_missing_server_differ() {
    struct Debug;
    #[tonic::async_trait]
    impl kvproto::debugpb::debug_server::Debug for Debug {}
    let (_runtime, host) =
        serve(|mut server| server.add_service(kvproto::debugpb::debug_server::DebugServer::new(Debug)));
    let (code, _, err) = ctl(&["--host", &host, "inflight"]);
    assert!(code == 1 && err.contains("TiKV has none"), "{err}");
    let (code, _, err) = ctl(&["inflight"]);
    assert!(code == 1 && err.contains("--host HOST:PORT"), "{err}");
    let (code, _, err) = ctl(&["--host", "127.0.0.1:1", "inflight"]);
    assert!(code == 1 && err.contains("cannot connect"), "{err}");
}
