//! OTLP over gRPC.
use tonic::{Code, Status, transport::Channel};

use super::{SendConfig, retry::Failure};
use crate::{
    ExportError,
    otlp::proto::{
        ExportTraceServiceRequest, ExportTraceServiceResponse, trace_service_client::TraceServiceClient,
    },
};

pub(super) struct Grpc(TraceServiceClient<Channel>);

impl Grpc {
    pub fn new(config: &SendConfig) -> Result<Self, ExportError> {
        let uri = format!("http://{}", config.endpoint.authority);
        let endpoint =
            Channel::from_shared(uri).map_err(|_| ExportError::Endpoint(config.endpoint.to_string()))?;
        let channel = endpoint.connect_timeout(config.timeout).timeout(config.timeout).connect_lazy();
        Ok(Self(TraceServiceClient::new(channel)))
    }

    pub async fn send(
        &mut self,
        message: &ExportTraceServiceRequest,
    ) -> Result<ExportTraceServiceResponse, Failure> {
        match self.0.export(message.clone()).await {
            Ok(reply) => Ok(reply.into_inner()),
            Err(status) => Err(failure(&status)),
        }
    }
}

/// Converts a status; OTLP defines the codes that may be retried.
fn failure(status: &Status) -> Failure {
    use Code::{Aborted, Cancelled, DataLoss, DeadlineExceeded, OutOfRange, ResourceExhausted, Unavailable};
    let passing =
        [Cancelled, DeadlineExceeded, Aborted, OutOfRange, Unavailable, DataLoss, ResourceExhausted];
    let mut what = format!("{:?}: {}", status.code(), status.message());
    let mut source = std::error::Error::source(status);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !what.contains(&cause_text) {
            what = format!("{what}: {cause_text}");
        }
        source = cause.source();
    }
    Failure { what, retry: passing.contains(&status.code()), after: None }
}
