//! Stops the engine time of PD's process while another process holds a
//! request: TTLs depend on PD's timestamps.
//!
//! A freeze is a lease of real time that its owner renews, so an owner that
//! dies cannot stop the cluster forever.
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use kvproto::tracecontrol::{FreezeReply, FreezeRequest, trace_control_server::TraceControl};
use parking_lot::Mutex;
use tonic::{Request, Response, Status};
use tracepoints::{EngineClock, clock::FreezeGuard};

/// A freeze ends this long after its owner's last request.
const LEASE: Duration = Duration::from_secs(10);

/// Serves only `Freeze` of the TraceControl service: PD holds no requests.
#[derive(Clone, Default)]
pub struct Freezer {
    owners: Arc<Mutex<HashMap<String, (FreezeGuard, Instant)>>>,
}

impl Freezer {
    fn freeze(&self, owner: String, lease: Duration) {
        let until = Instant::now() + lease;
        self.owners.lock().entry(owner.clone()).or_insert_with(|| (EngineClock::freeze(), until)).1 = until;
        let owners = self.owners.clone();
        tokio::spawn(async move {
            tokio::time::sleep(lease).await;
            let mut owners = owners.lock();
            if owners.get(&owner).is_some_and(|(_, until)| *until <= Instant::now()) {
                log::warn!("pd: engine time continues: {owner} has not renewed its freeze for {lease:?}");
                owners.remove(&owner);
            }
        });
    }

    fn release(&self, owner: &str) {
        self.owners.lock().remove(owner);
    }
}

#[tonic::async_trait]
impl TraceControl for Freezer {
    async fn freeze(&self, request: Request<FreezeRequest>) -> Result<Response<FreezeReply>, Status> {
        let FreezeRequest { frozen, owner } = request.into_inner();
        if owner.is_empty() {
            return Err(Status::invalid_argument(
                "owner is empty; give the name of the freezing process, e.g. HOST:PID",
            ));
        }
        if frozen {
            Freezer::freeze(self, owner, LEASE);
        } else {
            self.release(&owner);
        }
        Ok(Response::new(FreezeReply { engine_ns: EngineClock::now().0 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn time_stops_until_the_last_owner_releases_or_expires() {
        let freezer = Freezer::default();
        Freezer::freeze(&freezer, "a".to_owned(), Duration::from_secs(60));
        Freezer::freeze(&freezer, "b".to_owned(), Duration::from_millis(20));
        let stood = EngineClock::now();
        let expired = async {
            while freezer.owners.lock().contains_key("b") {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), expired).await.expect("the lease of b ends");
        assert_eq!(EngineClock::now(), stood, "owner a still freezes");
        freezer.release("a");
        let runs = async {
            while EngineClock::now() == stood {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), runs).await.expect("time continues");
    }
}
