//! gRPC's health checks. client-go calls them after a failed request, and sends no more requests to a store that does
//! not answer (TiKV `components/health_controller/src/lib.rs`, tikv/client-go `internal/locate/store_cache.go`).
use futures::{StreamExt, stream};
use kvproto::grpc_health::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server::Health,
};
use tokio::sync::watch;
use tonic::{Request, Response, Status, codegen::BoxStream};

/// Reports whether the store serves. Clones answer for the same store.
#[derive(Clone)]
pub struct HealthController {
    serving: watch::Sender<bool>,
}

impl Default for HealthController {
    /// Creates the controller of a store that serves.
    fn default() -> Self {
        HealthController { serving: watch::Sender::new(true) }
    }
}

impl HealthController {
    /// Changes the answer, before the server stops (TiKV `HealthController.set_is_serving`).
    pub fn set_is_serving(&self, serving: bool) {
        self.serving.send_replace(serving);
    }
}

fn reply(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status as i32 }
}

fn status(serving: bool) -> ServingStatus {
    if serving { ServingStatus::Serving } else { ServingStatus::NotServing }
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
        Ok(Response::new(reply(status(*self.serving.borrow()))))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<BoxStream<HealthCheckResponse>>, Status> {
        if !is_known(request.get_ref()) {
            let answers = stream::iter([Ok(reply(ServingStatus::ServiceUnknown))]);
            return Ok(Response::new(answers.chain(stream::pending()).boxed()));
        }
        let mut changes = self.serving.subscribe();
        changes.mark_changed();
        let answers = stream::unfold(changes, async |mut changes| {
            changes.changed().await.ok()?;
            let serving = *changes.borrow_and_update();
            Some((Ok(reply(status(serving))), changes))
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
