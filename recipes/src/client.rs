//! Runs operations with the real TiKV client. Stamps their start, their end and the client's own steps.
mod watch;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
pub use api_version::KvFormat;
use tikv_client::{
    CheckLevel, Config, KvPair, RawClient, Snapshot, Timestamp, TimestampExt, Transaction, TransactionClient,
    TransactionOptions, transaction::HeartbeatOption,
};
use tokio::sync::Mutex;
use tracepoints::{Req, field::client_operation, printable::escape_readable};

use crate::{
    directive::{Begin, Change, Commit, Op},
    rpc::Replica,
};

/// Timeout of the client's requests: a person may hold a request for hours.
const TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// Both clients of one cluster. Cheap to clone.
#[derive(Clone)]
pub struct Clients {
    txn: TransactionClient,
    raw: RawClient,
    begun: Arc<Mutex<Begun>>,
}

/// The transactions that `begin` began, by their names. Each has its lock: a heartbeat may be held while others run.
type Begun = BTreeMap<String, Arc<Mutex<Transaction>>>;

/// Access to a cluster that runs elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The keyspace of a cluster with API V2; `None`: the cluster has API V1.
    pub keyspace: Option<String>,
    /// PEM files of the CA, of the client's certificate and of its private key; `None`: no TLS.
    pub tls: Option<[PathBuf; 3]>,
}

impl Access {
    fn config(&self) -> Config {
        let mut config = Config::default().with_timeout(TIMEOUT);
        if let Some(keyspace) = &self.keyspace {
            config = config.with_keyspace(keyspace);
        }
        if let Some([ca, cert, key]) = &self.tls {
            config = config.with_security(ca, cert, key);
        }
        config
    }
}

impl Clients {
    /// Connects both clients to the PD at `pd`. On API V2 they use the keyspace DEFAULT.
    ///
    /// # Errors
    /// If PD or a store does not answer.
    pub async fn connect(pd: &str, api: KvFormat) -> Result<Self> {
        let keyspace = (api == KvFormat::V2).then(|| "DEFAULT".to_owned());
        Self::connect_with(pd, &Access { keyspace, tls: None }).await
    }

    /// Connects both clients to the PD at `pd`.
    ///
    /// # Errors
    /// If PD or a store does not answer, or PD does not know the keyspace.
    pub async fn connect_with(pd: &str, access: &Access) -> Result<Self> {
        let config = access.config();
        let endpoints = vec![pd.to_owned()];
        let txn = TransactionClient::new_with_config(endpoints.clone(), config.clone()).await;
        let txn = txn.with_context(|| format!("the TiKV client cannot connect to PD at {pd}"))?;
        let raw = RawClient::new_with_config(endpoints, config).await;
        let raw = raw.with_context(|| format!("the raw TiKV client cannot connect to PD at {pd}"))?;
        Ok(Self { txn, raw, begun: Arc::default() })
    }

    /// Takes a timestamp from PD.
    pub async fn timestamp(&self) -> Result<u64> {
        Ok(self.txn.current_timestamp().await?.version())
    }

    /// Runs one operation as request `req`; returns its result as text.
    pub async fn run(
        &self,
        op: &Op,
        req: Req,
        names: &BTreeMap<String, u64>,
        follower: Option<Replica>,
    ) -> Result<String> {
        stamped(op.name(), req, watch::watched(req, self.call(op, names, follower))).await
    }

    async fn call(
        &self,
        op: &Op,
        names: &BTreeMap<String, u64>,
        follower: Option<Replica>,
    ) -> Result<String> {
        let Op::TwoClients(first, second) = op else { return self.single(op, names, follower).await };
        // Both run in the operation's task, so that the lines of both logs are read.
        let (first, second) =
            futures::future::join(self.single(first, names, None), self.single(second, names, None)).await;
        let text = |result: Result<String>| result.unwrap_or_else(|e| format!("error: {e:#}"));
        Ok(format!("{} | {}", text(first), text(second)))
    }

    async fn single(
        &self,
        op: &Op,
        names: &BTreeMap<String, u64>,
        follower: Option<Replica>,
    ) -> Result<String> {
        match op {
            Op::Get { key, at } => self.get(key, at.as_deref(), names).await.map(show),
            Op::Put { key, value, commit } => self.write(key, Some(value), *commit).await,
            Op::Delete { key } => self.write(key, None, Commit::TwoPhase).await,
            Op::Txn { changes, pessimistic, end } => self.transaction(changes, *pessimistic, *end).await,
            Op::TwoClients(..) => bail!("expected one operation, found two clients: run them one by one"),
            Op::RawGet { key } => Ok(show(self.raw.get(key.clone()).await?)),
            Op::RawPut { key, value, ttl } => {
                done(self.raw.put_with_ttl(key.clone(), value.clone(), *ttl).await)
            }
            Op::RawBatchPut { pairs } => done(self.raw.batch_put(pairs.clone()).await),
            Op::RawTtl { key } => Ok(show_ttl(self.raw.get_key_ttl_secs(key.clone()).await?)),
            Op::RawScan { from, to, limit, reverse } => {
                let range = from.clone()..to.clone();
                Ok(pairs_text(match reverse {
                    true => self.raw.scan_reverse(range, *limit).await?.into_iter(),
                    false => self.raw.scan(range, *limit).await?.into_iter(),
                }))
            }
            Op::RawDelete { key } => done(self.raw.delete(key.clone()).await),
            Op::RawCas { key, previous, value } => self.raw_cas(key, previous.as_ref(), value).await,
            Op::RawBatchScan { ranges, limit } => {
                let ranges = ranges.iter().map(|(from, to)| from.clone()..to.clone());
                Ok(pairs_text(self.raw.batch_scan(ranges, *limit).await?.into_iter()))
            }
            Op::RawCoprocessor { plugin, version, from, to } => {
                let ranges = [from.clone()..to.clone()];
                let replies = self.raw.coprocessor(plugin, version, ranges, |_, _| Vec::new()).await?;
                let replies: Vec<String> = replies.into_iter().map(|(_, bytes)| show(Some(bytes))).collect();
                Ok(replies.join(" "))
            }
            Op::PessimisticLock { txn, .. } | Op::Flush { txn, .. } | Op::BufferGet { txn, .. } => {
                bail!(
                    "expected an operation of the client, found one of transaction {txn}: only the runner sends it"
                )
            }
            Op::CommitSecondaries { .. } => {
                bail!(
                    "expected an operation of the client, found commit-secondaries: only the runner sends it"
                )
            }
            Op::Gc { at, .. } => bail!("expected a collection below {at} by the runner, found a client's"),
            Op::Flashback { .. } | Op::Recover { .. } => {
                bail!("expected requests of the runner, found an operation of the client")
            }
            Op::FollowerGet { key } => {
                let follower = follower.context(
                    "expected a running follower, found none: write `start` before this directive",
                )?;
                Ok(show(follower.read(key, self.timestamp().await?).await?))
            }
            Op::Commit { txn } => done(self.take(txn).await?.lock().await.commit().await),
            Op::Rollback { txn } => done(self.take(txn).await?.lock().await.rollback().await),
            Op::HeartBeat { txn } => done(self.find(txn).await?.lock().await.send_heart_beat().await),
            Op::BatchGet { keys } => Ok(pairs_text(self.snapshot().await?.batch_get(keys.clone()).await?)),
            Op::Scan { from, to, limit, reverse } => {
                let (mut snapshot, range) = (self.snapshot().await?, from.clone()..to.clone());
                Ok(match reverse {
                    true => pairs_text(snapshot.scan_reverse(range, *limit).await?),
                    false => pairs_text(snapshot.scan(range, *limit).await?),
                })
            }
        }
    }

    /// Begins a transaction that stays in the client until it is committed or rolled back.
    pub async fn begin(&self, name: &str, kind: Begin) -> Result<()> {
        let options = match kind {
            Begin::Optimistic(commit) => committing(TransactionOptions::new_optimistic(), commit),
            Begin::Pessimistic => committing(TransactionOptions::new_pessimistic(), Commit::TwoPhase),
        };
        // A scenario may end with an open transaction.
        let txn = self.txn.begin_with_options(options.drop_check(CheckLevel::None)).await?;
        self.begun.lock().await.insert(name.to_owned(), Arc::new(Mutex::new(txn)));
        Ok(())
    }

    /// Reads or writes in a transaction that has begun.
    pub async fn change(&self, name: &str, change: &Change) -> Result<String> {
        let txn = self.find(name).await?;
        let mut txn = txn.lock().await;
        Ok(apply(&mut txn, change).await?.unwrap_or_else(|| "ok".into()))
    }

    async fn find(&self, name: &str) -> Result<Arc<Mutex<Transaction>>> {
        self.begun.lock().await.get(name).cloned().with_context(|| ended(name))
    }

    /// Takes a transaction that ends now.
    async fn take(&self, name: &str) -> Result<Arc<Mutex<Transaction>>> {
        self.begun.lock().await.remove(name).with_context(|| ended(name))
    }

    async fn get(
        &self,
        key: &[u8],
        at: Option<&str>,
        names: &BTreeMap<String, u64>,
    ) -> Result<Option<Vec<u8>>> {
        let ts = match at {
            Some(name) => Timestamp::from_version(*names.get(name).with_context(|| {
                format!("no timestamp is named {name}; write `ts {name}` before this directive")
            })?),
            None => self.txn.current_timestamp().await?,
        };
        let options = TransactionOptions::new_optimistic().drop_check(CheckLevel::None);
        Ok(self.txn.snapshot(ts, options).get(key.to_vec()).await?)
    }

    async fn raw_cas(&self, key: &[u8], previous: Option<&Vec<u8>>, value: &[u8]) -> Result<String> {
        let raw = self.raw.with_atomic_for_cas();
        let (found, swapped) = raw.compare_and_swap(key.to_vec(), previous.cloned(), value.to_vec()).await?;
        Ok(if swapped { "ok".into() } else { format!("not swapped, found {}", show(found)) })
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        let ts = self.txn.current_timestamp().await?;
        let options = TransactionOptions::new_optimistic().drop_check(CheckLevel::None);
        Ok(self.txn.snapshot(ts, options))
    }

    async fn write(&self, key: &[u8], value: Option<&Vec<u8>>, commit: Commit) -> Result<String> {
        let options = committing(TransactionOptions::new_optimistic(), commit);
        let mut txn = self.txn.begin_with_options(options).await?;
        match value {
            Some(value) => txn.put(key.to_vec(), value.clone()).await?,
            None => txn.delete(key.to_vec()).await?,
        }
        finish(txn).await
    }

    /// Runs the operations of a transaction; returns the values that it read, and its end.
    async fn transaction(
        &self,
        changes: &[Change],
        pessimistic: bool,
        end: Option<Commit>,
    ) -> Result<String> {
        let options = match pessimistic {
            true => TransactionOptions::new_pessimistic(),
            false => TransactionOptions::new_optimistic(),
        };
        let options = committing(options, end.unwrap_or_default()).drop_check(CheckLevel::None);
        let mut txn = self.txn.begin_with_options(options).await?;
        let mut out = String::new();
        for change in changes {
            match apply(&mut txn, change).await {
                Ok(Some(value)) => out.push_str(&format!("{}={value} ", escape_readable(change.key()))),
                Ok(None) => {}
                Err(e) => {
                    // If the rollback fails, the next reader resolves the locks.
                    let _ = txn.rollback().await;
                    return Err(e);
                }
            }
        }
        let end = match end {
            Some(_) => finish(txn).await?,
            None => {
                txn.rollback().await?;
                "rolled back".to_owned()
            }
        };
        Ok(format!("{out}{end}"))
    }
}

/// Runs `call` as the client operation `name` of request `req`; stamps its start and its end.
pub(crate) async fn stamped(
    name: &str,
    req: Req,
    call: impl Future<Output = Result<String>>,
) -> Result<String> {
    let name = client_operation(name);
    tracepoints::step!(CLIENT_SEND, req, op = name);
    let result = call.await;
    tracepoints::stamp!(CLIENT_REPLY, req, ok = result.is_ok(), op = name);
    result
}

/// Options of a transaction that commits by the protocol `commit`.
///
/// Without heartbeats: the client measures their 10 s in real time, while the operations of a recipe run on
/// engine time, which stops while one of them is held. No recipe runs for 10 s of engine time.
fn committing(options: TransactionOptions, commit: Commit) -> TransactionOptions {
    let options = options.heartbeat_option(HeartbeatOption::NoHeartbeat);
    match commit {
        Commit::TwoPhase => options,
        Commit::Async => options.use_async_commit(),
        Commit::OnePc => options.try_one_pc(),
    }
}

/// Reads or writes in a transaction; returns the value that it read.
async fn apply(txn: &mut Transaction, change: &Change) -> Result<Option<String>> {
    match change {
        Change::Get { key } => return Ok(Some(show(txn.get(key.clone()).await?))),
        Change::Put { key, value } => txn.put(key.clone(), value.clone()).await?,
        Change::Delete { key } => txn.delete(key.clone()).await?,
    }
    Ok(None)
}

async fn finish(mut txn: Transaction) -> Result<String> {
    match txn.commit().await {
        Ok(_) => Ok("ok".into()),
        Err(e) => {
            // If the rollback fails, the next reader resolves the locks.
            let _ = txn.rollback().await;
            Err(e.into())
        }
    }
}

fn ended(txn: &str) -> String {
    format!("the transaction {txn} has ended; write `begin {txn}` again before this directive")
}

/// The result of an operation that returns no value.
fn done(result: tikv_client::Result<impl Sized>) -> Result<String> {
    result?;
    Ok("ok".into())
}

/// Formats the remaining time to live of a key.
fn show_ttl(seconds: Option<u64>) -> String {
    match seconds {
        None => "(none)".into(),
        Some(0) => "no TTL".into(),
        // The seconds left differ from run to run.
        Some(_) => "has a TTL".into(),
    }
}

/// Formats `key=value` pairs in their order.
fn pairs_text(pairs: impl Iterator<Item = KvPair>) -> String {
    let text = |KvPair(key, value): KvPair| {
        format!("{}={}", escape_readable(&Vec::<u8>::from(key)), show(Some(value)))
    };
    let pairs: Vec<String> = pairs.map(text).collect();
    if pairs.is_empty() { "(none)".into() } else { pairs.join(" ") }
}

/// Formats a value: up to 64 bytes as text, a longer one by its length.
fn show(value: Option<Vec<u8>>) -> String {
    match value {
        None => "(none)".into(),
        Some(v) if v.len() <= 64 => escape_readable(&v),
        Some(v) => format!("({} bytes)", v.len()),
    }
}
