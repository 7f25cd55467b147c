//! Steps of a recipe's operations on a cluster inside this process. The scenario runs on a thread of its own.
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

/// Names and titles of the recipes.
pub fn recipes() -> Result<Vec<(String, String)>> {
    Ok(recipes::library::all()?.into_iter().map(|s| (s.name, s.title)).collect())
}

/// What the screen's side and the scenario's side share.
#[derive(Default)]
struct Shared {
    /// Of a `step`; what a `hold` does only the scenario decides.
    session: Option<Arc<Session>>,
    gates: BTreeSet<String>,
    /// The scenario has begun a `hold` and not ended it.
    scripted: bool,
    /// The scenario goes on by itself while it holds an operation.
    runs: bool,
    /// Nothing of the scenario is left.
    over: bool,
}

type SharedRef = Arc<Mutex<Shared>>;

/// A poisoned lock holds a session and names: both are whole.
fn lock(shared: &SharedRef) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A scenario under way.
pub struct Embedded {
    name: String,
    events: Receiver<SourceEvent>,
    /// Gone when the screen goes.
    next: Option<Sender<()>>,
    shared: SharedRef,
    /// Closed when the scenario's thread has ended, with its cluster.
    ended: Receiver<()>,
}

/// How long stores may take to shut down when the screen goes.
const GOODBYE: Duration = Duration::from_secs(15);

impl Drop for Embedded {
    fn drop(&mut self) {
        self.next = None;
        if let Some(session) = &lock(&self.shared).session {
            session.run();
        }
        // The thread removes the temporary data; if it hangs, the process ends without.
        let _ = self.ended.recv_timeout(GOODBYE);
    }
}

impl Embedded {
    /// Finds and checks the scenario, then runs it in the background up to its first operation.
    pub fn start(name: &str, data_dir: Option<PathBuf>, start: Start) -> Result<Self> {
        let scenario = recipes::library::find(name)?;
        let name = scenario.name.clone();
        recipes::directive::check(&scenario)?;
        if !scenario.blocks.iter().any(is_stepped) {
            bail!(
                "{name} has no operation to step: write `step get k1`, for one, into {}",
                scenario.path.display()
            );
        }
        let gates = start.gates.iter().cloned().collect();
        let shared = Arc::new(Mutex::new(Shared { gates, ..Shared::default() }));
        let (events_tx, events) = channel();
        let (next, next_rx) = channel();
        let (alive, ended) = channel();
        let feed = spawn_feed(events_tx.clone(), start.stacks)?;
        let show = Show {
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
                show.run(scenario, data_dir);
                drop::<Sender<()>>(alive);
            })
            .context("cannot start the thread that runs the scenario")?;
        Ok(Self { name, events, next: Some(next), shared, ended })
    }

    /// Lets the operation go as `how` says; one that the scenario holds goes on when the scenario says so.
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
            None => bail!("no operation is under way"),
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

    fn to_gate(&mut self) -> Result<()> {
        self.let_go(true, Session::to_gate)
    }

    fn run(&mut self) -> Result<()> {
        self.let_go(true, Session::run)
    }

    fn toggle_gate(&mut self, stage: &str) -> Result<bool> {
        let known = find_stage(stage).with_context(|| format!("there is no stage `{stage}`"))?;
        let mut shared = lock(&self.shared);
        let set = !shared.gates.remove(stage);
        if set {
            shared.gates.insert(stage.to_owned());
        }
        if let Some(session) = &shared.session
            && session.gates().contains(&known.id) != set
        {
            session.toggle_gate(known.id);
        }
        Ok(set)
    }

    fn gates(&self) -> Vec<String> {
        lock(&self.shared).gates.iter().cloned().collect()
    }

    fn next_operation(&mut self) -> Result<()> {
        self.next.as_ref().and_then(|n| n.send(()).ok()).context("the scenario is over")
    }

    fn over(&mut self) -> bool {
        lock(&self.shared).over
    }

    fn scripted(&self) -> bool {
        lock(&self.shared).scripted
    }
}

/// What the thread `steps` hears: it alone resolves stacks.
enum Heard {
    /// `quiet`: nobody is to hear of holds.
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
fn spawn_feed(events: Sender<SourceEvent>, stacks: bool) -> Result<Sender<Heard>> {
    let (heard_tx, heard) = channel();
    let run = move || {
        let symbols = match stacks.then(Symbolizer::for_this_process) {
            Some(Err(e)) => {
                let _ = events.send(SourceEvent::Log(format!("no call stacks: {e}")));
                None
            }
            found => found.and_then(Result::ok),
        };
        let (mut feed, mut hushed) = (Feed::new(symbols), false);
        // The screen may be gone; the scenario's thread sees that.
        while let Ok(heard) = heard.recv() {
            let told = match heard {
                Heard::Begin { title, quiet } => {
                    (feed, hushed) = (Feed::new(feed.into_symbols()), quiet);
                    vec![SourceEvent::Begin { title }]
                }
                Heard::Event(event) => feed.apply([&*event]),
                Heard::End { outcome, more } => {
                    vec![SourceEvent::Finished { summary: feed.trace().summary(), outcome, more }]
                }
            };
            let is_hold = |e: &SourceEvent| matches!(e, SourceEvent::Held(_) | SourceEvent::Released(_));
            let told = told.into_iter().filter(|event| !(hushed && is_hold(event)));
            told.for_each(|event| drop(events.send(event)));
        }
    };
    std::thread::Builder::new()
        .name("steps".into())
        .spawn(run)
        .context("cannot start the thread of the steps")?;
    Ok(heard_tx)
}

/// The scenario's side of the screen. The screen may be gone; that is seen when the next command is waited for.
struct Show {
    events: Sender<SourceEvent>,
    feed: Sender<Heard>,
    next: Receiver<()>,
    shared: SharedRef,
    start: Start,
    /// The directive that runs is a `hold`.
    hold: bool,
    /// An operation has ended, and the person says when the next one begins.
    ended: bool,
}

impl Show {
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
        // The cluster lives until the screen goes.
        while self.next.recv().is_ok() {}
    }

    fn tell(&self, event: SourceEvent) {
        let _ = self.events.send(event);
    }

    fn fail(&self, error: &anyhow::Error) {
        self.tell(SourceEvent::Failed(format!("{error:#}")));
        let mut shared = lock(&self.shared);
        (shared.session, shared.scripted, shared.over) = (None, false, true);
    }

    fn wait(&self) -> Result<()> {
        self.next.recv().context("the screen is gone")
    }
}

impl Front for Show {
    fn before(&mut self, block: &Block, held: bool) -> Result<()> {
        if std::mem::take(&mut self.ended) {
            self.wait()?;
        } else if held && !self.start.run && !lock(&self.shared).runs {
            self.tell(SourceEvent::Log(format!("n or N: {}; r: all that the scenario does", block.text)));
            self.wait()?;
        }
        self.tell(SourceEvent::Log(block.text.clone()));
        self.hold = block.words.first().is_some_and(|word| word == "hold");
        Ok(())
    }

    fn after(&mut self, _: &Block, output: &str, mistake: Option<String>) {
        // The stages of an operation are on the screen already.
        let short = output.lines().count() <= 12;
        let shown: Vec<&str> = output.lines().filter(|line| short || line.starts_with("=> ")).collect();
        self.tell(SourceEvent::Log(indent(&shown)));
        if let Some(mistake) = mistake {
            self.tell(SourceEvent::Mistake(mistake));
        }
    }

    fn config(&mut self) -> SessionConfig {
        let gates = lock(&self.shared).gates.iter().filter_map(|g| find_stage(g)).map(|s| s.id).collect();
        SessionConfig {
            mode: self.start.mode(),
            gates,
            stacks: self.start.stacks,
            ..SessionConfig::default()
        }
    }

    fn begin(&mut self, operation: &str, session: &Arc<Session>) -> Listener {
        let quiet = self.hold && self.start.run;
        // A thread that has ended hears nothing more; its screen is gone.
        let _ = self.feed.send(Heard::Begin { title: operation.to_owned(), quiet });
        let mut shared = lock(&self.shared);
        (shared.scripted, shared.runs) = (self.hold, false);
        shared.session = (!self.hold).then(|| session.clone());
        let feed = self.feed.clone();
        Box::new(move |event| drop(feed.send(Heard::Event(Box::new(event)))))
    }

    fn end(&mut self, outcome: &str, more: bool) {
        {
            let mut shared = lock(&self.shared);
            (shared.session, shared.scripted) = (None, false);
        }
        self.ended = more;
        let _ = self.feed.send(Heard::End { outcome: outcome.to_owned(), more });
    }
}

fn indent(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
