//! The slow log and the deadline log: one line, with all stages, for each
//! request above its threshold or deadline.
//!
//! TiKV logs only slow coprocessor requests, and none that exceeded its deadline. The lines have the form of
//! TiKV's log and its field names (`src/coprocessor/tracker.rs`). A separate thread writes them: neither a
//! request nor the collector waits for a disk.
mod file;
mod line;

use std::{path::PathBuf, thread::JoinHandle};

use crossbeam::channel::Receiver;
use tracepoints::collector::{CollectorHandle, SlowRequest};

use file::LogFile;

/// Maximum number of slow requests that wait for the writer.
const QUEUE: usize = 1024;

/// Ends its thread when the collector that feeds it ends, or when another slow log replaces it.
#[derive(Debug)]
pub struct SlowLog {
    thread: Option<JoinHandle<()>>,
}

impl SlowLog {
    /// Starts the thread `slow-logger`. Without a file, lines go to the log.
    ///
    /// # Errors
    /// If the operating system cannot start a thread.
    pub fn start(collector: &CollectorHandle, file: Option<PathBuf>) -> std::io::Result<Self> {
        let requests = collector.slow_requests(QUEUE);
        let run = move || write_all(&requests, file);
        let thread = std::thread::Builder::new().name("slow-logger".into()).spawn(run)?;
        Ok(Self { thread: Some(thread) })
    }

    /// Waits until all requests that the collector reported are written.
    pub fn join(mut self) {
        // A writer that panicked has nothing more to write.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn write_all(requests: &Receiver<SlowRequest>, path: Option<PathBuf>) {
    let mut file = path.map(LogFile::open);
    while let Ok(slow) = requests.recv() {
        let line = line::format(&slow);
        match &mut file {
            Some(file) => file.write(&line),
            None => crate::logger::write_line(log::Level::Info, &line),
        }
    }
}
