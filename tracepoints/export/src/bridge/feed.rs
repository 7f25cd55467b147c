//! The thread that looks for requests that have ended and hands each of them on once.
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use tracepoints::collector::RecordedRequest;

use crate::{
    Request,
    recorded::{self, Origin},
};

/// Between two looks. A request is handed on at the second look that sees it: what its replicas did after the reply is
/// stamped by then.
const INTERVAL: Duration = Duration::from_millis(50);

/// What the collector tells: the finished requests of late, and how many have ended in all.
pub type Finished = (Vec<RecordedRequest>, u64);

/// What was handed on since the feed began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedReport {
    pub told: u64,
    /// Requests that ended and were forgotten by the collector between two looks.
    pub missed: u64,
}

#[derive(Default)]
struct Counts {
    told: AtomicU64,
    missed: AtomicU64,
    stop: AtomicBool,
}

/// A running feed; dropping it hands on what is left and ends its thread.
pub struct Feed {
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

impl Feed {
    /// Starts the thread `trace-bridge`. `look` asks the collector; `take` gets each request.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(
        look: impl Fn() -> Option<Finished> + Send + 'static,
        mut take: impl FnMut(Request) + Send + 'static,
    ) -> std::io::Result<Self> {
        let counts = Arc::new(Counts::default());
        let of_thread = counts.clone();
        let run = move || {
            let mut rounds = Rounds::default();
            // What ended before is not ours.
            if let Some((recent, total)) = look() {
                rounds.begin(&recent, total);
            }
            loop {
                let last = of_thread.stop.load(Ordering::Acquire);
                if let Some((recent, total)) = look() {
                    let (told, missed) = rounds.round(recent, total, &mut take);
                    of_thread.told.fetch_add(told, Ordering::Relaxed);
                    of_thread.missed.fetch_add(missed, Ordering::Relaxed);
                }
                if last {
                    of_thread.told.fetch_add(rounds.rest(&mut take), Ordering::Relaxed);
                    return;
                }
                std::thread::park_timeout(INTERVAL);
            }
        };
        let thread = std::thread::Builder::new().name("trace-bridge".into()).spawn(run)?;
        Ok(Self { counts, thread: Some(thread) })
    }

    pub fn report(&self) -> FeedReport {
        let get = |n: &AtomicU64| n.load(Ordering::Relaxed);
        FeedReport { told: get(&self.counts.told), missed: get(&self.counts.missed) }
    }

    /// Hands on what is left.
    pub fn finish(mut self) -> FeedReport {
        self.stop();
        self.report()
    }

    fn stop(&mut self) {
        self.counts.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // One that panicked has nothing more to hand on.
            let _ = thread.join();
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop();
    }
}

#[derive(Default)]
struct Rounds {
    /// Ids of the last look: what is not among them is new.
    seen: HashSet<u64>,
    /// Seen once, not handed on yet.
    waiting: Vec<RecordedRequest>,
    /// All that ended, as of the last look.
    total: u64,
}

impl Rounds {
    fn begin(&mut self, recent: &[RecordedRequest], total: u64) {
        (self.seen, self.total) = (recent.iter().map(|r| r.id).collect(), total);
    }

    /// Returns how many were handed on, and how many ended unseen.
    fn round(
        &mut self,
        recent: Vec<RecordedRequest>,
        total: u64,
        take: &mut impl FnMut(Request),
    ) -> (u64, u64) {
        let waiting = std::mem::take(&mut self.waiting);
        let told = waiting.len() as u64;
        for old in waiting {
            // With what came in since, if it is still there.
            let now = recent.iter().rev().find(|r| r.id == old.id).unwrap_or(&old);
            take(recorded::request(now, Origin::Process));
        }
        let ids = recent.iter().map(|r| r.id).collect();
        let new: Vec<RecordedRequest> = recent.into_iter().filter(|r| !self.seen.contains(&r.id)).collect();
        let missed = total.saturating_sub(self.total).saturating_sub(new.len() as u64);
        (self.seen, self.waiting, self.total) = (ids, new, total);
        (told, missed)
    }

    fn rest(&mut self, take: &mut impl FnMut(Request)) -> u64 {
        let waiting = std::mem::take(&mut self.waiting);
        waiting.iter().for_each(|r| take(recorded::request(r, Origin::Process)));
        waiting.len() as u64
    }
}
