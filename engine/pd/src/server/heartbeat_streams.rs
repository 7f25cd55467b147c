//! Which stream leads to which store, so that PD can send an operator without waiting for a heartbeat.

use std::collections::HashMap;

use kvproto::pdpb::RegionHeartbeatResponse;
use tokio::sync::mpsc::Sender;
use tonic::Status;

pub type ResponseSender = Sender<Result<RegionHeartbeatResponse, Status>>;

#[derive(Default)]
pub struct HeartbeatStreams(HashMap<u64, ResponseSender>);

impl HeartbeatStreams {
    /// The stream that the store's latest heartbeat came by.
    pub fn bind(&mut self, store_id: u64, stream: &ResponseSender) {
        if self.0.get(&store_id).is_none_or(|bound| !bound.same_channel(stream)) {
            self.0.insert(store_id, stream.clone());
        }
    }

    pub fn unbind(&mut self, stream: &ResponseSender) {
        self.0.retain(|_, bound| !bound.same_channel(stream));
    }

    /// Sends to a store. A stream that is full or gone loses the message: the next heartbeat brings it again.
    pub fn send(&mut self, store_id: u64, response: RegionHeartbeatResponse) -> bool {
        self.0.get(&store_id).is_some_and(|stream| stream.try_send(Ok(response)).is_ok())
    }
}
