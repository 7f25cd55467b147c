//! Runs a scenario, one directive after the other, and collects their outputs. Tests, the screen and the
//! printed forms all use this runner.
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use futures::future::BoxFuture;
use tokio::{runtime::Runtime, task::JoinHandle};
use tracepoints::{EngineClock, Gate, Req, SessionConfig, gates::Names, session::Mode};

use crate::{
    client::{Clients, stamped},
    cluster::{Cluster, ClusterConfig},
    directive::{self, Directive, Op},
    front::{Front, Quiet},
    named::Named,
    operation::{self, Operation},
    pessimistic::Txn,
    pipelined::PipelinedTxn,
    print::{self, Symbols},
    rpc::{Replica, wait_text},
    scenario::{Block, Scenario},
};

/// Upper bound of every wait, in real time.
const BOUND: Duration = Duration::from_secs(60);

const NOTHING_HELD: &str = "expected an earlier `hold GATE OP`, found nothing held";
const NO_OPERATION: &str = "expected an earlier `step OP` or `hold GATE OP`, found no operation";

/// The detail in which an operation is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    /// Only the result.
    Result,
    /// The stages, then the result.
    Stages,
    /// As [`Detail::Stages`], with the steps inside of a stage.
    Inside,
}

/// A running scenario. Dropping it releases what it holds.
pub struct Runner {
    scenario: Scenario,
    next: usize,
    held: Option<Operation>,
    /// The transactions of `pessimistic-begin`; those of `begin` are in the clients.
    txns: Named<Txn>,
    /// The transactions of `pipelined-begin`.
    pipelined: Named<PipelinedTxn>,
    /// The operation that runs beside the others.
    aside: Option<JoinHandle<Result<String>>>,
    // Dropped before the runtime, which runs the stores' clients.
    cluster: Option<Cluster>,
    clients: Option<Clients>,
    names: BTreeMap<String, u64>,
    symbols: Symbols,
    /// The primary of the last `lock`, and its start timestamp.
    locked: Option<(Vec<u8>, u64)>,
    /// Start and commit timestamp of the last transaction whose primary `commit-primary` committed.
    committed: Option<(u64, u64)>,
    /// The store that led the region when the last operation began.
    led: Option<u64>,
    data_dir: Option<PathBuf>,
    runtime: Arc<Runtime>,
}

impl Runner {
    /// Checks a scenario and prepares to run it.
    ///
    /// # Errors
    /// The scenario's first mistake, with file and line.
    pub fn new(scenario: Scenario) -> Result<Self> {
        directive::check(&scenario)?;
        // One thread: what the client leaves in the background, such as the commit record of an async commit, begins
        // only after the operation has ended.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("client")
            .on_thread_start(|| tracepoints::register_thread("client", 0))
            .enable_all()
            .build()
            .context("cannot start the client's runtime")?;
        Ok(Self {
            scenario,
            next: 0,
            held: None,
            txns: Named::new("pessimistic-begin"),
            pipelined: Named::new("pipelined-begin"),
            aside: None,
            cluster: None,
            clients: None,
            names: BTreeMap::new(),
            symbols: Symbols::default(),
            locked: None,
            committed: None,
            led: None,
            data_dir: None,
            runtime: Arc::new(runtime),
        })
    }

    /// Keeps the cluster's data in `dir` instead of a temporary directory.
    pub fn with_data_dir(mut self, dir: Option<PathBuf>) -> Self {
        self.data_dir = dir;
        self
    }

    /// Runs the remaining directives, one after the other.
    ///
    /// # Errors
    /// If a directive fails, with file and line; nothing stays held then. An output that the file does not
    /// expect is not an error: `front` receives it as a mistake.
    pub fn run(&mut self, front: &mut dyn Front) -> Result<()> {
        let result = self.run_blocks(front);
        if result.is_err() {
            self.held = None;
        }
        result
    }

    /// Steps an operation besides those of the scenario, such as `get k1`, on the scenario's cluster.
    ///
    /// # Errors
    /// If the text is not an operation, or the operation's stages do not cover its time.
    pub fn step(&mut self, text: &str, front: &mut dyn Front) -> Result<()> {
        let scenario = directive::scenario_of(text).map_err(anyhow::Error::msg)?;
        let Some(block) = scenario.blocks.first() else { return Ok(()) };
        let directive = directive::parse(&block.words).map_err(anyhow::Error::msg)?;
        let output = self.execute(directive, front).with_context(|| format!("`{text}`"))?;
        front.after(block, &output, None);
        Ok(())
    }

    fn run_blocks(&mut self, front: &mut dyn Front) -> Result<()> {
        while let Some(block) = self.scenario.blocks.get(self.next).cloned() {
            // An error leaves the directive for a later call of `run`.
            front.before(&block, self.held.is_some())?;
            self.next += 1;
            let output = self.run_block(&block, front)?;
            let mistake = self.scenario.mismatch(&block, &output);
            front.after(&block, &output, mistake);
        }
        self.end_held(front).map(drop)
    }

    fn run_block(&mut self, block: &Block, front: &mut dyn Front) -> Result<String> {
        let parsed = directive::parse(&block.words);
        let directive = parsed.map_err(|problem| self.scenario.error(block.line, problem))?;
        let at = format!("{}:{}: `{}`", self.scenario.path.display(), block.line, block.text);
        let output = self.execute(directive, front).context(at)?;
        Ok(if output.is_empty() || output.ends_with('\n') { output } else { output + "\n" })
    }

    fn start_op(&mut self, op: Op, config: SessionConfig, front: &mut dyn Front) -> Result<Operation> {
        self.end_held(front)?;
        let work = self.work(&op)?;
        let leader = self.started()?.leader_of(op.key())?;
        self.led = Some(leader);
        let session = operation::session(&config)?;
        let listener = front.begin(&op.to_string(), &session);
        self.started()?.publish_raft_state();
        let (runtime, key) = (self.runtime.clone(), op.key().to_vec());
        Operation::start(&runtime, session, listener, (leader, &key), work)
    }

    /// Prepares an operation. A lock request takes its timestamp now, which is not part of the operation.
    fn work(&mut self, op: &Op) -> Result<Work> {
        let call = match op {
            Op::PessimisticLock { txn, key, wait_ms, fair, shared } => {
                let for_update_ts = self.timestamp()?;
                let leader = self.started()?.leader_replica(key)?;
                self.txns.get(txn)?.lock((key, *shared), leader, for_update_ts, (*wait_ms, *fair))
            }
            Op::Gc { key, at } => {
                let ts = *self.names.get(at).with_context(|| format!("no timestamp is named {at}"))?;
                self.started()?.collect_at_leader(key, ts)?
            }
            Op::Flashback { at, from, to } => {
                let version = *self.names.get(at).with_context(|| format!("no timestamp is named {at}"))?;
                let ts = (self.timestamp()?, self.timestamp()?);
                let (leader, range) = (self.started()?.leader_replica(from)?, (from.clone(), to.clone()));
                Box::pin(async move { leader.flashback(range, version, ts).await.map(|()| "ok".to_owned()) })
            }
            Op::Recover { key } => {
                let last = self.locked.as_ref().filter(|(primary, _)| primary == key);
                let (primary, start_ts) =
                    last.cloned().context("expected an earlier `lock` with this primary, found none")?;
                let now = self.timestamp()?;
                let leader = self.started()?.leader_replica(key)?;
                Box::pin(async move { leader.recover(primary, start_ts, now).await })
            }
            Op::Flush { txn, generation, changes } => {
                let leader = self.started()?.leader_replica(op.key())?;
                self.pipelined.get(txn)?.flush(leader, *generation, changes)
            }
            Op::CommitSecondaries { keys } => {
                let (start_ts, commit_ts) =
                    self.committed.context("expected an earlier `commit-primary`, found none")?;
                let (leader, keys) = (self.started()?.leader_replica(op.key())?, keys.clone());
                Box::pin(
                    async move { leader.commit(keys, start_ts, commit_ts).await.map(|()| "ok".to_owned()) },
                )
            }
            Op::BufferGet { txn, keys } => {
                let leader = self.started()?.leader_replica(op.key())?;
                self.pipelined.get(txn)?.buffer_get(leader, keys)
            }
            _ => {
                let (clients, follower) = (self.clients()?, self.follower(op)?);
                let (op, names) = (op.clone(), self.names.clone());
                return Ok(Box::new(move |req| {
                    Box::pin(async move { clients.run(&op, req, &names, follower).await })
                }));
            }
        };
        let name = op.name();
        Ok(Box::new(move |req| Box::pin(stamped(name, req, call))))
    }

    fn execute(&mut self, directive: Directive, front: &mut dyn Front) -> Result<String> {
        match directive {
            Directive::Cluster { stores, lease, log_gc, api } => {
                self.start_cluster(ClusterConfig { stores, lease, log_gc, api, ..ClusterConfig::default() })
            }
            Directive::Run(op) => self.run_op(op),
            Directive::Step { op, inside } => {
                let config = front.config();
                let running = self.start_op(op, config, front)?;
                self.finish(running, if inside { Detail::Inside } else { Detail::Stages }, front)
            }
            Directive::Hold { gate, op } => self.hold(&gate, op, front),
            Directive::Release => {
                self.held.as_ref().context(NOTHING_HELD)?.session.run();
                Ok("released".into())
            }
            Directive::Continue { brief } => {
                let running = self.held.take().context(NOTHING_HELD)?;
                running.session.run();
                self.finish(running, if brief { Detail::Result } else { Detail::Stages }, front)
            }
            Directive::NewLeader => {
                let old = self.led.context(NO_OPERATION)?;
                self.started()?.wait_for_leader_other_than(old)
            }
            Directive::Pause { ms } => self.pause(Duration::from_millis(ms)),
            Directive::Ts { name } => {
                let ts = self.timestamp()?;
                self.names.insert(name, ts);
                Ok(self.symbols.ts(ts))
            }
            Directive::Lock { pairs, ttl_ms, async_commit } => {
                let ts = self.lock(&pairs, ttl_ms, async_commit)?;
                Ok(format!("locked at {}", self.symbols.ts(ts)))
            }
            Directive::CommitPrimary => {
                let (primary, start_ts) =
                    self.locked.take().context("expected an earlier `lock`, found none")?;
                let commit_ts = self.timestamp()?;
                self.started()?.commit(&primary, start_ts, commit_ts)?;
                self.committed = Some((start_ts, commit_ts));
                Ok(format!("committed at {}", self.symbols.ts(commit_ts)))
            }
            Directive::Begin { txn, kind } => {
                let clients = self.clients()?;
                self.runtime.block_on(bounded(clients.begin(&txn, kind)))?;
                Ok("ok".into())
            }
            Directive::In { txn, change } => {
                let clients = self.clients()?;
                self.runtime.block_on(bounded(clients.change(&txn, &change)))
            }
            Directive::Rows { key } => {
                let held = self.held.as_ref().and_then(Operation::held_store);
                let rows = self.started()?.rows(&key, held)?;
                Ok(rows.render(&mut self.symbols))
            }
            other => self.execute_txn(other, front),
        }
    }

    /// Executes a directive of transactions whose requests the runner makes, or one that changes the cluster.
    fn execute_txn(&mut self, directive: Directive, front: &mut dyn Front) -> Result<String> {
        match directive {
            Directive::PessimisticBegin { txn } => {
                let ts = self.timestamp()?;
                self.txns.begin(&txn, Txn::new(ts));
                Ok(format!("{txn} began at {}", self.symbols.ts(ts)))
            }
            Directive::Waiting(op) => {
                let before = self.started()?.lock_waits().len();
                let running = self.start_op(op, front.config(), front)?;
                let running = self.wait_for_waits(before + 1, running)?;
                running.session.leave_op();
                self.held = Some(running);
                Ok("waiting".into())
            }
            Directive::Aside(op) => {
                let before = self.started()?.lock_waits().len();
                let work = self.work(&op)?;
                self.aside = Some(self.runtime.spawn(work(Req::NONE)));
                self.started()?
                    .wait("no request waits for a lock", |c| (c.lock_waits().len() > before).then_some(()))?;
                Ok("waiting".into())
            }
            Directive::Join => {
                let aside = self.aside.take().context("expected an earlier `aside OP`, found none")?;
                let text = self.runtime.block_on(bounded(async { aside.await? }))?;
                Ok(self.symbols.clean(&text))
            }
            Directive::LockWaits => {
                let mut waits = self.started()?.lock_waits();
                waits.sort_by_key(|wait| (wait.txn, wait.wait_for_txn));
                let lines: Vec<_> = waits.iter().map(|wait| self.symbols.clean(&wait_text(wait))).collect();
                Ok(if lines.is_empty() { "no request waits".into() } else { lines.join("\n") })
            }
            Directive::PessimisticCommit { txn, value } => self.commit_pessimistic(&txn, &value),
            Directive::PessimisticRollback { txn } => {
                let txn = self.txns.end(&txn)?;
                let leader = self.started()?.leader_replica(txn.primary()?)?;
                self.runtime.block_on(bounded(txn.rollback(&leader)))?;
                Ok("ok".into())
            }
            Directive::PipelinedBegin { txn } => {
                let ts = self.timestamp()?;
                self.pipelined.begin(&txn, PipelinedTxn::new(ts));
                Ok(format!("{txn} began at {}", self.symbols.ts(ts)))
            }
            Directive::PipelinedCommit { txn } => {
                let txn = self.pipelined.end(&txn)?;
                let leader = self.started()?.leader_replica(txn.primary()?)?;
                let ts = self.timestamp()?;
                self.runtime.block_on(bounded(txn.commit(&leader, ts)))?;
                Ok(format!("committed at {}", self.symbols.ts(ts)))
            }
            other => self.execute_fault(other),
        }
    }

    fn commit_pessimistic(&mut self, name: &str, value: &[u8]) -> Result<String> {
        let txn = self.txns.end(name)?;
        let leader = self.started()?.leader_replica(txn.primary()?)?;
        let ts = (self.timestamp()?, self.timestamp()?);
        self.runtime.block_on(bounded(txn.commit(&leader, value, ts)))?;
        Ok("ok".into())
    }

    /// Waits until `count` requests wait for locks. Held time does not count.
    fn wait_for_waits(&mut self, count: usize, mut running: Operation) -> Result<Operation> {
        let mut deadline = Instant::now() + BOUND;
        while self.started()?.lock_waits().len() < count {
            if !running.session.held().is_empty() {
                deadline = Instant::now() + BOUND;
            } else if let Some(outcome) = running.outcome() {
                let outcome = self.symbols.clean(outcome);
                bail!("expected the operation to wait for a lock, found its end (=> {outcome})");
            }
            if Instant::now() > deadline {
                bail!("expected the operation to wait for a lock, found none that waits within {BOUND:?}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(running)
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
                    let op =
                        Op::RawPut { key: format!("load-{i:06}").into(), value: vec![b'l'; 128], ttl: 0 };
                    self.runtime.block_on(bounded(clients.run(&op, Req::NONE, &self.names, None)))?;
                }
                Ok("ok".into())
            }
            Directive::CaughtUp => self.started()?.caught_up(),
            Directive::CompactLog => self.started()?.compact_log(),
            Directive::Split { key } => self.started()?.split(&key),
            Directive::Logs => self.started()?.logs(),
            Directive::Gc { name } => {
                let ts = *self.names.get(&name).with_context(|| {
                    format!("no timestamp is named {name}; write `ts {name}` before this directive")
                })?;
                self.started()?.collect_garbage(ts)?;
                Ok(format!("no version is left that only reads below {} need", self.symbols.ts(ts)))
            }
            other => bail!("expected a directive that changes the cluster, found {other:?}"),
        }
    }

    fn start_cluster(&mut self, mut config: ClusterConfig) -> Result<String> {
        if self.cluster.is_some() {
            bail!("the cluster is already running: write `cluster` once, before all other directives");
        }
        config.data_dir = self.data_dir.clone();
        let cluster = Cluster::start(config)?;
        let summary = cluster.summary();
        self.cluster = Some(cluster);
        self.clients()?;
        Ok(summary)
    }

    /// The cluster; starts the default one of three stores if no `cluster` directive did.
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
        let cluster = self.started()?;
        let (pd, api) = (cluster.pd_endpoint(), cluster.api());
        let clients = self.runtime.block_on(bounded(Clients::connect(&pd, api)))?;
        self.clients = Some(clients.clone());
        Ok(clients)
    }

    /// Takes a timestamp from PD.
    fn timestamp(&mut self) -> Result<u64> {
        let clients = self.clients()?;
        self.runtime.block_on(bounded(clients.timestamp()))
    }

    /// The follower that an operation asks.
    fn follower(&mut self, op: &Op) -> Result<Option<Replica>> {
        match op {
            Op::FollowerGet { key } => self.started()?.follower_of(key).map(Some),
            _ => Ok(None),
        }
    }

    fn run_op(&mut self, op: Op) -> Result<String> {
        let work = self.work(&op)?;
        let result = self.runtime.block_on(bounded(work(Req::NONE)));
        Ok(match result {
            Ok(text) if matches!(op, Op::PessimisticLock { .. } | Op::Flush { .. } | Op::Recover { .. }) => {
                self.symbols.clean(&text)
            }
            Ok(text) => text,
            Err(e) => self.symbols.clean(&format!("error: {e:#}")),
        })
    }

    fn lock(&mut self, pairs: &[(Vec<u8>, Vec<u8>)], ttl_ms: u64, async_commit: bool) -> Result<u64> {
        let ts = self.timestamp()?;
        self.started()?.prewrite(pairs, ts, ttl_ms, async_commit)?;
        self.locked = pairs.first().map(|(primary, _)| (primary.clone(), ts));
        Ok(ts)
    }

    /// Begins an operation and waits until the gate holds it.
    fn hold(&mut self, gate: &str, op: Op, front: &mut dyn Front) -> Result<String> {
        let names = Names { timestamps: Some(&self.names), ..Names::default() };
        let config = SessionConfig {
            mode: Mode::ToGate,
            gates: vec![Gate::parse(gate, &names)?],
            // A condition names them as the outputs do.
            timestamps: self.symbols.timestamps().to_vec(),
            stacks: front.config().stacks,
            ..SessionConfig::default()
        };
        let mut running = self.start_op(op, config, front)?;
        let deadline = Instant::now() + BOUND;
        let (stage, store) = loop {
            if let Some(held) = running.session.held().first() {
                break (held.stage.name(), held.store);
            }
            let hits = running.session.gates().iter().map(|gate| gate.hits).max().unwrap_or(0);
            let expected = format!("the operation to be held at `{gate}`");
            if let Some(outcome) = running.outcome() {
                let outcome = self.symbols.clean(outcome);
                bail!("expected {expected}, found {hits} arrivals there before its end (=> {outcome})");
            }
            if Instant::now() > deadline {
                bail!("expected {expected}, found {hits} arrivals there within {BOUND:?}");
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let role = match store {
            0 => "client",
            s if s == running.leader => "leader",
            _ => "follower",
        };
        self.held = Some(running);
        Ok(format!("held at {stage} on the {role}"))
    }

    /// Releases an operation that the scenario did not `continue`, and waits for its end.
    fn end_held(&mut self, front: &mut dyn Front) -> Result<()> {
        let Some(running) = self.held.take() else { return Ok(()) };
        running.session.run();
        self.finish(running, Detail::Result, front).map(drop)
    }

    /// Sleeps in real time; returns whether engine time moved and a term changed.
    fn pause(&mut self, real: Duration) -> Result<String> {
        let before = EngineClock::now();
        let leaders = self.started()?.terms();
        std::thread::sleep(real);
        let moved = EngineClock::now().saturating_since(before);
        let same = if leaders == self.started()?.terms() { "no term changed" } else { "a term changed" };
        let time = if moved.is_zero() { "engine time stood still" } else { "engine time moved" };
        Ok(format!("{time}, {same}"))
    }

    /// Waits for the operation's end and, unless only the result is printed, for the replicas. Formats stages and
    /// result.
    fn finish(&mut self, mut running: Operation, detail: Detail, front: &mut dyn Front) -> Result<String> {
        let outcome = running.wait(BOUND)?;
        let outcome = self.symbols.clean(&outcome);
        let leader = running.leader;
        if detail != Detail::Result {
            self.started()?.settle()?;
        }
        let trace = running.end()?;
        front.end(&outcome, self.scenario.blocks[self.next..].iter().any(directive::is_stepped));
        let result = format!("=> {outcome}\n");
        if detail == Detail::Result {
            return Ok(result);
        }
        let summary = trace.summary();
        if summary.dropped == 0 && summary.accounted < 0.99 {
            bail!(
                "expected stages to cover at least 99 % of the wall time, found {:.1} %",
                summary.accounted * 100.0
            );
        }
        Ok(print::steps(&trace.steps, leader, detail == Detail::Inside, &mut self.symbols) + result.as_str())
    }
}

/// An operation that is ready to run as a request.
type Work = Box<dyn FnOnce(Req) -> BoxFuture<'static, Result<String>>>;

async fn bounded<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(BOUND, work).await {
        Ok(result) => result,
        Err(_) => bail!("no answer within {BOUND:?}"),
    }
}

/// Runs a whole scenario; returns what each directive printed.
pub fn run_all(scenario: Scenario) -> Result<Vec<String>> {
    let mut front = Quiet::default();
    Runner::new(scenario)?.run(&mut front)?;
    Ok(front.outputs)
}
