//! Serves clients: one over standard input and output, or several over a port of this machine.
use std::{
    io::{self, BufReader, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tracepoints::printable::note;

use super::{
    framing::{self, FrameError},
    session::Session,
};
use crate::terminal::signals::{self, Stopped};

/// Wait for a message before the source is read, while one steps.
const BUSY: Duration = Duration::from_millis(5);
/// Wait for a message before signals are read, while no source steps.
const IDLE: Duration = Duration::from_millis(100);
/// Maximum number of messages that wait to be handled.
const MAX_WAITING: usize = 64;
/// Maximum number of clients at a time.
const MAX_CLIENTS: usize = 16;
/// Time after which a client that does not read is disconnected.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves one client over standard input and output; with a port, clients over that port of this machine.
///
/// # Errors
/// If the port cannot be used, a signal ends the program, or standard output fails.
pub fn run(port: Option<u16>) -> Result<()> {
    match port {
        // The lock is not taken: it is not `Send`, and nothing else reads standard input.
        None => serve(io::stdin(), &mut io::stdout()),
        Some(port) => listen(port),
    }
}

fn listen(port: u16) -> Result<()> {
    let signals = signals::listen().context("cannot listen for signals")?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .with_context(|| format!("cannot listen on 127.0.0.1:{port}: choose another port"))?;
    listener.set_nonblocking(true).context("cannot make the port non-blocking")?;
    note(format_args!("listening on {}", listener.local_addr().context("cannot read the port")?));
    let mut clients: Vec<std::thread::JoinHandle<()>> = Vec::new();
    loop {
        if let Some(signal) = signals.end() {
            return Err(Stopped(signal).into());
        }
        clients.retain(|client| !client.is_finished());
        match listener.accept() {
            Ok((stream, from)) if clients.len() < MAX_CLIENTS => {
                let client = std::thread::Builder::new().name("dap-client".into()).spawn(move || {
                    let served = stream
                        .set_nonblocking(false)
                        // A client that reads nothing must not keep a request held.
                        .and_then(|()| stream.set_write_timeout(Some(WRITE_TIMEOUT)))
                        .and_then(|()| stream.try_clone())
                        .map_err(anyhow::Error::from)
                        .and_then(|input| serve(input, &mut &stream));
                    // The thread that reads the client ends with the connection; it may be closed already.
                    let _ = stream.shutdown(Shutdown::Both);
                    if let Err(e) = served {
                        note(format_args!("the client {from}: {e:#}"));
                    }
                });
                clients.push(client.context("cannot start a thread for a client")?);
            }
            // Dropping the connection refuses the client.
            Ok((_, from)) => note(format_args!("refused the client {from}: {MAX_CLIENTS} are connected")),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(IDLE),
            Err(e) => {
                note(format_args!("cannot accept a client: {e}"));
                std::thread::sleep(IDLE);
            }
        }
    }
}

/// Serves one client until it disconnects or closes the connection. The held requests are released then.
///
/// # Errors
/// If the client cannot be reached, it sends no frames of the protocol, or a signal ends the program.
pub fn serve(input: impl Read + Send + 'static, output: &mut impl Write) -> Result<()> {
    let signals = signals::listen().context("cannot listen for signals")?;
    let messages = read(input)?;
    let mut session = Session::default();
    while !session.is_over() {
        if let Some(signal) = signals.end() {
            return Err(Stopped(signal).into());
        }
        let wait = if session.is_running() { BUSY } else { IDLE };
        match messages.recv_timeout(wait) {
            Ok(Ok(body)) => session.handle(&body),
            Ok(Err(FrameError::Io(e))) => return Err(e).context("lost the client"),
            Ok(Err(e)) => return Err(e.into()),
            Err(RecvTimeoutError::Timeout) => {}
            // The client has disconnected.
            Err(RecvTimeoutError::Disconnected) => break,
        }
        session.poll();
        for message in session.take() {
            framing::write(output, message.to_string().as_bytes()).context("cannot write to the client")?;
        }
    }
    Ok(())
}

/// Reads frames in a thread of its own, so that the source is read while the client is silent.
fn read(input: impl Read + Send + 'static) -> Result<Receiver<Result<Vec<u8>, FrameError>>> {
    let (messages_tx, messages) = sync_channel(MAX_WAITING);
    let run = move || {
        let mut input = BufReader::new(input);
        loop {
            match framing::read(&mut input) {
                Ok(Some(body)) => {
                    if messages_tx.send(Ok(body)).is_err() {
                        return;
                    }
                }
                Ok(None) => return,
                Err(e) => return drop(messages_tx.send(Err(e))),
            }
        }
    };
    std::thread::Builder::new()
        .name("dap-read".into())
        .spawn(run)
        .context("cannot start a thread for the client")?;
    Ok(messages)
}
