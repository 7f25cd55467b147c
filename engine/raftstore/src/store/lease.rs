//! The leader lease: the time until which a leader may read locally, since no other leader can exist.
//!
//! Mirrors `raftstore::store::util::{Lease, RemoteLease}`. A quorum that answered a message sent at `t`
//! elects no other peer before `t` plus the election timeout; the lease ends earlier, at `t + max_lease`. All
//! times are engine time.
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tracepoints::clock::EngineInstant;

/// State of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// Leadership is being transferred: the lease is unreliable until a quorum answers again.
    Suspect,
    /// The leader may read locally.
    Valid,
    /// The leader must ask a quorum.
    Expired,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    Suspect(EngineInstant),
    Valid(EngineInstant),
}

/// The lease as the peer keeps it.
#[derive(Debug)]
pub struct Lease {
    bound: Option<Bound>,
    max_lease: Duration,
    renew_advance: Duration,
    remote: Option<RemoteLease>,
}

impl Lease {
    /// Creates an invalid lease. Less than `renew_advance` left means that the lease should be renewed.
    pub fn new(max_lease: Duration, renew_advance: Duration) -> Self {
        Self { bound: None, max_lease, renew_advance, remote: None }
    }

    fn lease_end(&self, send_ts: EngineInstant) -> EngineInstant {
        send_ts + self.max_lease
    }

    /// Extends the lease: a quorum answered a message sent at `send_ts`.
    pub fn renew(&mut self, send_ts: EngineInstant) {
        let end = self.lease_end(send_ts);
        let later = match self.bound {
            // A message sent before the suspicion proves nothing about later times.
            Some(Bound::Suspect(ts)) => send_ts > ts,
            Some(Bound::Valid(old)) => end > old,
            None => true,
        };
        if !later {
            return;
        }
        self.bound = Some(Bound::Valid(end));
        if let Some(remote) = &self.remote {
            remote.renew(end);
        }
    }

    /// Stops local reads while leadership is being transferred.
    pub fn suspect(&mut self, now: EngineInstant) {
        self.expire_remote_lease();
        self.bound = Some(Bound::Suspect(now));
    }

    /// Ends the lease: the leader steps down.
    pub fn expire(&mut self) {
        self.expire_remote_lease();
        self.bound = None;
    }

    fn expire_remote_lease(&mut self) {
        if let Some(remote) = self.remote.take() {
            remote.expire();
        }
    }

    /// Returns the state at `now`.
    pub fn inspect(&self, now: EngineInstant) -> LeaseState {
        match self.bound {
            Some(Bound::Suspect(_)) => LeaseState::Suspect,
            Some(Bound::Valid(end)) if now < end => LeaseState::Valid,
            _ => LeaseState::Expired,
        }
    }

    /// Engine time left; zero if the lease is not valid.
    pub fn remaining(&self, now: EngineInstant) -> Duration {
        match self.bound {
            Some(Bound::Valid(end)) => end.saturating_since(now),
            _ => Duration::ZERO,
        }
    }

    /// Whether the lease has ended or ends soon. A lease of length zero never needs renewal.
    pub fn need_renew(&self, now: EngineInstant) -> bool {
        !self.max_lease.is_zero() && self.remaining(now) < self.renew_advance
    }

    /// Whether leadership is being transferred.
    pub fn is_suspect(&self) -> bool {
        matches!(self.bound, Some(Bound::Suspect(_)))
    }

    /// Creates a view for LocalReaders, if this term has none yet.
    pub fn maybe_new_remote_lease(&mut self, term: u64) -> Option<RemoteLease> {
        if let Some(remote) = &self.remote {
            if remote.term == term {
                return None;
            }
            self.expire_remote_lease();
        }
        let end = match self.bound {
            Some(Bound::Valid(end)) => end.0,
            _ => 0,
        };
        let remote = RemoteLease { expired_time: Arc::new(AtomicU64::new(end)), term };
        self.remote = Some(remote.clone());
        Some(remote)
    }
}

/// View of the lease for reading threads; the peer renews and expires it.
#[derive(Clone, Debug)]
pub struct RemoteLease {
    /// Engine time in nanoseconds; zero: expired permanently.
    expired_time: Arc<AtomicU64>,
    term: u64,
}

impl RemoteLease {
    /// Returns the state at `now`.
    pub fn inspect(&self, now: EngineInstant) -> LeaseState {
        if now.0 < self.expired_time.load(Ordering::Acquire) {
            LeaseState::Valid
        } else {
            LeaseState::Expired
        }
    }

    /// Whether the lease ends within `advance`.
    pub fn need_renew(&self, now: EngineInstant, advance: Duration) -> bool {
        let end = EngineInstant(self.expired_time.load(Ordering::Acquire));
        end.0 != 0 && end.saturating_since(now) < advance
    }

    /// Returns the remaining time at `now`.
    pub fn remaining(&self, now: EngineInstant) -> Duration {
        EngineInstant(self.expired_time.load(Ordering::Acquire)).saturating_since(now)
    }

    /// Returns the term in which the lease is valid.
    pub fn term(&self) -> u64 {
        self.term
    }

    fn renew(&self, end: EngineInstant) {
        self.expired_time.store(end.0, Ordering::Release);
    }

    fn expire(&self) {
        self.expired_time.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn at(ms: u64) -> EngineInstant {
        EngineInstant(ms * MS)
    }

    fn lease() -> Lease {
        Lease::new(Duration::from_millis(900), Duration::from_millis(200))
    }

    #[test]
    fn a_lease_starts_when_the_message_was_sent() {
        let mut lease = lease();
        assert_eq!(lease.inspect(at(0)), LeaseState::Expired);
        lease.renew(at(100));
        assert_eq!(lease.inspect(at(999)), LeaseState::Valid);
        assert_eq!(lease.inspect(at(1000)), LeaseState::Expired);
        lease.renew(at(50));
        assert_eq!(lease.inspect(at(999)), LeaseState::Valid, "an older answer shortens nothing");
        assert!(!lease.need_renew(at(700)));
        assert!(lease.need_renew(at(801)));
    }

    #[test]
    fn a_suspect_lease_recovers_only_by_a_later_message() {
        let mut lease = lease();
        lease.renew(at(100));
        let remote = lease.maybe_new_remote_lease(5).unwrap();
        lease.suspect(at(200));
        assert_eq!(lease.inspect(at(201)), LeaseState::Suspect);
        assert_eq!(remote.inspect(at(201)), LeaseState::Expired);
        lease.renew(at(150));
        assert_eq!(lease.inspect(at(201)), LeaseState::Suspect);
        lease.renew(at(250));
        assert_eq!(lease.inspect(at(300)), LeaseState::Valid);
        assert_eq!(remote.inspect(at(300)), LeaseState::Expired, "readers need a new view");
        let remote = lease.maybe_new_remote_lease(5).unwrap();
        assert_eq!(remote.inspect(at(300)), LeaseState::Valid);
    }

    #[test]
    fn readers_see_the_peers_lease() {
        let mut lease = lease();
        lease.renew(at(0));
        let remote = lease.maybe_new_remote_lease(5).unwrap();
        assert!(lease.maybe_new_remote_lease(5).is_none());
        lease.renew(at(500));
        assert_eq!(remote.inspect(at(1300)), LeaseState::Valid);
        let next = lease.maybe_new_remote_lease(6).unwrap();
        assert_eq!(
            (remote.inspect(at(501)), next.inspect(at(501))),
            (LeaseState::Expired, LeaseState::Valid)
        );
        lease.expire();
        assert_eq!(
            (lease.inspect(at(501)), next.inspect(at(501))),
            (LeaseState::Expired, LeaseState::Expired)
        );
    }

    #[test]
    fn a_zero_lease_is_never_valid() {
        let mut lease = Lease::new(Duration::ZERO, Duration::ZERO);
        lease.renew(at(100));
        assert_eq!(lease.inspect(at(100)), LeaseState::Expired);
        assert!(!lease.need_renew(at(100)));
    }
}
