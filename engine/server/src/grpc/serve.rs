//! Accepts connections and serves gRPC on them with hyper. tonic's own server would enforce `grpc-timeout` in
//! real time.
use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener as StdListener},
    sync::Arc,
    time::Duration,
};

use axum::{Router, response::Response};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use security::{Acceptor, Clients, Greeting, HANDSHAKE_TIMEOUT, Handshake};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::watch,
    task::JoinSet,
};
use tonic::Status;
use tracepoints::label::labelled;

use crate::runtime;

/// Error of opening a port.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be resolved.
    #[error("{what}: cannot resolve {addr}: {error}; expected HOST:PORT")]
    Resolve {
        /// The listening server, e.g. "gRPC server".
        what: &'static str,
        /// The address as given.
        addr: String,
        /// Reason that the system gives.
        error: io::Error,
    },
    /// Another program listens on the port.
    #[error(
        "{what}: {addr} is in use; stop the program that listens there (ss -ltnp), or choose another port ({flag})"
    )]
    InUse {
        /// The listening server, e.g. "gRPC server".
        what: &'static str,
        /// The address as given.
        addr: String,
        /// Option that sets the address.
        flag: &'static str,
    },
    /// The port cannot be opened.
    #[error("{what}: cannot listen on {addr}: {error}; choose an address of this host ({flag})")]
    Listen {
        /// The listening server, e.g. "gRPC server".
        what: &'static str,
        /// The address as given.
        addr: String,
        /// Option that sets the address.
        flag: &'static str,
        /// Reason that the system gives.
        error: io::Error,
    },
}

/// Listens on `addr`; `what` and `flag` name it in errors, e.g. "gRPC server" and "--addr".
pub fn bind(what: &'static str, flag: &'static str, addr: &str) -> Result<StdListener, BindError> {
    use std::net::ToSocketAddrs;
    let resolve = |error| BindError::Resolve { what, addr: addr.into(), error };
    let addrs: Vec<SocketAddr> = addr.to_socket_addrs().map_err(resolve)?.collect();
    let listen = || {
        let listener = StdListener::bind(addrs.as_slice())?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { what, addr: addr.into(), flag },
        _ => BindError::Listen { what, addr: addr.into(), flag, error },
    })
}

/// Limits of HTTP/2 connections.
#[derive(Clone, Debug)]
pub struct Http2Options {
    /// Maximum number of streams at once.
    pub concurrent_streams: u32,
    /// Window of a stream in bytes.
    pub stream_window: u32,
    /// Window of a connection in bytes.
    pub connection_window: u32,
    /// Time without traffic after which a ping is sent.
    pub keepalive_time: Duration,
    /// Time to wait for the answer to a ping.
    pub keepalive_timeout: Duration,
}

/// The services of a port and their TLS settings.
#[derive(Clone, Debug)]
pub struct Secured {
    /// The services.
    pub router: Router,
    /// None: without TLS.
    pub tls: Option<Arc<Acceptor>>,
}

/// A server that accepts connections on the current runtime until it is stopped or dropped.
#[derive(Debug)]
pub struct GrpcServer {
    stop: watch::Sender<bool>,
    done: tokio::task::JoinHandle<()>,
}

impl GrpcServer {
    /// Must be called within a tokio runtime.
    pub fn start(listener: StdListener, services: Secured, options: Http2Options) -> io::Result<Self> {
        let listener = TcpListener::from_std(listener)?;
        let (stop, stopped) = watch::channel(false);
        let accept = accept(listener, services, builder(&options), stopped);
        let done = tokio::task::Builder::new().name("grpc-accept").spawn(accept)?;
        Ok(Self { stop, done })
    }

    /// Stops accepting connections and requests, and waits at most `timeout` for those that run.
    pub async fn stop(mut self, timeout: Duration) {
        let _ = self.stop.send(true);
        if tokio::time::timeout(timeout, &mut self.done).await.is_err() {
            self.done.abort();
        }
    }
}

impl Drop for GrpcServer {
    fn drop(&mut self) {
        self.done.abort();
    }
}

/// Spawns each HTTP/2 stream as a task of its own that keeps its request's label.
#[derive(Clone, Copy, Debug)]
struct StreamExecutor;

impl<F> hyper::rt::Executor<F> for StreamExecutor
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        runtime::spawn(&Handle::current(), "grpc-request", labelled(stream));
    }
}

fn builder(options: &Http2Options) -> Builder<StreamExecutor> {
    let mut builder = Builder::new(StreamExecutor);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.concurrent_streams)
        .initial_stream_window_size(options.stream_window)
        .initial_connection_window_size(options.connection_window)
        .max_frame_size(1 << 20)
        .keep_alive_interval(options.keepalive_time)
        .keep_alive_timeout(options.keepalive_timeout);
    builder.http2_only()
}

async fn accept(
    listener: TcpListener,
    services: Secured,
    builder: Builder<StreamExecutor>,
    mut stopped: watch::Receiver<bool>,
) {
    let builder = Arc::new(builder);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = wait(&mut stopped) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Small replies must not wait for more to send.
                    let _ = stream.set_nodelay(true);
                    let connection = connection(stream, services.clone(), builder.clone(), stopped.clone());
                    if let Err(e) = connections.build_task().name("grpc-connection").spawn(connection) {
                        log::error!("cannot serve a connection: {e}");
                    }
                }
                Err(e) => {
                    log::warn!("gRPC server cannot accept a connection: {e}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Waits until the server must stop or was dropped.
async fn wait(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

async fn connection(
    stream: TcpStream,
    services: Secured,
    builder: Arc<Builder<StreamExecutor>>,
    mut stopped: watch::Receiver<bool>,
) {
    let Secured { router, tls: Some(tls) } = services else {
        return http2(stream, services.router, builder, stopped).await;
    };
    let shaken = tokio::select! {
        () = wait(&mut stopped) => return,
        shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)) => shaken,
    };
    match shaken {
        Ok(Ok((stream, Clients::Allowed))) => http2(stream, router, builder, stopped).await,
        Ok(Ok((stream, Clients::Forbidden(peer)))) => {
            log::warn!(
                "a client's calls are refused: cert-allowed-cn and cert-allowed-san do not allow {peer:?}"
            );
            http2(stream, Router::new().fallback(forbidden), builder, stopped).await;
        }
        Ok(Err(e)) => log::warn!("a TLS handshake failed: {e}"),
        Err(_) => log::warn!("a TLS handshake did not end within {HANDSHAKE_TIMEOUT:?}"),
    }
}

/// Answers a client whose certificate has none of the allowed names, with TiKV's text.
async fn forbidden() -> Response {
    Status::unauthenticated("Common name check fail").into_http()
}

async fn http2(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    builder: Arc<Builder<StreamExecutor>>,
    mut stopped: watch::Receiver<bool>,
) {
    let stream = TokioIo::new(Handshake::new(stream, Greeting::Http2, HANDSHAKE_TIMEOUT));
    let connection = builder.serve_connection(stream, TowerToHyperService::new(router));
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = wait(&mut stopped) => connection.as_mut().graceful_shutdown(),
    }
    // An error here only means that the client went away.
    let _ = connection.await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_used_port_is_reported_with_a_remedy() {
        let first = bind("gRPC server", "--addr", "127.0.0.1:0").unwrap();
        let addr = first.local_addr().unwrap().to_string();
        let error = bind("gRPC server", "--addr", &addr).unwrap_err().to_string();
        assert!(error.contains("is in use") && error.contains("--addr"), "{error}");
        let error = bind("gRPC server", "--addr", "203.0.113.7:0").unwrap_err().to_string();
        assert!(error.contains("cannot listen"), "{error}");
    }
}
