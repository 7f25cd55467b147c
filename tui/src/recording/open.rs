//! Opens one request of a recording as steps.
use std::{fs::File, io::Read as _, path::Path};

use anyhow::{Result, bail};
use tracepoints::{collector::RecordedRequest, trace_file::TraceFile};

use super::grep;
use crate::{source::recorded::Recorded, state::Start};

/// Whether a file begins as a recording does; false if it cannot be read, because the reader reports that.
pub fn is_recording(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|f| f.take(TraceFile::HEAD as u64).read_to_end(&mut head));
    read.is_ok() && TraceFile::begins(&head)
}

/// Converts a request to a source of the step screen.
pub fn steps(request: &RecordedRequest, start: &Start) -> Recorded {
    let trace = request.trace();
    let title = format!("request {} {} {}", request.id, request.kind.name(), grep::key(request));
    let outcome = grep::losses(request);
    Recorded::new(&title, trace.steps.clone(), trace.summary(), start).with(&outcome, vec![request.info()])
}

/// Finds the request with this id.
pub fn request(file: &TraceFile, id: u64) -> Result<RecordedRequest> {
    let Some(request) = file.request(id) else {
        bail!(
            "{} contains no request {id}; `tikv-tui trace grep FILE` lists all requests",
            file.path().display()
        );
    };
    Ok(request)
}
