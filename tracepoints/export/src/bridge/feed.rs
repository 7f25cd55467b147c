//! The thread that looks for ended requests and passes each of them on once.
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

/// Time between two looks. A request is passed on at the second look that sees it: by then the work of its
/// replicas after the reply is stamped.
const INTERVAL: Duration = Duration::from_millis(50);

/// The collector's answer: the recently finished requests, and the total number of finished ones.
pub type Finished = (Vec<RecordedRequest>, u64);

/// Counts since the feed began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedReport {
    /// Requests passed to the subscriber.
    pub delivered: u64,
    /// Requests that ended and left the collector between two looks.
    pub missed: u64,
}

#[derive(Default)]
struct Counts {
    delivered: AtomicU64,
    missed: AtomicU64,
    stop: AtomicBool,
}

/// A running feed; dropping it passes on the remaining requests and ends its thread.
pub struct Feed {
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

impl Feed {
    /// Starts the thread `trace-bridge`. `look` queries the collector; `take` gets each request.
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
            // Requests that ended before the start are not passed on.
            if let Some((recent, total)) = look() {
                rounds.begin(&recent, total);
            }
            loop {
                let last = of_thread.stop.load(Ordering::Acquire);
                if let Some((recent, total)) = look() {
                    let (delivered, missed) = rounds.round(recent, total, &mut take);
                    of_thread.delivered.fetch_add(delivered, Ordering::Relaxed);
                    of_thread.missed.fetch_add(missed, Ordering::Relaxed);
                }
                if last {
                    of_thread.delivered.fetch_add(rounds.rest(&mut take), Ordering::Relaxed);
                    return;
                }
                std::thread::park_timeout(INTERVAL);
            }
        };
        let thread = std::thread::Builder::new().name("trace-bridge".into()).spawn(run)?;
        Ok(Self { counts, thread: Some(thread) })
    }

    /// Returns the counts so far.
    pub fn report(&self) -> FeedReport {
        let get = |n: &AtomicU64| n.load(Ordering::Relaxed);
        FeedReport { delivered: get(&self.counts.delivered), missed: get(&self.counts.missed) }
    }

    /// Passes on the remaining requests.
    pub fn finish(mut self) -> FeedReport {
        self.stop();
        self.report()
    }

    fn stop(&mut self) {
        self.counts.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A thread that panicked has passed on all it could.
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
    /// Ids of the last look: any other id is new.
    seen: HashSet<u64>,
    /// Seen once, not passed on yet.
    waiting: Vec<RecordedRequest>,
    /// Total number of ended requests at the last look.
    total: u64,
}

impl Rounds {
    fn begin(&mut self, recent: &[RecordedRequest], total: u64) {
        (self.seen, self.total) = (recent.iter().map(|r| r.id).collect(), total);
    }

    /// Returns the number of requests passed on, and the number that ended unseen.
    fn round(
        &mut self,
        recent: Vec<RecordedRequest>,
        total: u64,
        take: &mut impl FnMut(Request),
    ) -> (u64, u64) {
        let waiting = std::mem::take(&mut self.waiting);
        let delivered = waiting.len() as u64;
        for old in waiting {
            // Uses the newer copy of the request if the collector still has it.
            let now = recent.iter().rev().find(|r| r.id == old.id).unwrap_or(&old);
            take(recorded::request(now, Origin::Process));
        }
        let ids = recent.iter().map(|r| r.id).collect();
        let new: Vec<RecordedRequest> = recent.into_iter().filter(|r| !self.seen.contains(&r.id)).collect();
        let missed = total.saturating_sub(self.total).saturating_sub(new.len() as u64);
        (self.seen, self.waiting, self.total) = (ids, new, total);
        (delivered, missed)
    }

    fn rest(&mut self, take: &mut impl FnMut(Request)) -> u64 {
        let waiting = std::mem::take(&mut self.waiting);
        waiting.iter().for_each(|r| take(recorded::request(r, Origin::Process)));
        waiting.len() as u64
    }
}
