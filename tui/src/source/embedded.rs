//! Steps of a recipe's operations on a cluster inside this process. The scenario runs on a thread of its own.
use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use recipes::{Progress, Runner, RunningOp, Scenario};
use tracepoints::{Session, SessionConfig, SessionEvent, find_stage, session::Mode, symbolize::Symbolizer};

use super::feed::Feed;
use crate::state::{Hold, SourceEvent, Start, StepSource};

/// How long replicas may still stamp after the client has its answer.
const LINGER: Duration = Duration::from_millis(300);
/// How long to wait for events before commands are looked at.
const SLICE: Duration = Duration::from_millis(5);

/// Names and titles of the recipes.
pub fn recipes() -> Result<Vec<(String, String)>> {
    Ok(recipes::library::all()?.into_iter().map(|s| (s.name, s.title)).collect())
}

/// What the screen's side and the scenario's side share.
#[derive(Default)]
struct Shared {
    session: Option<Arc<Session>>,
    gates: BTreeSet<String>,
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
        if let Ok(session) = self.session() {
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
        if !scenario.blocks.iter().any(stepped) {
            bail!(
                "{name} has no operation to step: write `step get k1`, for one, into {}",
                scenario.path.display()
            );
        }
        let shared =
            Arc::new(Mutex::new(Shared { session: None, gates: start.gates.iter().cloned().collect() }));
        let (events_tx, events) = channel();
        let (next, next_rx) = channel();
        let (alive, ended) = channel();
        let work = Work { events: events_tx, next: next_rx, shared: shared.clone(), start };
        std::thread::Builder::new()
            .name("scenario".into())
            .spawn(move || {
                work.run(scenario, data_dir);
                drop::<Sender<()>>(alive);
            })
            .context("cannot start the thread that runs the scenario")?;
        Ok(Self { name, events, next: Some(next), shared, ended })
    }

    fn session(&self) -> Result<Arc<Session>> {
        lock(&self.shared).session.clone().context("no operation is under way")
    }
}

fn stepped(block: &recipes::scenario::Block) -> bool {
    block.words.first().is_some_and(|w| w == "step" || w == "hold")
}

impl StepSource for Embedded {
    fn title(&self) -> String {
        self.name.clone()
    }

    fn poll(&mut self) -> Vec<SourceEvent> {
        self.events.try_iter().collect()
    }

    fn step(&mut self) -> Result<()> {
        self.session()?.step();
        Ok(())
    }

    fn to_gate(&mut self) -> Result<()> {
        self.session()?.to_gate();
        Ok(())
    }

    fn run(&mut self) -> Result<()> {
        self.session()?.run();
        Ok(())
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
}

/// The screen's side may be gone; the thread sees that when it waits for the next command.
struct Work {
    events: Sender<SourceEvent>,
    next: Receiver<()>,
    shared: SharedRef,
    start: Start,
}

impl Work {
    fn run(self, scenario: Scenario, data_dir: Option<PathBuf>) {
        if let Err(e) = self.scenario(scenario, data_dir) {
            lock(&self.shared).session = None;
            self.tell(SourceEvent::Failed(format!("{e:#}")));
        }
    }

    fn tell(&self, event: SourceEvent) {
        let _ = self.events.send(event);
    }

    fn scenario(&self, scenario: Scenario, data_dir: Option<PathBuf>) -> Result<()> {
        let mut symbols = None;
        if self.start.stacks {
            match Symbolizer::for_this_process() {
                Ok(found) => symbols = Some(found),
                Err(e) => self.tell(SourceEvent::Log(format!("no call stacks: {e}"))),
            }
        }
        let mut runner = Runner::new(scenario)?.with_data_dir(data_dir);
        loop {
            if let Some(block) = runner.peek() {
                self.tell(SourceEvent::Log(block.text.clone()));
            }
            match runner.advance()? {
                Progress::Ran { output, mistake, .. } => {
                    self.tell(SourceEvent::Log(indent(&output)));
                    if let Some(mistake) = mistake {
                        self.tell(SourceEvent::Mistake(mistake));
                    }
                }
                Progress::AtStep => {
                    symbols = self.operation(&mut runner, symbols)?;
                    // The cluster lives until the screen goes.
                    if self.next.recv().is_err() {
                        return Ok(());
                    }
                }
                Progress::Done => {
                    let _ = self.next.recv();
                    return Ok(());
                }
            }
        }
    }

    fn config(&self, hold: Option<&str>) -> SessionConfig {
        let mut gates = lock(&self.shared).gates.clone();
        let mut mode = self.start.mode();
        if let Some(stage) = hold {
            gates.insert(stage.to_owned());
            lock(&self.shared).gates.insert(stage.to_owned());
            mode = Mode::ToGate;
        }
        let gates = gates.iter().filter_map(|g| find_stage(g)).map(|s| s.id).collect();
        SessionConfig { mode, gates, stacks: self.start.stacks, ..SessionConfig::default() }
    }

    /// Steps one operation to its end; gives the symbolizer back.
    fn operation(&self, runner: &mut Runner, symbols: Option<Symbolizer>) -> Result<Option<Symbolizer>> {
        let block = runner.peek().cloned().context("the scenario has no further directive")?;
        let hold = (block.words[0] == "hold").then(|| block.words.get(1)).flatten();
        let (stage, nth) = match hold.map(|h| h.split_once('#').unwrap_or((h, "1"))) {
            Some((stage, nth)) => (Some(stage.to_owned()), nth.parse().unwrap_or(1)),
            None => (None, 1),
        };
        let title = block
            .words
            .iter()
            .skip(if hold.is_some() { 2 } else { 1 })
            .cloned()
            .collect::<Vec<_>>()
            .join(" ");
        self.tell(SourceEvent::Begin { title });
        let op = runner.start(self.config(stage.as_deref()))?;
        lock(&self.shared).session = Some(op.session.clone());
        let result =
            Operation { work: self, op, feed: Feed::new(symbols), stage, left: nth, held: Vec::new() }
                .run(runner);
        lock(&self.shared).session = None;
        result
    }
}

/// One operation while it runs.
struct Operation<'a> {
    work: &'a Work,
    op: RunningOp,
    feed: Feed,
    /// The scenario holds it here, when it comes for the `left`-th time.
    stage: Option<String>,
    left: usize,
    held: Vec<u64>,
}

impl Operation<'_> {
    fn run(mut self, runner: &mut Runner) -> Result<Option<Symbolizer>> {
        let mut ended: Option<(Instant, String)> = None;
        loop {
            self.hear();
            if ended.is_none() {
                ended = self.op.outcome().map(|text| (Instant::now(), text));
            }
            if let Some((at, outcome)) = &ended
                && at.elapsed() >= LINGER
                && self.held.is_empty()
            {
                let more = rest(runner).any(stepped_text);
                let (summary, outcome) = (self.feed.trace().summary(), outcome.clone());
                self.work.tell(SourceEvent::Finished { summary, outcome, more });
                self.script_to_its_end(runner)?;
                return Ok(self.feed.into_symbols());
            }
            self.script(runner)?;
        }
    }

    fn hear(&mut self) {
        let first = self.op.session.events().recv_timeout(SLICE).ok();
        let rest: Vec<SessionEvent> = self.op.session.events().try_iter().collect();
        let events: Vec<SessionEvent> = first.into_iter().chain(rest).collect();
        for told in self.feed.apply(&events) {
            match &told {
                SourceEvent::Held(hold) => {
                    if self.passes(hold) {
                        self.op.session.to_gate();
                        continue;
                    }
                    self.held.push(hold.id);
                    // Nobody steps: what the scenario holds, the scenario lets go.
                    if self.work.start.run && self.stage.as_ref() == Some(&hold.stage) {
                        continue;
                    }
                }
                SourceEvent::Released(id) => self.held.retain(|h| h != id),
                _ => {}
            }
            self.work.tell(told);
        }
    }

    /// The scenario means a later visit of the stage.
    fn passes(&mut self, hold: &Hold) -> bool {
        if self.stage.as_ref() != Some(&hold.stage) || self.left <= 1 {
            return false;
        }
        self.left -= 1;
        true
    }

    /// Runs the scenario's next directive beside the held operation: when asked, or at once if nobody steps.
    fn script(&mut self, runner: &mut Runner) -> Result<()> {
        let due = self.stage.is_some() && !self.held.is_empty() && self.work.start.run;
        match self.work.next.try_recv() {
            Ok(()) => self.directive(runner),
            Err(std::sync::mpsc::TryRecvError::Disconnected) => bail!("the screen is gone"),
            Err(_) if due => self.directive(runner),
            Err(_) => Ok(()),
        }
    }

    fn directive(&mut self, runner: &mut Runner) -> Result<()> {
        if self.stage.is_none() {
            self.work.tell(SourceEvent::Log("the scenario goes on when this operation has ended".into()));
            return Ok(());
        }
        let Some(text) = runner.peek().filter(|b| !stepped(b)).map(|b| b.text.clone()) else { return Ok(()) };
        self.work.tell(SourceEvent::Log(text.clone()));
        if text.starts_with("release") || text.starts_with("continue") {
            runner.skip();
            self.op.session.run();
            if self.work.start.run && text.starts_with("release") {
                return self.script_to_its_end(runner);
            }
            return Ok(());
        }
        let output = runner.run_next()?;
        self.work.tell(SourceEvent::Log(indent(&output)));
        Ok(())
    }

    /// What the scenario does to the cluster up to the operation's `continue`.
    fn script_to_its_end(&mut self, runner: &mut Runner) -> Result<()> {
        while self.stage.is_some() {
            let Some(text) = runner.peek().filter(|b| !stepped(b)).map(|b| b.text.clone()) else { break };
            let last = text.starts_with("continue");
            self.directive(runner)?;
            if last {
                self.stage = None;
            }
        }
        Ok(())
    }
}

fn rest(runner: &Runner) -> impl Iterator<Item = &str> {
    let from = runner.peek().map_or(usize::MAX, |b| b.line);
    runner.scenario().blocks.iter().filter(move |b| b.line >= from).map(|b| b.text.as_str())
}

fn stepped_text(text: &str) -> bool {
    text.starts_with("step ") || text.starts_with("hold ")
}

fn indent(output: &str) -> String {
    output.lines().map(|l| format!("  {l}")).collect::<Vec<_>>().join("\n")
}
