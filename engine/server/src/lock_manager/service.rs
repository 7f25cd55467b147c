//! The service `deadlock.Deadlock` for other stores. Mirrors `Service` of `src/server/lock_manager/deadlock.rs`.
use kvproto::deadlock::{
    DeadlockRequest, DeadlockResponse, WaitForEntriesRequest, WaitForEntriesResponse,
    deadlock_server::Deadlock,
};
use tokio::sync::oneshot;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, codegen::BoxStream};

use super::{deadlock::Scheduler as DetectorScheduler, waiter_scheduler::Scheduler as WaiterMgrScheduler};

/// Serves the waits of this store, and the detector if this store is its leader.
#[derive(Clone)]
pub struct DeadlockService {
    waiter_mgr_scheduler: WaiterMgrScheduler,
    detector_scheduler: DetectorScheduler,
}

impl DeadlockService {
    pub(super) fn new(
        waiter_mgr_scheduler: WaiterMgrScheduler,
        detector_scheduler: DetectorScheduler,
    ) -> Self {
        Self { waiter_mgr_scheduler, detector_scheduler }
    }
}

#[tonic::async_trait]
impl Deadlock for DeadlockService {
    async fn get_wait_for_entries(
        &self,
        _: Request<WaitForEntriesRequest>,
    ) -> Result<Response<WaitForEntriesResponse>, Status> {
        let (cb, entries) = oneshot::channel();
        self.waiter_mgr_scheduler.dump_wait_table(cb);
        match entries.await {
            Ok(entries) => Ok(Response::new(WaitForEntriesResponse { entries })),
            // TiKV's status.
            Err(_) => Err(Status::resource_exhausted("waiter manager has stopped")),
        }
    }

    async fn detect(
        &self,
        request: Request<Streaming<DeadlockRequest>>,
    ) -> Result<Response<BoxStream<DeadlockResponse>>, Status> {
        let responses = self.detector_scheduler.serve(request.into_inner())?;
        Ok(Response::new(Box::pin(ReceiverStream::new(responses))))
    }
}
