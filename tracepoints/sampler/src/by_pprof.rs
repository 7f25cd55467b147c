//! Samples with the crate `pprof`, whose one timer (ITIMER_PROF) interrupts a running thread. Its samples have
//! threads and stacks, but no stages and requests.
use std::{
    collections::HashMap,
    io,
    sync::mpsc::{Receiver, Sender},
    time::Instant,
};

use tracepoints::symbolize::Frame;

use crate::tally::{Tally, Who};

/// Samples until `stopped` is dropped or gets a message. Sends to `armed` whether the system created a timer.
pub fn run(frequency: i32, armed: &Sender<io::Result<()>>, stopped: &Receiver<()>) -> Tally {
    let (from, cpu_from) = (Instant::now(), tracepoints::clock::process_cpu_ns());
    let guard = match pprof::ProfilerGuardBuilder::default().frequency(frequency).build() {
        Ok(guard) => guard,
        Err(e) => {
            // An error means that no receiver is left: then the stop is dropped, too.
            let _ = armed.send(Err(io::Error::other(e.to_string())));
            return Tally::default();
        }
    };
    let _ = armed.send(Ok(()));
    // The profile ends in both cases: by a message or because the sender is dropped.
    let _ = stopped.recv();
    let mut tally = Tally {
        period_ns: 1_000_000_000 / i64::from(frequency.max(1)),
        duration: from.elapsed(),
        process_cpu_ns: tracepoints::clock::process_cpu_ns().saturating_sub(cpu_from),
        ..Tally::default()
    };
    // A failed report counts as an empty one: the caller reports that there are no samples.
    if let Ok(report) = guard.report().build() {
        count(&report, &mut tally);
    }
    tally
}

/// Adds the samples of a report. Each frame gets a number in place of an address, since pprof has resolved
/// it.
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

/// Returns the symbols at one address, innermost first: all but the last are inlined into it.
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
