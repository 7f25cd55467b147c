//! Background workers: threads that take tasks from a channel.
pub mod consistency_check;
pub mod pd;
pub mod raftlog_gc;
pub mod read;
pub mod region;
pub mod split_check;

use std::thread::{self, JoinHandle};

use crossbeam::channel::{Sender, unbounded};

/// Sends tasks to a worker's threads. TiKV: `tikv_util::worker::Scheduler`.
pub struct Scheduler<T> {
    sender: Sender<Option<T>>,
}

impl<T> Clone for Scheduler<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone() }
    }
}

impl<T> Scheduler<T> {
    /// Queues a task; drops it after shutdown.
    pub fn schedule(&self, task: T) {
        let _ = self.sender.send(Some(task));
    }
}

/// Threads that run the tasks of a [`Scheduler`].
pub struct Worker<T> {
    scheduler: Scheduler<T>,
    handles: Vec<JoinHandle<()>>,
}

impl<T: Send + 'static> Worker<T> {
    /// Starts `threads` threads, each with its own runner.
    pub fn spawn<R: FnMut(T) + Send + 'static>(
        name: &str,
        store_id: u64,
        threads: usize,
        mut make_runner: impl FnMut() -> R,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = unbounded::<Option<T>>();
        let mut handles = Vec::new();
        for n in 0..threads.max(1) {
            let name = format!("{name}-{n}");
            let (receiver, mut run) = (receiver.clone(), make_runner());
            handles.push(thread::Builder::new().name(name.clone()).spawn(move || {
                tracepoints::register_thread(&name, store_id);
                while let Ok(Some(task)) = receiver.recv() {
                    run(task);
                    tracepoints::label::clear();
                }
            })?);
        }
        Ok(Self { scheduler: Scheduler { sender }, handles })
    }

    /// Returns the sender of tasks.
    pub fn scheduler(&self) -> Scheduler<T> {
        self.scheduler.clone()
    }

    /// Runs the queued tasks, then ends the threads.
    pub fn shutdown(&mut self) {
        for _ in &self.handles {
            let _ = self.scheduler.sender.send(None);
        }
        for handle in self.handles.drain(..) {
            if handle.join().is_err() {
                log::error!("a background worker thread panicked");
            }
        }
    }
}
