//! The unified read pool: threads that run reads.
//!
//! Mirrors `src/read_pool.rs`; a tokio runtime stands where TiKV has yatp.
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::oneshot,
};
use tracepoints::label::labelled;

use crate::errors::{Error, ErrorInner, Result};

/// Threads named `{prefix}-{n}`, registered for stamps of one store.
pub struct Pool {
    prefix: &'static str,
    handle: Handle,
    /// Taken on shutdown: dropping a runtime inside of another would block.
    runtime: Mutex<Option<Runtime>>,
    running: Arc<AtomicUsize>,
    max_tasks: AtomicUsize,
}

impl Pool {
    /// # Errors
    /// Where the operating system gives no threads.
    pub fn set_max_tasks(&self, tasks: usize) {
        self.max_tasks.store(tasks, Ordering::Relaxed);
    }

    pub fn new(prefix: &'static str, threads: usize, max_tasks: usize, store_id: u64) -> Result<Self> {
        let next = AtomicUsize::new(0);
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name_fn(move || format!("{prefix}-{}", next.fetch_add(1, Ordering::Relaxed)))
            .on_thread_start(move || {
                let thread = std::thread::current();
                tracepoints::register_thread(thread.name().unwrap_or(prefix), store_id);
            })
            .enable_time()
            .build()
            .map_err(|e| Error::other(format!("cannot start the {threads} threads of {prefix}: {e}")))?;
        let handle = runtime.handle().clone();
        let running = Arc::default();
        Ok(Self {
            prefix,
            handle,
            runtime: Mutex::new(Some(runtime)),
            running,
            max_tasks: AtomicUsize::new(max_tasks),
        })
    }

    /// Lets a thread of the pool run `f`.
    pub fn spawn(&self, f: impl Future<Output = ()> + Send + 'static) {
        self.spawn_named(labelled(f));
    }

    /// Under the pool's name, which tokio-console shows.
    fn spawn_named(&self, f: impl Future<Output = ()> + Send + 'static) {
        let spawned = tokio::task::Builder::new().name(self.prefix).spawn_on(f, &self.handle);
        if let Err(e) = spawned {
            log::error!("{}: a task is not spawned: {e}", self.prefix);
        }
    }

    /// Lets a thread of the pool run `f` and hands back its result.
    ///
    /// # Errors
    /// `SchedTooBusy` where too many tasks run already, `Closed` where the pool is shut down.
    pub fn spawn_handle<T, F>(&self, f: F) -> Result<impl Future<Output = Result<T>> + use<T, F>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let running = Running::enter(&self.running);
        if running.0.load(Ordering::Relaxed) > self.max_tasks.load(Ordering::Relaxed) {
            return Err(ErrorInner::SchedTooBusy.into());
        }
        let (tx, rx) = oneshot::channel();
        let task = labelled(async move {
            let result = f.await;
            drop(running);
            // The client may have gone.
            let _ = tx.send(result);
        });
        self.spawn_named(task);
        Ok(async { rx.await.unwrap_or_else(|_| Err(ErrorInner::Closed.into())) })
    }

    /// Drops all tasks at their next wait; returns at once.
    pub fn shutdown(&self) {
        if let Some(runtime) = self.runtime.lock().take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// Counts a task while it lives.
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
    use std::time::Duration;

    use super::*;

    #[test]
    fn tasks_run_on_named_threads_and_a_closed_pool_says_so() {
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
    fn a_full_pool_turns_reads_away() {
        let pool = Pool::new("unified-read-pool", 1, 1, 0).unwrap();
        let (release, wait) = oneshot::channel::<()>();
        let first = pool.spawn_handle(async { Ok(wait.await.is_ok()) }).unwrap();
        let second = pool.spawn_handle(async { Ok(()) });
        assert!(matches!(second.map(|_| ()).map_err(|e| *e.0), Err(ErrorInner::SchedTooBusy)));
        release.send(()).unwrap();
        assert!(futures::executor::block_on(first).unwrap());
        assert!(futures::executor::block_on(pool.spawn_handle(async { Ok(()) }).unwrap()).is_ok());
    }
}
