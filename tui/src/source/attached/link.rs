//! Connections to the processes of a cluster, and their streams of steps.
use std::time::Duration;

use anyhow::Result;
use kvproto::tracecontrol::{
    ContinueRequest, GatesRequest, StatusReply, StatusRequest, StepEvent, SubscribeRequest,
    trace_control_client::TraceControlClient,
};
use security::SecurityManager;
use tokio::{sync::mpsc::UnboundedSender, task::AbortHandle};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use super::connection::{endpoint, refused, unreachable};

/// A connection to one process of the cluster.
pub(super) struct Link {
    pub(super) server: String,
    pub(super) store: u64,
    process: u64,
    client: TraceControlClient<Channel>,
    /// The task that reads the stream; None without a subscription.
    reader: Option<AbortHandle>,
}

/// A message of a stream, or its end.
pub(super) enum Heard {
    Event(StepEvent),
    Ended,
    Failed(Status),
}

impl Link {
    async fn connect(server: &str, endpoint: Endpoint, hint: &str) -> Result<(Self, StatusReply)> {
        let channel = endpoint.connect().await.map_err(|e| unreachable(server, &e, hint))?;
        let mut client = TraceControlClient::new(channel).max_decoding_message_size(64 << 20);
        // Asked first, because a stream fails without the service only at its first step.
        let status =
            client.status(StatusRequest {}).await.map_err(|s| refused(server, &s, hint))?.into_inner();
        let (store, process) = (status.store_id, status.process);
        Ok((Self { server: server.to_owned(), store, process, client, reader: None }, status))
    }

    /// Connects to the server and to the other processes of its cluster. `say` receives notes.
    ///
    /// # Errors
    /// If the server itself cannot be reached, or is not a server of this project.
    pub(super) async fn connect_all(
        server: &str,
        security: &SecurityManager,
        say: &dyn Fn(String),
    ) -> Result<Vec<Self>> {
        let (first, status) = Self::connect(server, endpoint(server, security)?, security.hint()).await?;
        let mut links = vec![first];
        for peer in &status.peers {
            let Ok(endpoint) = endpoint(peer, security) else { continue };
            match Self::connect(peer, endpoint, security.hint()).await {
                Ok((link, _)) if links.iter().any(|known| known.process == link.process) => {}
                Ok((link, _)) => links.push(link),
                // PD does not serve steps, and a stopped store has none.
                Err(e) => say(format!("no steps of {peer}: {e:#}")),
            }
        }
        Ok(links)
    }

    /// Subscribes, and sends the stream's messages with the number of this link; retries for 1 s while the
    /// previous session ends.
    pub(super) async fn subscribe(
        &mut self,
        request: &SubscribeRequest,
        number: usize,
        heard: UnboundedSender<(usize, Heard)>,
    ) -> Result<(), Status> {
        let mut tries = 5;
        let mut stream = loop {
            match self.client.subscribe(request.clone()).await {
                Err(status) if status.code() == tonic::Code::ResourceExhausted && tries > 0 => tries -= 1,
                other => break other?.into_inner(),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        let read = async move {
            loop {
                let message = match stream.message().await {
                    Ok(Some(event)) => Heard::Event(event),
                    Ok(None) => Heard::Ended,
                    Err(status) => Heard::Failed(status),
                };
                let last = !matches!(message, Heard::Event(_));
                // The receiver is gone at the end of the round.
                if heard.send((number, message)).is_err() || last {
                    return;
                }
            }
        };
        self.reader = Some(tokio::spawn(read).abort_handle());
        Ok(())
    }

    /// Ends the subscription: the server releases what it holds for it.
    pub(super) fn unsubscribe(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.abort();
        }
    }

    pub(super) fn is_subscribed(&self) -> bool {
        self.reader.is_some()
    }

    /// Number of requests that the subscription has adopted; `None` without an answer.
    pub(super) async fn adopted(&mut self) -> Option<u32> {
        Some(self.client.status(StatusRequest {}).await.ok()?.into_inner().adopted)
    }

    pub(super) async fn continues(&mut self, request: ContinueRequest) -> Result<(), Status> {
        self.client.r#continue(request).await.map(drop)
    }

    pub(super) async fn gates(&mut self, request: GatesRequest) -> Result<(), Status> {
        self.client.set_gates(request).await.map(drop)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.unsubscribe();
    }
}
