//! The unified read pool: threads that run reads.
//!
//! Mirrors `src/read_pool.rs`, with a tokio runtime instead of TiKV's yatp.
use std::{
    collections::VecDeque,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use kvproto::{errorpb, kvrpcpb::CommandPri};
use parking_lot::{Mutex, RwLock};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::oneshot,
};
use tracepoints::{EngineClock, label::labelled};

use crate::errors::{Error, ErrorInner, Result};

/// Interval between checks whether the tasks of a replaced runtime have ended.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// A runtime, and a token that each of its tasks clones.
struct Workers {
    handle: Handle,
    runtime: Runtime,
    tasks: Arc<()>,
}

/// Threads named `{prefix}-{n}`, registered for the stamps of one store.
pub struct Pool {
    prefix: &'static str,
    store_id: u64,
    /// `None` after shutdown: dropping a runtime inside of another would block.
    workers: RwLock<Option<Workers>>,
    named: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
    load: Arc<Load>,
    threads: AtomicUsize,
    tasks_per_thread: AtomicUsize,
    /// Tasks that have not begun.
    waiting: Arc<Mutex<Waiting<BoxFuture<'static, ()>>>>,
    closed: Arc<AtomicBool>,
}

impl Pool {
    /// Creates the pool. `tasks_per_thread`: limit above which [`Pool::spawn_handle`] rejects tasks.
    ///
    /// # Errors
    /// The operating system cannot create the threads.
    pub fn new(prefix: &'static str, threads: usize, tasks_per_thread: usize, store_id: u64) -> Result<Self> {
        let pool = Self {
            prefix,
            store_id,
            workers: RwLock::default(),
            named: Arc::default(),
            running: Arc::default(),
            load: Arc::default(),
            threads: AtomicUsize::new(threads.max(1)),
            tasks_per_thread: AtomicUsize::new(tasks_per_thread),
            waiting: Arc::default(),
            closed: Arc::default(),
        };
        *pool.workers.write() = Some(pool.start(threads.max(1))?);
        Ok(pool)
    }

    fn start(&self, threads: usize) -> Result<Workers> {
        let (prefix, store_id, named) = (self.prefix, self.store_id, self.named.clone());
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name_fn(move || format!("{prefix}-{}", named.fetch_add(1, Ordering::Relaxed)))
            .on_thread_start(move || {
                let thread = std::thread::current();
                tracepoints::register_thread(thread.name().unwrap_or(prefix), store_id);
            })
            .enable_time()
            .build()
            .map_err(|e| Error::other(format!("cannot start the {threads} threads of {prefix}: {e}")))?;
        Ok(Workers { handle: runtime.handle().clone(), runtime, tasks: Arc::default() })
    }

    /// Changes the limit of tasks per thread above which tasks are rejected.
    pub fn set_tasks_per_thread(&self, tasks: usize) {
        self.tasks_per_thread.store(tasks, Ordering::Relaxed);
    }

    /// Changes the number of threads. The old threads end after their tasks.
    ///
    /// # Errors
    /// The operating system cannot create the threads; the old threads stay.
    pub fn resize(&self, threads: usize) -> Result<()> {
        let threads = threads.max(1);
        if self.threads.load(Ordering::Relaxed) == threads {
            return Ok(());
        }
        let new = self.start(threads)?;
        let mut workers = self.workers.write();
        if workers.is_none() {
            new.runtime.shutdown_background();
            return Ok(());
        }
        self.threads.store(threads, Ordering::Relaxed);
        if let Some(old) = workers.replace(new) {
            self.drain(old);
        }
        Ok(())
    }

    fn drain(&self, old: Workers) {
        let closed = self.closed.clone();
        let Workers { runtime, tasks, .. } = old;
        let wait = move || {
            while Arc::strong_count(&tasks) > 1 && !closed.load(Ordering::Acquire) {
                std::thread::sleep(DRAIN_POLL);
            }
            runtime.shutdown_background();
        };
        let name = format!("{}-drain", self.prefix);
        if let Err(e) = std::thread::Builder::new().name(name).spawn(wait) {
            log::error!("{}: cannot start the thread that ends the replaced threads: {e}", self.prefix);
        }
    }

    /// Runs `f` on a thread of the pool.
    pub fn spawn(&self, f: impl Future<Output = ()> + Send + 'static) {
        self.spawn_named(labelled(f));
    }

    /// Spawns a task under the pool's name, which tokio-console shows.
    fn spawn_named(&self, f: impl Future<Output = ()> + Send + 'static) {
        let workers = self.workers.read();
        // After shutdown drop the task, as a runtime does.
        let Some(Workers { handle, tasks, .. }) = workers.as_ref() else { return };
        let token = tasks.clone();
        let task = async move {
            f.await;
            drop(token);
        };
        let spawned = tokio::task::Builder::new().name(self.prefix).spawn_on(task, handle);
        if let Err(e) = spawned {
            log::error!("{}: cannot spawn a task: {e}", self.prefix);
        }
    }

    fn is_full(&self, running: usize) -> bool {
        let most = self.tasks_per_thread.load(Ordering::Relaxed);
        running > most.saturating_mul(self.threads.load(Ordering::Relaxed))
    }

    /// Rejects a task whose estimated wait exceeds the client's threshold; zero: no threshold.
    ///
    /// TiKV: `ReadPoolHandle::check_busy_threshold`.
    ///
    /// # Errors
    /// `ServerIsBusy`, with the estimated wait in milliseconds.
    pub fn check_busy_threshold(&self, threshold: Duration) -> Result<()> {
        if threshold.is_zero() {
            return Ok(());
        }
        let wait = self.load.estimated_wait(self.threads.load(Ordering::Relaxed));
        if wait <= threshold {
            return Ok(());
        }
        let busy = errorpb::ServerIsBusy {
            reason: "estimated wait time exceeds threshold".into(),
            estimated_wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
            ..Default::default()
        };
        let error = errorpb::Error { server_is_busy: Some(busy), ..Default::default() };
        Err(tikv_kv::Error::from(error).into())
    }

    /// Runs `f` on a thread of the pool and returns its result.
    ///
    /// # Errors
    /// `SchedTooBusy` if too many tasks are running, `Closed` after shutdown.
    pub fn spawn_handle<T, F>(&self, f: F) -> Result<impl Future<Output = Result<T>> + use<T, F>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        self.spawn_handle_of(CommandPri::Normal, f)
    }

    /// Like [`Pool::spawn_handle`]. Of the tasks that have not begun, one of the highest priority begins first,
    /// but every eighth time one of the lowest.
    ///
    /// # Errors
    /// `SchedTooBusy` if too many tasks are running, `Closed` after shutdown.
    pub fn spawn_handle_of<T, F>(
        &self,
        priority: CommandPri,
        f: F,
    ) -> Result<impl Future<Output = Result<T>> + use<T, F>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let running = Running::enter(&self.running);
        if self.is_full(running.0.load(Ordering::Relaxed)) {
            return Err(ErrorInner::SchedTooBusy.into());
        }
        let (tx, rx) = oneshot::channel();
        let (queued, load) = (Running::enter(&self.load.queued), self.load.clone());
        let task = labelled(async move {
            drop(queued);
            let begin = EngineClock::now();
            let result = f.await;
            load.record_run(begin.elapsed());
            drop(running);
            // The client may be gone.
            let _ = tx.send(result);
        });
        self.waiting.lock().push(priority, task.boxed());
        let waiting = self.waiting.clone();
        self.spawn_named(async move {
            // A separate statement: the lock must not be held while the task runs.
            let first = waiting.lock().pop();
            if let Some(task) = first {
                task.await;
            }
        });
        if self.closed.load(Ordering::Acquire) {
            self.drop_waiting();
        }
        Ok(async { rx.await.unwrap_or_else(|_| Err(ErrorInner::Closed.into())) })
    }

    /// Drops all tasks at their next await point; returns at once.
    pub fn shutdown(&self) {
        self.closed.store(true, Ordering::Release);
        if let Some(workers) = self.workers.write().take() {
            workers.runtime.shutdown_background();
        }
        self.drop_waiting();
    }

    /// Drops tasks that no thread will begin: their callers get `Closed`.
    fn drop_waiting(&self) {
        let dropped = std::mem::take(&mut *self.waiting.lock());
        // After the lock: a dropped task wakes its caller.
        drop(dropped);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// Load of the pool, to estimate the wait of a new task.
#[derive(Default)]
struct Load {
    /// Number of tasks that no thread has started.
    queued: Arc<AtomicUsize>,
    /// Run time of a task in nanoseconds: a moving average that favours newer tasks.
    task_ns: AtomicU64,
}

impl Load {
    fn record_run(&self, took: Duration) {
        let (old, new) = (self.task_ns.load(Ordering::Relaxed), took.as_nanos() as u64);
        // Two concurrent updates may lose one sample.
        self.task_ns.store(if old == 0 { new } else { old - old / 8 + new / 8 }, Ordering::Relaxed);
    }

    fn estimated_wait(&self, threads: usize) -> Duration {
        let queued = self.queued.load(Ordering::Relaxed) as u64 / threads.max(1) as u64;
        Duration::from_nanos(self.task_ns.load(Ordering::Relaxed).saturating_mul(queued))
    }
}

/// One of this number of tasks comes from the lowest level, so that a steady load of the others cannot starve it.
const LOWEST_FIRST_EVERY: usize = 8;

/// Tasks that have not begun, by level: high, normal, low.
struct Waiting<T> {
    levels: [VecDeque<T>; 3],
    /// Number of tasks that began.
    begun: usize,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { levels: Default::default(), begun: 0 }
    }
}

impl<T> Waiting<T> {
    fn push(&mut self, priority: CommandPri, task: T) {
        self.levels[level_of(priority)].push_back(task);
    }

    /// Returns the task that begins next.
    fn pop(&mut self) -> Option<T> {
        self.begun = self.begun.wrapping_add(1);
        if self.begun.is_multiple_of(LOWEST_FIRST_EVERY) {
            self.levels.iter_mut().rev().find_map(VecDeque::pop_front)
        } else {
            self.levels.iter_mut().find_map(VecDeque::pop_front)
        }
    }
}

/// Returns the place of a priority: a smaller one begins first. TiKV: the levels of `ReadPoolHandle::spawn`.
fn level_of(priority: CommandPri) -> usize {
    match priority {
        CommandPri::High => 0,
        CommandPri::Normal => 1,
        CommandPri::Low => 2,
    }
}

/// Counts a task as running until dropped.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn enter(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_run_on_named_threads_until_the_pool_is_closed() {
        let pool = Pool::new("unified-read-pool", 2, 10, 7).unwrap();
        let name = async { Ok(std::thread::current().name().map(str::to_owned)) };
        let name = futures::executor::block_on(pool.spawn_handle(name).unwrap()).unwrap().unwrap();
        assert!(name.starts_with("unified-read-pool-"), "{name}");
        let never = async {
            tokio::time::sleep(Duration::from_secs(600)).await;
            Ok(())
        };
        let waiting = pool.spawn_handle(never).unwrap();
        pool.shutdown();
        let closed = futures::executor::block_on(waiting).unwrap_err();
        assert!(matches!(*closed.0, ErrorInner::Closed), "{closed}");
    }

    #[test]
    fn a_full_pool_refuses_reads() {
        let pool = Pool::new("unified-read-pool", 1, 1, 0).unwrap();
        let (release, wait) = oneshot::channel::<()>();
        let first = pool.spawn_handle(async { Ok(wait.await.is_ok()) }).unwrap();
        let second = pool.spawn_handle(async { Ok(()) });
        assert!(matches!(second.map(|_| ()).map_err(|e| *e.0), Err(ErrorInner::SchedTooBusy)));
        release.send(()).unwrap();
        assert!(futures::executor::block_on(first).unwrap());
        assert!(futures::executor::block_on(pool.spawn_handle(async { Ok(()) }).unwrap()).is_ok());
    }

    #[test]
    fn a_waiting_task_of_high_priority_begins_first() {
        let pool = Pool::new("unified-read-pool", 1, 100, 0).unwrap();
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let blocks = async move {
            // Keep the only thread busy until all tasks wait.
            let _ = wait.recv_timeout(Duration::from_secs(30));
            Ok(())
        };
        let blocked = pool.spawn_handle(blocks).unwrap();
        let begun = Arc::<Mutex<Vec<CommandPri>>>::default();
        let tasks = [CommandPri::Low, CommandPri::Normal, CommandPri::High].map(|priority| {
            let begun = begun.clone();
            let task = async move {
                begun.lock().push(priority);
                Ok(())
            };
            pool.spawn_handle_of(priority, task).unwrap()
        });
        release.send(()).unwrap();
        futures::executor::block_on(blocked).unwrap();
        tasks.into_iter().for_each(|task| futures::executor::block_on(task).unwrap());
        assert_eq!(*begun.lock(), [CommandPri::High, CommandPri::Normal, CommandPri::Low]);
    }

    #[test]
    fn a_steady_load_does_not_starve_low_priority() {
        let mut waiting = Waiting::default();
        waiting.push(CommandPri::Low, CommandPri::Low);
        let mut begun = Vec::new();
        for n in 0..2 * LOWEST_FIRST_EVERY {
            let priority = if n % 2 == 0 { CommandPri::High } else { CommandPri::Normal };
            waiting.push(priority, priority);
            begun.extend(waiting.pop());
        }
        assert_eq!(begun.len(), 2 * LOWEST_FIRST_EVERY);
        assert_eq!(begun.iter().position(|p| *p == CommandPri::Low), Some(LOWEST_FIRST_EVERY - 1));
        assert_eq!(begun[0], CommandPri::High, "otherwise the highest begins");
    }

    #[test]
    fn a_resized_pool_finishes_old_tasks_and_runs_new_ones() {
        let pool = Pool::new("unified-read-pool", 1, 1, 0).unwrap();
        let (release, wait) = oneshot::channel::<()>();
        let (begin, began) = std::sync::mpsc::channel();
        let task = async move {
            begin.send(()).unwrap();
            Ok(wait.await.is_ok())
        };
        let before = pool.spawn_handle(task).unwrap();
        // Otherwise a new thread may take this task, and the old one the next task.
        began.recv_timeout(Duration::from_secs(30)).unwrap();
        assert!(pool.spawn_handle(async { Ok(()) }).is_err(), "one task per thread, and one thread");
        pool.resize(3).unwrap();
        let name = async { Ok(std::thread::current().name().map(str::to_owned)) };
        let name = futures::executor::block_on(pool.spawn_handle(name).unwrap()).unwrap().unwrap();
        assert_ne!(name, "unified-read-pool-0");
        release.send(()).unwrap();
        assert!(futures::executor::block_on(before).unwrap(), "the task finished on the old threads");
        pool.shutdown();
        pool.resize(2).unwrap();
        let closed = futures::executor::block_on(pool.spawn_handle(async { Ok(()) }).unwrap()).unwrap_err();
        assert!(matches!(*closed.0, ErrorInner::Closed), "{closed}");
    }

    #[test]
    fn a_task_that_would_wait_too_long_is_refused() {
        let pool = Pool::new("unified-read-pool", 1, 100, 0).unwrap();
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let slow = || async {
            std::thread::sleep(Duration::from_millis(20));
            Ok(())
        };
        futures::executor::block_on(pool.spawn_handle(slow()).unwrap()).unwrap();
        assert!(pool.check_busy_threshold(Duration::from_millis(1)).is_ok(), "no task waits");
        let blocks = async move {
            // Keep the only thread busy until the queue was inspected.
            let _ = wait.recv_timeout(Duration::from_secs(30));
            Ok(())
        };
        let blocked = pool.spawn_handle(blocks).unwrap();
        let queued: Vec<_> = (0..3).map(|_| pool.spawn_handle(slow()).unwrap()).collect();
        let busy = pool.check_busy_threshold(Duration::from_millis(5)).unwrap_err();
        let busy = crate::extract_region_error_from_error(&busy).unwrap().server_is_busy.unwrap();
        assert_eq!(busy.reason, "estimated wait time exceeds threshold");
        assert!(busy.estimated_wait_ms >= 40, "two or three tasks of 20 ms: {busy:?}");
        assert!(pool.check_busy_threshold(Duration::ZERO).is_ok(), "this client waits");
        assert!(pool.check_busy_threshold(Duration::from_secs(3600)).is_ok());
        release.send(()).unwrap();
        futures::executor::block_on(blocked).unwrap();
        queued.into_iter().for_each(|task| futures::executor::block_on(task).unwrap());
    }
}
