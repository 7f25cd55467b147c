//! Records a trace file of the next seconds and streams it.
use std::{
    fs::File,
    io::Read,
    thread,
    time::{Duration, Instant},
};

use kvproto::tracecontrol::RecordChunk;
use tokio::sync::mpsc::Sender;
use tonic::Status;
use tracepoints::collector;

const CHUNK: usize = 1 << 20;
pub const MAX_SECONDS: u32 = 600;

type Chunks = Sender<Result<RecordChunk, Status>>;

/// Runs on a thread of its own, `trace-record`, until all is sent or nobody listens.
pub fn spawn(seconds: u32, chunks: Chunks) -> std::io::Result<()> {
    let run = move || {
        if let Err(e) = record(seconds, &chunks) {
            // The client may have gone.
            let _ = chunks.blocking_send(Err(Status::internal(e)));
        }
    };
    thread::Builder::new().name("trace-record".into()).spawn(run).map(drop)
}

fn record(seconds: u32, chunks: &Chunks) -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|e| format!("cannot make a temporary directory: {e}"))?;
    let path = dir.path().join("record.trace");
    let collector = collector::current().ok_or("requests are not recorded here: no collector runs")?;
    collector.record_to(&path).map_err(|e| e.to_string())?;
    let end = Instant::now() + Duration::from_secs(seconds.into());
    while Instant::now() < end && !chunks.is_closed() && collector.records() {
        thread::sleep(Duration::from_millis(20));
    }
    let recorded = collector.stop_recording().map_err(|e| e.to_string())?;
    if let Some(e) = recorded.failed {
        // The file says so, too: what came before is sent all the same.
        log::error!(
            "the recording ended early, after {} stamps, {} more are lost; the store goes on: {e}",
            recorded.stamps,
            recorded.lost
        );
    }
    let mut file = File::open(&path).map_err(|e| format!("cannot read the recording: {e}"))?;
    loop {
        let mut data = Vec::new();
        let read = file.by_ref().take(CHUNK as u64).read_to_end(&mut data);
        if read.map_err(|e| format!("cannot read the recording: {e}"))? == 0 {
            return Ok(());
        }
        if chunks.blocking_send(Ok(RecordChunk { data })).is_err() {
            return Ok(());
        }
    }
}
