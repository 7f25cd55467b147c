//! The connections that PD serves: plain ones, and TLS ones with a completed handshake.
use std::{io, net::TcpListener as StdListener};

use futures::{Stream, StreamExt, stream::BoxStream};
use security::{Acceptor, Greeting, HANDSHAKE_TIMEOUT, Handshake, TlsStream};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::TcpIncoming;

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
    let ready = ReceiverStream::new(tls.accept_all(listener, "pd"));
    let ready: BoxStream<'static, _> = ready.map(|(connection, _)| Ok(greeted(connection))).boxed();
    Ok(ready)
}
