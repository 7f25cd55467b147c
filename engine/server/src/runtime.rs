//! tokio runtimes whose threads have TiKV's names and are registered for stamps.
use std::{
    future::Future,
    io,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use tokio::{
    runtime::{self, Handle, Runtime},
    task::{Builder, JoinHandle},
};

/// Threads that could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start {name}: {error}")]
pub struct ThreadsError {
    /// Name of the threads, or of what needs them.
    pub name: &'static str,
    /// Reason that the system gives.
    pub error: io::Error,
}

/// Builds a runtime with threads `{name}-{n}` of one store (0: not known yet).
pub fn build(name: &'static str, threads: usize, store_id: u64) -> Result<Runtime, ThreadsError> {
    let next = AtomicUsize::new(0);
    runtime::Builder::new_multi_thread()
        .worker_threads(threads.max(1))
        .max_blocking_threads(16)
        .thread_name_fn(move || format!("{name}-{}", next.fetch_add(1, Ordering::Relaxed)))
        .on_thread_start(move || {
            tracepoints::register_thread(thread::current().name().unwrap_or(name), store_id)
        })
        .enable_all()
        .build()
        .map_err(|error| ThreadsError { name, error })
}

/// Spawns a task with a name that tokio-console shows.
pub fn spawn<F>(on: &Handle, name: &'static str, task: F) -> Option<JoinHandle<F::Output>>
where
    F: Future<Output: Send> + Send + 'static,
{
    let spawned = Builder::new().name(name).spawn_on(task, on);
    spawned.inspect_err(|e| log::error!("cannot spawn the task {name}: {e}")).ok()
}

/// Stops a runtime, on a thread of its own: tokio forbids waiting for one runtime inside another.
pub fn stop(runtime: Runtime, patience: Duration) {
    let stopper =
        thread::Builder::new().name("runtime-stop".into()).spawn(move || runtime.shutdown_timeout(patience));
    match stopper.map(thread::JoinHandle::join) {
        Ok(Ok(())) => {}
        Ok(Err(_)) => log::error!("stopping a runtime panicked"),
        Err(e) => log::error!("cannot start a thread to stop a runtime: {e}"),
    }
}
