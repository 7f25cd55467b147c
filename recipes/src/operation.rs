//! A client operation that runs concurrently with the runner, with its session and its trace.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use tokio::{
    runtime::Runtime,
    sync::oneshot::{self, error::TryRecvError},
};
use tracepoints::{Req, Session, SessionConfig, session::SessionError, trace::Trace};

use crate::front::Listener;

/// An ended operation is complete when its session has sent no event for this long.
const QUIET: Duration = Duration::from_millis(50);
/// Timeout of the wait for the end of the previous operation's session.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(5);

/// A stepped operation. Dropping it releases what it holds.
pub struct Operation {
    /// The session that steps it.
    pub session: Arc<Session>,
    /// The store that led the region of its key when it began.
    pub leader: u64,
    answer: oneshot::Receiver<Result<String>>,
    outcome: Option<String>,
    stop: Arc<AtomicBool>,
    pump: Option<JoinHandle<Trace>>,
}

/// Starts a session for the next operation; waits if another thread still has the previous one.
pub fn session(config: &SessionConfig) -> Result<Arc<Session>> {
    let deadline = Instant::now() + HANDOVER_TIMEOUT;
    loop {
        match Session::start(config.clone()) {
            Err(SessionError::Busy) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            other => return Ok(Arc::new(other?)),
        }
    }
}

impl Operation {
    /// Begins an operation on `key`, runs `call` as its request, and passes its events to `listener`.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn start<F>(
        runtime: &Runtime,
        session: Arc<Session>,
        listener: Listener,
        (leader, key): (u64, &[u8]),
        call: impl FnOnce(Req) -> F,
    ) -> Result<Self>
    where
        F: Future<Output = Result<String>> + Send + 'static,
    {
        let stop = Arc::<AtomicBool>::default();
        let pump = pump(session.clone(), stop.clone(), listener)?;
        let req = session.begin_op(key);
        let (done, answer) = oneshot::channel();
        let (ending, work) = (session.clone(), call(req));
        runtime.spawn(async move {
            let result = work.await;
            ending.end_op(req);
            // Before the answer: its receiver may start the next session at once.
            drop(ending);
            // The receiver is gone if the stepper is gone.
            let _ = done.send(result);
        });
        Ok(Self { session, leader, answer, outcome: None, stop, pump: Some(pump) })
    }

    /// The store of the first held request; None if nothing is held, or the client is.
    pub fn held_store(&self) -> Option<u64> {
        self.session.held().first().map(|h| h.store).filter(|store| *store != 0)
    }

    /// The operation's result, once it has ended.
    pub fn outcome(&mut self) -> Option<&str> {
        if self.outcome.is_none() {
            self.outcome = match self.answer.try_recv() {
                Ok(Ok(text)) => Some(text),
                Ok(Err(e)) => Some(format!("error: {e:#}")),
                Err(TryRecvError::Closed) => Some("error: the client's task ended without an answer".into()),
                Err(TryRecvError::Empty) => None,
            };
        }
        self.outcome.as_deref()
    }

    /// Waits until the operation has ended and holds nothing. Held time does not count toward `bound`.
    ///
    /// # Errors
    /// If the operation runs for longer than `bound` without a hold.
    pub fn wait(&mut self, bound: Duration) -> Result<String> {
        let mut deadline = Instant::now() + bound;
        loop {
            if !self.session.held().is_empty() {
                deadline = Instant::now() + bound;
            } else if let Some(outcome) = self.outcome() {
                return Ok(outcome.to_owned());
            }
            if Instant::now() > deadline {
                bail!("expected the operation to end within {bound:?}, found it still running");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the operation stamps nothing more; returns its trace.
    ///
    /// # Errors
    /// If the listener panicked.
    pub fn end(mut self) -> Result<Trace> {
        self.stop.store(true, Ordering::Release);
        let pump = self.pump.take().context("expected a running operation, found it ended")?;
        pump.join().map_err(|_| anyhow::anyhow!("the thread that receives the operation's events panicked"))
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.session.run();
    }
}

/// Starts the thread `operation`, which passes the session's events to the listener.
fn pump(session: Arc<Session>, stop: Arc<AtomicBool>, mut listener: Listener) -> Result<JoinHandle<Trace>> {
    let run = move || {
        let mut trace = Trace::new();
        loop {
            match session.events().recv_timeout(QUIET) {
                Ok(event) => {
                    trace.apply(&event, None);
                    listener(event);
                }
                Err(_) if stop.load(Ordering::Acquire) => return trace,
                Err(_) => {}
            }
        }
    };
    std::thread::Builder::new().name("operation".into()).spawn(run).context("cannot start a thread")
}
