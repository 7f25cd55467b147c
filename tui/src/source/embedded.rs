//! Steps a recipe's operations on a cluster inside this process. A separate thread runs the scenario.
use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use recipes::{Front, Runner, Scenario, directive::is_stepped, front::Listener, scenario::Block};
use tracepoints::{Session, SessionConfig, SessionEvent, find_stage, symbolize::Symbolizer};

use super::feed::Feed;
use crate::state::{SourceEvent, Start, StepSource};

/// Lists the names and titles of the recipes.
pub fn recipes() -> Result<Vec<(String, String)>> {
    Ok(recipes::library::all()?.into_iter().map(|s| (s.name, s.title)).collect())
}

/// State shared between the screen and the scenario's thread.
#[derive(Default)]
struct Shared {
    /// The session of a `step`; None for a `hold`, which only the scenario controls.
    session: Option<Arc<Session>>,
    gates: BTreeSet<String>,
    /// A `hold` of the scenario is under way.
    scripted: bool,
    /// The scenario runs without waiting for the user while it holds an operation.
    runs: bool,
    /// The scenario has ended.
    over: bool,
}

type SharedRef = Arc<Mutex<Shared>>;

/// Ignores poisoning: no change of the shared state can be left half done.
fn lock(shared: &SharedRef) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running scenario.
pub struct Embedded {
    name: String,
    events: Receiver<SourceEvent>,
    /// Lets the scenario run its next directive; None once the screen closes.
    next: Option<Sender<()>>,
    shared: SharedRef,
    /// Closed when the scenario's thread and its cluster have ended.
    ended: Receiver<()>,
}

/// Timeout of the stores' shutdown after the screen closes.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(15);

impl Drop for Embedded {
    fn drop(&mut self) {
        self.next = None;
        if let Some(session) = &lock(&self.shared).session {
            session.run();
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
        let gates = start.gates.iter().cloned().collect();
        let shared = Arc::new(Mutex::new(Shared { gates, ..Shared::default() }));
        let (events_tx, events) = channel();
        let (next, next_rx) = channel();
        let (alive, ended) = channel();
        let feed = spawn_feed(events_tx.clone(), start.stacks)?;
        let front = ScreenFront {
            events: events_tx,
            feed,
            next: next_rx,
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
        Ok(Self { name, events, next: Some(next), shared, ended })
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

    fn toggle_gate(&mut self, stage: &str) -> Result<bool> {
        let known = find_stage(stage).with_context(|| format!("expected a stage, found `{stage}`"))?;
        let mut shared = lock(&self.shared);
        let set = !shared.gates.remove(stage);
        if set {
            shared.gates.insert(stage.to_owned());
        }
        if let Some(session) = &shared.session
            && session.gates().iter().any(|state| state.gate.stage() == Some(known.id)) != set
        {
            session.toggle_gate(known.id);
        }
        Ok(set)
    }

    fn gates(&self) -> Vec<String> {
        lock(&self.shared).gates.iter().cloned().collect()
    }

    fn next_operation(&mut self) -> Result<()> {
        self.next.as_ref().and_then(|n| n.send(()).ok()).context("the scenario has ended")
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
    next: Receiver<()>,
    shared: SharedRef,
    start: Start,
    /// The running directive is a `hold`.
    hold: bool,
    /// An operation has ended; the user decides when the next one begins.
    ended: bool,
}

impl ScreenFront {
    fn run(mut self, scenario: Scenario, data_dir: Option<PathBuf>) {
        let runner = Runner::new(scenario).map(|runner| runner.with_data_dir(data_dir));
        let mut runner = match runner {
            Ok(runner) => runner,
            Err(e) => return self.fail(&e),
        };
        match runner.run(&mut self) {
            Ok(()) => lock(&self.shared).over = true,
            Err(e) => self.fail(&e),
        }
        // The cluster runs until the screen closes.
        while self.next.recv().is_ok() {}
    }

    fn emit(&self, event: SourceEvent) {
        let _ = self.events.send(event);
    }

    fn fail(&self, error: &anyhow::Error) {
        self.emit(SourceEvent::Failed(format!("{error:#}")));
        let mut shared = lock(&self.shared);
        (shared.session, shared.scripted, shared.over) = (None, false, true);
    }

    fn wait(&self) -> Result<()> {
        self.next.recv().context("the screen was closed")
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
        let gates =
            lock(&self.shared).gates.iter().filter_map(|g| find_stage(g)).map(|s| s.id.into()).collect();
        SessionConfig {
            mode: self.start.mode(),
            gates,
            stacks: self.start.stacks,
            ..SessionConfig::default()
        }
    }

    fn begin(&mut self, operation: &str, session: &Arc<Session>) -> Listener {
        let quiet = self.hold && self.start.run;
        // The thread has ended if the screen is closed.
        let _ = self.feed.send(FeedMessage::Begin { title: operation.to_owned(), quiet });
        let mut shared = lock(&self.shared);
        (shared.scripted, shared.runs) = (self.hold, false);
        shared.session = (!self.hold).then(|| session.clone());
        let feed = self.feed.clone();
        Box::new(move |event| drop(feed.send(FeedMessage::Event(Box::new(event)))))
    }

    fn end(&mut self, outcome: &str, more: bool) {
        {
            let mut shared = lock(&self.shared);
            (shared.session, shared.scripted) = (None, false);
        }
        self.ended = more;
        let _ = self.feed.send(FeedMessage::End { outcome: outcome.to_owned(), more });
    }
}

fn indent(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
