//! Engine time in several processes: a process that holds a request asks
//! the others to stop their clocks, too.
//!
//! Best effort: the clock of a process that does not answer continues. A freeze is a lease of real time that
//! its owner renews, so an owner that dies cannot stop a cluster forever.
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use futures::future::{BoxFuture, join_all};
use kvproto::tracecontrol::{FreezeRequest, trace_control_client::TraceControlClient};
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::mpsc::{UnboundedSender, unbounded_channel},
};
use tonic::transport::Endpoint;
use tracepoints::{EngineClock, clock::FreezeGuard};

const LEASE: Duration = Duration::from_secs(10);
const RENEW: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Owners {
    guards: HashMap<String, (FreezeGuard, Instant)>,
    reaper: bool,
}

static OWNERS: Mutex<Option<Owners>> = Mutex::new(None);

/// Stops engine time for `owner` or renews that stop; with `false` releases it.
pub fn set(owner: &str, frozen: bool) {
    let mut slot = OWNERS.lock();
    let owners = slot.get_or_insert_with(Owners::default);
    if !frozen {
        owners.guards.remove(owner);
        return;
    }
    let until = Instant::now() + LEASE;
    match owners.guards.get_mut(owner) {
        Some((_, lease)) => *lease = until,
        None => {
            owners.guards.insert(owner.into(), (EngineClock::freeze(), until));
        }
    }
    if !owners.reaper {
        owners.reaper = thread::Builder::new().name("trace-freeze".into()).spawn(reap).is_ok();
    }
}

/// Ends freezes whose owner has not renewed them. Runs while there are any.
fn reap() {
    loop {
        thread::sleep(Duration::from_millis(200));
        let mut slot = OWNERS.lock();
        let Some(owners) = slot.as_mut() else { return };
        owners.guards.retain(|owner, (_, lease)| {
            let kept = *lease > Instant::now();
            if !kept {
                log::warn!("engine time continues: {owner} has not renewed its freeze for {LEASE:?}");
            }
            kept
        });
        if owners.guards.is_empty() {
            owners.reaper = false;
            return;
        }
    }
}

/// Finds the gRPC addresses of the cluster's other processes; addresses of this process do no harm.
pub trait Peers: Send + Sync + 'static {
    /// Returns the endpoint for one of the addresses.
    fn endpoint(&self, address: &str) -> Result<Endpoint, String>;

    /// Returns the gRPC addresses of the other stores.
    fn addresses(&self) -> BoxFuture<'static, Vec<String>>;
}

struct State {
    frozen: bool,
    last: Option<Instant>,
}

/// Keeps the other processes' clocks as this one's: stopped while a request is held here.
pub struct PeerFreezer {
    peers: Arc<dyn Peers>,
    orders: UnboundedSender<bool>,
    state: Mutex<State>,
}

impl PeerFreezer {
    /// Requests run on `runtime`, one order after the other; `owner` names this process to the others.
    pub fn new(peers: Arc<dyn Peers>, runtime: &Handle, owner: String) -> Self {
        let (orders, mut received) = unbounded_channel();
        let mut broadcaster = FreezeBroadcaster {
            peers: peers.clone(),
            owner,
            ours: HashSet::new(),
            complained: HashSet::new(),
        };
        runtime.spawn(async move {
            while let Some(frozen) = received.recv().await {
                broadcaster.broadcast(frozen).await;
            }
        });
        Self { peers, orders, state: Mutex::new(State { frozen: false, last: None }) }
    }

    /// Returns the gRPC addresses of the other stores and of PD; none if PD does not answer in time.
    pub async fn addresses(&self) -> Vec<String> {
        tokio::time::timeout(TIMEOUT, self.peers.addresses()).await.unwrap_or_default()
    }

    /// Sends a change of `frozen` and renews a freeze. Must be called often.
    pub fn keep(&self, frozen: bool) {
        let mut state = self.state.lock();
        let due = state.last.is_none_or(|last| last.elapsed() >= RENEW);
        if frozen != state.frozen || (frozen && due) {
            *state = State { frozen, last: Some(Instant::now()) };
            // Fails only when the server shuts down.
            let _ = self.orders.send(frozen);
        }
    }
}

struct FreezeBroadcaster {
    peers: Arc<dyn Peers>,
    owner: String,
    /// Addresses that belong to this process, whose clock is stopped already.
    ours: HashSet<String>,
    complained: HashSet<String>,
}

impl FreezeBroadcaster {
    async fn broadcast(&mut self, frozen: bool) {
        let Ok(mut addresses) = tokio::time::timeout(TIMEOUT, self.peers.addresses()).await else {
            return log::warn!("PD does not answer: engine time in other processes does not change");
        };
        addresses.retain(|a| !self.ours.contains(a));
        let replies = join_all(addresses.into_iter().map(|address| {
            let request = FreezeRequest { frozen, owner: self.owner.clone() };
            let endpoint = self.peers.endpoint(&address);
            async move { (send_freeze(endpoint, request).await, address) }
        }));
        for (result, address) in replies.await {
            match result {
                // While this clock stands still, only this clock can show the same nanosecond.
                Ok(engine_ns) if frozen && EngineClock::is_frozen() && engine_ns == EngineClock::now().0 => {
                    let release = FreezeRequest { frozen: false, owner: self.owner.clone() };
                    if send_freeze(self.peers.endpoint(&address), release).await.is_ok() {
                        self.ours.insert(address);
                    }
                }
                Ok(_) => {}
                Err(e) => {
                    if self.complained.insert(address.clone()) {
                        log::warn!("engine time continues at {address} while a request is held here: {e}");
                    }
                }
            }
        }
    }
}

async fn send_freeze(endpoint: Result<Endpoint, String>, request: FreezeRequest) -> Result<u64, String> {
    let channel =
        endpoint?.connect_timeout(TIMEOUT).timeout(TIMEOUT).connect().await.map_err(|e| e.to_string())?;
    let reply = TraceControlClient::new(channel).freeze(request).await.map_err(|e| e.message().to_owned())?;
    Ok(reply.into_inner().engine_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_time_stops_while_an_owner_freezes_it() {
        set("a test", true);
        let stood = EngineClock::now();
        thread::sleep(Duration::from_millis(5));
        assert_eq!(EngineClock::now(), stood);
        set("a test", true);
        set("a test", false);
        let deadline = Instant::now() + Duration::from_secs(5);
        while EngineClock::now() == stood {
            assert!(Instant::now() < deadline, "engine time continues when its owner releases it");
        }
    }
}
