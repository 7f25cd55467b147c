//! The measured point gets: of clients over gRPC, and of tasks on the storage layer.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use kvproto::{kvrpcpb, tikvpb::tikv_client::TikvClient};
use tracepoints::{Req, RequestKind, clock, recorder, request};
use txn_types::{Key, TimeStamp};

use super::paired::{Plan, Round};

/// A store with committed rows.
pub struct Target {
    addr: String,
    context: kvrpcpb::Context,
    storage: server::Storage,
    keys: u64,
}

impl Target {
    /// Writes `keys` rows of 100 bytes to the store.
    pub fn new(
        runtime: &tokio::runtime::Runtime,
        server: &server::ServerHandle,
        context: kvrpcpb::Context,
        keys: u64,
    ) -> Result<Arc<Self>> {
        let storage = server.storage().ok_or_else(|| anyhow::anyhow!("the store is not running"))?.clone();
        let target = Arc::new(Self { addr: format!("http://{}", server.addr()), context, storage, keys });
        runtime.block_on(target.load())?;
        Ok(target)
    }

    fn key(&self, i: u64) -> Vec<u8> {
        format!("overhead-{:08}", i % self.keys).into()
    }

    async fn load(&self) -> Result<()> {
        let mut client = TikvClient::connect(self.addr.clone()).await?;
        let all: Vec<Vec<u8>> = (0..self.keys).map(|i| self.key(i)).collect();
        for keys in all.chunks(500) {
            self.commit(&mut client, keys).await?;
        }
        Ok(())
    }

    async fn commit(
        &self,
        client: &mut TikvClient<tonic::transport::Channel>,
        keys: &[Vec<u8>],
    ) -> Result<()> {
        let put = |k: &Vec<u8>| kvrpcpb::Mutation {
            op: kvrpcpb::Op::Put as i32,
            key: k.clone(),
            value: vec![b'v'; 100],
            ..Default::default()
        };
        let prewrite = kvrpcpb::PrewriteRequest {
            context: Some(self.context.clone()),
            mutations: keys.iter().map(put).collect(),
            primary_lock: keys[0].clone(),
            start_version: 10,
            lock_ttl: 3000,
            ..Default::default()
        };
        let reply = client.kv_prewrite(prewrite).await?.into_inner();
        let ok = reply.errors.is_empty() && reply.region_error.is_none();
        anyhow::ensure!(ok, "prewrite: {:?} {:?}", reply.region_error, reply.errors);
        let commit = kvrpcpb::CommitRequest {
            context: Some(self.context.clone()),
            keys: keys.to_vec(),
            start_version: 10,
            commit_version: 20,
            ..Default::default()
        };
        let reply = client.kv_commit(commit).await?.into_inner();
        let ok = reply.error.is_none() && reply.region_error.is_none();
        anyhow::ensure!(ok, "commit: {:?} {:?}", reply.region_error, reply.error);
        Ok(())
    }

    /// Runs one round of clients that read over gRPC.
    pub async fn over_grpc(self: &Arc<Self>, plan: &Plan, on: bool) -> Result<Round> {
        let client = TikvClient::connect(self.addr.clone()).await?;
        count(plan, on, |first, progress| {
            let (target, mut client) = (self.clone(), client.clone());
            async move {
                let mut i = first;
                while progress.continues() {
                    let get = kvrpcpb::GetRequest {
                        context: Some(target.context.clone()),
                        key: target.key(i),
                        version: 30,
                        ..Default::default()
                    };
                    let reply = client.kv_get(get).await?.into_inner();
                    let found = reply.value.len() == 100;
                    anyhow::ensure!(found, "kv_get: {:?} {:?}", reply.region_error, reply.error);
                    i += 1;
                }
                Ok(())
            }
        })
        .await
    }

    /// Runs one round of tasks that read from the storage layer.
    pub async fn in_process(self: &Arc<Self>, plan: &Plan, on: bool) -> Result<Round> {
        count(plan, on, |first, progress| {
            let target = self.clone();
            async move {
                let mut i = first;
                while progress.continues() {
                    let (raw, context) = (target.key(i), target.context.clone());
                    let req: Req = request::begin(RequestKind::KvGet, &raw, context.region_id);
                    let got =
                        target.storage.get(context, Key::from_raw(&raw), TimeStamp::new(30), req).await?;
                    request::end(req);
                    anyhow::ensure!(got.0.is_some_and(|v| v.len() == 100), "the row of {raw:?} is missing");
                    i += 1;
                }
                Ok(())
            }
        })
        .await
    }
}

/// Counts the reads of all tasks of a round, and stops the tasks.
#[derive(Clone, Default)]
struct Progress {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
}

impl Progress {
    /// Counts a read and returns whether the task continues; also called once before the first read.
    fn continues(&self) -> bool {
        self.done.fetch_add(1, Ordering::Relaxed);
        !self.stop.load(Ordering::Relaxed)
    }
}

/// Runs `plan.clients` tasks for a round, with recording on or off, and counts their reads.
async fn count<F: Future<Output = Result<()>> + Send + 'static>(
    plan: &Plan,
    on: bool,
    task: impl Fn(u64, Progress) -> F,
) -> Result<Round> {
    let before = recorder::set_on(on);
    let progress = Progress::default();
    let tasks: Vec<_> =
        (0..plan.clients as u64).map(|n| tokio::spawn(task(n * 7919, progress.clone()))).collect();
    let (start, cpu, first) =
        (Instant::now(), clock::process_cpu_ns(), progress.done.load(Ordering::Relaxed));
    tokio::time::sleep(plan.round).await;
    let n = progress.done.load(Ordering::Relaxed).saturating_sub(first).max(1) as f64;
    let (spent, cpu) = (start.elapsed(), clock::process_cpu_ns().saturating_sub(cpu));
    progress.stop.store(true, Ordering::Relaxed);
    for task in tasks {
        tokio::time::timeout(LAST_READ, task).await???;
    }
    recorder::set_on(before);
    Ok(Round { rate: n / spent.as_secs_f64(), cpu_us: cpu as f64 / 1e3 / n })
}

/// Timeout of the last read of a task.
const LAST_READ: Duration = Duration::from_secs(30);
