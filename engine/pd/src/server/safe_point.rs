//! GC safe points: the cluster's own, and those of services that still need old versions.
use kvproto::pdpb::ErrorType;

use super::error::Refusal;

/// The service that always has a safe point (tikv/pd `endpoint.GCWorkerServiceSafePointID`).
const GC_WORKER: &str = "gc_worker";

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
