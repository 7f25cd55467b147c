//! Runs a scenario: directive by directive, printing what each does; operations can be stepped from outside.
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use tokio::runtime::Runtime;
use tracepoints::{
    EngineClock, Req, Session, SessionConfig, session::Mode, symbolize::Symbolizer, trace::Trace,
};

use crate::{
    client::Clients,
    cluster::{Cluster, ClusterConfig},
    directive::{self, Directive, Op},
    print::{self, Symbols},
    scenario::{Block, Scenario},
};

/// How long anything may take in real time before the runner gives up.
const BOUND: Duration = Duration::from_secs(60);

/// A scenario on its way.
pub struct Runner {
    scenario: Scenario,
    next: usize,
    // Dropped before the runtime: its stores' clients live on it.
    cluster: Option<Cluster>,
    clients: Option<Clients>,
    names: BTreeMap<String, u64>,
    symbols: Symbols,
    held: Option<RunningOp>,
    /// Who led the region when the last operation began.
    led: Option<u64>,
    data_dir: Option<std::path::PathBuf>,
    runtime: Arc<Runtime>,
}

/// What the runner met.
pub enum Progress {
    /// A directive ran and printed this.
    Ran {
        line: usize,
        text: String,
        output: String,
        /// What the file says it must print, if that is something else, with file and line.
        mistake: Option<String>,
    },
    /// The next directive steps an operation: call [`Runner::start`] or [`Runner::run_next`].
    AtStep,
    Done,
}

/// An operation that runs beside the one who steps it.
pub struct RunningOp {
    pub session: Arc<Session>,
    pub req: Req,
    pub op: Op,
    outcome: tokio::sync::oneshot::Receiver<Result<String>>,
    leader: u64,
}

impl RunningOp {
    /// The operation's printed result, once it has ended.
    pub fn outcome(&mut self) -> Option<String> {
        match self.outcome.try_recv() {
            Ok(Ok(text)) => Some(text),
            Ok(Err(e)) => Some(format!("error: {e:#}")),
            Err(tokio::sync::oneshot::error::TryRecvError::Closed) => {
                Some("error: the client's task ended without an answer".into())
            }
            Err(tokio::sync::oneshot::error::TryRecvError::Empty) => None,
        }
    }
}

impl Runner {
    pub fn new(scenario: Scenario) -> Result<Self> {
        directive::check(&scenario)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("client")
            .on_thread_start(|| tracepoints::register_thread("client", 0))
            .enable_all()
            .build()
            .context("cannot start the client's runtime")?;
        Ok(Self {
            scenario,
            next: 0,
            cluster: None,
            clients: None,
            names: BTreeMap::new(),
            symbols: Symbols::default(),
            held: None,
            led: None,
            data_dir: None,
            runtime: Arc::new(runtime),
        })
    }

    /// Keeps the cluster's data here instead of in a temporary directory.
    pub fn with_data_dir(mut self, dir: Option<std::path::PathBuf>) -> Self {
        self.data_dir = dir;
        self
    }

    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// Runs the next directive, unless it steps an operation: that is for the caller to start.
    pub fn advance(&mut self) -> Result<Progress> {
        let Some(block) = self.scenario.blocks.get(self.next).cloned() else { return Ok(Progress::Done) };
        if matches!(parse(&self.scenario, &block)?, Directive::Step(_) | Directive::Hold { .. }) {
            return Ok(Progress::AtStep);
        }
        let output = self.run_next()?;
        let mistake = self.scenario.mismatch(&block, &output);
        Ok(Progress::Ran { line: block.line, text: block.text, output, mistake })
    }

    /// The next directive.
    pub fn peek(&self) -> Option<&Block> {
        self.scenario.blocks.get(self.next)
    }

    /// Passes over the next directive: whoever steps does what it says.
    pub fn skip(&mut self) {
        self.next += 1;
    }

    /// Runs the next directive, whatever it is, and returns what it printed.
    pub fn run_next(&mut self) -> Result<String> {
        let Some(block) = self.scenario.blocks.get(self.next).cloned() else { return Ok(String::new()) };
        self.next += 1;
        let directive = parse(&self.scenario, &block)?;
        let output = self
            .execute(directive)
            .with_context(|| format!("{}:{}: `{}`", self.scenario.path.display(), block.line, block.text))?;
        Ok(if output.is_empty() || output.ends_with('\n') { output } else { output + "\n" })
    }

    /// Starts the operation of the next `step` or `hold` under `config`; the caller drives its session.
    pub fn start(&mut self, config: SessionConfig) -> Result<RunningOp> {
        let block =
            self.scenario.blocks.get(self.next).cloned().context("the scenario has no further directive")?;
        match parse(&self.scenario, &block)? {
            Directive::Step(op) | Directive::Hold { op, .. } => {
                self.next += 1;
                self.start_op(op, config)
            }
            _ => bail!(
                "{}:{}: expected `step` or `hold`, found `{}`",
                self.scenario.path.display(),
                block.line,
                block.text
            ),
        }
    }

    fn start_op(&mut self, op: Op, config: SessionConfig) -> Result<RunningOp> {
        let clients = self.clients()?;
        let leader = self.started()?.leader_of(op.key())?;
        self.led = Some(leader);
        let (names, task_op) = (self.names.clone(), op.clone());
        let session = Arc::new(Session::start(config)?);
        self.started()?.publish_raft_state();
        let req = session.begin_op(op.key());
        let (done, outcome) = tokio::sync::oneshot::channel();
        let ending = session.clone();
        self.runtime.spawn(async move {
            let result = clients.run(&task_op, req, &names).await;
            ending.end_op(req);
            // Nobody listens if the stepper has gone.
            let _ = done.send(result);
        });
        Ok(RunningOp { session, req, op, outcome, leader })
    }

    fn execute(&mut self, directive: Directive) -> Result<String> {
        match directive {
            Directive::Cluster { stores, lease, log_gc } => {
                self.start_cluster(ClusterConfig { stores, lease, log_gc, ..ClusterConfig::default() })
            }
            Directive::Run(op) => self.run_op(op),
            Directive::Step(op) => {
                let running = self.start_op(op, SessionConfig::default())?;
                self.finish(running, false)
            }
            Directive::Hold { stage, nth, op } => self.hold(stage, nth, op),
            Directive::Release => {
                let running =
                    self.held.as_ref().context("nothing is held; `hold STAGE OP` comes before `release`")?;
                running.session.run();
                Ok("released".into())
            }
            Directive::Continue { brief } => {
                let running =
                    self.held.take().context("nothing is held; `hold STAGE OP` comes before `continue`")?;
                running.session.run();
                self.finish(running, brief)
            }
            Directive::NewLeader => {
                let old =
                    self.led.context("no operation has begun; `hold STAGE OP` comes before `new-leader`")?;
                self.started()?.wait_for_leader_other_than(old)
            }
            Directive::Pause { ms } => self.pause(Duration::from_millis(ms)),
            Directive::Ts { name } => {
                let clients = self.clients()?;
                let ts = self.runtime.block_on(bounded(clients.timestamp()))?;
                self.names.insert(name, ts);
                Ok(self.symbols.ts(ts))
            }
            Directive::Lock { key, value, ttl_ms } => {
                let ts = self.lock(&key, &value, ttl_ms)?;
                Ok(format!("locked at {}", self.symbols.ts(ts)))
            }
            Directive::Rows { key } => {
                let rows = self.started()?.rows(&key)?;
                Ok(rows.render(&mut self.symbols))
            }
            other => self.execute_fault(other),
        }
    }

    fn execute_fault(&mut self, directive: Directive) -> Result<String> {
        match directive {
            Directive::Stop(who) => self.started()?.stop(who),
            Directive::Start(who) => self.started()?.start_store(who),
            Directive::TransferLeader(who) => self.started()?.transfer_leader(who),
            Directive::Partition(who) => self.started()?.partition(who),
            Directive::Heal => self.started()?.heal(),
            Directive::Load { count } => {
                let clients = self.clients()?;
                for i in 0..count {
                    let op = Op::RawPut { key: format!("load-{i:06}").into(), value: vec![b'l'; 128] };
                    self.runtime.block_on(bounded(clients.run(&op, Req::NONE, &self.names)))?;
                }
                Ok("ok".into())
            }
            Directive::CaughtUp => self.started()?.caught_up(),
            Directive::CompactLog => self.started()?.compact_log(),
            other => bail!("{other:?} is no directive that changes the cluster"),
        }
    }

    fn start_cluster(&mut self, mut config: ClusterConfig) -> Result<String> {
        if self.cluster.is_some() {
            bail!("the cluster runs already; `cluster` comes once, before everything else");
        }
        config.data_dir = self.data_dir.clone();
        let cluster = Cluster::start(config)?;
        let summary = cluster.summary();
        self.cluster = Some(cluster);
        self.clients()?;
        Ok(summary)
    }

    /// The cluster; three stores if the scenario did not say otherwise.
    fn started(&mut self) -> Result<&mut Cluster> {
        if self.cluster.is_none() {
            self.start_cluster(ClusterConfig::default())?;
        }
        self.cluster.as_mut().context("the cluster did not start")
    }

    fn clients(&mut self) -> Result<Clients> {
        if let Some(clients) = &self.clients {
            return Ok(clients.clone());
        }
        let pd = self.started()?.pd_endpoint();
        let clients = self.runtime.block_on(bounded(Clients::connect(&pd)))?;
        self.clients = Some(clients.clone());
        Ok(clients)
    }

    fn run_op(&mut self, op: Op) -> Result<String> {
        let clients = self.clients()?;
        let result = self.runtime.block_on(bounded(clients.run(&op, Req::NONE, &self.names)));
        Ok(match result {
            Ok(text) => text,
            Err(e) => self.symbols.clean(&format!("error: {e:#}")),
        })
    }

    fn lock(&mut self, key: &[u8], value: &[u8], ttl_ms: u64) -> Result<u64> {
        let clients = self.clients()?;
        let ts = self.runtime.block_on(bounded(clients.timestamp()))?;
        self.started()?.prewrite(key, value, ts, ttl_ms)?;
        Ok(ts)
    }

    fn hold(&mut self, stage: &'static tracepoints::Stage, nth: usize, op: Op) -> Result<String> {
        let config = SessionConfig {
            mode: Mode::ToGate,
            gates: HashSet::from([stage.id]),
            ..SessionConfig::default()
        };
        let running = self.start_op(op, config)?;
        let deadline = Instant::now() + BOUND;
        let mut met = HashSet::new();
        let held = loop {
            let held = running.session.held();
            met.extend(held.iter().map(|h| h.id));
            if !held.is_empty() && met.len() >= nth {
                break held;
            }
            if Instant::now() > deadline {
                bail!("the operation came to {} {} times within {BOUND:?}, not {nth}", stage.name, met.len());
            }
            if !held.is_empty() {
                running.session.to_gate();
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let role = match held[0].store {
            0 => "client",
            s if s == running.leader => "leader",
            _ => "follower",
        };
        self.held = Some(running);
        Ok(format!("held at {} on the {role}", stage.name))
    }

    /// Sleeps in real time and says what engine time did.
    fn pause(&mut self, real: Duration) -> Result<String> {
        let before = EngineClock::now();
        let leaders = self.started()?.terms();
        std::thread::sleep(real);
        let moved = EngineClock::now().saturating_since(before);
        let same = if leaders == self.started()?.terms() { "no term changed" } else { "a term changed" };
        let time = if moved.is_zero() { "engine time stood still" } else { "engine time went on" };
        Ok(format!("{time}, {same}"))
    }

    /// Waits for a running operation's end, lets the replicas settle, and prints the stages.
    fn finish(&mut self, mut running: RunningOp, brief: bool) -> Result<String> {
        let mut trace = Trace::new();
        let deadline = Instant::now() + BOUND;
        let outcome = loop {
            drain(&running.session, &mut trace, None, Duration::from_millis(5));
            if let Some(outcome) = running.outcome() {
                break outcome;
            }
            if Instant::now() > deadline {
                bail!(
                    "the operation did not end within {BOUND:?}; it is held at {:?}",
                    running.session.held()
                );
            }
        };
        if brief {
            return Ok(format!("=> {}", self.symbols.clean(&outcome)));
        }
        let leader = running.leader;
        self.started()?.settle()?;
        drain(&running.session, &mut trace, None, Duration::from_millis(20));
        let summary = trace.summary();
        let mut out = print::steps(&trace.steps, leader);
        if summary.dropped == 0 && summary.accounted < 0.99 {
            bail!("only {:.1} % of the wall time is accounted for", summary.accounted * 100.0);
        }
        out.push_str(&format!("=> {}\n", self.symbols.clean(&outcome)));
        Ok(out)
    }
}

/// Applies the events that come within `wait` of each other; true if any came.
pub fn drain(
    session: &Session,
    trace: &mut Trace,
    mut symbols: Option<&mut Symbolizer>,
    wait: Duration,
) -> bool {
    let mut any = false;
    while let Ok(event) = session.events().recv_timeout(wait) {
        trace.apply(&event, symbols.as_deref_mut());
        any = true;
    }
    any
}

fn parse(scenario: &Scenario, block: &Block) -> Result<Directive> {
    Ok(directive::parse(&block.words).map_err(|problem| scenario.error(block.line, problem))?)
}

async fn bounded<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(BOUND, work).await {
        Ok(result) => result,
        Err(_) => bail!("no answer within {BOUND:?}"),
    }
}

/// Runs a whole scenario; returns what each directive printed.
pub fn run_all(scenario: Scenario) -> Result<Vec<String>> {
    let count = scenario.blocks.len();
    let mut runner = Runner::new(scenario)?;
    (0..count).map(|_| runner.run_next()).collect()
}
