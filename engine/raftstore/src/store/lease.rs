//! The leader's lease: until when a leader may read on its own, since no other leader can exist.
//!
//! Mirrors `raftstore::store::util::{Lease, RemoteLease}`. A quorum that answered a message sent at `t` votes for nobody
//! else before `t` plus the election timeout; the lease ends at `t + max_lease`, which is less. Engine time throughout.
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tracepoints::clock::EngineInstant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// Leadership is being handed over: whether the lease holds is unknown until a quorum answers again.
    Suspect,
    Valid,
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
    /// `renew_advance`: with less than this left, the lease should be renewed.
    pub fn new(max_lease: Duration, renew_advance: Duration) -> Self {
        Self { bound: None, max_lease, renew_advance, remote: None }
    }

    fn end_of(&self, send_ts: EngineInstant) -> EngineInstant {
        send_ts + self.max_lease
    }

    /// A quorum answered a message that was sent at `send_ts`.
    pub fn renew(&mut self, send_ts: EngineInstant) {
        let end = self.end_of(send_ts);
        let later = match self.bound {
            // A message sent before the suspicion proves nothing about the time after it.
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

    /// Leadership is being transferred: local reads stop.
    pub fn suspect(&mut self, now: EngineInstant) {
        self.expire_remote_lease();
        self.bound = Some(Bound::Suspect(now));
    }

    /// The leader steps down.
    pub fn expire(&mut self) {
        self.expire_remote_lease();
        self.bound = None;
    }

    fn expire_remote_lease(&mut self) {
        if let Some(remote) = self.remote.take() {
            remote.expire();
        }
    }

    pub fn inspect(&self, now: EngineInstant) -> LeaseState {
        match self.bound {
            Some(Bound::Suspect(_)) => LeaseState::Suspect,
            Some(Bound::Valid(end)) if now < end => LeaseState::Valid,
            _ => LeaseState::Expired,
        }
    }

    /// Engine time left, if valid.
    pub fn remaining(&self, now: EngineInstant) -> Duration {
        match self.bound {
            Some(Bound::Valid(end)) => end.saturating_since(now),
            _ => Duration::ZERO,
        }
    }

    /// Whether it ends soon or has ended. A lease of length zero never needs renewal.
    pub fn need_renew(&self, now: EngineInstant) -> bool {
        !self.max_lease.is_zero() && self.remaining(now) < self.renew_advance
    }

    pub fn is_suspect(&self) -> bool {
        matches!(self.bound, Some(Bound::Suspect(_)))
    }

    /// A view for LocalReaders, if there is none for this term yet.
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

/// The lease as reading threads see it; the peer renews and expires it.
#[derive(Clone, Debug)]
pub struct RemoteLease {
    /// Engine nanoseconds; zero: expired for good.
    expired_time: Arc<AtomicU64>,
    term: u64,
}

impl RemoteLease {
    pub fn inspect(&self, now: EngineInstant) -> LeaseState {
        if now.0 < self.expired_time.load(Ordering::Acquire) {
            LeaseState::Valid
        } else {
            LeaseState::Expired
        }
    }

    pub fn need_renew(&self, now: EngineInstant, advance: Duration) -> bool {
        let end = EngineInstant(self.expired_time.load(Ordering::Acquire));
        end.0 != 0 && end.saturating_since(now) < advance
    }

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
    fn a_lease_runs_from_the_sending_not_from_the_answer() {
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
    fn a_suspected_lease_recovers_only_by_a_later_message() {
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
    fn readers_follow_the_peer() {
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
    fn a_lease_of_zero_is_never_valid() {
        let mut lease = Lease::new(Duration::ZERO, Duration::ZERO);
        lease.renew(at(100));
        assert_eq!(lease.inspect(at(100)), LeaseState::Expired);
        assert!(!lease.need_renew(at(100)));
    }
}
