//! A CPU profile of this process: SIGPROF by CPU time, stacks unwound by framehop.
use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use pprof::protos::Message as _;
use tracepoints::symbolize::{Symbolizer, THREAD_START};

use crate::{Folded, ProfileError, flame, flame::FlameOptions};

/// The longest profile, so that a mistyped number does not run all day.
pub const MAX_DURATION: Duration = Duration::from_secs(600);

/// A finished profile.
#[derive(Clone, Debug)]
pub struct CpuProfile {
    /// One stack a line: thread, then functions from the outermost; counts are samples.
    pub folded: Folded,
    /// The same in pprof's protobuf form (not compressed).
    pub pprof: Vec<u8>,
    pub frequency: i32,
    pub duration: Duration,
}

impl CpuProfile {
    pub fn samples(&self) -> u64 {
        self.folded.total()
    }

    /// Draws it.
    ///
    /// # Errors
    /// As [`flame::svg`].
    pub fn svg(&self, title: &str) -> Result<String, ProfileError> {
        let (seconds, hz, n) = (self.duration.as_secs_f64(), self.frequency, self.samples());
        let subtitle = Some(format!("{n} samples in {seconds:.1} s at {hz} Hz of CPU time, by thread"));
        flame::svg(self.folded.lines(), title, &FlameOptions { subtitle, ..FlameOptions::default() })
    }
}

static BUSY: AtomicBool = AtomicBool::new(false);

/// Frees the sampler for the next, also if this one fails.
struct Turn;

impl Turn {
    fn take() -> Result<Self, ProfileError> {
        if BUSY.swap(true, Ordering::AcqRel) { Err(ProfileError::Busy) } else { Ok(Self) }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        BUSY.store(false, Ordering::Release);
    }
}

/// A profile that is being taken; dropped, it is given up.
pub struct Running {
    // Dropped before the turn is given back.
    guard: pprof::ProfilerGuard<'static>,
    frequency: i32,
    from: std::time::Instant,
    _turn: Turn,
}

/// Begins to sample all threads, `frequency` times per second of CPU time that each of them uses.
///
/// # Errors
/// [`ProfileError::Busy`] while another profile is taken; a frequency outside of 1 to 1000 Hz.
pub fn start(frequency: i32) -> Result<Running, ProfileError> {
    if !(1..=1000).contains(&frequency) {
        return Err(ProfileError::Frequency(frequency));
    }
    let turn = Turn::take()?;
    warm_up()?;
    let guard = pprof::ProfilerGuardBuilder::default().frequency(frequency).build()?;
    Ok(Running { guard, frequency, from: std::time::Instant::now(), _turn: turn })
}

/// Runs the signal handler once, on this thread and outside of the allocator. The first run loads the unwind tables of
/// all libraries, which allocates: on a thread that was interrupted inside the allocator that would never end.
fn warm_up() -> Result<(), ProfileError> {
    static DONE: AtomicBool = AtomicBool::new(false);
    if !DONE.load(Ordering::Acquire) {
        // At 1 Hz the timer itself does not fire before the signal is raised.
        let _guard = pprof::ProfilerGuardBuilder::default().frequency(1).build()?;
        // SAFETY: the handler for SIGPROF is in place while the guard lives.
        unsafe { libc::raise(libc::SIGPROF) };
        DONE.store(true, Ordering::Release);
    }
    Ok(())
}

impl Running {
    /// Ends the sampling and resolves what was sampled; that may take seconds for a large program.
    ///
    /// # Errors
    /// [`ProfileError::Empty`] if no thread used the CPU long enough to be met.
    pub fn finish(self) -> Result<CpuProfile, ProfileError> {
        let duration = self.from.elapsed();
        let raw = self.guard.report().build_unresolved()?;
        drop(self.guard);
        let mut report = pprof::Report { data: HashMap::new(), timing: raw.timing };
        let mut names = Names::default();
        for (stack, count) in raw.data {
            let mut frames = pprof::Frames::from(stack);
            names.complete(&mut frames);
            *report.data.entry(frames).or_default() += count;
        }
        if report.data.is_empty() {
            return Err(ProfileError::Empty(
                "no thread used the CPU while it was taken; put load on the process, or sample for longer",
            ));
        }
        let pprof = report.pprof()?.write_to_bytes().map_err(|e| ProfileError::Encode(e.to_string()))?;
        Ok(CpuProfile { folded: fold(&report), pprof, frequency: self.frequency, duration })
    }
}

/// Takes a profile of `duration`; blocks the calling thread for so long.
///
/// # Errors
/// As [`start`] and [`Running::finish`]; a duration of 0 or more than [`MAX_DURATION`].
pub fn profile(duration: Duration, frequency: i32) -> Result<CpuProfile, ProfileError> {
    if duration.is_zero() || duration > MAX_DURATION {
        return Err(ProfileError::Duration(duration));
    }
    let running = start(frequency)?;
    std::thread::sleep(duration);
    running.finish()
}

/// Whole paths of functions: the sampler knows the last name only where debug information is limited to line tables.
struct Names {
    symbols: Option<Symbolizer>,
    known: HashMap<usize, Option<String>>,
}

impl Default for Names {
    fn default() -> Self {
        // Without symbols, the sampler's names stand.
        Self { symbols: Symbolizer::for_this_process().ok(), known: HashMap::new() }
    }
}

impl Names {
    /// Names the functions, and leaves out what only starts a thread.
    fn complete(&mut self, stack: &mut pprof::Frames) {
        for symbol in stack.frames.iter_mut().filter_map(|inlined| inlined.last_mut()) {
            // The sampler gives the address as it is in the file, of whichever library.
            let Some(address) = symbol.addr.map(|a| a as usize) else { continue };
            let symbols = &self.symbols;
            let find = || symbols.as_ref().and_then(|s| s.function_in_file(address as u64));
            let whole = self.known.entry(address).or_insert_with(find);
            let short = symbol.name();
            let short = short.split('<').next().unwrap_or_default();
            if let Some(whole) = whole.as_ref().filter(|w| !short.is_empty() && w.contains(short)) {
                symbol.name = Some(whole.clone().into_bytes());
            }
        }
        let starts = |s: &pprof::Symbol| s.name().contains(THREAD_START);
        let start = stack
            .frames
            .iter()
            .enumerate()
            .find_map(|(i, inlined)| Some((i, inlined.iter().position(starts)?)));
        if let Some((i, within)) = start {
            stack.frames.truncate(i + 1);
            stack.frames[i].truncate(within);
        }
        // Samples of one stack count together, whenever they were taken.
        stack.sample_timestamp = std::time::UNIX_EPOCH;
    }
}

fn fold(report: &pprof::Report) -> Folded {
    let mut folded = Folded::default();
    for (stack, count) in &report.data {
        let functions = stack.frames.iter().rev().flat_map(|inlined| inlined.iter().rev()).map(|s| s.name());
        let thread = std::iter::once(stack.thread_name_or_id());
        folded.add(thread.chain(functions), u64::try_from(*count).unwrap_or(0));
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flame::assert_well_formed;
    use std::sync::Arc;

    #[inline(never)]
    fn burn_the_cpu(stop: &AtomicBool) -> u64 {
        let mut x = 1u64;
        while !stop.load(Ordering::Relaxed) {
            x = std::hint::black_box(x.wrapping_mul(0x9e37_79b9).rotate_left(7));
        }
        x
    }

    /// One test, as there is one sampler in a process.
    #[test]
    fn a_profile_meets_the_function_that_burns_the_cpu() {
        assert!(matches!(profile(Duration::ZERO, 99), Err(ProfileError::Duration(_))));
        assert!(matches!(profile(Duration::from_secs(3600), 99), Err(ProfileError::Duration(_))));
        for hz in [0, -1, 5000] {
            assert!(matches!(start(hz), Err(ProfileError::Frequency(f)) if f == hz));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let of_thread = stop.clone();
        let burner = std::thread::Builder::new()
            .name("burner".into())
            .spawn(move || burn_the_cpu(&of_thread))
            .unwrap();
        let running = start(500).unwrap();
        assert!(matches!(start(500), Err(ProfileError::Busy)));
        std::thread::sleep(Duration::from_millis(600));
        let profile = running.finish().unwrap();
        let met = profile.folded.iter().find(|(s, _)| s.starts_with("burner;") && s.contains("burn_the_cpu"));
        assert!(met.is_some(), "{:?}", profile.folded.lines());
        let svg = profile.svg("burner").unwrap();
        assert_well_formed(&svg);
        assert!(svg.contains("cpu::tests::burn_the_cpu") && svg.contains("at 500 Hz"));
        assert!(!svg.contains(THREAD_START));
        let read = pprof::protos::Profile::parse_from_bytes(&profile.pprof).unwrap();
        let counted: i64 = read.sample.iter().map(|s| s.value[0]).sum();
        assert_eq!(counted as u64, profile.samples());
        assert!(read.string_table.iter().any(|s| s.contains("burn_the_cpu")));
        drop(start(99).unwrap());
        stop.store(true, Ordering::Relaxed);
        burner.join().unwrap();
        // The sampler is free again, and with nobody at work there is nothing to show.
        let idle = super::profile(Duration::from_millis(50), 10);
        assert!(matches!(idle, Err(ProfileError::Empty(_))), "{idle:?}");
    }
}
