//! The collector: one thread that empties all rings, keeps recently finished requests, and writes a trace
//! file on request.
mod dump;
mod fold;
mod in_flight;
mod keep;
mod metrics;
mod observe;
mod queries;

use std::{
    ops::Deref,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use parking_lot::Mutex;

pub(crate) use fold::Folder;
pub use in_flight::{InFlight, WaitsFor};
pub use keep::{TailConfig, Wanted};
pub use metrics::TextWriter;
use observe::Observer;
pub use observe::SlowRequest;

pub use crate::recorded::{RecordedRequest, Span, Why};

use crate::{
    clock, ring,
    stamp::Stamp,
    thread,
    trace_file::{TraceFileError, TraceFileWriter},
};

/// The collector's bounds and its interval.
#[derive(Clone, Debug)]
pub struct CollectorConfig {
    /// Number of finished requests kept. All of them should fit into a core's cache, at about 1 KiB each,
    /// since their memory is reused in turn: with 1024 requests a stamp costs the collector a quarter more.
    pub recent: usize,
    /// Maximum number of requests tracked in flight; beyond it the oldest is given up.
    pub in_flight: usize,
    /// Maximum number of stamps kept per request; further ones are only counted.
    pub stamps_per_request: usize,
    /// Real time between two rounds; rounds come sooner while a ring fills up faster.
    pub interval: Duration,
    /// Selects the requests kept beyond `recent`.
    pub tail: TailConfig,
    /// Names the reject reason in a stamp of `local_read_reject`.
    pub reject_reason: fn(u64) -> &'static str,
}

impl Default for CollectorConfig {
    fn default() -> Self {
        let interval = Duration::from_millis(5);
        let tail = TailConfig::default();
        Self {
            recent: 256,
            in_flight: 4096,
            stamps_per_request: 512,
            interval,
            tail,
            reject_reason: |_| "unknown",
        }
    }
}

/// Counts since the collector started; `dropped` counts since the process started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CollectorStats {
    /// Stamps read from the rings.
    pub stamps: u64,
    /// CPU time in ns spent on reading and folding stamps.
    pub cpu_ns: u64,
    /// Number of stamps that full rings dropped.
    pub dropped: u64,
    /// Dropped stamps by thread name; only threads that dropped any.
    pub dropped_by_thread: Vec<(String, u64)>,
    /// Requests whose end was seen.
    pub requests: u64,
    /// Requests given up unfinished because too many were in flight.
    pub given_up: u64,
    /// Stamps of replicas and batches that belong to no known request.
    pub unjoined: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Slow requests not logged because the slow-log writer fell behind.
    pub slow_dropped: u64,
    /// Recordings that ended by themselves because the disk was full or failed.
    pub recordings_failed: u64,
    /// Stamps that those recordings lack.
    pub recording_lost: u64,
}

/// The result of a recording.
#[derive(Debug, Default)]
pub struct Recorded {
    /// Number of stamps in the file.
    pub stamps: u64,
    /// Number of stamps that could not be written.
    pub lost: u64,
    /// The error that ended the recording early. Earlier stamps can be read.
    pub failed: Option<TraceFileError>,
}

/// Why the collector refuses a call.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// A collector already runs.
    #[error("a collector already runs in this process: use that one, it serves all threads")]
    Busy,
    /// The system refused the thread.
    #[error("cannot start the thread trace-collector: {0}")]
    Spawn(std::io::Error),
    /// A recording already runs.
    #[error("a recording already runs: stop it before you start another")]
    Recording,
    /// No recording runs.
    #[error("no recording runs")]
    NotRecording,
    /// The trace file cannot be written.
    #[error(transparent)]
    File(#[from] TraceFileError),
}

struct Shared {
    state: Mutex<State>,
    stop: AtomicBool,
}

struct State {
    folder: Folder,
    observer: Observer,
    stamps: u64,
    cpu_ns: u64,
    /// Stamps of this round for the file.
    batch: Vec<Stamp>,
    file: Option<TraceFileWriter>,
    /// A recording that ended by itself, kept until it is requested.
    failed: Option<Recorded>,
    recordings_failed: u64,
    recording_lost: u64,
}

/// Minimum time between two rounds, even while rings fill fast.
const SHORTEST_PAUSE: Duration = Duration::from_micros(200);

/// Set while a collector runs: only one may empty the rings.
static RUNNING: AtomicBool = AtomicBool::new(false);
/// The handle of the running collector.
static CURRENT: Mutex<Option<CollectorHandle>> = Mutex::new(None);

/// The running collector. Dropping it ends its thread and finishes its recording.
pub struct Collector {
    handle: CollectorHandle,
    thread: Option<JoinHandle<()>>,
}

/// A handle for queries to the collector. Cheap to clone.
#[derive(Clone)]
pub struct CollectorHandle {
    shared: Arc<Shared>,
}

/// Returns the collector that runs in this process.
pub fn current() -> Option<CollectorHandle> {
    CURRENT.lock().clone()
}

impl Deref for Collector {
    type Target = CollectorHandle;

    fn deref(&self) -> &CollectorHandle {
        &self.handle
    }
}

impl Collector {
    /// Starts the thread `trace-collector`.
    ///
    /// # Errors
    /// [`CollectorError::Busy`] if a collector already runs.
    pub fn start(config: CollectorConfig) -> Result<Self, CollectorError> {
        if RUNNING.swap(true, Ordering::AcqRel) {
            return Err(CollectorError::Busy);
        }
        let interval = config.interval;
        let folder = Folder::new(config.recent, config.in_flight, config.stamps_per_request);
        let state = State {
            folder: folder.keep(config.tail.keep),
            observer: Observer::new(&config.tail, config.reject_reason),
            stamps: 0,
            cpu_ns: 0,
            batch: Vec::new(),
            file: None,
            failed: None,
            recordings_failed: 0,
            recording_lost: 0,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), stop: AtomicBool::new(false) });
        let of_thread = shared.clone();
        let run = move || {
            let mut pause = interval;
            while !of_thread.stop.load(Ordering::Acquire) {
                let fullest = of_thread.state.lock().round();
                pause = next_pause(pause, interval, fullest);
                std::thread::park_timeout(pause);
            }
        };
        match std::thread::Builder::new().name("trace-collector".into()).spawn(run) {
            Ok(thread) => {
                let handle = CollectorHandle { shared };
                *CURRENT.lock() = Some(handle.clone());
                Ok(Self { handle, thread: Some(thread) })
            }
            Err(e) => {
                RUNNING.store(false, Ordering::Release);
                Err(CollectorError::Spawn(e))
            }
        }
    }
}

impl CollectorHandle {
    /// Empties the rings now, so that later queries see all earlier stamps.
    pub fn flush(&self) {
        self.shared.state.lock().round();
    }

    /// Returns the recently finished requests, oldest first.
    pub fn recent(&self) -> Vec<RecordedRequest> {
        let mut state = self.shared.state.lock();
        state.round();
        state.folder.recent()
    }

    /// Returns the counts so far.
    pub fn stats(&self) -> CollectorStats {
        let state = self.shared.state.lock();
        let by_thread = ring::dropped_by_thread().into_iter().map(|(id, n)| (thread::info(id).name, n));
        CollectorStats {
            stamps: state.stamps,
            cpu_ns: state.cpu_ns,
            dropped: ring::dropped(),
            dropped_by_thread: thread::sum_by_name(by_thread.collect()),
            requests: state.folder.requests,
            given_up: state.folder.given_up,
            unjoined: state.folder.unjoined,
            in_flight: state.folder.live_count() as u64,
            slow_dropped: state.observer.slow_dropped(),
            recordings_failed: state.recordings_failed,
            recording_lost: state.recording_lost,
        }
    }

    /// Writes every stamp from now on to a new file. If a write fails, the recording ends and the collector
    /// continues.
    ///
    /// # Errors
    /// If a recording runs, or the file exists or cannot be created.
    pub fn record_to(&self, path: &Path) -> Result<(), CollectorError> {
        self.record_with(|| TraceFileWriter::create(path))
    }

    /// Records like [`CollectorHandle::record_to`], with a writer made by `make`.
    ///
    /// # Errors
    /// If a recording runs, or the writer cannot be created.
    pub fn record_with(
        &self,
        make: impl FnOnce() -> Result<TraceFileWriter, TraceFileError>,
    ) -> Result<(), CollectorError> {
        let mut state = self.shared.state.lock();
        if state.file.is_some() {
            return Err(CollectorError::Recording);
        }
        // Earlier stamps are not part of the recording.
        state.round();
        state.file = Some(make()?);
        state.failed = None;
        Ok(())
    }

    /// Whether a recording runs and has not failed.
    pub fn records(&self) -> bool {
        self.shared.state.lock().file.is_some()
    }

    /// Returns the length of the recording's complete chunks in bytes, which later failures keep; `None`
    /// without a recording.
    pub fn recorded_len(&self) -> Option<u64> {
        self.shared.state.lock().file.as_ref().map(TraceFileWriter::len)
    }

    /// Ends the recording; the result of one that ended by itself has the error and the number of lost
    /// stamps.
    ///
    /// # Errors
    /// If no recording runs, or its last part cannot be written now.
    pub fn stop_recording(&self) -> Result<Recorded, CollectorError> {
        let mut state = self.shared.state.lock();
        state.round();
        if let Some(failed) = state.failed.take() {
            return Ok(failed);
        }
        let file = state.file.take().ok_or(CollectorError::NotRecording)?;
        Ok(Recorded { stamps: file.finish()?, ..Recorded::default() })
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        *CURRENT.lock() = None;
        self.handle.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic of the collector's thread cannot be handled here.
            let _ = thread.join();
        }
        let mut state = self.handle.shared.state.lock();
        state.round();
        if let Some(file) = state.file.take() {
            // No caller is left to report an error to; the file is readable up to here.
            let _ = file.finish();
        }
        RUNNING.store(false, Ordering::Release);
    }
}

impl State {
    /// Reads all rings; returns the largest number of stamps found in one of them.
    fn round(&mut self) -> usize {
        let from = clock::thread_cpu_ns();
        let mut fullest = 0;
        for ring in ring::rings() {
            let taken = ring.drain(|stamp| {
                let at = clock::raw_to_ns(stamp.at);
                self.folder.push(stamp, at);
                if self.file.is_some() || self.failed.is_some() {
                    self.batch.push(stamp.with_at(at));
                }
            });
            self.stamps += taken as u64;
            fullest = fullest.max(taken);
        }
        ring::sweep();
        self.folder.note_dropped(ring::dropped());
        let observer = &mut self.observer;
        self.folder.end_round_with(&mut |request| observer.see(request));
        self.write();
        self.batch.clear();
        self.cpu_ns += clock::thread_cpu_ns().saturating_sub(from);
        fullest
    }
}

impl State {
    /// Passes this round's stamps to the recording, or counts them as lost if it has failed.
    fn write(&mut self) {
        if let Some(failed) = &mut self.failed {
            failed.lost += self.batch.len() as u64;
            self.recording_lost += self.batch.len() as u64;
            return;
        }
        let Some(file) = &mut self.file else { return };
        if let Err(e) = file.stamps(&self.batch) {
            let (stamps, lost) = file.counts();
            self.file = None;
            self.failed = Some(Recorded { stamps, lost, failed: Some(e) });
            self.recordings_failed += 1;
            self.recording_lost += lost;
        }
    }
}

/// Adapts the pause between rounds: shorter if a ring's first lane was more than three quarters full, so that
/// it will be half full next time; doubled, up to `wanted`, while no ring was a quarter full.
fn next_pause(pause: Duration, wanted: Duration, fullest: usize) -> Duration {
    if fullest > ring::FIRST * 3 / 4 {
        pause.mul_f64(ring::FIRST as f64 / 2.0 / fullest as f64).max(SHORTEST_PAUSE)
    } else if fullest < ring::FIRST / 4 {
        (pause * 2).min(wanted)
    } else {
        pause
    }
}
