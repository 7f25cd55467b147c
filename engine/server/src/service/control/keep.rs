//! Serves the in-flight table and the kept requests over gRPC.
use std::{fs::File, io::Read, thread};

use kvproto::tracecontrol::{InFlightReply, InFlightRequest, KeepRequest, KeptRequest, RecordChunk};
use tokio::sync::mpsc::Sender;
use tonic::Status;
use tracepoints::{
    RequestKind,
    collector::{self, CollectorHandle, Wanted, Why},
    probe::LockTables,
};

const CHUNK: usize = 1 << 20;

type Chunks = Sender<Result<RecordChunk, Status>>;

fn running() -> Result<CollectorHandle, Status> {
    let none = || {
        Status::failed_precondition(
            "this server records no requests: its log says at the start why the collector does not run",
        )
    };
    collector::current().ok_or_else(none)
}

fn kind(name: &str) -> Result<RequestKind, Status> {
    let unknown = || {
        Status::invalid_argument(format!("expected a request type such as kv_get or raw_put, found {name:?}"))
    };
    RequestKind::parse(name).ok_or_else(unknown)
}

pub fn in_flight(
    store_id: u64,
    request: InFlightRequest,
    locks: &LockTables,
) -> Result<InFlightReply, Status> {
    let store = if request.all_stores { 0 } else { store_id };
    let limit = if request.limit == 0 { 1000 } else { request.limit as usize };
    let (rows, total) = running()?.in_flight(store, limit);
    let json = serde_json::to_vec(&rows).map_err(|e| Status::internal(e.to_string()))?;
    let locks = serde_json::to_vec(locks).map_err(|e| Status::internal(e.to_string()))?;
    Ok(InFlightReply { json, total: total as u64, locks })
}

pub fn keep(request: KeepRequest) -> Result<(), Status> {
    let name = request.request_type.as_str();
    running()?.want(Wanted {
        kind: (!name.is_empty()).then(|| kind(name)).transpose()?,
        region: request.region_id,
        key: request.key,
        count: request.count,
    });
    Ok(())
}

/// Streams a trace file from a thread of its own.
pub fn kept(request: &KeptRequest, chunks: Chunks) -> Result<(), Status> {
    let unknown = |name: &str| {
        let known = Why::ALL.map(Why::name).join(", ");
        Status::invalid_argument(format!("expected reasons among {known}, found {name:?}"))
    };
    let why = request.why.iter().map(|name| Why::parse(name).ok_or_else(|| unknown(name)));
    let mut why = why.collect::<Result<Vec<_>, _>>()?;
    if why.is_empty() {
        why = Why::ALL.to_vec();
    }
    let collector = running()?;
    let run = move || {
        if let Err(e) = send(&collector, &why, &chunks) {
            // The client may have gone.
            let _ = chunks.blocking_send(Err(Status::internal(e)));
        }
    };
    let started = thread::Builder::new().name("trace-kept".into()).spawn(run);
    started.map(drop).map_err(|e| Status::internal(format!("cannot start the thread trace-kept: {e}")))
}

fn send(collector: &CollectorHandle, why: &[Why], chunks: &Chunks) -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|e| format!("cannot make a temporary directory: {e}"))?;
    let path = dir.path().join("kept.trace");
    collector.write_kept(why, &path).map_err(|e| e.to_string())?;
    let mut file = File::open(&path).map_err(|e| format!("cannot read the trace file: {e}"))?;
    loop {
        let mut data = Vec::new();
        let read = file.by_ref().take(CHUNK as u64).read_to_end(&mut data);
        if read.map_err(|e| format!("cannot read the trace file: {e}"))? == 0 {
            return Ok(());
        }
        if chunks.blocking_send(Ok(RecordChunk { data })).is_err() {
            return Ok(());
        }
    }
}
