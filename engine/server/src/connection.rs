//! Connections to other stores: their settings, and how one is opened.
use std::{
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use kvproto::tikvpb::tikv_client::TikvClient;
use security::SecurityManager;
use tonic::{codec::CompressionEncoding, transport::Channel};

use crate::config::ServerConfig;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Settings of connections.
#[derive(Clone, Debug)]
pub struct Options {
    /// Maximum number of queued messages to one store.
    pub queue: usize,
    /// Maximum number of messages in one batch; can change online.
    batch: Arc<AtomicUsize>,
    /// Pause before the first attempt to connect again.
    pub first_backoff: Duration,
    /// Longest pause between two attempts.
    pub max_backoff: Duration,
    /// Time without traffic after which a ping is sent.
    pub keepalive_time: Duration,
    /// Time to wait for the answer to a ping.
    pub keepalive_timeout: Duration,
    compression: Option<CompressionEncoding>,
    /// Certificates of the connections.
    pub security: SecurityManager,
}

impl Options {
    /// Settings from `config`, with TLS if `security` asks for it.
    pub fn new(config: &ServerConfig, security: SecurityManager) -> Self {
        Self {
            queue: config.raft_client_queue_size,
            batch: Arc::new(AtomicUsize::new(config.raft_msg_max_batch_size)),
            first_backoff: config.raft_client_initial_reconnect_backoff.0,
            max_backoff: config.raft_client_max_backoff.0,
            keepalive_time: config.grpc_keepalive_time.0,
            keepalive_timeout: config.grpc_keepalive_timeout.0,
            compression: config.grpc_compression_type.encoding(),
            security,
        }
    }

    /// Compresses the client's messages if that is configured.
    pub fn compress(&self, client: TikvClient<Channel>) -> TikvClient<Channel> {
        match self.compression {
            Some(encoding) => client.send_compressed(encoding),
            None => client,
        }
    }

    /// Returns the shared maximum number of messages in one batch.
    pub fn batch(&self) -> &Arc<AtomicUsize> {
        &self.batch
    }
}

/// Opens a channel to a store's gRPC server.
///
/// # Errors
/// The text of the reason: an invalid address or certificate, or no answer.
pub async fn connect(address: &str, options: &Options) -> Result<Channel, String> {
    let endpoint = options.security.endpoint(address).map_err(|e| e.to_string())?;
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(options.keepalive_time)
        .keep_alive_timeout(options.keepalive_timeout)
        .initial_stream_window_size(2 << 20)
        .initial_connection_window_size(8 << 20)
        .connect()
        .await
        .map_err(|e| format!("cannot connect to {address}: {}", root_cause(&e)))
}

/// tonic's errors say only "transport error"; the innermost source has the reason.
pub fn root_cause(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
