//! OTLP over HTTP/1.1, as protobuf, with one connection at a time.
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response, StatusCode, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::TcpStream;

use super::{SendConfig, retry::Failure};
use crate::otlp::proto::{ExportTraceServiceRequest, ExportTraceServiceResponse};

/// Maximum number of bytes read of an answer.
const MAX_ANSWER: usize = 64 << 10;

pub(super) struct Http {
    authority: String,
    path: String,
    timeout: Duration,
    open: Option<http1::SendRequest<Full<Bytes>>>,
}

impl Http {
    pub fn new(config: &SendConfig) -> Self {
        let (authority, path) = (config.endpoint.authority.clone(), config.endpoint.path.clone());
        Self { authority, path, timeout: config.timeout, open: None }
    }

    pub async fn send(
        &mut self,
        message: &ExportTraceServiceRequest,
    ) -> Result<ExportTraceServiceResponse, Failure> {
        let body = Bytes::from(message.encode_to_vec());
        match tokio::time::timeout(self.timeout, self.attempt(body)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(failure)) => Err(failure),
            Err(_) => {
                self.open = None;
                Err(Failure::passing(format!("no answer within {:?}", self.timeout)))
            }
        }
    }

    async fn attempt(&mut self, body: Bytes) -> Result<ExportTraceServiceResponse, Failure> {
        // A connection with a failed request is not used again.
        let mut sender = match self.open.take().filter(|s| !s.is_closed()) {
            Some(sender) => sender,
            None => connect(&self.authority).await?,
        };
        sender.ready().await.map_err(|e| Failure::passing(e.to_string()))?;
        let request = Request::post(&self.path)
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .header(header::USER_AGENT, concat!("tracepoints/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .map_err(|e| Failure::final_one(e.to_string()))?;
        let response = sender.send_request(request).await.map_err(|e| Failure::passing(e.to_string()))?;
        let reply = answer(response).await?;
        self.open = Some(sender);
        Ok(reply)
    }
}

async fn connect(authority: &str) -> Result<http1::SendRequest<Full<Bytes>>, Failure> {
    let stream =
        TcpStream::connect(authority).await.map_err(|e| Failure::passing(format!("cannot connect: {e}")))?;
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|e| Failure::passing(e.to_string()))?;
    // The sender notices the end of the connection.
    tokio::spawn(connection);
    Ok(sender)
}

async fn answer(response: Response<Incoming>) -> Result<ExportTraceServiceResponse, Failure> {
    let status = response.status();
    let after = response.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    let body = body
        .map(|b| b.to_bytes())
        .map_err(|e| Failure::passing(format!("the answer ended too early: {e}")))?;
    if status.is_success() {
        // Some collectors answer with text; the status alone reports success.
        return Ok(ExportTraceServiceResponse::decode(body).unwrap_or_default());
    }
    let shown: String =
        String::from_utf8_lossy(&body).chars().filter(|c| !c.is_control()).take(200).collect();
    Err(Failure {
        what: format!("HTTP {status}: {shown}"),
        retry: [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ]
        .contains(&status),
        after: after.map(Duration::from_secs),
    })
}
