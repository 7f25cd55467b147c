//! The sampler of systems without timers on a thread's CPU time: the crate `pprof`, whose one timer (ITIMER_PROF) interrupts
//! a thread that runs. It knows threads and stacks; stages and requests are not in its samples.
use std::{
    collections::HashMap,
    io,
    sync::mpsc::{Receiver, Sender},
    time::Instant,
};

use tracepoints::symbolize::Frame;

use super::tally::{Tally, Who};
use crate::ProfileError;

/// Nothing to prepare: the guard of [`run`] installs the handler.
///
/// # Errors
/// None here; Linux's sampler has one.
pub fn prepare() -> Result<(), ProfileError> {
    Ok(())
}

/// Samples until `stopped` is sent to or dropped. Sends to `armed` whether the system gave a timer.
pub fn run(frequency: i32, armed: &Sender<io::Result<()>>, stopped: &Receiver<()>) -> Tally {
    let (from, cpu_from) = (Instant::now(), tracepoints::clock::process_cpu_ns());
    let guard = match pprof::ProfilerGuardBuilder::default().frequency(frequency).build() {
        Ok(guard) => guard,
        Err(e) => {
            // Nobody listens any more: then the stop has been dropped as well.
            let _ = armed.send(Err(io::Error::other(e.to_string())));
            return Tally::default();
        }
    };
    let _ = armed.send(Ok(()));
    // Either way the profile ends: by a message or because the sender is gone.
    let _ = stopped.recv();
    let mut tally = Tally {
        period_ns: 1_000_000_000 / i64::from(frequency.max(1)),
        duration: from.elapsed(),
        process_cpu_ns: tracepoints::clock::process_cpu_ns().saturating_sub(cpu_from),
        ..Tally::default()
    };
    // A report that cannot be made is an empty one: the caller says that nothing was sampled.
    if let Ok(report) = guard.report().build() {
        count(&report, &mut tally);
    }
    tally
}

/// Adds the samples of a report. Each frame gets a number in the place of an address, since pprof has named it.
fn count(report: &pprof::Report, tally: &mut Tally) {
    let mut threads = HashMap::new();
    let mut numbers: HashMap<Vec<(String, String, u32)>, usize> = HashMap::new();
    for (sample, count) in &report.data {
        let name = sample.thread_name_or_id();
        let thread = *threads.entry(name.clone()).or_insert_with(|| {
            tally.threads.push(name);
            tally.threads.len() - 1
        });
        let mut stack = Vec::with_capacity(sample.frames.len());
        for symbols in &sample.frames {
            let key: Vec<_> =
                symbols.iter().map(|s| (s.name(), s.filename().into_owned(), s.lineno())).collect();
            let next = numbers.len() + 1;
            let number = *numbers.entry(key).or_insert(next);
            tally.named.entry(number).or_insert_with(|| named(symbols));
            stack.push(number);
        }
        let who = Who { thread, stage: None, kind: None, region: 0, req: 0 };
        *tally.stacks.entry((who, stack.into())).or_default() += u64::try_from(*count).unwrap_or(0);
    }
    let sampled: u64 = tally.stacks.values().sum();
    tally.missed.ended_ns = tally.process_cpu_ns as i64 - sampled as i64 * tally.period_ns;
}

/// The symbols at one address, innermost first: all but the last are inlined into it.
fn named(symbols: &[pprof::Symbol]) -> Vec<Frame> {
    let last = symbols.len().saturating_sub(1);
    let frame = |(i, s): (usize, &pprof::Symbol)| Frame {
        function: s.name(),
        file: s.filename().into_owned(),
        line: s.lineno(),
        inlined: i < last,
    };
    symbols.iter().enumerate().map(frame).collect()
}
