//! Point-get throughput: over gRPC and in process, everything recorded and nothing recorded, beside RocksDB's own get.
//!
//! `cargo bench --profile dev -p recipes`. Rounds of on and off alternate, so that the machine's moods fall on both.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use engine_rocks::{CF_DEFAULT, DbConfig, RocksEngine};
use kvproto::{kvrpcpb, tikvpb::tikv_client::TikvClient};
use recipes::{Cluster, ClusterConfig};
use tracepoints::{
    Req, RequestKind,
    collector::{Collector, CollectorConfig},
    request,
};
use txn_types::{Key, TimeStamp};

const KEYS: u64 = 10_000;
const CLIENTS: usize = 16;
const ROUND: Duration = Duration::from_millis(1500);
const ROUNDS: usize = 9;

fn main() -> Result<()> {
    let cluster = Cluster::start(ClusterConfig { stores: 1, ..ClusterConfig::default() })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let server = cluster.servers().next().context("the store runs")?;
    let (addr, context) = (format!("http://{}", server.addr()), cluster.context(b"")?);
    runtime.block_on(load(&addr, &context))?;
    // Recorded means read and folded too, as in a server that records always.
    let _collector = Collector::start(CollectorConfig::default())?;
    println!(
        "{KEYS} keys of 100 B, {CLIENTS} clients, {ROUNDS} rounds of {ROUND:?}; ops/s, median of the rounds\n"
    );
    println!("{:<28} {:>12} {:>12} {:>9}", "", "recorded", "not", "cost");

    let grpc = |on| runtime.block_on(over_grpc(&addr, &context, on));
    row("kv_get over gRPC", grpc)?;
    let storage = server.storage().context("the store runs")?.clone();
    let inside = |on| runtime.block_on(in_process(&storage, &context, on));
    row("kv_get in process", inside)?;
    let dir = tempfile::tempdir()?;
    let rocks = open_rocks(dir.path())?;
    println!("{:<28} {:>12.0}", "RocksDB get, one thread", raw_rocks(&rocks)?);
    println!(
        "\nstamps dropped: {} (full rings drop and count; they never wait)",
        tracepoints::ring::dropped()
    );
    Ok(())
}

/// Alternates recording on and off and prints both medians.
fn row(name: &str, round: impl Fn(bool) -> Result<f64>) -> Result<()> {
    round(true)?;
    let (mut on, mut off) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        on.push(round(true)?);
        off.push(round(false)?);
    }
    let (on, off) = (median(on), median(off));
    println!("{name:<28} {on:>12.0} {off:>12.0} {:>8.1}%", (1.0 - on / off) * 100.0);
    Ok(())
}

fn median(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

fn key(i: u64) -> Vec<u8> {
    format!("bench-{:08}", i % KEYS).into()
}

async fn load(addr: &str, context: &kvrpcpb::Context) -> Result<()> {
    let mut client = TikvClient::connect(addr.to_owned()).await?;
    for chunk in 0..KEYS / 500 {
        let keys: Vec<Vec<u8>> = (chunk * 500..(chunk + 1) * 500).map(key).collect();
        let put = |k: &Vec<u8>| kvrpcpb::Mutation {
            op: kvrpcpb::Op::Put as i32,
            key: k.clone(),
            value: vec![b'v'; 100],
            ..Default::default()
        };
        let prewrite = kvrpcpb::PrewriteRequest {
            context: Some(context.clone()),
            mutations: keys.iter().map(put).collect(),
            primary_lock: keys[0].clone(),
            start_version: 10,
            lock_ttl: 3000,
            ..Default::default()
        };
        let reply = client.kv_prewrite(prewrite).await?.into_inner();
        anyhow::ensure!(reply.errors.is_empty() && reply.region_error.is_none(), "prewrite: {reply:?}");
        let commit = kvrpcpb::CommitRequest {
            context: Some(context.clone()),
            keys,
            start_version: 10,
            commit_version: 20,
            ..Default::default()
        };
        let reply = client.kv_commit(commit).await?.into_inner();
        anyhow::ensure!(reply.error.is_none() && reply.region_error.is_none(), "commit: {reply:?}");
    }
    Ok(())
}

/// Counts what `CLIENTS` tasks do in a round.
async fn count<F: Future<Output = Result<()>> + Send + 'static>(
    on: bool,
    task: impl Fn(Arc<AtomicBool>, Arc<AtomicU64>) -> F,
) -> Result<f64> {
    let before = tracepoints::recorder::set_on(on);
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let tasks: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(task(stop.clone(), done.clone()))).collect();
    let (start, first) = (Instant::now(), done.load(Ordering::Relaxed));
    tokio::time::sleep(ROUND).await;
    let rate = (done.load(Ordering::Relaxed) - first) as f64 / start.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await??;
    }
    tracepoints::recorder::set_on(before);
    Ok(rate)
}

async fn over_grpc(addr: &str, context: &kvrpcpb::Context, on: bool) -> Result<f64> {
    let client = TikvClient::connect(addr.to_owned()).await?;
    let context = context.clone();
    count(on, move |stop, done| {
        let (mut client, context) = (client.clone(), context.clone());
        async move {
            let mut i = done.load(Ordering::Relaxed) * 7919;
            while !stop.load(Ordering::Relaxed) {
                i += 1;
                let get = kvrpcpb::GetRequest {
                    context: Some(context.clone()),
                    key: key(i),
                    version: 30,
                    ..Default::default()
                };
                let reply = client.kv_get(get).await?.into_inner();
                anyhow::ensure!(reply.value.len() == 100, "kv_get: {reply:?}");
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        }
    })
    .await
}

async fn in_process(storage: &server::Storage, context: &kvrpcpb::Context, on: bool) -> Result<f64> {
    let (storage, context) = (storage.clone(), context.clone());
    count(on, move |stop, done| {
        let (storage, context) = (storage.clone(), context.clone());
        async move {
            let mut i = 0;
            while !stop.load(Ordering::Relaxed) {
                i += 1;
                let raw = key(i);
                let req: Req = request::begin(RequestKind::KvGet, &raw, context.region_id);
                let got = storage.get(context.clone(), Key::from_raw(&raw), TimeStamp::new(30), req).await?;
                anyhow::ensure!(got.0.is_some_and(|v| v.len() == 100), "get found nothing");
                request::end(req);
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        }
    })
    .await
}

fn open_rocks(dir: &std::path::Path) -> Result<RocksEngine> {
    let db = RocksEngine::open(dir, &DbConfig::default())?;
    for i in 0..KEYS {
        db.put_cf(CF_DEFAULT, &key(i), &[b'v'; 100])?;
    }
    Ok(db)
}

fn raw_rocks(db: &RocksEngine) -> Result<f64> {
    let (start, mut n) = (Instant::now(), 0u64);
    while start.elapsed() < ROUND {
        for _ in 0..100 {
            n += 1;
            anyhow::ensure!(db.get_value_cf(CF_DEFAULT, &key(n * 7919))?.is_some(), "a key is missing");
        }
    }
    Ok(n as f64 / start.elapsed().as_secs_f64())
}
