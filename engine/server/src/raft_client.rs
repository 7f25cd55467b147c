//! Sends Raft messages to other stores over gRPC, one connection per store (TiKV
//! `src/server/raft_client.rs`).
//!
//! A message is lost when its store's queue is full or its connection breaks. The sending peer then gets a
//! report that the other peer is unreachable, and Raft sends again.
use std::{
    collections::HashSet,
    sync::{Arc, OnceLock, atomic::Ordering},
    time::Duration,
};

use dashmap::DashMap;
use kvproto::{
    eraftpb::MessageType,
    raft_serverpb::RaftMessage,
    tikvpb::{BatchRaftMessage, tikv_client::TikvClient},
};
use raft::SnapshotStatus;
use raftstore::{RaftRouter, store::Transport};
use tokio::{runtime::Handle, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tracepoints::EngineClock;

use crate::{
    connection::{Options, connect, root_cause},
    net_faults::{MessageFate, NetFaults},
    resolve::Resolver,
    runtime,
    snap::SnapSender,
};

struct Inner {
    store_id: u64,
    queues: DashMap<u64, mpsc::Sender<RaftMessage>>,
    runtime: Handle,
    resolver: Resolver,
    faults: NetFaults,
    options: Options,
    snapshots: SnapSender,
    /// Set once the RaftStore exists; the RaftStore needs this client first.
    router: OnceLock<RaftRouter>,
}

/// The transport of one store; clones share its connections.
#[derive(Clone)]
pub struct RaftClient(Arc<Inner>);

impl RaftClient {
    /// Connections live on `runtime`.
    pub fn new(
        store_id: u64,
        runtime: Handle,
        resolver: Resolver,
        faults: NetFaults,
        options: Options,
        snapshots: SnapSender,
    ) -> Self {
        let inner = Inner {
            store_id,
            queues: DashMap::new(),
            runtime,
            resolver,
            faults,
            options,
            snapshots,
            router: OnceLock::new(),
        };
        Self(Arc::new(inner))
    }

    /// Sets the router that gets reports of lost messages. Only the first call has an effect.
    pub fn set_router(&self, router: RaftRouter) {
        let _ = self.0.router.set(router);
    }

    fn push(&self, message: RaftMessage) -> raftstore::Result<()> {
        if kind(&message) == MessageType::MsgSnapshot as i32 {
            return self.send_snapshot(message);
        }
        let to = to_store(&message);
        let sent = self.queue(to).try_send(message);
        sent.map_err(|e| {
            let reason = match &e {
                mpsc::error::TrySendError::Full(_) => "its queue is full",
                mpsc::error::TrySendError::Closed(_) => "this store is shutting down",
            };
            raftstore::Error::Transport(format!("dropped a Raft message to store {to}: {reason}"))
        })
    }

    fn send_snapshot(&self, message: RaftMessage) -> raftstore::Result<()> {
        let inner = &self.0;
        let (resolver, sender) = (inner.resolver.clone(), inner.snapshots.clone());
        let router = inner.router.get().cloned();
        runtime::spawn(&inner.runtime, "snapshot-send", async move {
            let (region, to) = (message.region_id, message.to_peer.unwrap_or_default());
            let sent = sender.send(&resolver, message).await;
            if let Err(e) = &sent {
                log::warn!("region {region}: cannot send the snapshot to store {}: {e}", to.store_id);
            }
            if let Some(router) = router {
                let status = if sent.is_ok() { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
                // The peer may be gone by now.
                let _ = router.report_snapshot_status(region, to.id, status);
            }
        });
        Ok(())
    }

    fn queue(&self, to: u64) -> mpsc::Sender<RaftMessage> {
        if let Some(queue) = self.0.queues.get(&to) {
            return queue.clone();
        }
        let start = || {
            let (queue, received) = mpsc::channel(self.0.options.queue);
            runtime::spawn(&self.0.runtime, "raft-connection", connection(self.0.clone(), to, received));
            queue
        };
        self.0.queues.entry(to).or_insert_with(start).clone()
    }

    fn push_later(&self, message: RaftMessage, delay: Duration) {
        let (client, due) = (self.clone(), EngineClock::now() + delay);
        runtime::spawn(&self.0.runtime, "raft-delay", async move {
            loop {
                let left = due.saturating_since(EngineClock::now());
                if left.is_zero() {
                    break;
                }
                tokio::time::sleep(left.max(Duration::from_millis(1))).await;
            }
            if let Err(e) = client.push(message) {
                log::debug!("{e}");
            }
        });
    }
}

impl Transport for RaftClient {
    fn send(&mut self, message: RaftMessage) -> raftstore::Result<()> {
        match self.0.faults.fate(self.0.store_id, to_store(&message), kind(&message)) {
            MessageFate::Pass => self.push(message),
            MessageFate::Delay(delay) => {
                self.push_later(message, delay);
                Ok(())
            }
            MessageFate::Drop if kind(&message) == MessageType::MsgSnapshot as i32 => {
                Err(raftstore::Error::Transport("the network between the stores is cut by a fault".into()))
            }
            // As in a real partition, the sender does not learn of the loss.
            MessageFate::Drop => Ok(()),
        }
    }

    /// A queue wakes its connection itself.
    fn need_flush(&self) -> bool {
        false
    }

    fn flush(&mut self) {}
}

fn to_store(message: &RaftMessage) -> u64 {
    message.to_peer.as_ref().map_or(0, |p| p.store_id)
}

/// Returns the type of Raft's message; for messages without one (extra messages) that of a heartbeat.
fn kind(message: &RaftMessage) -> i32 {
    message.message.as_ref().map_or(MessageType::MsgHeartbeat as i32, |m| m.msg_type)
}

fn why_ended(ended: Result<(), tonic::Status>) -> String {
    match ended {
        Ok(()) => "the other store ended the stream".into(),
        Err(status) if std::error::Error::source(&status).is_none() => status.message().to_owned(),
        Err(status) => root_cause(&status),
    }
}

/// Keeps one store's connection until the runtime ends.
async fn connection(inner: Arc<Inner>, to: u64, mut messages: mpsc::Receiver<RaftMessage>) {
    let options = inner.options.clone();
    let mut backoff = options.first_backoff;
    let mut warned = false;
    loop {
        let (connected, end) = stream(&inner, to, &mut messages).await;
        let Err(e) = end else { return };
        if connected {
            (backoff, warned) = (options.first_backoff, false);
        }
        if !warned {
            log::warn!("store {}: dropping Raft messages to store {to}: {e}", inner.store_id);
            warned = true;
        }
        inner.resolver.forget(to);
        report_unreachable(&inner, &mut messages);
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(options.max_backoff);
    }
}

/// Streams until the connection breaks (`Err`) or all senders are gone.
/// Also returns whether it was connected.
async fn stream(
    inner: &Arc<Inner>,
    to: u64,
    messages: &mut mpsc::Receiver<RaftMessage>,
) -> (bool, Result<(), String>) {
    let channel = match inner.resolver.resolve(to).await {
        Ok(address) => connect(&address, &inner.options).await,
        Err(e) => Err(e.to_string()),
    };
    let channel = match channel {
        Ok(channel) => channel,
        Err(e) => return (false, Err(e)),
    };
    let (batches, outgoing) = mpsc::channel(16);
    let mut client = inner.options.compress(TikvClient::new(channel).max_encoding_message_size(usize::MAX));
    let call = client.batch_raft(ReceiverStream::new(outgoing));
    tokio::pin!(call);
    let mut buffer = Vec::new();
    loop {
        tokio::select! {
            ended = &mut call => return (true, Err(why_ended(ended.map(drop)))),
            n = messages.recv_many(&mut buffer, inner.options.batch().load(Ordering::Relaxed).max(1)) => {
                if n == 0 {
                    return (true, Ok(()));
                }
                let batch = BatchRaftMessage { msgs: std::mem::take(&mut buffer), last_observed_time: 0 };
                tokio::select! {
                    _ = batches.send(batch) => {}
                    ended = &mut call => return (true, Err(why_ended(ended.map(drop)))),
                }
            }
        }
    }
}

/// Drops the queued messages and reports each to the peer that sent it.
fn report_unreachable(inner: &Inner, messages: &mut mpsc::Receiver<RaftMessage>) {
    let mut peers = HashSet::new();
    while let Ok(message) = messages.try_recv() {
        peers.insert((message.region_id, message.to_peer.map_or(0, |p| p.id)));
    }
    if let Some(router) = inner.router.get() {
        for (region, peer) in peers {
            let _ = router.report_unreachable(region, peer);
        }
    }
}
