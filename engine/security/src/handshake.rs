//! A time limit for the handshake of a new connection: a client that never sends
//! anything would keep it open forever.
use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};
use tonic::transport::server::Connected;

/// Time limit for a client's handshake: of TLS, or the first bytes of HTTP.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The bytes that complete the handshake of a connection without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// The preface of HTTP/2 and the head of its SETTINGS frame.
    Http2,
    /// That preface, or the empty line after the head of an HTTP/1 request.
    Http,
}

const PREFACE: usize = 24 + 9;
/// First bytes of the preface; no method of HTTP/1 begins so.
const PRI: &[u8; 3] = b"PRI";
const EMPTY_LINE: &[u8] = b"\r\n\r\n";

/// A connection whose reads fail with `TimedOut` if the greeting does not end in time. Writes pass.
pub struct Handshake<T> {
    io: T,
    /// None once the greeting is complete.
    pending: Option<Pending>,
}

struct Pending {
    greeting: Greeting,
    first: [u8; PRI.len()],
    /// Number of bytes received.
    bytes: usize,
    /// Number of bytes of the empty line that were received last.
    line: usize,
    deadline: Pin<Box<Sleep>>,
}

impl<T> Handshake<T> {
    /// Must be called within a tokio runtime.
    pub fn new(io: T, greeting: Greeting, timeout: Duration) -> Self {
        let deadline = Box::pin(sleep(timeout));
        let pending = Pending { greeting, first: [0; PRI.len()], bytes: 0, line: 0, deadline };
        Self { io, pending: Some(pending) }
    }
}

impl Pending {
    /// Returns whether the greeting ends within `bytes`.
    fn ends(&mut self, bytes: &[u8]) -> bool {
        let mut empty_line = false;
        for byte in bytes {
            if let Some(first) = self.first.get_mut(self.bytes) {
                *first = *byte;
            }
            self.bytes = self.bytes.saturating_add(1);
            self.line = match *byte {
                byte if EMPTY_LINE[self.line] == byte => self.line + 1,
                b'\r' => 1,
                _ => 0,
            };
            empty_line |= self.line == EMPTY_LINE.len();
            self.line %= EMPTY_LINE.len();
        }
        match self.greeting {
            Greeting::Http if self.first != *PRI => empty_line,
            _ => self.bytes >= PREFACE,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Handshake<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let read = Pin::new(&mut this.io).poll_read(cx, buf);
        let Some(pending) = &mut this.pending else { return read };
        if pending.ends(&buf.filled()[before..]) {
            this.pending = None;
            return read;
        }
        match read {
            Poll::Pending if pending.deadline.as_mut().poll(cx).is_ready() => {
                let why = "the client did not end its handshake in time";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
            }
            read => read,
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Handshake<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

impl<T: Connected> Connected for Handshake<T> {
    type ConnectInfo = T::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.io.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// Sends `parts`, each of which must arrive, and then nothing. Returns how the next read ends.
    fn after(greeting: Greeting, parts: &[&[u8]]) -> Option<io::ErrorKind> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (mut client, server) = duplex(1024);
            let mut server = Handshake::new(server, greeting, Duration::from_millis(300));
            let mut buf = [0; 1024];
            for part in parts {
                client.write_all(part).await.unwrap();
                server.read_exact(&mut buf[..part.len()]).await.unwrap();
            }
            let read = tokio::time::timeout(Duration::from_secs(2), server.read(&mut buf)).await;
            drop(client);
            read.ok().and_then(|read| read.err()).map(|e| e.kind())
        })
    }

    #[test]
    fn a_connection_without_a_whole_greeting_ends() {
        let ended = Some(io::ErrorKind::TimedOut);
        assert_eq!(after(Greeting::Http2, &[]), ended);
        assert_eq!(after(Greeting::Http2, &[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]), ended);
        assert_eq!(after(Greeting::Http, &[]), ended);
        assert_eq!(after(Greeting::Http, &[b"GET / HTTP/1.1\r\n", b"host: a\r\n\r"]), ended);
        assert_eq!(after(Greeting::Http, &[b"P", b"RI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]), ended);
    }

    #[test]
    fn a_connection_that_has_greeted_may_be_silent() {
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        assert_eq!(after(Greeting::Http2, &[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings]), None);
        assert_eq!(after(Greeting::Http, &[b"GET / HTTP/1.1\r\nhost: a\r\n\r", b"\n"]), None);
        assert_eq!(after(Greeting::Http, &[b"GET / HTTP/1.1\r\n\r\r\n\r\n"]), None);
        assert_eq!(after(Greeting::Http, &[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings]), None);
    }
}
