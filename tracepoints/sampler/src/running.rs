//! Starts and ends a profile of this process; one at a time.
use std::{
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use crate::{choice::Sampler, cpu_profile::CpuProfile, error::SamplerError, report, tally::Tally};

/// Maximum duration of a profile, so that a mistyped number does not run all day.
pub const MAX_DURATION: Duration = Duration::from_secs(3600);

/// Process id of the process that takes a profile; 0: none. A child forked during a profile takes none.
static BUSY: AtomicU32 = AtomicU32::new(0);

/// Releases the sampler when dropped, even after a failure.
struct Turn;

impl Turn {
    fn take() -> Result<Self, SamplerError> {
        let (own, before) = (std::process::id(), BUSY.load(Ordering::Acquire));
        let free =
            before != own && BUSY.compare_exchange(before, own, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if free { Ok(Self) } else { Err(SamplerError::Busy) }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        BUSY.store(0, Ordering::Release);
    }
}

/// A profile in progress; dropping it discards the profile.
pub struct Running {
    /// Dropping it stops the thread.
    stop: Option<mpsc::Sender<()>>,
    reader: Option<JoinHandle<Tally>>,
    frequency: i32,
    started: SystemTime,
    // Released when the reader has ended.
    _turn: Turn,
}

/// Starts sampling all threads, `frequency` times per second of CPU time that each of them uses.
///
/// # Errors
/// [`SamplerError::Busy`] during another profile; a frequency outside of 1 to 1000 Hz; no timer from the
/// system.
pub fn start(sampler: Sampler, frequency: i32) -> Result<Running, SamplerError> {
    if !(1..=1000).contains(&frequency) {
        return Err(SamplerError::Frequency(frequency));
    }
    let turn = Turn::take()?;
    sampler.prepare()?;
    let (stop, stopped) = mpsc::channel();
    let (armed, hears) = mpsc::channel();
    let reader = thread::Builder::new()
        .name("cpu-profiler".into())
        .spawn(move || sampler.run(frequency, &armed, &stopped));
    let reader = Some(reader.map_err(SamplerError::Timer)?);
    let running = Running { stop: Some(stop), reader, frequency, started: SystemTime::now(), _turn: turn };
    match hears.recv() {
        Ok(Ok(())) => Ok(running),
        Ok(Err(e)) => Err(SamplerError::Timer(e)),
        Err(_) => Err(SamplerError::Reader),
    }
}

impl Running {
    /// Ends the sampling and resolves the samples, which may take seconds for a large program. The profile is
    /// empty if no thread used the CPU for a whole period.
    ///
    /// # Errors
    /// [`SamplerError::Reader`] if the thread that reads samples has ended.
    pub fn finish(mut self) -> Result<CpuProfile, SamplerError> {
        let tally = self.stop().ok_or(SamplerError::Reader)?;
        Ok(CpuProfile {
            profile: report::profile(&tally, self.started),
            frequency: self.frequency,
            duration: tally.duration,
            dropped: tally.dropped,
            process_cpu: Duration::from_nanos(tally.process_cpu_ns),
        })
    }

    fn stop(&mut self) -> Option<Tally> {
        drop(self.stop.take());
        self.reader.take()?.join().ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Takes a profile of `duration`; blocks the calling thread for that time.
///
/// # Errors
/// As [`start`] and [`Running::finish`]; a duration of 0 or more than [`MAX_DURATION`].
pub fn profile(sampler: Sampler, duration: Duration, frequency: i32) -> Result<CpuProfile, SamplerError> {
    check_duration(duration)?;
    let running = start(sampler, frequency)?;
    thread::sleep(duration);
    running.finish()
}

/// # Errors
/// A duration of 0 or more than [`MAX_DURATION`].
pub fn check_duration(duration: Duration) -> Result<(), SamplerError> {
    let ok = !duration.is_zero() && duration <= MAX_DURATION;
    if ok { Ok(()) } else { Err(SamplerError::Duration(duration)) }
}
