//! The result of sampling.
use std::time::Duration;

use tracepoints_profile::{
    FlameOptions, FoldOptions, Folded, Profile, ProfileError,
    flame::{self, Measure},
    model::keys,
    view::{self, View},
};

/// A finished profile.
#[derive(Clone, Debug)]
pub struct CpuProfile {
    /// Samples and CPU time by stack, labelled with thread, pool, stage, request and region where these are
    /// known.
    pub profile: Profile,
    /// Samples per second of a thread's CPU time.
    pub frequency: i32,
    /// Real time from begin to end.
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
