//! The heartbeat streams by store: PD sends operators without waiting for a heartbeat.
use std::collections::HashMap;

use kvproto::pdpb::RegionHeartbeatResponse;
use tokio::sync::mpsc::Sender;
use tonic::Status;

pub type ResponseSender = Sender<Result<RegionHeartbeatResponse, Status>>;

#[derive(Default)]
pub struct HeartbeatStreams(HashMap<u64, ResponseSender>);

impl HeartbeatStreams {
    /// Notes the stream of the store's latest heartbeat.
    pub fn bind(&mut self, store_id: u64, stream: &ResponseSender) {
        if self.0.get(&store_id).is_none_or(|bound| !bound.same_channel(stream)) {
            self.0.insert(store_id, stream.clone());
        }
    }

    pub fn unbind(&mut self, stream: &ResponseSender) {
        self.0.retain(|_, bound| !bound.same_channel(stream));
    }

    /// Sends to a store. A full or closed stream loses the message; the next heartbeat sends it again.
    pub fn send(&mut self, store_id: u64, response: RegionHeartbeatResponse) -> bool {
        self.0.get(&store_id).is_some_and(|stream| stream.try_send(Ok(response)).is_ok())
    }
}
