//! Store writers: threads that append the entries of many peers to raft-engine with one fsync.
//!
//! Mirrors `raftstore::store::async_io::write`.
use std::thread::{self, JoinHandle};

use crossbeam::channel::{Receiver, Sender, unbounded};

use super::write_task::WriteTask;
use crate::{
    RaftRouter, Result,
    store::{
        config::Config,
        engines::Engines,
        latency_inspect::LatencyInspector,
        msg::{PeerMsg, PersistedMsg},
        run::{runs, stamp_run},
        write_tracker::RaftDbTimes,
    },
};

enum WriteMsg {
    Task(Box<WriteTask>),
    LatencyInspect(LatencyInspector),
    Stop,
}

/// Senders to the store writers. All tasks of a peer go to one writer, which keeps their order.
#[derive(Clone)]
pub struct WriteSenders {
    senders: Vec<Sender<WriteMsg>>,
}

impl WriteSenders {
    /// Queues a task.
    pub fn send(&self, task: WriteTask) {
        let writer = (task.region_id % self.senders.len() as u64) as usize;
        // A writer ends only at shutdown.
        let _ = self.senders[writer].send(WriteMsg::Task(Box::new(task)));
    }

    /// Queues an inspection at the first writer, as in TiKV.
    pub fn inspect(&self, inspector: LatencyInspector) {
        let _ = self.senders[0].send(WriteMsg::LatencyInspect(inspector));
    }
}

/// Threads `store-writer-{n}`. TiKV: `StoreWriters`.
pub struct StoreWriters {
    senders: WriteSenders,
    handles: Vec<JoinHandle<()>>,
}

impl StoreWriters {
    /// Starts the writers.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn spawn(config: &Config, engines: &Engines, router: &RaftRouter) -> Result<Self> {
        let (mut senders, mut handles) = (Vec::new(), Vec::new());
        for n in 0..config.store_io_pool_size.max(1) {
            let (tx, receiver) = unbounded();
            let mut worker = Worker {
                receiver,
                engines: engines.clone(),
                router: router.clone(),
                size_limit: config.raft_write_size_limit.0 as usize,
                tasks: Vec::new(),
                inspectors: Vec::new(),
            };
            let name = format!("store-writer-{n}");
            let store = router.store_id();
            handles.push(thread::Builder::new().name(name.clone()).spawn(move || {
                tracepoints::register_thread(&name, store);
                worker.run();
            })?);
            senders.push(tx);
        }
        Ok(Self { senders: WriteSenders { senders }, handles })
    }

    /// Returns senders to the writers.
    pub fn senders(&self) -> WriteSenders {
        self.senders.clone()
    }

    /// Writes all queued tasks and ends the threads.
    pub fn shutdown(&mut self) {
        for sender in &self.senders.senders {
            let _ = sender.send(WriteMsg::Stop);
        }
        for handle in self.handles.drain(..) {
            if handle.join().is_err() {
                log::error!("a store writer thread panicked");
            }
        }
    }
}

struct Worker {
    receiver: Receiver<WriteMsg>,
    engines: Engines,
    router: RaftRouter,
    size_limit: usize,
    tasks: Vec<WriteTask>,
    /// Inspections that end with this batch.
    inspectors: Vec<LatencyInspector>,
}

impl Worker {
    fn run(&mut self) {
        let mut running = true;
        while running {
            running = self.collect();
            if self.tasks.is_empty() {
                self.clear_latency_inspect();
                continue;
            }
            match self.write_to_db() {
                Ok(raft_db) => {
                    self.clear_latency_inspect();
                    self.notify(raft_db);
                }
                Err(err) => {
                    // Nothing was acknowledged yet; continuing could acknowledge entries that are not on disk.
                    self.router.stop_store(&format!("cannot write the Raft log: {err}"));
                    return;
                }
            }
            tracepoints::label::clear();
        }
    }

    /// Waits for a task, then takes queued tasks up to the size limit. Returns false for the last batch.
    fn collect(&mut self) -> bool {
        let Ok(mut next) = self.receiver.recv() else { return false };
        let mut size = 0;
        loop {
            match next {
                WriteMsg::Stop => return false,
                WriteMsg::LatencyInspect(inspector) => self.inspectors.push(inspector),
                WriteMsg::Task(task) => {
                    size += task.entries.iter().map(|e| e.data.len()).sum::<usize>();
                    self.tasks.push(*task);
                }
            }
            if size >= self.size_limit {
                return true;
            }
            match self.receiver.try_recv() {
                Ok(msg) => next = msg,
                Err(_) => return true,
            }
        }
    }

    fn write_to_db(&mut self) -> Result<RaftDbTimes> {
        for task in &self.tasks {
            runs(task.region_id, &task.entries)
                .for_each(|run| stamp_run!(step_thread, RAFT_WRITE_BEGIN, run));
        }
        // Counters of earlier work on this thread belong to no task.
        let _ = RaftDbTimes::take();
        let mut batch = self.engines.raft.log_batch(self.tasks.len() * 2);
        for task in &mut self.tasks {
            // Write region states first: after a crash they determine the log's state.
            if let Some(kv_wb) = &mut task.kv_wb {
                kv_wb.write_opt(true)?;
            }
            if task.clean_log {
                batch.clean(task.region_id);
            }
            batch.append(task.region_id, task.entries.clone())?;
            if let Some(state) = &task.raft_state {
                batch.put_raft_state(task.region_id, state)?;
            }
        }
        if !batch.is_empty() {
            self.engines.raft.consume(&mut batch, true)?;
        }
        let raft_db = RaftDbTimes::take();
        for task in &self.tasks {
            runs(task.region_id, &task.entries).for_each(|run| stamp_run!(step_thread, RAFT_WRITE_END, run));
        }
        Ok(raft_db)
    }

    fn clear_latency_inspect(&mut self) {
        self.inspectors.drain(..).for_each(LatencyInspector::finish);
    }

    fn notify(&mut self, raft_db: RaftDbTimes) {
        for task in self.tasks.drain(..) {
            let msg = PersistedMsg { peer_id: task.peer_id, ready_number: task.ready_number, raft_db };
            // The peer may have been destroyed since.
            let _ = self.router.send_peer(task.region_id, PeerMsg::Persisted(msg));
        }
    }
}
