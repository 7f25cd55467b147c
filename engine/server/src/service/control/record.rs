//! Records a trace file for some seconds and streams it while it grows, so that a killed client keeps the
//! part it got.
use std::{
    fs::File,
    io::Read,
    thread,
    time::{Duration, Instant},
};

use kvproto::tracecontrol::RecordChunk;
use tokio::sync::mpsc::{Sender, error::TrySendError};
use tonic::Status;
use tracepoints::collector;

const CHUNK: u64 = 1 << 20;
/// Interval at which new data is sent.
const ROUND: Duration = Duration::from_millis(20);
pub const MAX_SECONDS: u32 = 600;

type Chunks = Sender<Result<RecordChunk, Status>>;

/// Records on a thread of its own, `trace-record`, until everything is sent or the client has gone.
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
    let collector = collector::current()
        .ok_or("this server records no requests: its log says at the start why the collector does not run")?;
    collector.record_to(&path).map_err(|e| e.to_string())?;
    let sent = send_while_recording(&collector, &path, seconds, chunks);
    let recorded = collector.stop_recording().map_err(|e| e.to_string())?;
    if let Some(e) = recorded.failed {
        // The file has the error, too; the part recorded so far is still sent.
        log::error!(
            "the recording ended early after {} stamps, {} more are lost; the store continues: {e}",
            recorded.stamps,
            recorded.lost
        );
    }
    let mut file = sent?;
    while let Some(chunk) = file.next(CHUNK)? {
        if chunks.blocking_send(Ok(chunk)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// The file being recorded, read up to the part that was sent.
struct Sent {
    file: File,
    bytes: u64,
}

impl Sent {
    /// Reads at most `limit` more bytes; None at the end.
    fn next(&mut self, limit: u64) -> Result<Option<RecordChunk>, String> {
        let mut data = Vec::new();
        let read = self.file.by_ref().take(limit.min(CHUNK)).read_to_end(&mut data);
        self.bytes += read.map_err(|e| format!("cannot read the recording: {e}"))? as u64;
        Ok((!data.is_empty()).then_some(RecordChunk { data }))
    }
}

/// Sends whole chunks of the file until the time is over, the recording fails or the client has gone. A slow
/// client does not prolong the recording: it gets the rest afterwards.
fn send_while_recording(
    collector: &collector::CollectorHandle,
    path: &std::path::Path,
    seconds: u32,
    chunks: &Chunks,
) -> Result<Sent, String> {
    let file = File::open(path).map_err(|e| format!("cannot read the recording: {e}"))?;
    let mut sent = Sent { file, bytes: 0 };
    let end = Instant::now() + Duration::from_secs(seconds.into());
    while Instant::now() < end {
        let Some(len) = collector.recorded_len() else { break };
        match chunks.try_reserve() {
            Ok(place) => {
                if let Some(chunk) = sent.next(len.saturating_sub(sent.bytes))? {
                    place.send(Ok(chunk));
                    continue;
                }
            }
            Err(TrySendError::Full(())) => {}
            Err(TrySendError::Closed(())) => break,
        }
        thread::sleep(ROUND);
    }
    Ok(sent)
}
