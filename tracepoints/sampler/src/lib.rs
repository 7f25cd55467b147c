//! A CPU profile of this process: everything of the profiles that needs signals and unsafe code.
//!
//! [`Sampler::Own`] gives each thread a timer on its CPU time; the signal handler copies the stack and another
//! thread walks the copy. Every sample names its thread, stage, request kind and region
//! ([`tracepoints::label`] describes the precision). [`Sampler::Pprof`] is the crate `pprof`, without stages
//! and requests; it also works on systems other than Linux.
#![warn(missing_docs)]

#[cfg(target_os = "linux")]
mod buffer;
mod by_pprof;
mod choice;
#[cfg(target_os = "linux")]
mod collect;
mod cpu_profile;
mod error;
#[cfg(target_os = "linux")]
mod handler;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod modules;
#[cfg(target_os = "linux")]
mod own;
#[cfg(target_os = "linux")]
mod regs;
mod report;
mod running;
mod tally;
#[cfg(target_os = "linux")]
mod timers;
#[cfg(target_os = "linux")]
mod unwind;

pub use choice::Sampler;
pub use cpu_profile::CpuProfile;
pub use error::SamplerError;
pub use running::{MAX_DURATION, Running, check_duration, profile, start};

#[cfg(all(test, target_os = "linux"))]
mod tests;
