//! Snapshots between stores: `SnapshotChunk`s of 1 MiB on a stream of their own (TiKV `src/server/snap.rs`).
use kvproto::{
    raft_serverpb::{RaftMessage, SnapshotChunk},
    tikvpb::tikv_client::TikvClient,
};
use raftstore::store::{ReceivingSnapshot, SendingSnapshot, SnapKey, SnapManager};
use tokio::{sync::mpsc, task::spawn_blocking};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::{
    config::ServerConfig,
    connection::{Options, connect},
    limit::ResizableSemaphore,
    resolve::Resolver,
};

/// Number of chunks that are read before the network has taken them.
const CHUNKS_AHEAD: usize = 4;

/// Reasons why a snapshot was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("{0}")]
    Resolve(#[from] crate::resolve::ResolveError),
    #[error("{0}")]
    Snapshot(#[from] raftstore::store::SnapError),
    #[error("{0}")]
    Connect(String),
    #[error("the other store refused it: {}", .0.message())]
    Refused(#[from] Status),
    #[error("the message carries no snapshot")]
    NoSnapshot,
    #[error("this store is shutting down")]
    Closed,
}

fn key_of(
    message: &RaftMessage,
) -> Option<Result<(SnapKey, kvproto::raft_serverpb::RaftSnapshotData), raftstore::store::SnapError>> {
    message.message.as_ref()?.snapshot.as_ref().map(SnapKey::from_wire)
}

/// Sends generated snapshots.
#[derive(Clone)]
pub struct SnapSender {
    manager: SnapManager,
    limit: ResizableSemaphore,
    options: Options,
}

impl SnapSender {
    pub fn new(manager: SnapManager, config: &ServerConfig, options: Options) -> Self {
        Self { manager, limit: ResizableSemaphore::new(config.concurrent_send_snap_limit), options }
    }

    /// Returns the limit of snapshots sent at once.
    pub fn limit(&self) -> &ResizableSemaphore {
        &self.limit
    }

    /// Sends the message and its files. Returns when the other store has received everything.
    pub async fn send(&self, resolver: &Resolver, message: RaftMessage) -> Result<(), SendError> {
        let _turn = self.limit.acquire().await.map_err(|_| SendError::Closed)?;
        let (key, _) = key_of(&message).ok_or(SendError::NoSnapshot)??;
        let snapshot = self.manager.get_snapshot_for_sending(&key)?;
        let bytes = snapshot.total_size();
        let address = resolver.resolve(message.to_peer.unwrap_or_default().store_id).await?;
        let channel = connect(&address, &self.options).await.map_err(SendError::Connect)?;
        let (chunks, stream) = mpsc::channel(CHUNKS_AHEAD);
        let reader = spawn_blocking(move || read_chunks(message, snapshot, &chunks));
        self.options.compress(TikvClient::new(channel)).snapshot(ReceiverStream::new(stream)).await?;
        // Waits for the reader, so that the snapshot is deregistered before it is deleted.
        let _ = reader.await;
        log::info!("snapshot {key} sent to {address}: {bytes} bytes");
        self.manager.delete_snapshot(&key, true)?;
        Ok(())
    }
}

/// A read error ends the stream early; the receiver then notices the missing bytes and refuses.
fn read_chunks(message: RaftMessage, mut snapshot: SendingSnapshot, chunks: &mpsc::Sender<SnapshotChunk>) {
    let head = SnapshotChunk { message: Some(message), data: Vec::new() };
    if chunks.blocking_send(head).is_err() {
        return;
    }
    loop {
        match snapshot.next_chunk() {
            Ok(Some(data)) => {
                if chunks.blocking_send(SnapshotChunk { message: None, data }).is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(e) => return log::warn!("cannot read snapshot {}: {e}", snapshot.key()),
        }
    }
}

/// Receives snapshots.
#[derive(Clone)]
pub struct SnapReceiver {
    manager: SnapManager,
    limit: ResizableSemaphore,
}

impl SnapReceiver {
    pub fn new(manager: SnapManager, config: &ServerConfig) -> Self {
        Self { manager, limit: ResizableSemaphore::new(config.concurrent_recv_snap_limit) }
    }

    /// Returns the limit of snapshots received at once.
    pub fn limit(&self) -> &ResizableSemaphore {
        &self.limit
    }

    /// Receives a snapshot; returns Raft's message once all files are on disk.
    pub async fn receive(&self, mut chunks: Streaming<SnapshotChunk>) -> Result<RaftMessage, Status> {
        let busy = || {
            Status::resource_exhausted(
                "this store already receives its maximum number of snapshots; try again later",
            )
        };
        let _turn = self.limit.try_acquire().map_err(|_| busy())?;
        let first = chunks.message().await?.and_then(|chunk| chunk.message);
        let no_message = || Status::invalid_argument("expected a Raft message in the first chunk");
        let message = first.ok_or_else(no_message)?;
        let (key, data) = key_of(&message).ok_or_else(no_message)?.map_err(refuse)?;
        let meta = data.meta.unwrap_or_default();
        let mut snapshot = self.manager.get_snapshot_for_receiving(&key, meta).map_err(refuse)?;
        while let Some(chunk) = chunks.message().await? {
            snapshot = write(snapshot, chunk.data).await?;
        }
        spawn_blocking(move || snapshot.finish())
            .await
            .map_err(|e| Status::internal(e.to_string()))?
            .map_err(refuse)?;
        log::info!("snapshot {key} received");
        Ok(message)
    }
}

async fn write(mut snapshot: ReceivingSnapshot, data: Vec<u8>) -> Result<ReceivingSnapshot, Status> {
    let written = spawn_blocking(move || snapshot.write(&data).map(|()| snapshot)).await;
    written.map_err(|e| Status::internal(e.to_string()))?.map_err(refuse)
}

fn refuse(error: raftstore::store::SnapError) -> Status {
    Status::internal(error.to_string())
}
