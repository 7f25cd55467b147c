//! Steps a recipe's operations on a cluster inside this process. A separate thread runs the scenario.
use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use recipes::{
    Front, Runner, Scenario,
    directive::{is_stepped, scenario_of},
    front::Listener,
    scenario::Block,
};
use tracepoints::{
    Gate, Session, SessionConfig, SessionEvent,
    session::{GateState, Mode},
    symbolize::Symbolizer,
};

use super::feed::Feed;
use crate::state::{SourceEvent, Start, StepSource, gates::GateSet};

/// Lists the names and titles of the recipes.
pub fn recipes() -> Result<Vec<(String, String)>> {
    Ok(recipes::library::all()?.into_iter().map(|s| (s.name, s.title)).collect())
}

/// State shared between the screen and the scenario's thread.
#[derive(Default)]
struct Shared {
    /// The session of a `step`; None for a `hold`, which only the scenario controls.
    session: Option<Arc<Session>>,
    gates: GateSet,
    /// A `hold` of the scenario is under way.
    scripted: bool,
    /// The scenario runs without waiting for the user while it holds an operation.
    runs: bool,
    /// The scenario has ended.
    over: bool,
    /// The screen is closed: no operation is held any more.
    closed: bool,
    /// Number of operations that have begun in this run of the scenario.
    operations: usize,
    /// The user's own operation, if the last one is not the scenario's.
    own: Option<String>,
}

/// An order to the scenario's thread.
enum Order {
    /// Run the next directive.
    Next,
    /// Run the scenario again, and its first operations (`passing`) without a hold; up to a gate.
    Restart { passing: usize, to: Option<Gate> },
    /// Step an operation of the user, up to a gate.
    Operation { text: String, to: Option<Gate> },
}

/// Ends a run of the scenario, because the user ordered something else.
#[derive(Debug, thiserror::Error)]
#[error("the user ordered something else")]
struct Interrupted;

type SharedRef = Arc<Mutex<Shared>>;

/// Ignores poisoning: no change of the shared state can be left half done.
fn lock(shared: &SharedRef) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running scenario.
pub struct Embedded {
    name: String,
    events: Receiver<SourceEvent>,
    /// Orders to the scenario's thread; None once the screen closes.
    orders: Option<Sender<Order>>,
    shared: SharedRef,
    /// Closed when the scenario's thread and its cluster have ended.
    ended: Receiver<()>,
}

/// Timeout of the stores' shutdown after the screen closes.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(15);

impl Drop for Embedded {
    fn drop(&mut self) {
        self.orders = None;
        {
            let mut shared = lock(&self.shared);
            // An operation that begins after this runs to its end, too.
            shared.closed = true;
            if let Some(session) = &shared.session {
                session.run();
            }
        }
        // The thread removes the temporary data. If it hangs, the process ends without it.
        let _ = self.ended.recv_timeout(SHUTDOWN_TIMEOUT);
    }
}

impl Embedded {
    /// Finds the scenario by its name or path and runs it in the background up to its first operation.
    pub fn start(name: &str, data_dir: Option<PathBuf>, start: Start) -> Result<Self> {
        Self::run(recipes::library::find(name)?, data_dir, start)
    }

    /// Steps one operation, such as `get k1`, on a new cluster of three stores.
    pub fn start_operation(text: &str, data_dir: Option<PathBuf>, start: Start) -> Result<Self> {
        Self::run(scenario_of(text).map_err(anyhow::Error::msg)?, data_dir, start)
    }

    /// Checks the scenario, then runs it in the background up to its first operation.
    pub fn run(scenario: Scenario, data_dir: Option<PathBuf>, start: Start) -> Result<Self> {
        let name = scenario.name.clone();
        recipes::directive::check(&scenario)?;
        if !scenario.blocks.iter().any(is_stepped) {
            bail!(
                "expected an operation to step in {name}, found none: write, for example, `step get k1` into {}",
                scenario.path.display()
            );
        }
        let gates = GateSet::new(start.gates.iter().cloned());
        let shared = Arc::new(Mutex::new(Shared { gates, ..Shared::default() }));
        let (events_tx, events) = channel();
        let (orders, orders_rx) = channel();
        let (alive, ended) = channel();
        let feed = spawn_feed(events_tx.clone(), start.stacks)?;
        let front = ScreenFront {
            events: events_tx,
            feed,
            orders: orders_rx,
            order: None,
            passing: 0,
            run_to: None,
            shared: shared.clone(),
            start,
            hold: false,
            ended: false,
        };
        std::thread::Builder::new()
            .name("scenario".into())
            .spawn(move || {
                front.run(scenario, data_dir);
                drop::<Sender<()>>(alive);
            })
            .context("cannot start the thread that runs the scenario")?;
        Ok(Self { name, events, orders: Some(orders), shared, ended })
    }

    fn order(&self, order: Order) -> Result<()> {
        self.orders.as_ref().and_then(|orders| orders.send(order).ok()).context("the scenario has ended")
    }

    /// Releases the operation by `how`. If the scenario holds it, runs the scenario's next directive instead.
    fn let_go(&mut self, runs: bool, how: impl FnOnce(&Session) -> bool) -> Result<()> {
        let (scripted, session) = {
            let mut shared = lock(&self.shared);
            shared.runs |= runs && shared.scripted;
            (shared.scripted, shared.session.clone())
        };
        match session {
            Some(session) => {
                how(&session);
                Ok(())
            }
            None if scripted => self.next_operation(),
            None => bail!("no operation is running"),
        }
    }
}

impl StepSource for Embedded {
    fn title(&self) -> String {
        self.name.clone()
    }

    fn poll(&mut self) -> Vec<SourceEvent> {
        self.events.try_iter().collect()
    }

    fn step(&mut self) -> Result<()> {
        self.let_go(false, Session::step)
    }

    fn step_into(&mut self) -> Result<()> {
        self.let_go(false, Session::step_into)
    }

    fn to_gate(&mut self) -> Result<()> {
        self.let_go(true, Session::to_gate)
    }

    fn run(&mut self) -> Result<()> {
        self.let_go(true, Session::run)
    }

    fn release(&mut self, hold: u64) -> Result<()> {
        self.let_go(false, |session| session.release(hold, Mode::Step))
    }

    fn release_into(&mut self, hold: u64) -> Result<()> {
        self.let_go(false, |session| session.release(hold, Mode::Into))
    }

    fn gates(&self) -> Vec<GateState> {
        let shared = lock(&self.shared);
        let Some(session) = &shared.session else { return shared.gates.states().to_vec() };
        // The session counts the arrivals; a gate that holds once is not the user's.
        let counted = session.gates();
        let hits = |state: &GateState| counted.iter().find(|c| c.gate == state.gate).map_or(0, |c| c.hits);
        shared.gates.states().iter().map(|state| GateState { hits: hits(state), ..state.clone() }).collect()
    }

    fn set_gate(&mut self, gate: Gate) -> Result<()> {
        let mut shared = lock(&self.shared);
        shared.gates.set(gate.clone());
        if let Some(session) = &shared.session {
            session.set_gate(gate);
        }
        Ok(())
    }

    fn remove_gate(&mut self, text: &str) -> Result<()> {
        let mut shared = lock(&self.shared);
        shared.gates.remove(text);
        if let Some(session) = &shared.session {
            session.remove_gate(text);
        }
        Ok(())
    }

    fn switch_gate(&mut self, text: &str, on: bool) -> Result<()> {
        let mut shared = lock(&self.shared);
        shared.gates.switch(text, on)?;
        if let Some(session) = &shared.session {
            session.switch_gate(text, on);
        }
        Ok(())
    }

    fn run_to(&mut self, gate: Gate) -> Result<()> {
        self.let_go(true, |session| {
            session.set_gate_once(gate);
            session.to_gate()
        })
    }

    fn next_operation(&mut self) -> Result<()> {
        self.order(Order::Next)
    }

    fn restart(&mut self, to: Option<Gate>) -> Result<()> {
        let (session, operations, own) = {
            let mut shared = lock(&self.shared);
            // The running operation runs to its end; the thread then takes the order.
            shared.runs = true;
            (shared.session.clone(), shared.operations, shared.own.clone())
        };
        if let Some(session) = session {
            session.run();
        }
        match own {
            Some(text) => self.order(Order::Operation { text, to }),
            None => self.order(Order::Restart {
                passing: if to.is_some() { operations.saturating_sub(1) } else { 0 },
                to,
            }),
        }
    }

    fn try_operation(&mut self, text: &str) -> Result<()> {
        scenario_of(text).map_err(anyhow::Error::msg)?;
        let shared = lock(&self.shared);
        if shared.session.is_some() || shared.scripted {
            bail!("expected no running operation, found one: r runs it to its end first");
        }
        drop(shared);
        self.order(Order::Operation { text: text.to_owned(), to: None })
    }

    fn over(&mut self) -> bool {
        lock(&self.shared).over
    }

    fn scripted(&self) -> bool {
        lock(&self.shared).scripted
    }
}

/// Messages to the thread `steps`, which resolves stacks.
enum FeedMessage {
    /// `quiet`: do not pass holds to the screen.
    Begin {
        title: String,
        quiet: bool,
    },
    Event(Box<SessionEvent>),
    End {
        outcome: String,
        more: bool,
    },
}

/// Starts the thread that turns the operations' events into steps.
fn spawn_feed(events: Sender<SourceEvent>, stacks: bool) -> Result<Sender<FeedMessage>> {
    let (messages_tx, messages) = channel();
    let run = move || {
        let symbols = match stacks.then(Symbolizer::for_this_process) {
            Some(Err(e)) => {
                let _ = events.send(SourceEvent::Log(format!("no call stacks: {e}")));
                None
            }
            found => found.and_then(Result::ok),
        };
        let (mut feed, mut no_holds) = (Feed::new(symbols), false);
        // A send fails if the screen is closed; the scenario's thread handles that.
        while let Ok(message) = messages.recv() {
            let out = match message {
                FeedMessage::Begin { title, quiet } => {
                    (feed, no_holds) = (Feed::new(feed.into_symbols()), quiet);
                    vec![SourceEvent::Begin { title }]
                }
                FeedMessage::Event(event) => feed.apply([&*event]),
                FeedMessage::End { outcome, more } => {
                    vec![SourceEvent::Finished { summary: feed.trace().summary(), outcome, more }]
                }
            };
            let is_hold = |e: &SourceEvent| matches!(e, SourceEvent::Held(_) | SourceEvent::Released(_));
            let out = out.into_iter().filter(|event| !(no_holds && is_hold(event)));
            out.for_each(|event| drop(events.send(event)));
        }
    };
    std::thread::Builder::new()
        .name("steps".into())
        .spawn(run)
        .context("cannot start the thread that resolves stacks")?;
    Ok(messages_tx)
}

/// The front end of the scenario's thread. It notices a closed screen when it waits for the next command.
struct ScreenFront {
    events: Sender<SourceEvent>,
    feed: Sender<FeedMessage>,
    orders: Receiver<Order>,
    /// An order that arrived while the scenario waited for the next directive.
    order: Option<Order>,
    /// Number of operations that still run without a hold.
    passing: usize,
    /// The gate that holds the next operation once.
    run_to: Option<Gate>,
    shared: SharedRef,
    start: Start,
    /// The running directive is a `hold`.
    hold: bool,
    /// An operation has ended; the user decides when the next one begins.
    ended: bool,
}

impl ScreenFront {
    /// Runs the scenario, and then the user's orders. The cluster runs until the screen closes.
    fn run(mut self, scenario: Scenario, data_dir: Option<PathBuf>) {
        loop {
            let runner = Runner::new(scenario.clone()).map(|runner| runner.with_data_dir(data_dir.clone()));
            let mut runner = match runner {
                Ok(runner) => runner,
                Err(e) => return self.fail(&e),
            };
            self.run_scenario(&mut runner);
            if !self.obey(&mut runner) {
                return;
            }
            // A cluster must end before the next one opens its files.
            drop(runner);
            self.ended = false;
            let mut shared = lock(&self.shared);
            (shared.operations, shared.over, shared.own) = (0, false, None);
        }
    }

    fn run_scenario(&mut self, runner: &mut Runner) {
        match runner.run(self) {
            Ok(()) => lock(&self.shared).over = true,
            Err(e) if e.is::<Interrupted>() => {}
            Err(e) => self.fail(&e),
        }
    }

    /// Obeys orders until the scenario must run again (true) or the screen closes (false).
    fn obey(&mut self, runner: &mut Runner) -> bool {
        loop {
            let order = match self.order.take() {
                Some(order) => order,
                None => match self.orders.recv() {
                    Ok(order) => order,
                    Err(_) => return false,
                },
            };
            match order {
                // After an operation of the user, the scenario continues.
                Order::Next => {
                    self.ended = false;
                    lock(&self.shared).own = None;
                    self.run_scenario(runner);
                }
                Order::Restart { passing, to } => {
                    (self.passing, self.run_to) = (passing, to);
                    return true;
                }
                Order::Operation { text, to } => self.step_own(runner, text, to),
            }
        }
    }

    /// Steps an operation of the user. One that is refused leaves no gate and no text for the next order.
    fn step_own(&mut self, runner: &mut Runner, text: String, to: Option<Gate>) {
        // The scenario may have been interrupted before its passing operations ended.
        (self.passing, self.run_to, self.hold) = (0, to, false);
        let (before, begun) = {
            let mut shared = lock(&self.shared);
            (shared.own.replace(text.clone()), shared.operations)
        };
        match runner.step(&text, self) {
            Err(e) if lock(&self.shared).operations == begun => {
                lock(&self.shared).own = before;
                self.emit(SourceEvent::Refused(format!("{e:#}")));
            }
            Err(e) => self.fail(&e),
            Ok(()) => {}
        }
        self.run_to = None;
        // Only operations of the scenario run again before the wanted one.
        lock(&self.shared).operations = begun;
    }

    fn emit(&self, event: SourceEvent) {
        let _ = self.events.send(event);
    }

    fn fail(&self, error: &anyhow::Error) {
        self.emit(SourceEvent::Failed(format!("{error:#}")));
        let mut shared = lock(&self.shared);
        (shared.session, shared.scripted, shared.over) = (None, false, true);
    }

    /// Waits until the user lets the scenario run its next directive.
    fn wait(&mut self) -> Result<()> {
        match self.orders.recv().context("the screen was closed")? {
            Order::Next => Ok(()),
            other => {
                self.order = Some(other);
                Err(Interrupted.into())
            }
        }
    }
}

impl Front for ScreenFront {
    fn before(&mut self, block: &Block, held: bool) -> Result<()> {
        if std::mem::take(&mut self.ended) {
            self.wait()?;
        } else if held && !self.start.run && !lock(&self.shared).runs {
            self.emit(SourceEvent::Log(format!(
                "n or N runs {}; r runs the rest of the scenario",
                block.text
            )));
            self.wait()?;
        }
        self.emit(SourceEvent::Log(block.text.clone()));
        self.hold = block.words.first().is_some_and(|word| word == "hold");
        Ok(())
    }

    fn after(&mut self, _: &Block, output: &str, mistake: Option<String>) {
        // A long output is the stages of an operation, which the screen already shows.
        let short = output.lines().count() <= 12;
        let shown: Vec<&str> = output.lines().filter(|line| short || line.starts_with("=> ")).collect();
        self.emit(SourceEvent::Log(indent(&shown)));
        if let Some(mistake) = mistake {
            self.emit(SourceEvent::Mistake(mistake));
        }
    }

    fn config(&mut self) -> SessionConfig {
        let gates = lock(&self.shared).gates.on().cloned().collect();
        let mode = match (self.passing, &self.run_to) {
            (1.., _) => Mode::Run,
            (0, Some(_)) => Mode::ToGate,
            (0, None) => self.start.mode(),
        };
        SessionConfig { mode, gates, stacks: self.start.stacks, ..SessionConfig::default() }
    }

    fn begin(&mut self, operation: &str, session: &Arc<Session>) -> Listener {
        let quiet = self.hold && self.start.run;
        // The thread has ended if the screen is closed.
        let _ = self.feed.send(FeedMessage::Begin { title: operation.to_owned(), quiet });
        // A scripted hold has gates of its own, and its user cannot continue it.
        if self.passing == 0
            && !self.hold
            && let Some(gate) = self.run_to.take()
        {
            session.set_gate_once(gate);
        }
        let mut shared = lock(&self.shared);
        (shared.scripted, shared.runs) = (self.hold, self.passing > 0);
        shared.operations += 1;
        shared.session = (!self.hold).then(|| session.clone());
        if shared.closed {
            session.run();
        }
        let feed = self.feed.clone();
        Box::new(move |event| drop(feed.send(FeedMessage::Event(Box::new(event)))))
    }

    fn end(&mut self, outcome: &str, more: bool) {
        {
            let mut shared = lock(&self.shared);
            (shared.session, shared.scripted) = (None, false);
        }
        // Operations that only lead to the wanted one do not wait for the user.
        self.ended = more && self.passing == 0;
        self.passing = self.passing.saturating_sub(1);
        let _ = self.feed.send(FeedMessage::End { outcome: outcome.to_owned(), more });
    }
}

fn indent(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
