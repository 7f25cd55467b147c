//! GC safe points: the cluster's own, and those of services that still need old versions.
use kvproto::pdpb::{self, ErrorType};

use super::error::Refusal;

/// The service that always has a safe point (tikv/pd `endpoint.GCWorkerServiceSafePointID`).
const GC_WORKER: &str = "gc_worker";

/// The id that stands for no keyspace (tikv/pd `constant.NullKeyspaceID`).
const NO_KEYSPACE: u32 = u32::MAX;

/// A service's claim to all versions at and above `safe_point`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ServiceSafePoint {
    #[prost(string, tag = "1")]
    pub service_id: String,
    /// Unix seconds; `i64::MAX`: never.
    #[prost(int64, tag = "2")]
    pub expires_s: i64,
    #[prost(uint64, tag = "3")]
    pub safe_point: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SafePoints {
    #[prost(uint64, tag = "1")]
    pub gc: u64,
    #[prost(message, repeated, tag = "2")]
    pub services: Vec<ServiceSafePoint>,
}

impl SafePoints {
    /// Advances the GC safe point, never moves it back; returns the one in effect.
    pub fn advance(&mut self, safe_point: u64) -> u64 {
        self.gc = self.gc.max(safe_point);
        self.gc
    }

    /// Sets (`ttl_s` > 0) or removes a service's safe point, and returns the lowest one (PD
    /// `GrpcServer.UpdateServiceGCSafePoint`). A safe point below the lowest is ignored.
    pub fn update_service(
        &mut self,
        service_id: &str,
        ttl_s: i64,
        safe_point: u64,
        now_s: i64,
    ) -> Result<ServiceSafePoint, Refusal> {
        if service_id == GC_WORKER && ttl_s != i64::MAX {
            let message = format!("the TTL of {GC_WORKER}'s safe point must be {}, got {ttl_s}", i64::MAX);
            return Err(Refusal::new(ErrorType::InvalidValue, message));
        }
        self.services.retain(|held| held.expires_s > now_s && (ttl_s > 0 || held.service_id != service_id));
        let lowest = self.lowest();
        if ttl_s > 0 && safe_point >= lowest.safe_point {
            self.services.retain(|held| held.service_id != service_id);
            let expires_s = now_s.saturating_add(ttl_s);
            self.services.push(ServiceSafePoint { service_id: service_id.to_owned(), expires_s, safe_point });
        }
        Ok(self.lowest())
    }

    /// The state of the keyspaces without a GC of their own (PD `GCStateManager.GetGCState`): a transaction must not
    /// read below `txn_safe_point`, which the GC worker's safe point sets before versions are dropped.
    pub fn to_gc_state(&self, now_s: i64, with_barriers: bool) -> pdpb::GcState {
        use pdpb::keyspace_scope::Keyspace;
        let of_worker = self.services.iter().find(|held| held.service_id == GC_WORKER);
        let barrier = |held: &ServiceSafePoint| pdpb::GcBarrierInfo {
            barrier_id: held.service_id.clone(),
            barrier_ts: held.safe_point,
            ttl_seconds: if held.expires_s == i64::MAX { i64::MAX } else { held.expires_s - now_s },
        };
        let live = |held: &&ServiceSafePoint| held.service_id != GC_WORKER && held.expires_s > now_s;
        let barriers = self.services.iter().filter(live).filter(|_| with_barriers);
        pdpb::GcState {
            keyspace_scope: Some(pdpb::KeyspaceScope { keyspace: Some(Keyspace::KeyspaceId(NO_KEYSPACE)) }),
            is_keyspace_level_gc: false,
            txn_safe_point: self.gc.max(of_worker.map_or(0, |held| held.safe_point)),
            gc_safe_point: self.gc,
            gc_barriers: barriers.map(barrier).collect(),
        }
    }

    /// The GC worker's safe point is 0 until the worker sets it.
    fn lowest(&mut self) -> ServiceSafePoint {
        if !self.services.iter().any(|held| held.service_id == GC_WORKER) {
            let service_id = GC_WORKER.to_owned();
            self.services.push(ServiceSafePoint { service_id, expires_s: i64::MAX, safe_point: 0 });
        }
        self.services.iter().min_by_key(|held| held.safe_point).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gc_safe_point_never_goes_back() {
        let mut points = SafePoints::default();
        assert_eq!(points.advance(5), 5);
        assert_eq!(points.advance(3), 5);
    }

    #[test]
    fn the_gc_state_has_the_worker_and_the_live_services() {
        let mut points = SafePoints::default();
        points.advance(5);
        points.update_service("br", 100, 50, 1000).unwrap();
        points.update_service("cdc", 10, 60, 1000).unwrap();
        points.update_service(GC_WORKER, i64::MAX, 40, 1000).unwrap();
        let state = points.to_gc_state(1020, true);
        assert_eq!((state.gc_safe_point, state.txn_safe_point), (5, 40));
        let barrier = &state.gc_barriers[..];
        assert_eq!((barrier.len(), barrier[0].barrier_id.as_str(), barrier[0].ttl_seconds), (1, "br", 80));
        assert!(points.to_gc_state(1020, false).gc_barriers.is_empty());
    }

    #[test]
    fn the_lowest_service_applies_until_it_expires() {
        let mut points = SafePoints::default();
        assert_eq!(points.update_service("br", 100, 50, 1000).unwrap().service_id, GC_WORKER);
        points.update_service(GC_WORKER, i64::MAX, 80, 1000).unwrap();
        let lowest = points.update_service("cdc", 10, 60, 1000).unwrap();
        assert_eq!((lowest.service_id.as_str(), lowest.safe_point), ("br", 50));
        assert_eq!(
            points.update_service("late", 10, 40, 1000).unwrap().safe_point,
            50,
            "below the lowest: ignored"
        );
        let lowest = points.update_service("br", 0, 0, 1000).unwrap();
        assert_eq!((lowest.service_id.as_str(), lowest.safe_point), ("cdc", 60));
        assert_eq!(points.update_service(GC_WORKER, i64::MAX, 90, 1011).unwrap().safe_point, 90);
        assert!(points.update_service(GC_WORKER, 5, 100, 1011).is_err());
    }
}
