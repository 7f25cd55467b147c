//! Gets timestamps over one stream that stays open.
use std::time::Duration;

use futures::StreamExt;
use kvproto::pdpb::{Timestamp, TsoRequest, TsoResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{
    CALLER_ID,
    connection::Connection,
    error::{Error, Result, check_header},
    request_header,
};

/// The open stream; one caller uses it at a time.
#[derive(Default)]
pub struct TsoStream(tokio::sync::Mutex<Option<Open>>);

struct Open {
    requests: mpsc::Sender<TsoRequest>,
    responses: Streaming<TsoResponse>,
}

impl TsoStream {
    /// Returns the largest of `count` new timestamps; fails after `wait`.
    pub async fn get(&self, connection: &Connection, count: u32, wait: Duration) -> Result<Timestamp> {
        let mut open = self.0.lock().await;
        let asked = async {
            let stream = match open.as_mut() {
                Some(stream) => stream,
                None => open.insert(Open::start(connection).await?),
            };
            stream.ask(connection.cluster_id, count).await
        };
        let answer = tokio::time::timeout(wait, asked).await;
        let answer = answer.unwrap_or(Err(Error::Timeout { what: "Tso", waited: wait }));
        if answer.is_err() {
            // A late answer must not be taken for the next caller's.
            *open = None;
        }
        answer
    }
}

impl Open {
    async fn start(connection: &Connection) -> Result<Open> {
        let (requests, receiver) = mpsc::channel(1);
        let mut grpc = connection.current().0;
        let responses = grpc.tso(ReceiverStream::new(receiver)).await?.into_inner();
        Ok(Open { requests, responses })
    }

    async fn ask(&mut self, cluster_id: u64, count: u32) -> Result<Timestamp> {
        let mut header = request_header(cluster_id);
        header.iter_mut().for_each(|header| header.caller_id = CALLER_ID.into());
        let request = TsoRequest { header, count, ..Default::default() };
        let closed = || Error::from(tonic::Status::unavailable("the Tso stream is closed"));
        self.requests.send(request).await.map_err(|_| closed())?;
        let response = self.responses.next().await.ok_or_else(closed)??;
        check_header(response.header.as_ref())?;
        response.timestamp.ok_or(Error::Incomplete { what: "Tso", missing: "a timestamp" })
    }
}
