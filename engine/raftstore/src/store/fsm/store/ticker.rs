//! The ticker: triggers periodic work by engine time; frozen engine time stops it.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tracepoints::{EngineClock, clock::EngineInstant};

use crate::{
    RaftRouter,
    store::{
        config::Config,
        config_tracker::ConfigTracker,
        msg::{PeerMsg, PeerTick, StoreMsg, StoreTick},
    },
};

/// Maximum real time between two reads of engine time.
const MAX_POLL: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Peer(PeerTick),
    Store(StoreTick),
}

struct Timer {
    kind: Kind,
    interval: Duration,
    next: EngineInstant,
}

/// Handle to the thread `ticker-{store}`.
pub struct Ticker {
    stop: Arc<AtomicBool>,
    handle: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts the thread.
    pub fn spawn(tracker: ConfigTracker, router: RaftRouter) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, mut seen, mut running) = (stop.clone(), 0, Vec::new());
        let mut poll = MAX_POLL;
        let name = format!("ticker-{}", router.store_id());
        let handle = thread::Builder::new().name(name.clone()).spawn(move || {
            tracepoints::register_thread(&name, router.store_id());
            while !stopped.load(Ordering::Acquire) {
                if let Some(config) = tracker.changed(&mut seen) {
                    poll = (config.raft_base_tick_interval.0 / 4).min(MAX_POLL);
                    running = timers(&config, &running);
                }
                thread::sleep(poll);
                fire(&mut running, &router);
            }
        })?;
        Ok(Self { stop, handle: Some(handle) })
    }

    /// Stops the thread.
    pub fn shutdown(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(handle) = self.handle.take()
            && handle.join().is_err()
        {
            log::error!("the ticker thread panicked");
        }
    }
}

/// Creates the timers of `config`. A timer in `running` becomes due no later than before.
fn timers(config: &Config, running: &[Timer]) -> Vec<Timer> {
    let peer = |tick, interval| (Kind::Peer(tick), interval);
    let store = |tick, interval| (Kind::Store(tick), interval);
    let all = [
        peer(PeerTick::Raft, config.raft_base_tick_interval.0),
        peer(PeerTick::RaftLogGc, config.raft_log_gc_tick_interval.0),
        peer(PeerTick::PdHeartbeat, config.pd_heartbeat_tick_interval.0),
        peer(PeerTick::CheckLeaderLease, config.check_leader_lease_interval()),
        peer(PeerTick::SplitRegionCheck, config.split_region_check_tick_interval.0),
        peer(PeerTick::CheckPeerStaleState, config.peer_stale_state_check_interval.0),
        store(StoreTick::PdStoreHeartbeat, config.pd_store_heartbeat_tick_interval.0),
        store(StoreTick::SnapGc, config.snap_mgr_gc_tick_interval.0),
        store(StoreTick::RaftEnginePurge, config.raft_engine_purge_interval.0),
    ];
    let now = EngineClock::now();
    // An interval of zero disables the work.
    let on = all.into_iter().filter(|(_, interval)| !interval.is_zero());
    on.map(|(kind, interval)| {
        let due = running.iter().find(|timer| timer.kind == kind).map(|timer| timer.next);
        let next = now + interval;
        Timer { kind, interval, next: due.map_or(next, |due| due.min(next)) }
    })
    .collect()
}

/// Fires each due timer once, even if it missed several intervals.
fn fire(timers: &mut [Timer], router: &RaftRouter) {
    let now = EngineClock::now();
    for timer in timers.iter_mut().filter(|t| t.next <= now) {
        timer.next = (timer.next + timer.interval).max(now);
        match timer.kind {
            Kind::Peer(tick) => router.inner().broadcast(|| PeerMsg::Tick(tick)),
            // At shutdown the store FSM may be gone.
            Kind::Store(tick) => drop(router.inner().send_control(StoreMsg::Tick(tick))),
        }
    }
}
