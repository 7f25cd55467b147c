//! The thread that reads the samples during a profile: it walks the stacks, counts equal ones together, and
//! gives new threads their timers.
use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use tracepoints::thread;

use super::{
    buffer::{BUFFER, Raw},
    handler,
    tally::{End, Map, Missed, Tally, Who},
    timers::{self, Timers},
    unwind::Unwinder,
};

/// Interval between reads of the buffer.
const DRAIN: Duration = Duration::from_millis(10);
/// Interval between searches for new threads; a thread with a shorter life may be missed.
const FOLLOW: Duration = Duration::from_millis(20);

/// Maximum number of stacks kept by request: some 25 MB, half a minute of two busy cores at 999 Hz. Further
/// ones are counted without their request.
const BY_REQUEST: usize = 1 << 16;

struct Collecting {
    tally: Tally,
    /// Sampled timer periods by thread.
    by_tid: Map<i32, u64>,
    by_request: usize,
    timers: Timers,
    unwinder: Unwinder,
    /// Index of each name in the tally.
    places: Map<String, usize>,
    stack: Vec<usize>,
}

/// Runs until `stop` is dropped or gets a message. The timers are armed already.
pub fn run(timers: Timers, stop: &Receiver<()>) -> Tally {
    let (from, cpu_from) = (Instant::now(), timers::process_cpu_ns());
    let mut collecting = Collecting {
        tally: Tally { period_ns: timers.period_ns(), ..Tally::default() },
        by_tid: Map::default(),
        by_request: 0,
        timers,
        unwinder: Unwinder::new(),
        places: Map::default(),
        stack: Vec::new(),
    };
    let mut followed = Instant::now();
    while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(DRAIN) {
        collecting.drain();
        if followed.elapsed() >= FOLLOW {
            collecting.timers.follow();
            followed = Instant::now();
        }
    }
    handler::deactivate();
    let duration = from.elapsed();
    let process_cpu_ns = timers::process_cpu_ns().saturating_sub(cpu_from);
    let used = collecting.timers.used_ns();
    collecting.drain();
    let Collecting { mut tally, timers, by_tid, .. } = collecting;
    tally.process_cpu_ns = process_cpu_ns;
    tally.dropped = BUFFER.take_dropped();
    tally.missed = missed(&tally, &by_tid, used);
    (tally.refused, tally.duration) = (timers.refused, duration);
    tally
}

impl Collecting {
    fn drain(&mut self) {
        BUFFER.drain(|raw| {
            let end = self.unwinder.walk(raw.regs, &raw.stack[..raw.words], &mut self.stack);
            let weight = u64::from(raw.weight);
            if end != End::Root {
                *self.tally.cut.entry((end, self.unwinder.stopped_in())).or_default() += weight;
            }
            *self.by_tid.entry(raw.tid).or_default() += weight;
            self.timers.settle_name(raw.tid);
            let mut who = Who {
                thread: thread_of(raw, &self.timers, &mut self.places, &mut self.tally.threads),
                stage: raw.stage,
                kind: raw.kind,
                region: raw.region,
                req: raw.req,
            };
            if who.req != 0 && self.by_request >= BY_REQUEST {
                who.req = 0;
                self.tally.unnumbered += weight;
            }
            let numbered = usize::from(who.req != 0);
            let count = self.tally.stacks.entry((who, self.stack.as_slice().into())).or_default();
            self.by_request += numbered * usize::from(*count == 0);
            *count += weight;
        });
    }
}

/// Computes the CPU time of threads beyond their samples; `used` lists the threads that still run.
fn missed(tally: &Tally, by_tid: &Map<i32, u64>, used: Vec<(i32, String, u64)>) -> Missed {
    let mut sampled: i64 = by_tid.values().map(|n| *n as i64 * tally.period_ns).sum();
    sampled += tally.dropped as i64 * tally.period_ns;
    let mut out = Missed::default();
    for (tid, name, ns) in used {
        let lacks = ns as i64 - by_tid.get(&tid).map_or(0, |n| *n as i64 * tally.period_ns);
        out.running_ns += lacks;
        out.most.push((name, lacks));
    }
    out.ended_ns = tally.process_cpu_ns as i64 - sampled - out.running_ns;
    out.most.sort_by_key(|(_, ns)| std::cmp::Reverse(*ns));
    out.most.truncate(3);
    out
}

/// Returns the index of the thread's name: the one in its stamps, otherwise the system's.
fn thread_of(
    raw: &Raw,
    timers: &Timers,
    places: &mut Map<String, usize>,
    threads: &mut Vec<String>,
) -> usize {
    let stamps_as = raw.thread.map(|id| thread::info(id).name);
    let name = stamps_as.unwrap_or_else(|| match timers.name(raw.tid) {
        "" => format!("thread-{}", raw.tid),
        name => name.to_owned(),
    });
    if let Some(place) = places.get(&name) {
        return *place;
    }
    threads.push(name.clone());
    places.insert(name, threads.len() - 1);
    threads.len() - 1
}
