//! Steps of a running `tikv-server`, over its TraceControl service. The wire is served on a thread of its own.
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

use crate::state::{Hold, SourceEvent, Start, StepSource};

/// How long the server may take to answer before it counts as gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which requests to step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The user key, without encoding; empty: any.
    pub key: Vec<u8>,
    /// 0: any.
    pub region: u64,
    /// Snake-case name; empty: any.
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
    /// Connects and waits in the background; failures come as events.
    pub fn start(address: &str, security: &SecurityManager, wanted: Wanted, start: Start) -> Result<Self> {
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
            .context("cannot start the thread that talks to the server")?;
        Ok(Self { address: address.into(), events, commands, gates })
    }

    fn send(&self, command: Command) -> Result<()> {
        match self.commands.send(command) {
            Ok(()) => Ok(()),
            Err(_) => bail!("no longer attached to {}; the steps so far can still be read", self.address),
        }
    }
}

pub(crate) fn endpoint(address: &str, security: &SecurityManager) -> Result<Endpoint> {
    let expected = || format!("expected HOST:PORT, the --addr of a tikv-server, found `{address}`");
    let bare = address.split_once("://").map_or(address, |(_, bare)| bare);
    let Some((host, port)) = bare.rsplit_once(':') else { bail!(expected()) };
    if host.is_empty() || port.parse::<u16>().is_err() {
        bail!(expected());
    }
    let endpoint = security.endpoint(bare).with_context(expected)?;
    Ok(endpoint.connect_timeout(PATIENCE).keep_alive_while_idle(true).http2_keep_alive_interval(PATIENCE))
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

    fn client_goes_on(&self) -> bool {
        true
    }

    fn next_operation(&mut self) -> Result<()> {
        bail!("one attach steps one request; attach again for the next")
    }
}

/// The thread's side. It ends when the stream ends or the screen is gone; the server then releases what it held.
struct Session {
    server: String,
    /// What else may be wrong where the server hangs up.
    hint: &'static str,
    events: Sender<SourceEvent>,
    /// What the server holds now, by this side's count.
    holds: Vec<Hold>,
    next_hold: u64,
}

impl Session {
    async fn run(
        mut self,
        endpoint: Endpoint,
        wanted: Wanted,
        start: Start,
        mut commands: UnboundedReceiver<Command>,
    ) {
        if let Err(e) = self.serve(endpoint, wanted, start, &mut commands).await {
            // The screen may be gone; then nobody is to be told.
            let _ = self.events.send(SourceEvent::Failed(format!("{e:#}")));
        }
    }

    async fn serve(
        &mut self,
        endpoint: Endpoint,
        wanted: Wanted,
        start: Start,
        commands: &mut UnboundedReceiver<Command>,
    ) -> Result<()> {
        let server = self.server.clone();
        self.tell(SourceEvent::Log(format!("connecting to {server}")));
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
        // A stream tells only with its first step that nobody serves it.
        let status =
            client.status(StatusRequest {}).await.map_err(|s| refused(&server, &s, self.hint))?.into_inner();
        let reply = subscribe(&mut client, request).await.map_err(|s| refused(&server, &s, self.hint))?;
        let mut stream = reply.into_inner();
        self.tell(SourceEvent::Log("reads and writes come to the store that leads their region".into()));
        let store = status.store_id;
        self.tell(SourceEvent::Log(
            "only stages in the process of this server are shown; those of other processes, for example on replicas, are not".into(),
        ));
        self.tell(SourceEvent::Log(format!(
            "store {store}: waiting for a request that matches, in this process alone"
        )));
        loop {
            tokio::select! {
                event = stream.message() => match event.map_err(|s| gone(&server, &s))? {
                    Some(event) => {
                        if self.take(event)? {
                            return Ok(());
                        }
                    }
                    None => bail!("{server} ended the stream before the request had ended; was the server stopped?"),
                },
                command = commands.recv() => match command {
                    Some(command) => self.send(&mut client, command).await?,
                    None => return Ok(()),
                },
            }
        }
    }

    fn tell(&self, event: SourceEvent) {
        // The screen may be gone; the next command that is not there ends this thread.
        let _ = self.events.send(event);
    }

    /// True if the request has ended.
    fn take(&mut self, event: StepEvent) -> Result<bool> {
        let bad =
            || format!("{} sent a step this program cannot read; are both of one version?", self.server);
        if event.end {
            let value: serde_json::Value = serde_json::from_slice(&event.json).with_context(bad)?;
            let outcome = value.get("outcome").and_then(|o| serde_json::from_value(o.clone()).ok());
            let summary = value.get("summary").cloned().unwrap_or(value);
            let summary: Summary = serde_json::from_value(summary).with_context(bad)?;
            let outcome = ending(outcome.unwrap_or_default()).to_owned();
            self.tell(SourceEvent::Finished { summary, outcome, more: false });
            return Ok(true);
        }
        let mut place = (0, String::new());
        if !event.json.is_empty() {
            let step: Step = serde_json::from_slice(&event.json).with_context(bad)?;
            place = (step.store, step.thread.clone());
            self.tell(SourceEvent::Step(Box::new(step)));
        }
        if event.held {
            self.next_hold += 1;
            let hold = Hold { id: self.next_hold, stage: event.hold_stage, store: place.0, thread: place.1 };
            self.holds.push(hold.clone());
            self.tell(SourceEvent::Held(hold));
        } else if let Some(at) = self.holds.iter().position(|h| h.stage == event.hold_stage) {
            // The name of a stage without a step: whoever stood there goes on.
            let released = self.holds.remove(at).id;
            self.tell(SourceEvent::Released(released));
        }
        Ok(false)
    }

    async fn send(&mut self, client: &mut TraceControlClient<Channel>, command: Command) -> Result<()> {
        match command {
            Command::Continue(mode) => {
                // That it goes on is told by the stream.
                let reply = client.r#continue(ContinueRequest { mode: mode.into() }).await;
                reply.map_err(|s| gone(&self.server, &s))?;
            }
            Command::Gate { stage, set } => {
                let (add, remove) = if set { (vec![stage], vec![]) } else { (vec![], vec![stage]) };
                let reply = client.set_gates(GatesRequest { add, remove }).await;
                if let Err(status) = reply {
                    self.tell(SourceEvent::Log(format!("gate refused: {}", status.message())));
                }
            }
        }
        Ok(())
    }
}

/// A session that has just ended may take a moment to go: asks again for a second.
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

/// How the request ended, for people; empty where the server did not say.
fn ending(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Unknown => "",
        Outcome::Ok => "answered",
        Outcome::KeyError => "answered with a key error (a lock or a conflict)",
        Outcome::RegionError => "answered with a region error; the client will ask again",
        Outcome::DeadlineExceeded => "past its client's deadline",
        Outcome::Error => "answered with an error",
        Outcome::Cancelled => "its client gave it up; clients have time limits of their own, often 2 s",
    }
}

fn refused(server: &str, status: &tonic::Status, hint: &str) -> anyhow::Error {
    match status.code() {
        tonic::Code::Unimplemented => anyhow::anyhow!(
            "{server} has no TraceControl service: it is no tikv-server of this project (TiKV itself cannot be stepped)"
        ),
        tonic::Code::ResourceExhausted | tonic::Code::InvalidArgument | tonic::Code::NotFound => {
            anyhow::anyhow!("{server} refused to be stepped: {}", status.message())
        }
        _ => anyhow::anyhow!("{}: {}{hint}", nobody(server), status.message()),
    }
}

/// The error where `server` cannot be dialled.
pub(crate) fn unreachable(server: &str, error: &tonic::transport::Error, hint: &str) -> anyhow::Error {
    anyhow::anyhow!("{}: {}{hint}", nobody(server), security::causes(error))
}

fn nobody(server: &str) -> String {
    format!("no tikv-server answers at {server}; is it running, and is this its --addr (not --status-addr)?")
}

fn gone(server: &str, status: &tonic::Status) -> anyhow::Error {
    anyhow::anyhow!(
        "the server at {server} went away: {}; the steps so far can still be read",
        status.message()
    )
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn plain() -> SecurityManager {
        SecurityManager::default()
    }

    #[test]
    fn an_address_that_is_none_is_refused_at_once() {
        for bad in ["", "host", ":1", "host:", "host:99999", "a b:1"] {
            let error = Attached::start(bad, &plain(), Wanted::default(), Start::default()).err();
            assert!(error.is_some_and(|e| e.to_string().contains("expected HOST:PORT")), "{bad}");
        }
    }

    #[test]
    fn no_server_is_a_failure_that_says_what_to_check() {
        // A port that was free a moment ago: nobody listens.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut source =
            Attached::start(&format!("127.0.0.1:{port}"), &plain(), Wanted::default(), Start::default())
                .unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let failed = loop {
            assert!(Instant::now() < deadline, "no failure was told");
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
