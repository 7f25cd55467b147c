//! The connections that PD serves: plain ones, and TLS ones with a completed handshake.
use std::{io, net::TcpListener as StdListener, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, stream::BoxStream};
use security::{Acceptor, Greeting, HANDSHAKE_TIMEOUT, Handshake, TlsStream};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::TcpIncoming;

/// Maximum number of accepted connections that wait for the server.
const READY: usize = 16;
/// Pause after a failed accept, e.g. when file descriptors are exhausted.
const PAUSE: Duration = Duration::from_millis(50);

/// A connection that must begin with a request, of HTTP/1 or HTTP/2.
fn greeted<T>(connection: T) -> Handshake<T> {
    Handshake::new(connection, Greeting::Http, HANDSHAKE_TIMEOUT)
}

/// Accepts connections without TLS. Must be called within a runtime.
pub fn plain(listener: StdListener) -> io::Result<impl Stream<Item = io::Result<Handshake<TcpStream>>>> {
    let incoming = TcpIncoming::from(TcpListener::from_std(listener)?).with_nodelay(Some(true));
    Ok(incoming.map(|connection| connection.map(greeted)))
}

/// Accepts connections with TLS; a slow handshake does not delay other
/// connections. Must be called within a runtime.
pub fn secured(
    listener: StdListener,
    tls: Acceptor,
) -> io::Result<impl Stream<Item = io::Result<Handshake<TlsStream<TcpStream>>>>> {
    let listener = TcpListener::from_std(listener)?;
    let (connections, ready) = mpsc::channel(READY);
    tokio::spawn(accept(listener, Arc::new(tls), connections));
    let ready: BoxStream<'static, _> =
        ReceiverStream::new(ready).map(|connection| Ok(greeted(connection))).boxed();
    Ok(ready)
}

async fn accept(listener: TcpListener, tls: Arc<Acceptor>, connections: mpsc::Sender<TlsStream<TcpStream>>) {
    while !connections.is_closed() {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(e) => {
                log::warn!("pd: cannot accept a connection: {e}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // Small replies must not wait for more to send.
        let _ = stream.set_nodelay(true);
        let (tls, connections) = (tls.clone(), connections.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                // Closed when the server ends.
                Ok(Ok((connection, _))) => drop(connections.send(connection).await),
                Ok(Err(e)) => log::warn!("pd: a TLS handshake failed: {e}"),
                Err(_) => log::warn!("pd: a TLS handshake did not end within {HANDSHAKE_TIMEOUT:?}"),
            }
        });
    }
}
