//! Clients that send requests one after another.
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use kvproto::{kvrpcpb::*, tikvpb::tikv_client::TikvClient};
use tonic::transport::Channel;

use crate::{KEYS, Measured, VALUE, Work};

const TTL_MS: u64 = 60_000;

/// A client with its own keys.
#[derive(Clone)]
pub struct Client {
    rpc: TikvClient<Channel>,
    id: u64,
    context: Context,
    clock: Arc<AtomicU64>,
}

impl Client {
    pub async fn connect(address: &str, id: u64, context: Context, clock: Arc<AtomicU64>) -> Result<Self> {
        let rpc = TikvClient::connect(format!("http://{address}")).await?;
        Ok(Self { rpc, id, context, clock })
    }

    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    fn key(&self, n: u64) -> Vec<u8> {
        format!("bench {:04} {:08}", self.id, n % KEYS).into_bytes()
    }

    fn keys(&self, from: u64, count: usize) -> Vec<Vec<u8>> {
        (from..).take(count).map(|n| self.key(n)).collect()
    }

    /// Writes all keys.
    pub async fn fill(&mut self) -> Result<()> {
        for from in (0..KEYS).step_by(500) {
            let keys = self.keys(from, 500);
            self.commit(keys).await?;
        }
        Ok(())
    }

    fn prewrite(&self, keys: &[Vec<u8>], start_version: u64) -> PrewriteRequest {
        let put = |key: &Vec<u8>| Mutation {
            op: Op::Put.into(),
            key: key.clone(),
            value: VALUE.to_vec(),
            ..Default::default()
        };
        PrewriteRequest {
            context: Some(self.context.clone()),
            mutations: keys.iter().map(put).collect(),
            primary_lock: keys[0].clone(),
            start_version,
            lock_ttl: TTL_MS,
            txn_size: keys.len() as u64,
            min_commit_ts: start_version + 1,
            ..Default::default()
        }
    }

    async fn send_prewrite(&mut self, request: PrewriteRequest) -> Result<PrewriteResponse> {
        let reply = self.rpc.kv_prewrite(request).await?.into_inner();
        ensure!(reply.region_error.is_none() && reply.errors.is_empty(), "a prewrite failed: {reply:?}");
        Ok(reply)
    }

    async fn commit(&mut self, keys: Vec<Vec<u8>>) -> Result<()> {
        let start_version = self.now();
        self.send_prewrite(self.prewrite(&keys, start_version)).await?;
        let commit_version = self.now();
        self.send_commit(keys, start_version, commit_version).await
    }

    async fn send_commit(
        &mut self,
        keys: Vec<Vec<u8>>,
        start_version: u64,
        commit_version: u64,
    ) -> Result<()> {
        let context = Some(self.context.clone());
        let request = CommitRequest { context, keys, start_version, commit_version, ..Default::default() };
        let reply = self.rpc.kv_commit(request).await?.into_inner();
        ensure!(reply.region_error.is_none() && reply.error.is_none(), "a commit failed: {reply:?}");
        Ok(())
    }

    /// Commits with the prewrite. A later commit removes the lock; its client does not wait for it.
    async fn async_commit(&mut self, keys: Vec<Vec<u8>>) -> Result<Option<(Vec<Vec<u8>>, u64, u64)>> {
        let start_version = self.now();
        let request = PrewriteRequest { use_async_commit: true, ..self.prewrite(&keys, start_version) };
        let reply = self.send_prewrite(request).await?;
        ensure!(reply.min_commit_ts > 0, "no async commit: {reply:?}");
        Ok(Some((keys, start_version, reply.min_commit_ts)))
    }

    async fn one_pc(&mut self, keys: Vec<Vec<u8>>) -> Result<()> {
        let request = PrewriteRequest { try_one_pc: true, ..self.prewrite(&keys, self.now()) };
        let reply = self.send_prewrite(request).await?;
        ensure!(reply.one_pc_commit_ts > 0, "no 1PC: {reply:?}");
        Ok(())
    }

    async fn lock(&mut self, key: Vec<u8>) -> Result<()> {
        let (context, start_version) = (Some(self.context.clone()), self.now());
        let mutation = Mutation { op: Op::PessimisticLock.into(), key: key.clone(), ..Default::default() };
        let request = PessimisticLockRequest {
            context: context.clone(),
            mutations: vec![mutation],
            primary_lock: key.clone(),
            start_version,
            for_update_ts: start_version,
            lock_ttl: TTL_MS,
            is_first_lock: true,
            ..Default::default()
        };
        let reply = self.rpc.kv_pessimistic_lock(request).await?.into_inner();
        ensure!(reply.region_error.is_none() && reply.errors.is_empty(), "a lock failed: {reply:?}");
        let rollback = PessimisticRollbackRequest {
            context,
            keys: vec![key],
            start_version,
            for_update_ts: start_version,
        };
        let reply = self.rpc.kv_pessimistic_rollback(rollback).await?.into_inner();
        ensure!(reply.region_error.is_none() && reply.errors.is_empty(), "a rollback failed: {reply:?}");
        Ok(())
    }

    async fn read(&mut self, work: Work, n: u64) -> Result<()> {
        let (context, version) = (Some(self.context.clone()), self.now());
        match work {
            Work::Get => {
                let request = GetRequest { context, key: self.key(n), version, ..Default::default() };
                let reply = self.rpc.kv_get(request).await?.into_inner();
                ensure!(reply.value.len() == VALUE.len(), "a get failed: {reply:?}");
            }
            Work::BatchGet => {
                let request =
                    BatchGetRequest { context, keys: self.keys(n, 100), version, ..Default::default() };
                let reply = self.rpc.kv_batch_get(request).await?.into_inner();
                ensure!(reply.pairs.len() == 100, "a batch get failed: {reply:?}");
            }
            _ => {
                let (start_key, limit) = (self.key(0), KEYS as u32);
                let request = ScanRequest { context, start_key, limit, version, ..Default::default() };
                let reply = self.rpc.kv_scan(request).await?.into_inner();
                ensure!(reply.pairs.len() == KEYS as usize, "a scan failed: {} pairs", reply.pairs.len());
            }
        }
        Ok(())
    }

    /// Runs operations until the time is over; returns their latencies.
    async fn run(mut self, work: Work, end: Instant) -> Result<Vec<Duration>> {
        let (mut latencies, mut n) = (Vec::new(), 0);
        while Instant::now() < end {
            n += 37;
            let began = Instant::now();
            let mut later = None;
            match work {
                Work::Get | Work::BatchGet | Work::Scan => self.read(work, n).await?,
                Work::Commit(count) => self.commit(self.keys(n, count)).await?,
                Work::AsyncCommit => later = self.async_commit(self.keys(n, 1)).await?,
                Work::OnePc => self.one_pc(self.keys(n, 1)).await?,
                Work::PessimisticLock => self.lock(self.key(n)).await?,
            }
            latencies.push(began.elapsed());
            if let Some((keys, start, commit)) = later {
                self.send_commit(keys, start, commit).await?;
            }
        }
        Ok(latencies)
    }
}

/// Runs an operation with these clients at the same time.
pub async fn measure(clients: &[Client], work: Work, time: Duration) -> Result<Measured> {
    let began = Instant::now();
    let running: Vec<_> =
        clients.iter().map(|client| tokio::spawn(client.clone().run(work, began + time))).collect();
    let mut latencies = Vec::new();
    for client in running {
        latencies.extend(client.await??);
    }
    Ok(Measured::new(began, latencies))
}
