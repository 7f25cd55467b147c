//! A client of the adapter, which runs in this process.
use std::{
    io::{BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
    thread::JoinHandle,
    time::Duration,
};

use serde_json::{Value, json};
use tikv_tui::dap::{framing, serve};

/// Bound of each wait.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A line that is a stage, as the adapter names it.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Site {
    pub file: String,
    pub line: u32,
    pub stage: String,
}

pub struct Client {
    from: BufReader<Box<dyn Read>>,
    to: Box<dyn Write>,
    close: Box<dyn Fn(Shutdown)>,
    seq: i64,
    server: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Client {
    pub fn start() -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(TIMEOUT)).unwrap();
        let server = std::thread::spawn(move || serve(theirs.try_clone().unwrap(), &mut &theirs));
        let (from, to) = (ours.try_clone().unwrap(), ours.try_clone().unwrap());
        let close = Box::new(move |how| ours.shutdown(how).unwrap());
        Self { from: BufReader::new(Box::new(from)), to: Box::new(to), close, seq: 0, server: Some(server) }
    }

    /// Connects to an adapter that listens on a port of this machine.
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let (from, to) = (stream.try_clone().unwrap(), stream.try_clone().unwrap());
        let close = Box::new(move |how| drop(stream.shutdown(how)));
        Self { from: BufReader::new(Box::new(from)), to: Box::new(to), close, seq: 0, server: None }
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.to.write_all(bytes).unwrap();
    }

    /// Sends a request; returns its number.
    pub fn send(&mut self, command: &str, arguments: Value) -> i64 {
        self.seq += 1;
        let mut message = json!({ "type": "request", "seq": self.seq, "command": command });
        if !arguments.is_null() {
            message["arguments"] = arguments;
        }
        framing::write(&mut self.to, message.to_string().as_bytes()).unwrap();
        self.seq
    }

    /// The next message; None once the adapter has closed the connection.
    pub fn next(&mut self) -> Option<Value> {
        let body = framing::read(&mut self.from).expect("a frame within the time")?;
        Some(serde_json::from_slice(&body).unwrap())
    }

    /// All messages up to one that is wanted.
    pub fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut out = Vec::new();
        loop {
            let message = self.next().unwrap_or_else(|| panic!("the adapter went away after {out:?}"));
            let last = wanted(&message);
            out.push(message);
            if last {
                return out;
            }
        }
    }

    /// Sends a request and returns its response.
    pub fn ask(&mut self, command: &str, arguments: Value) -> Value {
        let seq = self.send(command, arguments);
        self.until(|m| m["request_seq"] == seq).pop().unwrap()
    }

    /// Waits for an event.
    pub fn event(&mut self, name: &str) -> Value {
        self.until(|m| m["event"] == name).pop().unwrap()
    }

    /// Begins a session of these arguments, up to the first stop.
    pub fn launch(&mut self, command: &str, arguments: Value) -> Value {
        self.ask("initialize", json!({}));
        self.send(command, arguments);
        self.event("initialized");
        self.ask("configurationDone", json!({}));
        self.event("stopped")
    }

    /// Goes away without a word; returns the end of the adapter.
    pub fn vanish(mut self) -> anyhow::Result<()> {
        (self.close)(Shutdown::Both);
        self.server.take().unwrap().join().expect("the adapter does not panic")
    }

    /// Closes only the way to the adapter; returns what the adapter still sends, and its end.
    pub fn finish(mut self) -> (Vec<Value>, anyhow::Result<()>) {
        (self.close)(Shutdown::Write);
        let ended = self.server.take().unwrap().join().expect("the adapter does not panic");
        let mut rest = Vec::new();
        (self.close)(Shutdown::Both);
        while let Some(message) = self.next() {
            rest.push(message);
        }
        (rest, ended)
    }
}

/// The lines of all stages.
pub fn sites() -> Vec<Site> {
    let mut client = Client::start();
    client.ask("initialize", json!({}));
    let sites = client.ask("tikv/sites", Value::Null);
    serde_json::from_value(sites["body"]["sites"].clone()).unwrap()
}
