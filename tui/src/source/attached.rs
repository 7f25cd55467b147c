//! Steps a request of a running `tikv-server` over its TraceControl service, in a separate thread.
use std::{
    collections::BTreeSet,
    sync::mpsc::{Receiver, Sender, channel},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use kvproto::tracecontrol::{
    ContinueRequest, GatesRequest, StatusRequest, StepEvent, SubscribeRequest, continue_request::Mode,
    trace_control_client::TraceControlClient,
};
use security::SecurityManager;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tonic::transport::{Channel, Endpoint};
use tracepoints::{
    Outcome,
    trace::{Step, Summary},
};

use crate::state::{HeldRequest, SourceEvent, Start, StepSource};

/// Timeout for the server's answers and keep-alives.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Selects the requests to step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestFilter {
    /// The unencoded user key; empty: any.
    pub key: Vec<u8>,
    /// The region id; 0: any.
    pub region: u64,
    /// The kind's name in snake case; empty: any.
    pub kind: String,
}

enum Command {
    Continue(Mode),
    Gate { stage: String, set: bool },
}

/// A subscription to one server.
pub struct Attached {
    address: String,
    events: Receiver<SourceEvent>,
    commands: UnboundedSender<Command>,
    gates: BTreeSet<String>,
}

impl Attached {
    /// Connects and waits in the background; failures arrive as events.
    pub fn start(
        address: &str,
        security: &SecurityManager,
        wanted: RequestFilter,
        start: Start,
    ) -> Result<Self> {
        let (events_tx, events) = channel();
        let (commands, commands_rx) = unbounded_channel();
        let gates = start.gates.iter().cloned().collect();
        let endpoint = endpoint(address, security)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (server, hint) = (address.to_owned(), security.hint());
        std::thread::Builder::new()
            .name("attach".into())
            .spawn(move || {
                let session = Session { server, hint, events: events_tx, holds: Vec::new(), next_hold: 0 };
                runtime.block_on(session.run(endpoint, wanted, start, commands_rx));
            })
            .context("cannot start the thread of the connection to the server")?;
        Ok(Self { address: address.into(), events, commands, gates })
    }

    fn send(&self, command: Command) -> Result<()> {
        match self.commands.send(command) {
            Ok(()) => Ok(()),
            Err(_) => bail!("no longer attached to {}; the steps so far stay readable", self.address),
        }
    }
}

/// Parses a server's address and prepares a connection.
pub(crate) fn endpoint(address: &str, security: &SecurityManager) -> Result<Endpoint> {
    let expected = || format!("expected HOST:PORT, the --addr of a tikv-server, found `{address}`");
    let bare = address.split_once("://").map_or(address, |(_, bare)| bare);
    let Some((host, port)) = bare.rsplit_once(':') else { bail!(expected()) };
    if host.is_empty() || port.parse::<u16>().is_err() {
        bail!(expected());
    }
    let endpoint = security.endpoint(bare).with_context(expected)?;
    Ok(endpoint.connect_timeout(TIMEOUT).keep_alive_while_idle(true).http2_keep_alive_interval(TIMEOUT))
}

impl StepSource for Attached {
    fn title(&self) -> String {
        format!("attach {}", self.address)
    }

    fn poll(&mut self) -> Vec<SourceEvent> {
        self.events.try_iter().collect()
    }

    fn step(&mut self) -> Result<()> {
        self.send(Command::Continue(Mode::Step))
    }

    fn step_into(&mut self) -> Result<()> {
        self.send(Command::Continue(Mode::Into))
    }

    fn to_gate(&mut self) -> Result<()> {
        self.send(Command::Continue(Mode::Continue))
    }

    fn run(&mut self) -> Result<()> {
        self.send(Command::Continue(Mode::Run))
    }

    fn toggle_gate(&mut self, stage: &str) -> Result<bool> {
        let set = !self.gates.contains(stage);
        self.send(Command::Gate { stage: stage.into(), set })?;
        if set {
            self.gates.insert(stage.into());
        } else {
            self.gates.remove(stage);
        }
        Ok(set)
    }

    fn gates(&self) -> Vec<String> {
        self.gates.iter().cloned().collect()
    }

    fn client_time_runs(&self) -> bool {
        true
    }

    fn next_operation(&mut self) -> Result<()> {
        bail!("attach steps one request; attach again for the next one")
    }
}

/// The thread's side of a subscription. At the stream's or the screen's end the server releases its holds.
struct Session {
    server: String,
    /// A hint about TLS for errors of the connection.
    hint: &'static str,
    events: Sender<SourceEvent>,
    /// The requests that the server holds now, with ids of this side.
    holds: Vec<HeldRequest>,
    next_hold: u64,
}

impl Session {
    async fn run(
        mut self,
        endpoint: Endpoint,
        wanted: RequestFilter,
        start: Start,
        mut commands: UnboundedReceiver<Command>,
    ) {
        if let Err(e) = self.serve(endpoint, wanted, start, &mut commands).await {
            // The receiver is gone if the screen is closed.
            let _ = self.events.send(SourceEvent::Failed(format!("{e:#}")));
        }
    }

    async fn serve(
        &mut self,
        endpoint: Endpoint,
        wanted: RequestFilter,
        start: Start,
        commands: &mut UnboundedReceiver<Command>,
    ) -> Result<()> {
        let server = self.server.clone();
        self.emit(SourceEvent::Log(format!("connecting to {server}")));
        let channel = endpoint.connect().await.map_err(|e| unreachable(&server, &e, self.hint))?;
        let mut client = TraceControlClient::new(channel).max_decoding_message_size(64 << 20);
        let request = SubscribeRequest {
            key: wanted.key,
            region_id: wanted.region,
            request_type: wanted.kind,
            single_step: start.gates.is_empty() && !start.run,
            gates: start.gates,
            capture_stacks: start.stacks,
            max_requests: 1,
        };
        // Asked first, because a stream fails without the service only at its first step.
        let status =
            client.status(StatusRequest {}).await.map_err(|s| refused(&server, &s, self.hint))?.into_inner();
        let reply = subscribe(&mut client, request).await.map_err(|s| refused(&server, &s, self.hint))?;
        let mut stream = reply.into_inner();
        self.emit(SourceEvent::Log(
            "clients send reads and writes to the store that leads the region".into(),
        ));
        let store = status.store_id;
        self.emit(SourceEvent::Log(
            "shows only stages of this server's process, not of other processes such as replicas".into(),
        ));
        self.emit(SourceEvent::Log(format!("store {store}: waiting for a matching request in this process")));
        loop {
            tokio::select! {
                event = stream.message() => match event.map_err(|s| gone(&server, &s))? {
                    Some(event) => {
                        if self.take(event)? {
                            return Ok(());
                        }
                    }
                    None => bail!("{server} ended the stream before the end of the request: check whether the server was stopped"),
                },
                command = commands.recv() => match command {
                    Some(command) => self.send(&mut client, command).await?,
                    None => return Ok(()),
                },
            }
        }
    }

    fn emit(&self, event: SourceEvent) {
        // The receiver is gone if the screen is closed; the closed command channel then ends this thread.
        let _ = self.events.send(event);
    }

    /// Handles an event of the stream. Returns whether the request has ended.
    fn take(&mut self, event: StepEvent) -> Result<bool> {
        let bad = || {
            format!(
                "cannot read a step from {}: use the same version of the server and this program",
                self.server
            )
        };
        if event.end {
            let value: serde_json::Value = serde_json::from_slice(&event.json).with_context(bad)?;
            let outcome = value.get("outcome").and_then(|o| serde_json::from_value(o.clone()).ok());
            let summary = value.get("summary").cloned().unwrap_or(value);
            let summary: Summary = serde_json::from_value(summary).with_context(bad)?;
            let outcome = ending(outcome.unwrap_or_default()).to_owned();
            self.emit(SourceEvent::Finished { summary, outcome, more: false });
            return Ok(true);
        }
        let mut place = (0, String::new());
        if !event.json.is_empty() {
            let step: Step = serde_json::from_slice(&event.json).with_context(bad)?;
            place = (step.store, step.thread.clone());
            self.emit(SourceEvent::Step(Box::new(step)));
        }
        if event.held {
            self.next_hold += 1;
            let hold =
                HeldRequest { id: self.next_hold, stage: event.hold_stage, store: place.0, thread: place.1 };
            self.holds.push(hold.clone());
            self.emit(SourceEvent::Held(hold));
        } else if let Some(at) = self.holds.iter().position(|h| h.stage == event.hold_stage) {
            // A stage without a step means: the request that was held there continues.
            let released = self.holds.remove(at).id;
            self.emit(SourceEvent::Released(released));
        }
        Ok(false)
    }

    async fn send(&mut self, client: &mut TraceControlClient<Channel>, command: Command) -> Result<()> {
        match command {
            Command::Continue(mode) => {
                // The stream reports the release.
                let reply =
                    client.r#continue(ContinueRequest { mode: mode.into(), ..Default::default() }).await;
                reply.map_err(|s| gone(&self.server, &s))?;
            }
            Command::Gate { stage, set } => {
                let (add, remove) = if set { (vec![stage], vec![]) } else { (vec![], vec![stage]) };
                let reply = client.set_gates(GatesRequest { add, remove }).await;
                if let Err(status) = reply {
                    self.emit(SourceEvent::Log(format!("the server refused the gate: {}", status.message())));
                }
            }
        }
        Ok(())
    }
}

/// Subscribes; retries for 1 s while the previous session ends.
async fn subscribe(
    client: &mut TraceControlClient<Channel>,
    request: SubscribeRequest,
) -> Result<tonic::Response<tonic::Streaming<StepEvent>>, tonic::Status> {
    for _ in 0..5 {
        match client.subscribe(request.clone()).await {
            Err(status) if status.code() == tonic::Code::ResourceExhausted => {}
            other => return other,
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    client.subscribe(request).await
}

/// Describes the end of the request; empty if the server did not report it.
fn ending(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Unknown => "",
        Outcome::Ok => "answered",
        Outcome::KeyError => "answered with a key error (a lock or a conflict)",
        Outcome::RegionError => "answered with a region error; the client retries",
        Outcome::DeadlineExceeded => "deadline of the client exceeded",
        Outcome::Error => "answered with an error",
        Outcome::Cancelled => "cancelled by its client; clients have their own timeouts, often 2 s",
    }
}

fn refused(server: &str, status: &tonic::Status, hint: &str) -> anyhow::Error {
    match status.code() {
        tonic::Code::Unimplemented => anyhow::anyhow!(
            "expected a tikv-server of this project at {server}, found a server without TraceControl (TiKV itself cannot be stepped)"
        ),
        tonic::Code::ResourceExhausted | tonic::Code::InvalidArgument | tonic::Code::NotFound => {
            anyhow::anyhow!("{server} refused the subscription: {}", status.message())
        }
        _ => anyhow::anyhow!("{}: {}{hint}", no_answer(server), status.message()),
    }
}

/// The error for a failed connection to `server`.
pub(crate) fn unreachable(server: &str, error: &tonic::transport::Error, hint: &str) -> anyhow::Error {
    anyhow::anyhow!("{}: {}{hint}", no_answer(server), security::causes(error))
}

fn no_answer(server: &str) -> String {
    format!(
        "no tikv-server answers at {server}: check that it is running and that this is its --addr, not --status-addr"
    )
}

fn gone(server: &str, status: &tonic::Status) -> anyhow::Error {
    anyhow::anyhow!("lost the connection to {server}: {}; the steps so far stay readable", status.message())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn plain() -> SecurityManager {
        SecurityManager::default()
    }

    #[test]
    fn a_malformed_address_is_refused_at_once() {
        for bad in ["", "host", ":1", "host:", "host:99999", "a b:1"] {
            let error = Attached::start(bad, &plain(), RequestFilter::default(), Start::default()).err();
            assert!(error.is_some_and(|e| e.to_string().contains("expected HOST:PORT")), "{bad}");
        }
    }

    #[test]
    fn a_missing_server_is_an_error_with_advice() {
        // A port that was free a moment ago, so no server listens.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut source = Attached::start(
            &format!("127.0.0.1:{port}"),
            &plain(),
            RequestFilter::default(),
            Start::default(),
        )
        .unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let failed = loop {
            assert!(Instant::now() < deadline, "no failure arrived");
            let found = source.poll().into_iter().find_map(|e| match e {
                SourceEvent::Failed(why) => Some(why),
                _ => None,
            });
            if let Some(why) = found {
                break why;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        assert!(failed.contains("no tikv-server answers"), "{failed}");
        std::thread::sleep(Duration::from_millis(50));
        assert!(source.step().is_err(), "the thread has ended");
    }
}
