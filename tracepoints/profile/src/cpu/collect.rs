//! The thread that reads the samples while a profile is taken: it walks the stacks, counts equal ones together, and gives
//! new threads their timers.
use std::{
    collections::HashMap,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use tracepoints::{RequestKind, StageId, thread};

use super::{
    buffer::{BUFFER, Raw},
    handler,
    timers::{self, Timers},
    unwind::{End, Unwinder},
};

/// Between two looks at the buffer.
const DRAIN: Duration = Duration::from_millis(10);
/// Between two looks for new threads; a thread that lives shorter may be missed.
const FOLLOW: Duration = Duration::from_millis(20);

/// What a sample is counted under, beside its stack.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Who {
    /// Place in [`Tally::threads`].
    pub thread: usize,
    pub stage: Option<StageId>,
    pub kind: Option<RequestKind>,
    /// 0: none.
    pub region: u64,
}

type Map<K, V> = HashMap<K, V, ahash::RandomState>;

/// Samples of a profile, equal ones together.
#[derive(Debug, Default)]
pub struct Tally {
    /// By who and by return addresses, innermost first: timer periods.
    pub stacks: Map<(Who, Box<[usize]>), u64>,
    pub threads: Vec<String>,
    /// Timer periods whose samples found no room.
    pub dropped: u64,
    /// Timer periods whose stacks end before the function that began the thread.
    pub cut: u64,
    /// Threads that the system gave no timer for.
    pub refused: u64,
    /// CPU time of the process meanwhile, as the system counts it.
    pub process_cpu_ns: u64,
    pub period_ns: i64,
    pub duration: Duration,
}

struct Collecting {
    tally: Tally,
    timers: Timers,
    unwinder: Unwinder,
    /// Places of names in the tally.
    places: Map<String, usize>,
    stack: Vec<usize>,
}

/// Runs until `stop` is sent to or dropped. The timers are armed already.
pub fn run(timers: Timers, stop: &Receiver<()>) -> Tally {
    let (from, cpu_from) = (Instant::now(), timers::process_cpu_ns());
    let mut collecting = Collecting {
        tally: Tally { period_ns: timers.period_ns(), ..Tally::default() },
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
    collecting.drain();
    let Collecting { mut tally, timers, .. } = collecting;
    tally.process_cpu_ns = timers::process_cpu_ns().saturating_sub(cpu_from);
    tally.dropped = BUFFER.take_dropped();
    (tally.refused, tally.duration) = (timers.refused, duration);
    tally
}

impl Collecting {
    fn drain(&mut self) {
        BUFFER.drain(|raw| {
            let end = self.unwinder.walk(raw.regs, &raw.stack[..raw.words], &mut self.stack);
            let weight = u64::from(raw.weight);
            if end != End::Root {
                self.tally.cut += weight;
            }
            let who = Who {
                thread: thread_of(raw, &self.timers, &mut self.places, &mut self.tally.threads),
                stage: raw.stage,
                kind: raw.kind,
                region: raw.region,
            };
            *self.tally.stacks.entry((who, self.stack.as_slice().into())).or_default() += weight;
        });
    }
}

/// The place of the name under which the thread stamps, else of the name that the system knows.
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
