//! gRPC's health checks. client-go calls them after a failed request, and sends no more requests to a store that does
//! not answer (TiKV `components/health_controller/src/lib.rs`, tikv/client-go `internal/locate/store_cache.go`).
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures::{StreamExt, stream};
use kvproto::grpc_health::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server::Health,
};
use tokio::sync::watch;
use tonic::{Request, Response, Status, codegen::BoxStream};

/// State of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    serving: bool,
    /// Whether RaftStore has ended an inspection of its latency in the last round.
    healthy: bool,
}

/// Reports whether the store serves, and its slow score. Clones answer for the same store.
#[derive(Clone)]
pub struct HealthController {
    state: watch::Sender<State>,
    /// Bits of an `f64`.
    raftstore_slow_score: Arc<AtomicU64>,
}

impl Default for HealthController {
    /// Creates the controller of a store that serves.
    fn default() -> Self {
        let state = watch::Sender::new(State { serving: true, healthy: true });
        HealthController { state, raftstore_slow_score: Arc::new(AtomicU64::new(1_f64.to_bits())) }
    }
}

impl HealthController {
    /// Changes the answer, before the server stops (TiKV `HealthController.set_is_serving`).
    pub fn set_is_serving(&self, serving: bool) {
        self.state.send_if_modified(|state| std::mem::replace(&mut state.serving, serving) != serving);
    }

    /// Changes whether RaftStore makes progress (TiKV `HealthControllerInner.add_unhealthy_module`).
    pub fn set_is_healthy(&self, healthy: bool) {
        self.state.send_if_modified(|state| std::mem::replace(&mut state.healthy, healthy) != healthy);
    }

    /// Publishes the slow score: from 1 to 100.
    pub fn update_raftstore_slow_score(&self, score: f64) {
        self.raftstore_slow_score.store(score.to_bits(), Ordering::Release);
    }

    /// Returns the slow score.
    pub fn get_raftstore_slow_score(&self) -> f64 {
        f64::from_bits(self.raftstore_slow_score.load(Ordering::Acquire))
    }
}

fn reply(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status as i32 }
}

fn status(state: State) -> ServingStatus {
    match (state.serving, state.healthy) {
        (true, true) => ServingStatus::Serving,
        (true, false) => ServingStatus::ServiceUnknown,
        (false, _) => ServingStatus::NotServing,
    }
}

/// Whether the request names the store as a whole, by an empty name. No other service is known.
fn is_known(request: &HealthCheckRequest) -> bool {
    request.service.is_empty()
}

#[tonic::async_trait]
impl Health for HealthController {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !is_known(request.get_ref()) {
            return Err(Status::not_found("unknown service"));
        }
        Ok(Response::new(reply(status(*self.state.borrow()))))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<BoxStream<HealthCheckResponse>>, Status> {
        if !is_known(request.get_ref()) {
            let answers = stream::iter([Ok(reply(ServingStatus::ServiceUnknown))]);
            return Ok(Response::new(answers.chain(stream::pending()).boxed()));
        }
        let mut changes = self.state.subscribe();
        changes.mark_changed();
        let answers = stream::unfold(changes, async |mut changes| {
            changes.changed().await.ok()?;
            let state = *changes.borrow_and_update();
            Some((Ok(reply(status(state))), changes))
        });
        Ok(Response::new(answers.boxed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(service: &str) -> Request<HealthCheckRequest> {
        Request::new(HealthCheckRequest { service: service.to_owned() })
    }

    #[tokio::test]
    async fn a_check_says_whether_the_store_serves() {
        let health = HealthController::default();
        assert_eq!(health.check(request("")).await.unwrap().into_inner().status(), ServingStatus::Serving);
        health.set_is_serving(false);
        assert_eq!(health.check(request("")).await.unwrap().into_inner().status(), ServingStatus::NotServing);
        let unknown = health.check(request("tikvpb.Tikv")).await.unwrap_err();
        assert_eq!(unknown.code(), tonic::Code::NotFound);
    }

    #[tokio::test]
    async fn a_store_without_progress_is_unknown() {
        let health = HealthController::default();
        let check = async || health.check(request("")).await.unwrap().into_inner().status();
        health.set_is_healthy(false);
        assert_eq!(check().await, ServingStatus::ServiceUnknown);
        health.set_is_serving(false);
        assert_eq!(check().await, ServingStatus::NotServing);
        health.set_is_serving(true);
        health.set_is_healthy(true);
        assert_eq!(check().await, ServingStatus::Serving);
    }

    #[tokio::test]
    async fn a_watch_reports_the_status_and_each_change() {
        let health = HealthController::default();
        let mut answers = health.watch(request("")).await.unwrap().into_inner();
        assert_eq!(answers.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
        health.set_is_serving(false);
        assert_eq!(answers.next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
        let mut answers = health.watch(request("x")).await.unwrap().into_inner();
        assert_eq!(answers.next().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
    }
}
