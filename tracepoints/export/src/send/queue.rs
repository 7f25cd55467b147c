//! The queue, and the thread that empties it.
use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use super::{SendConfig, endpoint::Protocol, grpc::Grpc, http::Http, retry};
use crate::{
    ExportError, Request,
    otlp::{
        Batch,
        proto::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    },
};

/// Final counts of spans and requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Spans that the collector accepted.
    pub sent: u64,
    /// Spans that the collector rejected from messages it accepted.
    pub rejected: u64,
    /// Spans that could not be delivered.
    pub failed: u64,
    /// Requests that found the queue full, or came after the end.
    pub dropped_requests: u64,
    /// Messages that the endpoint accepted.
    pub messages: u64,
    /// Number of repeated attempts.
    pub retries: u64,
    /// The error of the last failed message, or the collector's reason for rejected spans.
    pub last_error: Option<String>,
}

#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    messages: AtomicU64,
    retries: AtomicU64,
    last_error: std::sync::Mutex<Option<String>>,
    /// Number of spans in the message being sent.
    under_way: AtomicU64,
    /// Set when nothing more is sent.
    stopped: AtomicBool,
}

impl Counts {
    fn report(&self) -> Report {
        let get = |n: &AtomicU64| n.load(Ordering::Relaxed);
        Report {
            sent: get(&self.sent),
            rejected: get(&self.rejected),
            failed: get(&self.failed),
            dropped_requests: get(&self.dropped),
            messages: get(&self.messages),
            retries: get(&self.retries),
            last_error: self.last_error.lock().map(|e| e.clone()).unwrap_or_default(),
        }
    }

    fn error(&self, what: String) {
        if let Ok(mut last) = self.last_error.lock() {
            *last = Some(what);
        }
    }
}

/// A running sender. Dropping it without [`Sender::finish`] does not wait for queued requests.
pub struct Sender {
    queue: Option<mpsc::Sender<Request>>,
    /// Passes the remaining time, once nothing more is added to the queue.
    end: Option<oneshot::Sender<Duration>>,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

impl Sender {
    /// Starts the thread `otlp-sender`. It connects when there is something to send.
    ///
    /// # Errors
    /// If the thread or its runtime cannot be created.
    pub fn start(config: SendConfig) -> Result<Self, ExportError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (queue, receiver) = mpsc::channel(config.queue.max(1));
        let counts = Arc::new(Counts::default());
        let worker =
            Worker { receiver, counts: counts.clone(), batch: Batch::default(), attempt: RefCell::default() };
        let (end, ends) = oneshot::channel();
        let run = move || runtime.block_on(worker.run(config, ends));
        let thread = std::thread::Builder::new().name("otlp-sender".into()).spawn(run)?;
        Ok(Self { queue: Some(queue), end: Some(end), counts, thread: Some(thread) })
    }

    /// Adds a request to the queue, or drops and counts it; never blocks.
    pub fn offer(&self, request: Request) -> bool {
        let offered = self.queue.as_ref().is_some_and(|q| q.try_send(request).is_ok());
        if !offered {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
        offered
    }

    /// Adds a request to the queue, waiting for space; returns false once nothing more is sent. Not for a
    /// runtime's thread.
    pub fn put(&self, request: Request) -> bool {
        let put = !self.counts.stopped.load(Ordering::Acquire)
            && self.queue.as_ref().is_some_and(|q| q.blocking_send(request).is_ok());
        if !put {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
        put
    }

    /// Returns the counts so far.
    pub fn report(&self) -> Report {
        self.counts.report()
    }

    /// Sends the queued requests, with all retries, up to the first message that cannot be delivered; returns
    /// the final counts.
    pub fn finish(self) -> Report {
        self.end_with(None)
    }

    /// Finishes like [`Sender::finish`], but within `longest`: a collector that hangs must not keep a program
    /// from ending.
    pub fn finish_within(self, longest: Duration) -> Report {
        self.end_with(Some(longest))
    }

    fn end_with(mut self, longest: Option<Duration>) -> Report {
        self.queue = None;
        if let (Some(end), Some(longest)) = (self.end.take(), longest) {
            // An error means that the sender has already ended.
            let _ = end.send(longest);
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            self.counts.error("the sender's thread panicked".into());
        }
        self.counts.report()
    }
}

enum Wire {
    Grpc(Box<Grpc>),
    Http(Http),
}

impl Wire {
    fn new(config: &SendConfig) -> Result<Self, ExportError> {
        Ok(match config.endpoint.protocol {
            Protocol::Grpc => Self::Grpc(Box::new(Grpc::new(config)?)),
            Protocol::Http => Self::Http(Http::new(config)),
        })
    }

    async fn send(
        &mut self,
        message: &ExportTraceServiceRequest,
    ) -> Result<ExportTraceServiceResponse, retry::Failure> {
        match self {
            Self::Grpc(grpc) => grpc.send(message).await,
            Self::Http(http) => http.send(message).await,
        }
    }
}

struct Worker {
    receiver: mpsc::Receiver<Request>,
    counts: Arc<Counts>,
    batch: Batch,
    /// Error of the last attempt to send the current message.
    attempt: RefCell<Option<String>>,
}

impl Worker {
    async fn run(mut self, config: SendConfig, ends: oneshot::Receiver<Duration>) {
        let mut wire = match Wire::new(&config) {
            Ok(wire) => wire,
            Err(e) => return self.counts.error(e.to_string()),
        };
        let late = async {
            match ends.await {
                Ok(longest) => {
                    tokio::time::sleep(longest).await;
                    longest
                }
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.send_all(&config, &mut wire) => {}
            longest = late => {
                let spans = self.batch.spans() as u64 + self.counts.under_way.swap(0, Ordering::Relaxed);
                self.counts.failed.fetch_add(spans, Ordering::Relaxed);
                let why = self.attempt.take().unwrap_or_else(|| "no answer".into());
                self.counts.error(format!("{why} (the sender stopped {longest:?} after the last request)"));
                self.give_up().await;
            }
        }
    }

    async fn send_all(&mut self, config: &SendConfig, wire: &mut Wire) {
        while self.fill(config).await {
            let spans = self.batch.spans() as u64;
            let message = self.batch.take();
            self.counts.under_way.store(spans, Ordering::Relaxed);
            let delivered = self.deliver(config, wire, &message, spans).await;
            self.counts.under_way.store(0, Ordering::Relaxed);
            // A collector that is down must not keep a program from ending: it has waited for one message
            // already.
            if !delivered && (config.stop_at_failure || self.receiver.is_closed()) {
                self.give_up().await;
                return;
            }
        }
    }

    /// Collects a batch; returns false when the queue is empty and closed.
    async fn fill(&mut self, config: &SendConfig) -> bool {
        match self.receiver.recv().await {
            Some(request) => self.batch.push(&request),
            None => return false,
        }
        let until = Instant::now() + config.linger;
        while self.batch.spans() < config.batch_spans {
            match timeout_at(until, self.receiver.recv()).await {
                Ok(Some(request)) => self.batch.push(&request),
                Ok(None) | Err(_) => break,
            }
        }
        true
    }

    async fn deliver(
        &self,
        config: &SendConfig,
        wire: &mut Wire,
        message: &ExportTraceServiceRequest,
        spans: u64,
    ) -> bool {
        let mut tries = 0;
        self.attempt.take();
        loop {
            let failure = match wire.send(message).await {
                Ok(reply) => {
                    self.took(reply, spans);
                    return true;
                }
                Err(failure) => failure,
            };
            if !failure.retry || tries >= config.retries {
                self.counts.failed.fetch_add(spans, Ordering::Relaxed);
                self.counts.error(format!("{} (after {} attempts)", failure.what, tries + 1));
                return false;
            }
            let wait = retry::wait(config, tries, &failure, spread());
            self.attempt.replace(Some(failure.what));
            tokio::time::sleep(wait).await;
            self.counts.retries.fetch_add(1, Ordering::Relaxed);
            tries += 1;
        }
    }

    fn took(&self, reply: ExportTraceServiceResponse, spans: u64) {
        let partial = reply.partial_success.unwrap_or_default();
        let rejected = u64::try_from(partial.rejected_spans).unwrap_or(0).min(spans);
        self.counts.sent.fetch_add(spans - rejected, Ordering::Relaxed);
        self.counts.rejected.fetch_add(rejected, Ordering::Relaxed);
        self.counts.messages.fetch_add(1, Ordering::Relaxed);
        if !partial.error_message.is_empty() {
            self.counts.error(partial.error_message);
        }
    }

    /// Counts the queued requests as dropped.
    async fn give_up(&mut self) {
        self.counts.stopped.store(true, Ordering::Release);
        self.receiver.close();
        while self.receiver.recv().await.is_some() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Returns a value that differs between senders and over time.
fn spread() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::from(now.subsec_micros())
}
