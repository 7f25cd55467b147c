//! A store in a process of its own.
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use anyhow::{Context as _, Result};
use kvproto::kvrpcpb::Context;
use pd::client::PdClient;

use crate::clients::Client;

/// Longest time until the region has a leader.
const LEADER: Duration = Duration::from_secs(60);

pub struct Store {
    child: Child,
    pd: String,
    address: String,
}

impl Store {
    pub fn start(dir: &Path) -> Result<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tikv-server"))
            .args(["--addr", "127.0.0.1:0", "--log-level", "warn", "--embedded-pd", "127.0.0.1:0"])
            .args(["--status-addr", "127.0.0.1:0", "--data-dir"])
            .arg(dir)
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("the server's output")?;
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let mut after = |what: &str| -> Result<String> {
            let line = lines.find(|l| l.contains(what)).with_context(|| format!("{what} was not printed"))?;
            Ok(line.split(what).nth(1).unwrap_or("").trim().split(';').next().unwrap_or("").to_owned())
        };
        // First of all, so that an error ends the process.
        let mut store = Self { child, pd: String::new(), address: String::new() };
        store.pd = after("PD serves on")?;
        store.address = after(" serves on ")?;
        Ok(store)
    }

    /// Connects clients, and writes the keys of each.
    pub async fn clients(&self, count: u64) -> Result<Vec<Client>> {
        let pd = PdClient::connect(std::slice::from_ref(&self.pd)).await?;
        let context = tokio::time::timeout(LEADER, led_region(&pd)).await?;
        let now = pd.get_tso(1).await?;
        // The clients count up from here, which is slower than the clock.
        let clock = Arc::new(AtomicU64::new(((now.physical as u64) << 18) + now.logical as u64));
        let mut clients = Vec::new();
        for id in 0..count {
            let mut client = Client::connect(&self.address, id, context.clone(), clock.clone()).await?;
            client.fill().await?;
            clients.push(client);
        }
        Ok(clients)
    }
}

async fn led_region(pd: &PdClient) -> Context {
    loop {
        if let Ok(found) = pd.get_region(b"").await
            && let Some(leader) = found.leader
        {
            let (region_id, region_epoch) = (found.region.id, found.region.region_epoch);
            return Context { region_id, region_epoch, peer: Some(leader), ..Context::default() };
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // The server may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
