//! Steps a request of a running `tikv-server` over its TraceControl service, in a separate thread.
mod connection;
mod link;
mod steps;

use std::{
    collections::HashMap,
    sync::mpsc::{Receiver, Sender, channel},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use kvproto::tracecontrol::{
    ContinueRequest, GatesRequest, StepEvent, SubscribeRequest, continue_request::Mode,
};
use security::SecurityManager;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tracepoints::{Gate, Outcome, session::GateState, trace::Step};

pub(crate) use connection::{endpoint, unreachable};
use connection::{gone, refused};
use link::{Heard, Link};
use steps::Merged;

use crate::state::{HeldRequest, SourceEvent, Start, StepSource, gates::GateSet};

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
    /// Waits for the next request.
    Next,
    /// Runs the operation of this program to its end, and then once more.
    Again,
    Continue(Mode),
    /// Releases one held request, by the number of its hold.
    Release(u64),
    /// Runs to a gate that holds once.
    RunTo(String),
    Gate {
        text: String,
        set: bool,
    },
}

/// A subscription to one server.
pub struct Attached {
    address: String,
    events: Receiver<SourceEvent>,
    commands: UnboundedSender<Command>,
    gates: GateSet,
    title: String,
    /// Whether the operation is this program's: its client waits as long as the user.
    own: bool,
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
        let session = Session {
            server: address.to_owned(),
            security: security.clone(),
            wanted,
            gates: start.gates.iter().map(|gate| gate.text().to_owned()).collect(),
            start,
            events: events_tx,
            operation,
            again: false,
            round: Round::default(),
        };
        std::thread::Builder::new()
            .name("attach".into())
            .spawn(move || runtime.block_on(session.run(commands_rx)))
            .context("cannot start the thread of the connection to the server")?;
        Ok(Self { title, own, address: address.into(), events, commands, gates })
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

    fn release(&mut self, hold: u64) -> Result<()> {
        self.send(Command::Release(hold))
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
        if to.is_some() {
            bail!("an operation on a running cluster runs again from its begin: R runs it again");
        }
        self.send(Command::Again)
    }

    fn next_operation(&mut self) -> Result<()> {
        self.send(Command::Next)
    }
}

/// The thread's side of a subscription. At the stream's or the screen's end the server releases its holds.
struct Session {
    server: String,
    security: SecurityManager,
    wanted: RequestFilter,
    start: Start,
    events: Sender<SourceEvent>,
    /// The gates that are switched on.
    gates: Vec<String>,
    /// Sends the operation whose requests are stepped; None: other clients send the requests.
    operation: Option<Operation>,
    /// The operation runs again after its end, without a further command.
    again: bool,
    round: Round,
}

/// An operation of this program on the cluster: called when its requests would be stepped.
pub type Operation = Box<dyn FnMut() -> tokio::sync::oneshot::Receiver<String> + Send>;

/// The steps and holds of one operation.
#[derive(Default)]
struct Round {
    steps: Merged,
    /// The requests that servers hold now, with the link and the number there.
    holds: Vec<(usize, u64, HeldRequest)>,
    next_hold: u64,
    /// The link whose request is stepped; None: every process waits for one.
    active: Option<usize>,
    /// Number of requests that have ended, by link.
    ended: HashMap<usize, u32>,
}

/// Time in which a client sends the request again after a region error.
const FOLLOWS: Duration = Duration::from_secs(3);
/// Maximum time in which servers send the last steps after the end of an operation, or after a later step.
const LINGER: Duration = Duration::from_millis(800);
/// Interval in which servers are asked whether all requests of an operation have ended.
const ASK: Duration = Duration::from_millis(10);
/// Time in which a server reads its symbols, before it sends its first step.
const FIRST: Duration = Duration::from_secs(10);

/// The end of a round.
enum End {
    /// The operation has ended.
    Operation,
    /// The screen is closed.
    Screen,
}

impl Session {
    async fn run(mut self, mut commands: UnboundedReceiver<Command>) {
        if let Err(e) = self.serve(&mut commands).await {
            // The receiver is gone if the screen is closed.
            let _ = self.events.send(SourceEvent::Failed(format!("{e:#}")));
        }
    }

    async fn serve(&mut self, commands: &mut UnboundedReceiver<Command>) -> Result<()> {
        let server = self.server.clone();
        self.emit(SourceEvent::Log(format!("connecting to {server}")));
        let events = self.events.clone();
        // The receiver is gone if the screen is closed.
        let say = move |text| drop(events.send(SourceEvent::Log(text)));
        let mut links = Link::connect_all(&server, &self.security, &say).await?;
        loop {
            match self.step_one(&mut links, commands).await? {
                End::Screen => return Ok(()),
                End::Operation => links.iter_mut().for_each(Link::unsubscribe),
            }
            while !std::mem::take(&mut self.again) {
                match commands.recv().await {
                    None => return Ok(()),
                    Some(Command::Next | Command::Again) => break,
                    Some(Command::Gate { text, set }) => _ = self.note_gate(text, set),
                    // Nothing is held between two operations.
                    Some(_) => {}
                }
            }
            self.round = Round::default();
            self.emit(SourceEvent::Begin { title: String::from("the next request") });
        }
    }

    /// Subscribes to every process.
    async fn subscribe(&mut self, links: &mut [Link], heard: &UnboundedSender<(usize, Heard)>) -> Result<()> {
        let request = SubscribeRequest {
            key: self.wanted.key.clone(),
            region_id: self.wanted.region,
            request_type: self.wanted.kind.clone(),
            single_step: self.gates.is_empty() && !self.start.run,
            gates: self.gates.clone(),
            capture_stacks: self.start.stacks,
            // 0 is no bound: an operation of this program sends several requests. Of other clients, one is stepped.
            max_requests: u32::from(self.operation.is_none()),
        };
        for (number, link) in links.iter_mut().enumerate() {
            let done = link.subscribe(&request, number, heard.clone()).await;
            match done {
                Ok(()) => {}
                Err(status) if number == 0 => {
                    return Err(refused(&link.server, &status, self.security.hint()));
                }
                Err(status) => {
                    self.emit(SourceEvent::Log(format!("no steps of {}: {}", link.server, status.message())));
                }
            }
        }
        let stores: Vec<String> =
            links.iter().filter(|link| link.is_subscribed()).map(|link| link.store.to_string()).collect();
        let processes = match stores.len() {
            1 => format!("store {} and others of its process", stores[0]),
            n => format!("{n} processes, of the stores {} and others", stores.join(", ")),
        };
        self.emit(SourceEvent::Log(format!("waiting for a matching request in {processes}")));
        if self.operation.is_some() && self.wanted == RequestFilter::default() {
            self.emit(SourceEvent::Log(
                "steps requests of other clients, too: no single key selects those of this operation".into(),
            ));
        }
        Ok(())
    }

    /// Steps one operation: a request of a client with its retries, or the program's own operation.
    async fn step_one(
        &mut self,
        links: &mut [Link],
        commands: &mut UnboundedReceiver<Command>,
    ) -> Result<End> {
        let (mut sender, mut heard) = unbounded_channel();
        self.subscribe(links, &sender).await?;
        let mut answer = self.operation.as_mut().map(|operation| operation());
        let (mut deadline, mut outcome) = (None::<tokio::time::Instant>, String::new());
        let mut before = None;
        loop {
            let until = deadline.unwrap_or_else(|| tokio::time::Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                Some((number, message)) = heard.recv() => match message {
                    Heard::Event(event) => {
                        if self.operation.is_none() && !self.owns(number, links) {
                            continue;
                        }
                        match self.take(number, event)? {
                            None if self.operation.is_none() => deadline = None,
                            None => deadline = deadline.map(|_| tokio::time::Instant::now() + LINGER),
                            Some(Outcome::RegionError) if self.operation.is_none() => {
                                outcome = ending(Outcome::RegionError).to_owned();
                                self.emit(SourceEvent::Log(
                                    "a region error: waiting for the client's next try on any store".into(),
                                ));
                                self.round.active = None;
                                links.iter_mut().for_each(Link::unsubscribe);
                                // The end of the old stream may wait in the old channel: it must not end the new stream.
                                (sender, heard) = unbounded_channel();
                                self.subscribe(links, &sender).await?;
                                deadline = Some(tokio::time::Instant::now() + FOLLOWS);
                            }
                            Some(ended) if self.operation.is_none() => {
                                return Ok(self.end(ending(ended).to_owned()));
                            }
                            Some(_) => *self.round.ended.entry(number).or_default() += 1,
                        }
                    }
                    Heard::Ended if self.round.active == Some(number) && self.operation.is_none() => {
                        bail!("{} ended the stream before the end of the request: check whether the server was stopped", links[number].server)
                    }
                    Heard::Failed(status) if links.len() == 1 || self.round.active == Some(number) || self.holds_at(number) => {
                        return Err(gone(&links[number].server, &status));
                    }
                    Heard::Failed(status) => {
                        links[number].unsubscribe();
                        self.emit(SourceEvent::Log(format!("no more steps of {}: {}", links[number].server, status.message())));
                    }
                    Heard::Ended => links[number].unsubscribe(),
                },
                Ok(text) = async { match answer.as_mut() { Some(answer) => answer.await, None => std::future::pending().await } } => {
                    (outcome, answer) = (text, None);
                    let late = self.round.steps.is_empty() && !outcome.starts_with("error");
                    deadline = Some(tokio::time::Instant::now() + if late { FIRST } else { LINGER });
                },
                command = commands.recv() => match command {
                    Some(command) => self.send(links, command).await?,
                    None => return Ok(End::Screen),
                },
                () = tokio::time::sleep_until(until), if deadline.is_some() && self.round.holds.is_empty() => {
                    return Ok(self.end(outcome));
                },
                () = tokio::time::sleep(ASK), if self.may_be_over(&answer) => {
                    // Twice: a request that the client sends in the background may follow its answer.
                    let ended = self.all_ended(links).await;
                    if ended.is_some() && ended == before {
                        return Ok(self.end(outcome));
                    }
                    before = ended;
                },
            }
        }
    }

    /// Whether the operation of this program has its answer, steps have arrived, and nothing is held.
    fn may_be_over(&self, answer: &Option<tokio::sync::oneshot::Receiver<String>>) -> bool {
        self.operation.is_some()
            && answer.is_none()
            && self.round.holds.is_empty()
            && !self.round.ended.is_empty()
    }

    /// The number of requests if every one that a server stepped has ended, its replicas included.
    async fn all_ended(&self, links: &mut [Link]) -> Option<u32> {
        for number in self.subscribed(links, None) {
            let ended = self.round.ended.get(&number).copied().unwrap_or(0);
            if links[number].adopted().await != Some(ended) {
                return None;
            }
        }
        Some(self.round.ended.values().sum())
    }

    /// Whether the stepped request is that of this link. Chooses the first link that has a request, and unsubscribes
    /// from the other processes.
    fn owns(&mut self, number: usize, links: &mut [Link]) -> bool {
        if self.round.active.is_none() {
            self.round.active = Some(number);
            let others = links.iter_mut().enumerate().filter(|(i, _)| *i != number);
            others.for_each(|(_, link)| link.unsubscribe());
        }
        self.round.active == Some(number)
    }

    fn holds_at(&self, number: usize) -> bool {
        self.round.holds.iter().any(|(link, ..)| *link == number)
    }

    fn end(&self, outcome: String) -> End {
        let summary = self.round.steps.summary();
        // Without a screen, one operation is printed.
        self.emit(SourceEvent::Finished { summary, outcome, more: !self.start.run });
        End::Operation
    }

    fn emit(&self, event: SourceEvent) {
        // The receiver is gone if the screen is closed; the closed command channel then ends this thread.
        let _ = self.events.send(event);
    }

    /// Notes a gate that is switched on or off; returns whether the servers must know.
    fn note_gate(&mut self, text: String, set: bool) -> bool {
        let before = self.gates.len();
        self.gates.retain(|known| *known != text);
        // The servers refuse to remove a gate that is switched off already.
        let was_set = self.gates.len() < before;
        if set {
            self.gates.push(text);
        }
        set || was_set
    }

    /// Handles an event of a stream. Returns the outcome of the request if it has ended.
    fn take(&mut self, number: usize, event: StepEvent) -> Result<Option<Outcome>> {
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
            self.round.steps.add(serde_json::from_value(summary).with_context(bad)?);
            return Ok(Some(outcome.unwrap_or_default()));
        }
        let mut place = (0, String::new());
        if !event.json.is_empty() {
            let step: Step = serde_json::from_slice(&event.json).with_context(bad)?;
            place = (step.store, step.thread.clone());
            let step = self.round.steps.place(number, step);
            self.emit(SourceEvent::Step(Box::new(step)));
        }
        let holds = &mut self.round.holds;
        if event.held {
            self.round.next_hold += 1;
            let (id, stage, reason) = (self.round.next_hold, event.hold_stage, event.hold_reason);
            let hold = HeldRequest { id, stage, store: place.0, thread: place.1, reason };
            holds.push((number, event.hold_id, hold.clone()));
            self.emit(SourceEvent::Held(hold));
        } else if let Some(at) = holds.iter().position(|(link, id, hold)| {
            (*link, *id, hold.stage.as_str()) == (number, event.hold_id, event.hold_stage.as_str())
        }) {
            // A stage without a step means: the request that was held there continues.
            let (_, _, released) = holds.remove(at);
            self.emit(SourceEvent::Released(released.id));
        }
        Ok(None)
    }

    async fn send(&mut self, links: &mut [Link], command: Command) -> Result<()> {
        match command {
            Command::Next => {
                self.emit(SourceEvent::Log("this request has not ended yet: r runs it to its end".into()))
            }
            Command::Again => {
                self.again = true;
                self.continues(links, Mode::Run).await?;
            }
            Command::Continue(mode) => self.continues(links, mode).await?,
            Command::Release(hold) => {
                let held = self.round.holds.iter().find(|(.., known)| known.id == hold);
                let Some((number, hold_id)) = held.map(|(link, id, _)| (*link, *id)) else { return Ok(()) };
                let request =
                    ContinueRequest { mode: Mode::Step.into(), hold_id, ..ContinueRequest::default() };
                links[number].continues(request).await.map_err(|s| gone(&links[number].server, &s))?;
            }
            Command::RunTo(run_to) => {
                let request =
                    ContinueRequest { mode: Mode::Continue.into(), run_to, ..ContinueRequest::default() };
                for number in self.subscribed(links, None) {
                    let done = links[number].continues(request.clone()).await;
                    self.say_refused(done);
                }
            }
            Command::Gate { text, set } => {
                if !self.note_gate(text.clone(), set) {
                    return Ok(());
                }
                let (add, remove) = if set { (vec![text], vec![]) } else { (vec![], vec![text]) };
                for number in self.subscribed(links, None) {
                    let done =
                        links[number].gates(GatesRequest { add: add.clone(), remove: remove.clone() }).await;
                    self.say_refused(done);
                }
            }
        }
        Ok(())
    }

    /// Releases the first held request in the modes Step and Into, otherwise all. The streams report the releases.
    async fn continues(&self, links: &mut [Link], mode: Mode) -> Result<()> {
        let request = ContinueRequest { mode: mode.into(), ..ContinueRequest::default() };
        let first = self
            .round
            .holds
            .first()
            .map(|(link, ..)| *link)
            .filter(|_| matches!(mode, Mode::Step | Mode::Into));
        for number in self.subscribed(links, first) {
            let done = links[number].continues(request.clone()).await;
            done.map_err(|s| gone(&links[number].server, &s))?;
        }
        Ok(())
    }

    /// The numbers of the links with a subscription; with `only`, that one.
    fn subscribed(&self, links: &[Link], only: Option<usize>) -> Vec<usize> {
        let wanted = |i: &usize| only.is_none_or(|only| only == *i) && links[*i].is_subscribed();
        (0..links.len()).filter(wanted).collect()
    }

    fn say_refused(&self, done: std::result::Result<(), tonic::Status>) {
        if let Err(status) = done {
            self.emit(SourceEvent::Log(format!("the server refused the gate: {}", status.message())));
        }
    }
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
