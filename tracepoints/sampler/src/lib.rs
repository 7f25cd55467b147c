//! A CPU profile of this process. On Linux each thread has a timer on its CPU time; the signal handler copies
//! the stack and another thread walks the copy. On other systems the crate `pprof` samples, without stages
//! and requests. Every sample names its thread, stage, request kind and region ([`tracepoints::label`]
//! describes the precision).
#[cfg(target_os = "linux")]
mod buffer;
#[cfg(target_os = "linux")]
mod collect;
#[cfg(target_os = "linux")]
mod handler;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod modules;
#[cfg(target_os = "linux")]
mod regs;
mod report;
#[cfg(target_os = "linux")]
mod sampler;
#[cfg(not(target_os = "linux"))]
#[path = "cpu/sampler_pprof.rs"]
mod sampler;
mod tally;
#[cfg(target_os = "linux")]
mod timers;
#[cfg(target_os = "linux")]
mod unwind;
pub mod view;

use std::{
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use self::{tally::Tally, view::View};
use crate::{
    FoldOptions, Folded, Profile, ProfileError,
    flame::{self, FlameOptions, Measure},
    model::keys,
};

/// Maximum duration of a profile, so that a mistyped number does not run all day.
pub const MAX_DURATION: Duration = Duration::from_secs(3600);

/// A finished profile.
#[derive(Clone, Debug)]
pub struct CpuProfile {
    /// Samples and CPU time by stack, labelled with thread, pool, stage, request and region where these are
    /// known.
    pub profile: Profile,
    pub frequency: i32,
    pub duration: Duration,
    /// Number of samples dropped because the buffer was full.
    pub dropped: u64,
    /// CPU time of the whole process during the profile; samples times their period are equal to it, apart
    /// from missed ones.
    pub process_cpu: Duration,
}

impl CpuProfile {
    /// Returns the number of samples, each for one period of the timer.
    pub fn samples(&self) -> u64 {
        u64::try_from(self.profile.total(0)).unwrap_or(0)
    }

    /// Returns the samples by stack, below their pools of threads.
    pub fn folded(&self) -> Folded {
        self.profile.fold(&FoldOptions { value: 0, roots: vec![keys::POOL.to_owned()] })
    }

    /// Draws the profile.
    ///
    /// # Errors
    /// As [`flame::svg`].
    pub fn svg(&self, title: &str) -> Result<String, ProfileError> {
        let (seconds, hz, n) = (self.duration.as_secs_f64(), self.frequency, self.samples());
        let ms = self.profile.total(1) as f64 / 1e6;
        let lost = if self.dropped > 0 { format!(", {} dropped", self.dropped) } else { String::new() };
        let subtitle = Some(format!(
            "{ms:.0} ms of CPU time in {seconds:.1} s, {n} samples at {hz} Hz, by stage and pool of threads{lost}"
        ));
        let folded = view::fold(&self.profile, 1, View::default());
        let options = FlameOptions { subtitle, measure: Measure::CpuTime, ..FlameOptions::default() };
        flame::svg_of(&folded, title, &options)
    }
}

/// Process id of the process that takes a profile; 0: none. A child forked during a profile takes none.
static BUSY: AtomicU32 = AtomicU32::new(0);

/// Releases the sampler when dropped, even after a failure.
struct Turn;

impl Turn {
    fn take() -> Result<Self, ProfileError> {
        let (own, before) = (std::process::id(), BUSY.load(Ordering::Acquire));
        let free =
            before != own && BUSY.compare_exchange(before, own, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if free { Ok(Self) } else { Err(ProfileError::Busy) }
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
/// [`ProfileError::Busy`] during another profile; a frequency outside of 1 to 1000 Hz; no timer from the
/// system.
pub fn start(frequency: i32) -> Result<Running, ProfileError> {
    if !(1..=1000).contains(&frequency) {
        return Err(ProfileError::Frequency(frequency));
    }
    let turn = Turn::take()?;
    sampler::prepare()?;
    let (stop, stopped) = mpsc::channel();
    let (armed, hears) = mpsc::channel();
    let reader = thread::Builder::new()
        .name("cpu-profiler".into())
        .spawn(move || sampler::run(frequency, &armed, &stopped));
    let reader = Some(reader.map_err(ProfileError::Timer)?);
    let running = Running { stop: Some(stop), reader, frequency, started: SystemTime::now(), _turn: turn };
    match hears.recv() {
        Ok(Ok(())) => Ok(running),
        Ok(Err(e)) => Err(ProfileError::Timer(e)),
        Err(_) => Err(ProfileError::Reader),
    }
}

impl Running {
    /// Ends the sampling and resolves the samples, which may take seconds for a large program. The profile is
    /// empty if no thread used the CPU for a whole period.
    ///
    /// # Errors
    /// [`ProfileError::Reader`] if the thread that reads samples has ended.
    pub fn finish(mut self) -> Result<CpuProfile, ProfileError> {
        let tally = self.stop().ok_or(ProfileError::Reader)?;
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
pub fn profile(duration: Duration, frequency: i32) -> Result<CpuProfile, ProfileError> {
    check_duration(duration)?;
    let running = start(frequency)?;
    thread::sleep(duration);
    running.finish()
}

/// # Errors
/// A duration of 0 or more than [`MAX_DURATION`].
pub fn check_duration(duration: Duration) -> Result<(), ProfileError> {
    let ok = !duration.is_zero() && duration <= MAX_DURATION;
    if ok { Ok(()) } else { Err(ProfileError::Duration(duration)) }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
