//! Point gets for a counter of instructions: `tools/instructions.sh` runs this program under perf or callgrind.
//!
//! `cargo run -p recipes --example instructions -- GETS on|off` reads a row GETS times on the storage layer of one
//! store, with or without recording.
use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use recipes::{
    Cluster, ClusterConfig,
    client::Clients,
    directive::{Commit, Op},
};
use tracepoints::{Req, RequestKind, recorder, request};
use txn_types::{Key, TimeStamp};

const KEY: &[u8] = b"instructions";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [gets, recording] = args.as_slice() else {
        bail!("expected GETS and on or off, found {} arguments", args.len());
    };
    let gets: u64 = gets.parse().with_context(|| format!("expected a number of gets, found `{gets}`"))?;
    let on = match recording.as_str() {
        "on" => true,
        "off" => false,
        other => bail!("expected on or off, found `{other}`"),
    };
    let cluster = Cluster::start(ClusterConfig { stores: 1, ..ClusterConfig::default() })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(write(&cluster))?;
    let context = cluster.context(KEY)?;
    let server = cluster.servers().next().context("the store runs")?;
    let storage = server.storage().context("the store runs")?.clone();
    recorder::set_on(on);
    runtime.block_on(async {
        for _ in 0..gets {
            let req = request::begin(RequestKind::KvGet, KEY, context.region_id);
            let found = storage.get(context.clone(), Key::from_raw(KEY), TimeStamp::max(), req).await?;
            request::end(req);
            ensure!(found.0.is_some(), "the row is missing");
        }
        Ok(())
    })
}

/// Writes the row.
async fn write(cluster: &Cluster) -> Result<()> {
    let clients = Clients::connect(&cluster.pd_endpoint(), cluster.api()).await?;
    let put = Op::Put { key: KEY.to_vec(), value: vec![b'v'; 100], commit: Commit::TwoPhase };
    clients.run(&put, Req::NONE, &BTreeMap::new(), None).await.map(drop)
}
