//! The region heartbeat stream: sends reports, receives operators, and reopens after PD was unreachable.
use std::{sync::Arc, time::Duration};

use kvproto::pdpb::{RegionHeartbeatRequest, RegionHeartbeatResponse};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    connection::Connection,
    error::{Error, Result, check_header},
    request_header,
};

/// Maximum number of queued heartbeats. A region whose heartbeat is lost reports again at its next tick.
const PENDING: usize = 4096;
const REOPEN_PAUSE: Duration = Duration::from_millis(200);
const SEARCH: Duration = Duration::from_secs(2);

/// A store's reaction to PD's messages.
pub trait HeartbeatHandler: Send + Sync + 'static {
    /// Handles a step that PD asks of a region's leader on this store.
    fn on_response(&self, response: RegionHeartbeatResponse);

    /// Called when the stream is open again after a loss: PD may have missed reports (TiKV
    /// `PdClient::handle_reconnect`).
    fn on_reconnect(&self) {}
}

impl<F: Fn(RegionHeartbeatResponse) + Send + Sync + 'static> HeartbeatHandler for F {
    fn on_response(&self, response: RegionHeartbeatResponse) {
        self(response);
    }
}

/// Sends region heartbeats; the stream ends when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct RegionHeartbeats {
    cluster_id: u64,
    reports: Sender<RegionHeartbeatRequest>,
}

impl RegionHeartbeats {
    /// Starts the stream on the current tokio runtime.
    pub(super) fn start(connection: Arc<Connection>, handler: Arc<dyn HeartbeatHandler>) -> RegionHeartbeats {
        let (reports, queue) = mpsc::channel(PENDING);
        let cluster_id = connection.cluster_id;
        tokio::spawn(run(connection, handler, queue));
        RegionHeartbeats { cluster_id, reports }
    }

    /// Queues a report without waiting. Returns `false` if the report is lost: the queue is full or its
    /// runtime is gone.
    pub fn send(&self, mut report: RegionHeartbeatRequest) -> bool {
        report.header = request_header(self.cluster_id);
        self.reports.try_send(report).is_ok()
    }
}

async fn run(
    connection: Arc<Connection>,
    handler: Arc<dyn HeartbeatHandler>,
    mut queue: Receiver<RegionHeartbeatRequest>,
) {
    let mut opened_before = false;
    // Opens a stream only when there is a report to send.
    while let Some(first) = queue.recv().await {
        let (_, generation) = connection.current();
        let ended = one_stream(&connection, &*handler, &mut queue, first, opened_before).await;
        opened_before = true;
        let Err(e) = ended else { return };
        log::warn!("the region heartbeat stream to PD ended: {e}; opening it again");
        tokio::time::sleep(REOPEN_PAUSE).await;
        if let Err(e) = connection.reconnect(generation, SEARCH).await {
            log::warn!("cannot reach PD: {e}");
        }
        handler.on_reconnect();
    }
}

/// Serves one stream; returns `Ok` when there will be no more reports.
async fn one_stream(
    connection: &Connection,
    handler: &dyn HeartbeatHandler,
    queue: &mut Receiver<RegionHeartbeatRequest>,
    first: RegionHeartbeatRequest,
    again: bool,
) -> Result<()> {
    let (sender, receiver) = mpsc::channel(PENDING);
    let closed = || Error::from(tonic::Status::unavailable("the region heartbeat stream is closed"));
    sender.send(first).await.map_err(|_| closed())?;
    let mut grpc = connection.current().0;
    let mut responses = grpc.region_heartbeat(ReceiverStream::new(receiver)).await?.into_inner();
    if again {
        log::info!("the region heartbeat stream to PD is open again");
    }
    loop {
        tokio::select! {
            report = queue.recv() => match report {
                Some(report) => sender.send(report).await.map_err(|_| closed())?,
                None => return Ok(()),
            },
            response = responses.message() => {
                let response = response?.ok_or_else(closed)?;
                match check_header(response.header.as_ref()) {
                    Ok(()) => handler.on_response(response),
                    Err(e) => log::warn!("PD answers the heartbeat of region {} with an error: {e}", response.region_id),
                }
            }
        }
    }
}
