//! A client operation that runs beside the runner, with its session and its trace.
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

/// An operation that has ended stamps nothing more if it was quiet for so long.
const QUIET: Duration = Duration::from_millis(50);
/// How long the session of the operation before may take to end.
const HANDOVER: Duration = Duration::from_secs(5);

/// A stepped operation. Dropped, it is let go.
pub struct Operation {
    pub session: Arc<Session>,
    /// The store that led the region of its key when it began.
    pub leader: u64,
    answer: oneshot::Receiver<Result<String>>,
    outcome: Option<String>,
    stop: Arc<AtomicBool>,
    pump: Option<JoinHandle<Trace>>,
}

/// A session for the next operation; that of the one before may still be in somebody's hands for a moment.
pub fn session(config: &SessionConfig) -> Result<Arc<Session>> {
    let deadline = Instant::now() + HANDOVER;
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
    /// Begins an operation on `key`, runs `call` as its request, and tells `listener` its events.
    ///
    /// # Errors
    /// If the system gives no thread.
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
            // Before the answer: whoever hears it may start the next session.
            drop(ending);
            // Nobody listens if the stepper has gone.
            let _ = done.send(result);
        });
        Ok(Self { session, leader, answer, outcome: None, stop, pump: Some(pump) })
    }

    /// The store of the request that is held first; none if nothing is held, or a client is.
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

    /// Waits until it has ended and nothing of it is held. Only the time in which nothing is held counts to `bound`.
    ///
    /// # Errors
    /// If it takes longer.
    pub fn wait(&mut self, bound: Duration) -> Result<String> {
        let mut deadline = Instant::now() + bound;
        loop {
            if !self.session.held().is_empty() {
                deadline = Instant::now() + bound;
            } else if let Some(outcome) = self.outcome() {
                return Ok(outcome.to_owned());
            }
            if Instant::now() > deadline {
                bail!("expected the operation's end within {bound:?}, found it under way");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its trace, once it is quiet; its listener has heard all of it.
    ///
    /// # Errors
    /// If the listener panicked.
    pub fn end(mut self) -> Result<Trace> {
        self.stop.store(true, Ordering::Release);
        let pump = self.pump.take().context("the operation has ended before")?;
        pump.join().map_err(|_| anyhow::anyhow!("the thread that hears the operation's events panicked"))
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.session.run();
    }
}

/// The thread `operation`: takes the events off the session as they come.
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
