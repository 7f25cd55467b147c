//! CPU profile of the time in which requests were recorded: the code that their stages ran.
use std::{
    path::Path,
    thread::{self, JoinHandle},
    time::Duration,
};

use security::SecurityManager;
use tracepoints_input::Input;
use tracepoints_profile::{format, join::CpuTime};

use super::input;
use crate::{Error, Result, http, print::output::Output};

/// Extra time that a server may take to return a profile, beyond the sampling time.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// Source of the samples.
pub enum Samples {
    Read(Vec<u8>, String),
    /// A server that is taking the profile now.
    Pending(JoinHandle<Result<Vec<u8>>>, String),
}

impl Samples {
    pub fn read_file(path: &Path) -> Result<Self> {
        let name = input::title(path);
        let bytes = Input::open(path).map_err(|e| Error::other(format!("--cpu: {}: {e}", path.display())))?;
        Ok(Self::Read(bytes.to_vec(), name))
    }

    /// Asks the status server at `host` for `path` in a thread; it replies after `seconds`.
    pub fn request(host: &str, path: String, seconds: u32, security: SecurityManager) -> Self {
        let (to, name) = (host.to_owned(), format!("{}://{host}", security.scheme()));
        let ask = move || {
            let timeout = Duration::from_secs(seconds.into()) + REPLY_TIMEOUT;
            http::get(&to, &path, &[("Content-Type", "application/protobuf")], timeout, &security)
        };
        Self::Pending(thread::spawn(ask), name)
    }

    /// Returns CPU time by request type and stage. None, with a note, if no sample has these labels.
    pub fn take(self, out: &mut Output<'_>) -> Result<Option<CpuTime>> {
        let (bytes, name) = match self {
            Self::Read(bytes, name) => (bytes, name),
            Self::Pending(asked, name) => {
                let answer = asked.join().map_err(|_| {
                    Error::other(format!("{name}: the thread that requested its profile panicked"))
                })?;
                (answer?, name)
            }
        };
        let profile = format::pprof::read(&bytes).map_err(|what| Error::other(format!("{name}: {what}")))?;
        let cpu = CpuTime::from_profile(&profile);
        if cpu.is_empty() {
            out.note(&format!(
                "warning: {name}: expected samples with labels for request type and stage, found none: take the \
                 profile from a tikv-server of this toolkit"
            ));
            return Ok(None);
        }
        let elsewhere = cpu.elsewhere_ns as f64 / 1e6;
        out.note(&format!("{name}: {elsewhere:.3} ms of CPU time were spent outside of all request stages"));
        Ok(Some(cpu))
    }
}
