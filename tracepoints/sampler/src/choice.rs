//! The samplers of this process.
use std::{
    fmt, io,
    str::FromStr,
    sync::mpsc::{Receiver, Sender},
};

#[cfg(target_os = "linux")]
use crate::own;
use crate::{by_pprof, error::SamplerError, tally::Tally};

/// The code that takes the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampler {
    /// A timer on the CPU time of each thread; its samples have stages and requests. Needs Linux.
    Own,
    /// The crate `pprof`: one timer of the process. Its samples have threads and stacks only.
    Pprof,
}

impl Default for Sampler {
    /// Our own sampler where it works.
    fn default() -> Self {
        if cfg!(target_os = "linux") { Self::Own } else { Self::Pprof }
    }
}

impl FromStr for Sampler {
    type Err = SamplerError;

    fn from_str(name: &str) -> Result<Self, SamplerError> {
        match name {
            "own" => Ok(Self::Own),
            "pprof" => Ok(Self::Pprof),
            other => Err(SamplerError::Name(other.to_owned())),
        }
    }
}

impl fmt::Display for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "own",
            Self::Pprof => "pprof",
        })
    }
}

impl Sampler {
    /// Installs what the sampler needs before its thread starts.
    ///
    /// # Errors
    /// If another handler is installed, or the sampler does not work on this system.
    pub(crate) fn prepare(self) -> Result<(), SamplerError> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Own => own::prepare(),
            #[cfg(not(target_os = "linux"))]
            Self::Own => Err(SamplerError::NeedsLinux),
            Self::Pprof => Ok(()),
        }
    }

    /// Samples until `stopped` is dropped or gets a message. Sends to `armed` whether the system created
    /// timers.
    pub(crate) fn run(self, frequency: i32, armed: &Sender<io::Result<()>>, stopped: &Receiver<()>) -> Tally {
        match self {
            #[cfg(target_os = "linux")]
            Self::Own => own::run(frequency, armed, stopped),
            #[cfg(not(target_os = "linux"))]
            Self::Own => Tally::default(),
            Self::Pprof => by_pprof::run(frequency, armed, stopped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sampler_is_found_by_its_name() {
        for sampler in [Sampler::Own, Sampler::Pprof] {
            assert_eq!(sampler.to_string().parse::<Sampler>().unwrap(), sampler);
        }
        let error = "perf".parse::<Sampler>().unwrap_err().to_string();
        assert!(error.contains("\"own\" or \"pprof\"") && error.contains("perf"), "{error}");
    }
}
