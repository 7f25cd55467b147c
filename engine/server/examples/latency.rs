//! Measures the latency of one client against one store in this process: raw
//! gets, then raw puts, one after another.
//!
//! `cargo run -p server --example latency -- [GETS] [PUTS]`. Prints microseconds, and the CPU time of the
//! whole process (client and server) per operation, which depends less on the load of the machine.
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use kvproto::{
    kvrpcpb::{Context, RawGetRequest, RawPutRequest},
    tikvpb::tikv_client::TikvClient,
};
use pd::{
    client::PdClient,
    server::{EngineWallClock, PdConfig, PdServer},
};
use server::{StartOptions, TikvServer, config::TikvConfig};
use tonic::transport::{Channel, Endpoint};

/// Operations before the measurement, which warm up connections, caches and the leader's lease.
const WARM_UP: usize = 500;
const LEADER_WAIT: Duration = Duration::from_secs(30);

fn main() -> Result<()> {
    let mut counts = std::env::args().skip(1).map(|n| n.parse::<usize>());
    let gets = counts.next().transpose().context("GETS: expected a number")?.unwrap_or(5_000);
    let puts = counts.next().transpose().context("PUTS: expected a number")?.unwrap_or(1_000);
    server::logger::init(log::LevelFilter::Warn);
    let dir = tempfile::tempdir()?;
    let pd = PdServer::start(PdConfig {
        data_dir: dir.path().join("pd"),
        addr: ([127, 0, 0, 1], 0).into(),
        advertise_addr: None,
        cluster_id: None,
        max_replicas: Some(1),
        clock: Arc::new(EngineWallClock),
    })?;
    let mut config = TikvConfig::default();
    config.server.addr = "127.0.0.1:0".into();
    config.server.status_addr = String::new();
    config.storage.data_dir = dir.path().join("s");
    config.pd.endpoints = vec![pd.addr().to_string()];
    let store = TikvServer::start(config, StartOptions::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let context = leader(&pd.addr().to_string()).await?;
        let endpoint = Endpoint::from_shared(format!("http://{}", store.addr()))?.tcp_nodelay(true);
        let kv = TikvClient::new(endpoint.connect().await?);
        measure("raw put", puts, |n| put(kv.clone(), context.clone(), n)).await?;
        measure("raw get", gets, |n| get(kv.clone(), context.clone(), n)).await
    })?;
    store.shutdown();
    pd.shutdown();
    Ok(())
}

async fn leader(pd: &str) -> Result<Context> {
    let client = PdClient::connect(&[pd.to_owned()]).await?;
    let deadline = Instant::now() + LEADER_WAIT;
    while Instant::now() < deadline {
        let found = client.get_region(b"").await?;
        if let Some(peer) = found.leader {
            return Ok(Context {
                region_id: found.region.id,
                region_epoch: found.region.region_epoch,
                peer: Some(peer),
                ..Context::default()
            });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("no leader within {LEADER_WAIT:?}")
}

async fn put(mut kv: TikvClient<Channel>, context: Context, n: usize) -> Result<()> {
    let (context, key, value) = (Some(context), key(n), vec![b'v'; 100]);
    let reply = kv.raw_put(RawPutRequest { context, key, value, ..Default::default() }).await?.into_inner();
    if let Some(error) = reply.region_error {
        bail!("raw put: {}", error.message);
    }
    Ok(())
}

async fn get(mut kv: TikvClient<Channel>, context: Context, n: usize) -> Result<()> {
    let request = RawGetRequest { context: Some(context), key: key(n), ..Default::default() };
    let reply = kv.raw_get(request).await?.into_inner();
    if let Some(error) = reply.region_error {
        bail!("raw get: {}", error.message);
    }
    Ok(())
}

fn key(n: usize) -> Vec<u8> {
    format!("key{:06}", n % 1_000).into_bytes()
}

async fn measure<F: Future<Output = Result<()>>>(
    what: &str,
    count: usize,
    mut one: impl FnMut(usize) -> F,
) -> Result<()> {
    for n in 0..WARM_UP {
        one(n).await?;
    }
    let mut took = Vec::with_capacity(count);
    let (began, cpu) = (Instant::now(), cpu_time());
    for n in 0..count {
        let start = Instant::now();
        one(n).await?;
        took.push(start.elapsed());
    }
    let (wall, cpu) = (began.elapsed(), cpu_time() - cpu);
    took.sort_unstable();
    let at = |percent: usize| took.get(took.len() * percent / 100).map_or(0, Duration::as_micros);
    let each = |time: Duration| time.as_secs_f64() * 1e6 / count.max(1) as f64;
    println!(
        "{what}: p50 {} us, p90 {} us, p99 {} us; mean {:.0} us; CPU {:.0} us each",
        at(50),
        at(90),
        at(99),
        each(wall),
        each(cpu),
    );
    Ok(())
}

/// User and system time of this process.
fn cpu_time() -> Duration {
    // SAFETY: a zeroed rusage is a valid place to write to.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let duration = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1_000);
    duration(usage.ru_utime) + duration(usage.ru_stime)
}
