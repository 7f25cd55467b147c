//! Steps a request of a running `tikv-server` over its TraceControl service, in a separate thread.
mod command;
mod connection;
mod link;
mod session;
mod steps;

use std::sync::mpsc::{Receiver, channel};

use anyhow::{Context as _, Result, bail};
use kvproto::tracecontrol::continue_request::Mode;
use security::SecurityManager;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tracepoints::{Gate, session::GateState};

use command::Command;
pub use command::{Client, Operation, OwnOperation, RequestFilter, Running};
pub(crate) use connection::{endpoint, unreachable};
use session::{Round, Session};

use crate::state::{SourceEvent, Start, StepSource, gates::GateSet};

/// A subscription to one server.
pub struct Attached {
    address: String,
    events: Receiver<SourceEvent>,
    commands: UnboundedSender<Command>,
    gates: GateSet,
    title: String,
    /// Whether the operation is this program's: its client waits as long as the user.
    own: bool,
    /// Prepares further operations of this program.
    client: Option<Client>,
    /// An operation is under way.
    running: bool,
}

impl Attached {
    /// Connects and waits in the background; failures arrive as events.
    pub fn start(
        address: &str,
        security: &SecurityManager,
        wanted: RequestFilter,
        start: Start,
    ) -> Result<Self> {
        Self::start_with(format!("attach {address}"), address, security, wanted, start, None)
    }

    /// As [`Attached::start`]; steps the requests of `operation`, which is called when the servers wait for
    /// them.
    pub fn start_with(
        title: String,
        address: &str,
        security: &SecurityManager,
        wanted: RequestFilter,
        start: Start,
        operation: Option<Operation>,
    ) -> Result<Self> {
        let (events_tx, events) = channel();
        let (commands, commands_rx) = unbounded_channel();
        let gates = GateSet::new(start.gates.iter().cloned());
        // A malformed address is an error before anything runs.
        endpoint(address, security)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let own = operation.is_some();
        let next_title = if own { title.clone() } else { String::from("the next request") };
        let session = Session {
            server: address.to_owned(),
            security: security.clone(),
            wanted,
            gates: start.gates.iter().map(|gate| gate.text().to_owned()).collect(),
            start,
            events: events_tx,
            operation,
            title: next_title,
            again: false,
            run_to: None,
            round: Round::default(),
        };
        std::thread::Builder::new()
            .name("attach".into())
            .spawn(move || runtime.block_on(session.run(commands_rx)))
            .context("cannot start the thread of the connection to the server")?;
        let (address, client) = (address.into(), None);
        Ok(Self { title, own, address, events, commands, gates, client, running: true })
    }

    /// Adds the client, so that the user can step further operations.
    #[must_use]
    pub fn with_client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    fn send(&self, command: Command) -> Result<()> {
        match self.commands.send(command) {
            Ok(()) => Ok(()),
            Err(_) => bail!("no longer attached to {}; the steps so far stay readable", self.address),
        }
    }
}

impl StepSource for Attached {
    fn title(&self) -> String {
        self.title.clone()
    }

    fn poll(&mut self) -> Vec<SourceEvent> {
        let events: Vec<SourceEvent> = self.events.try_iter().collect();
        for event in &events {
            match event {
                SourceEvent::Begin { .. } => self.running = true,
                SourceEvent::Finished { .. } | SourceEvent::Failed(_) => self.running = false,
                _ => {}
            }
        }
        events
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

    fn release(&mut self, hold: u64) -> Result<()> {
        self.send(Command::Release(hold, Mode::Step))
    }

    fn release_into(&mut self, hold: u64) -> Result<()> {
        self.send(Command::Release(hold, Mode::Into))
    }

    fn gates(&self) -> Vec<GateState> {
        self.gates.states().to_vec()
    }

    fn set_gate(&mut self, gate: Gate) -> Result<()> {
        self.send(Command::Gate { text: gate.text().into(), set: true })?;
        self.gates.set(gate);
        Ok(())
    }

    fn remove_gate(&mut self, text: &str) -> Result<()> {
        self.send(Command::Gate { text: text.into(), set: false })?;
        self.gates.remove(text);
        Ok(())
    }

    fn switch_gate(&mut self, text: &str, on: bool) -> Result<()> {
        self.gates.switch(text, on)?;
        self.send(Command::Gate { text: text.into(), set: on })
    }

    fn run_to(&mut self, gate: Gate) -> Result<()> {
        self.send(Command::RunTo(gate.text().into()))
    }

    fn client_time_runs(&self) -> bool {
        !self.own
    }

    fn restart(&mut self, to: Option<Gate>) -> Result<()> {
        if !self.own {
            bail!("only its client can send the request again: N waits for the next one that matches");
        }
        self.send(Command::Again(to.map(|gate| gate.text().to_owned())))
    }

    fn try_operation(&mut self, text: &str) -> Result<()> {
        let Some(client) = &self.client else {
            bail!(
                "other clients send the requests here: tikv-tui run 'get k1' --pd HOST:PORT steps an operation of your own"
            );
        };
        let operation = client(text)?;
        if self.running {
            bail!("expected no running operation, found one: r runs it to its end first");
        }
        self.send(Command::Operation(operation))
    }

    fn next_operation(&mut self) -> Result<()> {
        self.send(Command::Next)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

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
