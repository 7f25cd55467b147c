//! The thread of an attached screen: subscribes to the servers, follows one operation, and sends commands.
use std::{
    collections::{HashMap, VecDeque},
    sync::mpsc::Sender,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use kvproto::tracecontrol::{
    ContinueRequest, GatesRequest, StepEvent, SubscribeRequest, continue_request::Mode,
};
use security::SecurityManager;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tracepoints::{Outcome, trace::Step};

use super::{
    command::{Command, Operation, OwnOperation, RequestFilter, Running},
    connection::{gone, refused},
    link::{Heard, Link},
    steps::{Merged, is_sending},
};
use crate::state::{HeldRequest, SourceEvent, Start};

/// The thread's side of a subscription. At the stream's or the screen's end the server releases its holds.
pub(super) struct Session {
    pub(super) server: String,
    pub(super) security: SecurityManager,
    pub(super) wanted: RequestFilter,
    pub(super) start: Start,
    pub(super) events: Sender<SourceEvent>,
    /// The gates that are switched on.
    pub(super) gates: Vec<String>,
    /// Sends the operation whose requests are stepped; None: other clients send the requests.
    pub(super) operation: Option<Operation>,
    /// The title of the operations after the first.
    pub(super) title: String,
    /// The operation runs again after its end, without a further command.
    pub(super) again: bool,
    /// The gate that holds the next run of the operation once.
    pub(super) run_to: Option<Once>,
    pub(super) round: Round,
}

/// A gate that is removed when it holds a request: runs to a step.
pub(super) struct Once {
    text: String,
    /// The process that counts the arrivals at the gate; None: every process.
    link: Option<usize>,
}

/// The steps and holds of one operation.
#[derive(Default)]
pub(super) struct Round {
    steps: Merged,
    /// The requests that servers hold now, with the link and the number there.
    holds: Vec<(usize, u64, HeldRequest)>,
    next_hold: u64,
    /// The stage and the link of each step of a server.
    arrivals: Vec<(String, usize)>,
    /// The gate that holds once, until it holds.
    once: Option<Once>,
    /// The gate that has held once: the servers must remove it.
    reached: Option<Once>,
    /// The link whose request is stepped; None: every process waits for one.
    active: Option<usize>,
    /// Number of requests that have ended, by link.
    ended: HashMap<usize, u32>,
    /// The first step of the client has arrived, or will not.
    client_began: bool,
    /// Number of requests that the client of this program has sent.
    sent: u32,
    /// The client's steps that wait for the end of these requests.
    client: VecDeque<Step>,
    /// The time at which the round ends if nothing is held then; None: no end is near.
    deadline: Option<tokio::time::Instant>,
    /// The outcome that the round has at its deadline.
    outcome: String,
}

impl Round {
    /// The gate at a step of this round, such as `raft_propose#2`, as the step's process counts the arrivals: the text
    /// has the number among those of all processes.
    fn gate_of(&self, text: String) -> Once {
        let (stage, number) = text.split_once('#').unwrap_or((text.as_str(), "1"));
        let wanted: usize = number.parse().unwrap_or(1);
        let links = self.arrivals.iter().filter(|(at, _)| at == stage).map(|(_, link)| *link);
        let known: Vec<usize> = links.take(wanted).collect();
        let Some(link) = known.last().copied().filter(|_| known.len() == wanted) else {
            return Once { text, link: None };
        };
        let text = match known.iter().filter(|at| **at == link).count() {
            1 => stage.to_owned(),
            arrival => format!("{stage}#{arrival}"),
        };
        Once { text, link: Some(link) }
    }

    /// The gate that holds once in the process of this link.
    fn once_at(&self, link: usize) -> Option<&String> {
        let once = self.once.as_ref().filter(|once| once.link.is_none_or(|only| only == link));
        once.map(|once| &once.text)
    }

    fn end_after(&mut self, time: Duration) {
        self.deadline = Some(tokio::time::Instant::now() + time);
    }
}

/// Time in which a client sends the request again after a region error.
const FOLLOWS: Duration = Duration::from_secs(3);
/// Maximum time in which servers send the last steps after the end of an operation, or after a later step.
const LINGER: Duration = Duration::from_millis(800);
/// Interval in which servers are asked whether all requests of an operation have ended.
const ASK: Duration = Duration::from_millis(10);
/// Time in which a server reads its symbols, before it sends its first step.
const FIRST: Duration = Duration::from_secs(10);

/// The effect of a message on the stepped request.
enum Progress {
    Continues,
    /// The request ended with a region error: its client sends it again.
    Retries,
    Ended(Outcome),
}

/// The end of a round.
enum End {
    /// The operation has ended.
    Operation,
    /// The screen is closed.
    Screen,
}

impl Session {
    /// Steps operations until the screen is closed.
    pub(super) async fn run(mut self, mut commands: UnboundedReceiver<Command>) {
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
                    Some(Command::Next) => break,
                    Some(Command::Again(to)) => {
                        self.run_to = to.map(|text| self.round.gate_of(text));
                        break;
                    }
                    Some(Command::Operation(OwnOperation { title, wanted, operation })) => {
                        (self.title, self.wanted, self.operation) = (title, wanted, Some(operation));
                        break;
                    }
                    Some(Command::Gate { text, set }) => _ = self.note_gate(text, set),
                    // Nothing is held between two operations.
                    Some(_) => {}
                }
            }
            self.round = Round { once: self.run_to.take(), ..Round::default() };
            self.emit(SourceEvent::Begin { title: self.title.clone() });
        }
    }

    /// Subscribes to every process. Returns the messages of all links, each with the number of its link.
    async fn subscribe(&mut self, links: &mut [Link]) -> Result<UnboundedReceiver<(usize, Heard)>> {
        let (sender, heard) = unbounded_channel();
        let request = SubscribeRequest {
            key: self.wanted.key.clone(),
            region_id: self.wanted.region,
            request_type: self.wanted.kind.clone(),
            single_step: self.gates.is_empty() && self.round.once.is_none() && !self.start.run,
            gates: self.gates.clone(),
            capture_stacks: self.start.stacks,
            // 0 is no bound: an operation of this program sends several requests. Of other clients, one is stepped.
            max_requests: u32::from(self.operation.is_none()),
        };
        for (number, link) in links.iter_mut().enumerate() {
            let mut request = request.clone();
            let once = self.round.once_at(number).filter(|once| !self.gates.contains(once));
            request.gates.extend(once.cloned());
            let done = link.subscribe(&request, number, sender.clone()).await;
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
        Ok(heard)
    }

    /// Steps one operation: a request of a client with its retries, or the program's own operation.
    async fn step_one(
        &mut self,
        links: &mut [Link],
        commands: &mut UnboundedReceiver<Command>,
    ) -> Result<End> {
        let mut heard = self.subscribe(links).await?;
        let (mut answer, mut client) = match self.operation.as_mut().map(|operation| operation()) {
            Some(Running { answer, steps }) => (Some(answer), steps),
            None => (None, unbounded_channel().1),
        };
        let mut before = None;
        loop {
            let (now, deadline) = (tokio::time::Instant::now(), self.round.deadline);
            let until = deadline.unwrap_or_else(|| now + Duration::from_secs(3600));
            tokio::select! {
                Some((number, message)) = heard.recv() => {
                    self.await_client(&mut client).await;
                    self.take_client_steps(&mut client);
                    let progress = self.hear(links, number, message)?;
                    self.remove_reached(links).await;
                    match progress {
                        Progress::Continues => {}
                        Progress::Retries => heard = self.await_retry(links).await?,
                        Progress::Ended(outcome) => return Ok(self.end(ending(outcome).to_owned())),
                    }
                },
                Some(step) = client.recv() => {
                    self.round.client_began = true;
                    self.round.client.push_back(step);
                    self.place_client_steps(false);
                },
                () = tokio::time::sleep(LINGER), if self.client_waits() => self.place_client_steps(true),
                result = async { match answer.as_mut() { Some(answer) => answer.await, None => std::future::pending().await } } => {
                    // Without a sender the client panicked.
                    let text = result.unwrap_or_else(|_| "error: the client ended without an answer".into());
                    let late = self.round.steps.is_empty() && !text.starts_with("error");
                    (self.round.outcome, answer) = (text, None);
                    self.round.end_after(if late { FIRST } else { LINGER });
                },
                command = commands.recv() => match command {
                    Some(command) => self.send(links, command).await?,
                    None => return Ok(End::Screen),
                },
                () = tokio::time::sleep_until(until), if deadline.is_some() && self.round.holds.is_empty() => {
                    self.take_client_steps(&mut client);
                    return Ok(self.end(self.round.outcome.clone()));
                },
                () = tokio::time::sleep(ASK), if self.may_be_over(&answer) => {
                    // Twice: a request that the client sends in the background may follow its answer.
                    let ended = self.all_ended(links).await;
                    if ended.is_some() && ended == before {
                        self.take_client_steps(&mut client);
                        return Ok(self.end(self.round.outcome.clone()));
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
            // A server that does not answer must not delay the end.
            let adopted = tokio::time::timeout(LINGER, links[number].adopted()).await.ok().flatten();
            if adopted != Some(ended) {
                return None;
            }
        }
        Some(self.round.ended.values().sum())
    }

    /// Handles a message of a link.
    fn hear(&mut self, links: &mut [Link], number: usize, message: Heard) -> Result<Progress> {
        let (own, active) = (self.operation.is_some(), self.round.active == Some(number));
        match message {
            Heard::Event(event) => {
                if own || self.owns(number, links) {
                    return self.on_event(number, event);
                }
            }
            Heard::Ended if active && !own => {
                bail!(
                    "{} ended the stream before the end of the request: check whether the server was stopped",
                    links[number].server
                )
            }
            Heard::Ended => links[number].unsubscribe(),
            Heard::Failed(status) if links.len() == 1 || active || self.holds_at(number) => {
                return Err(gone(&links[number].server, &status));
            }
            Heard::Failed(status) => {
                links[number].unsubscribe();
                let text = format!("no more steps of {}: {}", links[number].server, status.message());
                self.emit(SourceEvent::Log(text));
            }
        }
        Ok(Progress::Continues)
    }

    fn on_event(&mut self, number: usize, event: StepEvent) -> Result<Progress> {
        let own = self.operation.is_some();
        Ok(match self.take(number, event)? {
            None => {
                // A step of a client's request: its retry has begun. A step after this program's operation: more may
                // follow.
                let ends = self.round.deadline.take().is_some();
                if own && ends {
                    self.round.end_after(LINGER);
                }
                Progress::Continues
            }
            Some(_) if own => {
                *self.round.ended.entry(number).or_default() += 1;
                self.place_client_steps(false);
                Progress::Continues
            }
            Some(Outcome::RegionError) => Progress::Retries,
            Some(outcome) => Progress::Ended(outcome),
        })
    }

    /// Waits for the client's next try of the request after a region error, on any store.
    async fn await_retry(&mut self, links: &mut [Link]) -> Result<UnboundedReceiver<(usize, Heard)>> {
        self.round.outcome = ending(Outcome::RegionError).to_owned();
        self.emit(SourceEvent::Log("a region error: waiting for the client's next try on any store".into()));
        self.round.active = None;
        links.iter_mut().for_each(Link::unsubscribe);
        // A new channel: the end of the old stream may wait in the old one, and must not end the new stream.
        let heard = self.subscribe(links).await?;
        self.round.end_after(FOLLOWS);
        Ok(heard)
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

    /// Waits for the first step of the client, which stamped it before it sent a request: the thread that sends it here
    /// may be late.
    async fn await_client(&mut self, client: &mut UnboundedReceiver<Step>) {
        if std::mem::replace(&mut self.round.client_began, true) {
            return;
        }
        if let Ok(Some(step)) = tokio::time::timeout(LINGER, client.recv()).await {
            self.round.client.push_back(step);
        }
    }

    /// Takes the steps that the client has stamped so far.
    fn take_client_steps(&mut self, client: &mut UnboundedReceiver<Step>) {
        while let Ok(step) = client.try_recv() {
            self.round.client.push_back(step);
        }
        self.place_client_steps(false);
    }

    /// Whether a step of the client waits for a request that servers may not step: one with another key.
    fn client_waits(&self) -> bool {
        !self.round.client.is_empty() && self.round.holds.is_empty()
    }

    /// Emits the client's steps in their order. A step that follows an answer waits for the end of the requests that
    /// were sent before, since their steps may still be under way; with `all`, no step waits.
    fn place_client_steps(&mut self, all: bool) {
        while let Some(step) = self.round.client.front() {
            let (known, sends) = (self.round.steps.knows_client(step), is_sending(step));
            let answered: u32 = self.round.ended.values().sum();
            if !all && !known && !sends && answered < self.round.sent {
                return;
            }
            let Some(step) = self.round.client.pop_front() else { return };
            self.round.sent += u32::from(!known && step.stage == "client_shard");
            let step = self.round.steps.place_client(step);
            self.emit(SourceEvent::Step(Box::new(step)));
        }
    }

    fn end(&mut self, outcome: String) -> End {
        self.place_client_steps(true);
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
            if !self.round.steps.knows(number, &step) {
                self.round.arrivals.push((step.stage.clone(), number));
            }
            let step = self.round.steps.place(number, step);
            self.emit(SourceEvent::Step(Box::new(step)));
        }
        if event.held && self.round.once_at(number).is_some_and(|once| *once == event.hold_reason) {
            self.round.reached = self.round.once.take();
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
            Command::Next | Command::Operation(_) => {
                self.emit(SourceEvent::Log("this request has not ended yet: r runs it to its end".into()))
            }
            Command::Again(to) => {
                self.again = true;
                self.run_to = to.map(|text| self.round.gate_of(text));
                self.continues(links, Mode::Run).await?;
            }
            Command::Continue(mode) => self.continues(links, mode).await?,
            Command::Release(hold, mode) => {
                let held = self.round.holds.iter().find(|(.., known)| known.id == hold);
                let Some((number, hold_id)) = held.map(|(link, id, _)| (*link, *id)) else { return Ok(()) };
                let request = ContinueRequest { mode: mode.into(), hold_id, ..ContinueRequest::default() };
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
                self.change_gates(links, None, &GatesRequest { add, remove }).await;
            }
        }
        Ok(())
    }

    /// Removes the gate that has held once, unless the user has set the same one.
    async fn remove_reached(&mut self, links: &mut [Link]) {
        let reached = self.round.reached.take();
        let Some(once) = reached.filter(|once| !self.gates.contains(&once.text)) else { return };
        self.change_gates(links, once.link, &GatesRequest { add: vec![], remove: vec![once.text] }).await;
    }

    /// Sets and removes gates in every process with a subscription; with `only`, in that one.
    async fn change_gates(&self, links: &mut [Link], only: Option<usize>, request: &GatesRequest) {
        for number in self.subscribed(links, only) {
            let done = links[number].gates(request.clone()).await;
            self.say_refused(done);
        }
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
    use super::*;

    #[test]
    fn a_gate_counts_the_arrivals_of_its_own_process() {
        let arrivals = [("raft_propose", 0), ("raft_propose", 2), ("raft_ready", 0), ("raft_propose", 0)];
        let arrivals = arrivals.map(|(stage, link)| (stage.to_owned(), link)).to_vec();
        let round = Round { arrivals, ..Round::default() };
        let gate = |text: &str| {
            let once = round.gate_of(text.to_owned());
            (once.text, once.link)
        };
        assert_eq!(gate("raft_propose"), ("raft_propose".into(), Some(0)));
        assert_eq!(gate("raft_propose#2"), ("raft_propose".into(), Some(2)), "the first one there");
        assert_eq!(gate("raft_propose#3"), ("raft_propose#2".into(), Some(0)));
        assert_eq!(gate("raft_propose#4"), ("raft_propose#4".into(), None), "no such step is known");
    }

    #[test]
    fn arrivals_are_counted_beside_steps_of_the_client() {
        let mut session = Session {
            server: "a:1".into(),
            security: SecurityManager::default(),
            wanted: RequestFilter::default(),
            start: Start::default(),
            events: std::sync::mpsc::channel().0,
            gates: Vec::new(),
            operation: None,
            title: String::new(),
            again: false,
            run_to: None,
            round: Round::default(),
        };
        session.round.client.push_back(Step { stage: "client_send".into(), ..Step::default() });
        session.place_client_steps(true);
        let step = Step { stage: "raft_propose".into(), request: 7, ..Step::default() };
        let event = StepEvent { json: serde_json::to_vec(&step).unwrap(), ..StepEvent::default() };
        for _ in 0..2 {
            session.take(3, event.clone()).unwrap();
        }
        let link = |text: &str| session.round.gate_of(text.to_owned()).link;
        assert_eq!(link("raft_propose"), Some(3));
        assert_eq!(link("raft_propose#2"), None, "the same step, sent again");
    }
}
