//! One call of a command: its request, its arrival, and the time details of its reply.
use kvproto::kvrpcpb::{ExecDetailsV2, Ruv2, TimeDetail, TimeDetailV2};
use storage::{KvGetStatistics, SchedulerDetails};
use tracepoints::{EngineClock, Req};

use crate::grpc::Arrival;

/// The context that a command carries through this server.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub req: Req,
    arrival: Arrival,
    /// Engine time in nanoseconds from the arrival until the storage layer was entered.
    grpc_process_ns: u64,
}

impl Call {
    pub fn new(req: Req, arrival: Arrival) -> Self {
        Self { req, arrival, grpc_process_ns: elapsed(arrival) }
    }

    /// Returns `exec_details_v2` of a read; `ru_v2` has the number of keys, for RPCs that TiKV counts.
    pub fn read_details(&self, stats: &KvGetStatistics, ru_v2: Option<Ruv2>) -> Option<ExecDetailsV2> {
        let time = TimeDetailV2 {
            total_rpc_wall_time_ns: elapsed(self.arrival),
            kv_grpc_process_time_ns: self.grpc_process_ns,
            ..stats.time_detail_v2()
        };
        Some(ExecDetailsV2 {
            time_detail: Some(in_ms(&time)),
            scan_detail_v2: Some(stats.scan_detail_v2()),
            time_detail_v2: Some(time),
            ru_v2,
            ..ExecDetailsV2::default()
        })
    }

    /// Returns `exec_details_v2` of a write.
    pub fn write_details(&self, details: &SchedulerDetails) -> Option<ExecDetailsV2> {
        let time = TimeDetailV2 {
            wait_wall_time_ns: details.latch_wait_nanos + details.async_snapshot_nanos,
            process_wall_time_ns: details.cmd_process_nanos,
            total_rpc_wall_time_ns: elapsed(self.arrival),
            kv_grpc_process_time_ns: self.grpc_process_ns,
            ..TimeDetailV2::default()
        };
        Some(ExecDetailsV2 {
            time_detail: Some(in_ms(&time)),
            scan_detail_v2: Some(details.scan_detail_v2()),
            write_detail: Some(details.write_detail()),
            time_detail_v2: Some(time),
            ru_v2: Some(details.ru_v2()),
            ..ExecDetailsV2::default()
        })
    }
}

fn elapsed(arrival: Arrival) -> u64 {
    EngineClock::now().saturating_since(arrival.at).as_nanos() as u64
}

/// Converts to the older form, for old clients.
fn in_ms(time: &TimeDetailV2) -> TimeDetail {
    TimeDetail {
        wait_wall_time_ms: time.wait_wall_time_ns / 1_000_000,
        process_wall_time_ms: time.process_wall_time_ns / 1_000_000,
        kv_read_wall_time_ms: time.kv_read_wall_time_ns / 1_000_000,
        total_rpc_wall_time_ns: time.total_rpc_wall_time_ns,
    }
}
