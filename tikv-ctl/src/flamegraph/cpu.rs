//! A CPU profile of the time that requests were recorded in, to say what their stages ran.
use std::{
    path::Path,
    thread::{self, JoinHandle},
    time::Duration,
};

use security::SecurityManager;
use tracepoints_input::Input;
use tracepoints_profile::{format, join::CpuTime};

use super::PATIENCE;
use crate::{Error, Result, http, output::Output};

/// Where the samples come from.
pub enum Samples {
    Of(Vec<u8>, String),
    /// A server that is being sampled meanwhile.
    Coming(JoinHandle<Result<Vec<u8>>>, String),
}

impl Samples {
    pub fn of_file(path: &Path) -> Result<Self> {
        let name = super::input::title(path);
        let bytes = Input::open(path).map_err(|e| Error::other(format!("--cpu: {}: {e}", path.display())))?;
        Ok(Self::Of(bytes.to_vec(), name))
    }

    /// Asks the status server at `host` now; it answers when the time is over.
    pub fn of_server(host: &str, seconds: u32, frequency: u32, security: SecurityManager) -> Self {
        let (to, name) = (host.to_owned(), format!("{}://{host}", security.scheme()));
        let ask = move || {
            let path = format!("/debug/pprof/profile?seconds={seconds}&frequency={frequency}");
            let patience = Duration::from_secs(seconds.into()) + PATIENCE;
            http::get(&to, &path, &[("Content-Type", "application/protobuf")], patience, &security)
        };
        Self::Coming(thread::spawn(ask), name)
    }

    /// By request type and stage. None, with a note, if no sample says them: the sampler gave no labels.
    pub fn take(self, out: &mut Output<'_>) -> Result<Option<CpuTime>> {
        let (bytes, name) = match self {
            Self::Of(bytes, name) => (bytes, name),
            Self::Coming(asked, name) => {
                let answer = asked.join().map_err(|_| Error::other(format!("{name}: asking it failed")))?;
                (answer?, name)
            }
        };
        let profile = format::pprof::read(&bytes).map_err(|what| Error::other(format!("{name}: {what}")))?;
        let cpu = CpuTime::of(&profile);
        if cpu.is_empty() {
            out.note(&format!(
                "warning: {name}: no sample says a request's type and stage, so what stages ran is not known; take the \
                 profile from a tikv-server of this toolkit"
            ));
            return Ok(None);
        }
        let elsewhere = cpu.elsewhere_ns as f64 / 1e6;
        out.note(&format!("{name}: {elsewhere:.3} ms of CPU time were spent outside of any request's stage"));
        Ok(Some(cpu))
    }
}
