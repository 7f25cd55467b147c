//! A write waits while flow control limits the speed of writes.
use std::time::Duration;

use tikv_kv::Engine;
use tracepoints::{EngineClock, Req};

use super::Inner;
use crate::{deadline::Deadline, errors::Result, statistics::SchedulerDetails};

/// Interval at which a waiting write looks at the limit and at its deadline.
const WAIT_INTERVAL: Duration = Duration::from_millis(1);

impl<E: Engine> Inner<E> {
    /// Waits until the speed limit allows a write of this size. TiKV: `TxnScheduler::handle_flow_control`.
    ///
    /// # Errors
    /// `DeadlineExceeded`, after which the write must not take place.
    pub(super) async fn handle_flow_control(
        &self,
        req: Req,
        size: usize,
        deadline: Deadline,
        details: &mut SchedulerDetails,
    ) -> Result<()> {
        if self.flow_controller.is_unlimited() {
            self.flow_controller.consume(size);
            return Ok(());
        }
        let begin = EngineClock::now();
        let speed = self.flow_controller.speed_limit().unwrap_or(0.0);
        // A session may hold the request here, so it must not have the mutex yet.
        tracepoints::step!(FLOW_CONTROL, req, bytes = size, bytes_per_second = speed as u64);
        let _guard = self.control_mutex.lock().await;
        let delay = self.flow_controller.consume(size);
        let end = EngineClock::now() + delay;
        let mut waited = Ok(());
        while EngineClock::now() < end && !self.flow_controller.is_unlimited() {
            waited = deadline.check();
            if waited.is_err() {
                self.flow_controller.unconsume(size);
                break;
            }
            tokio::time::sleep(WAIT_INTERVAL).await;
        }
        details.flow_control_nanos += begin.elapsed().as_nanos() as u64;
        waited
    }
}
