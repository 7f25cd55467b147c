//! The stream of a store to the leader of the deadlock detectors. Mirrors `src/server/lock_manager/client.rs`.
use kvproto::deadlock::{DeadlockRequest, deadlock_client::DeadlockClient};
use tokio::{runtime::Handle, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::waiter_scheduler::{Deadlock, Scheduler as WaiterMgrScheduler};
use crate::{
    connection::{Options, connect},
    runtime,
};

/// Maximum number of waits that are queued for the stream; further ones are dropped.
const QUEUE: usize = 4096;

/// An open stream, or one that is being opened. It ends when this is dropped.
pub struct Client {
    requests: mpsc::Sender<DeadlockRequest>,
}

impl Client {
    /// Opens the stream on the current runtime. Deadlocks go to the waiter manager.
    pub fn connect(address: String, options: Options, waiter_mgr: WaiterMgrScheduler) -> Self {
        let (requests, outgoing) = mpsc::channel(QUEUE);
        runtime::spawn(&Handle::current(), "deadlock-client", async move {
            if let Err(e) = stream(&address, &options, outgoing, &waiter_mgr).await {
                log::info!("the stream to the deadlock detector at {address} has ended: {e}");
            }
        });
        Self { requests }
    }

    /// Queues a request, or drops it if the queue is full. Returns false if the stream has ended.
    pub fn detect(&self, request: DeadlockRequest) -> bool {
        match self.requests.try_send(request) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                log::warn!("dropped a request to the deadlock detector: {QUEUE} wait for the stream");
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

async fn stream(
    address: &str,
    options: &Options,
    outgoing: mpsc::Receiver<DeadlockRequest>,
    waiter_mgr: &WaiterMgrScheduler,
) -> Result<(), String> {
    let channel = connect(address, options).await?;
    let call = DeadlockClient::new(channel).detect(ReceiverStream::new(outgoing)).await;
    let mut responses = call.map_err(|status| status.message().to_owned())?.into_inner();
    while let Some(found) = responses.message().await.map_err(|status| status.message().to_owned())? {
        let entry = found.entry.unwrap_or_default();
        waiter_mgr.deadlock(Deadlock::new(entry, found.deadlock_key_hash, found.wait_chain));
    }
    Ok(())
}
