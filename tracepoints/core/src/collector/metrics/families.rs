//! TiKV's histograms that can be derived from stamps, with the stages that each one measures between. Names,
//! help texts, labels and bounds are TiKV's (`metrics.rs` of src/server, src/storage, components/raftstore,
//! components/tikv_util).
use super::histogram::Buckets;
use crate::{StageId, catalogue::stage::*};

/// Start or end of a duration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Point {
    Begin,
    /// The first time that the request reaches a stage on its own store.
    At(StageId),
    End,
}

/// The labels of a histogram.
#[derive(Clone, Copy, Debug)]
pub(super) enum Labels {
    None,
    Fixed(&'static str),
    /// `type` is the RPC's name; the other labels are fixed.
    Rpc(&'static str),
    /// `type` is the storage command's name; the other labels are fixed.
    Command(&'static str),
}

/// A histogram of the time between two points, for requests that reached both.
pub(super) struct Duration {
    pub metric: &'static str,
    pub help: &'static str,
    pub labels: Labels,
    pub buckets: Buckets,
    pub from: Point,
    pub to: Point,
    /// Counts only requests that also reached all of these stages and none of `without`.
    pub with: &'static [StageId],
    pub without: &'static [StageId],
}

const fn duration(
    metric: &'static str,
    help: &'static str,
    labels: Labels,
    from: StageId,
    to: StageId,
) -> Duration {
    let (from, to) = (Point::At(from), Point::At(to));
    Duration { metric, help, labels, buckets: Buckets::USUAL, from, to, with: &[], without: &[] }
}

const fn waterfall(metric: &'static str, help: &'static str, to: StageId) -> Duration {
    duration(metric, help, Labels::None, RAFT_ROUTE, to)
}

const POOL: Buckets = Buckets { first_ns: 10_000, shift: 1, count: 22 };
const ASYNC: Buckets = Buckets { first_ns: 10_000, shift: 1, count: 32 };
const MEM_LOCK: Buckets = Buckets { first_ns: 1000, shift: 2, count: 10 };
const THROTTLE: Buckets = Buckets { first_ns: 500_000, shift: 1, count: 20 };
const GRPC: Buckets = Buckets { first_ns: 50_000, shift: 1, count: 22 };

const POOL_LABELS: Labels = Labels::Fixed("name=\"unified-read-pool\",priority=\"medium\"");
const ASYNC_NAME: &str = "tikv_storage_engine_async_request_duration_seconds";
const ASYNC_HELP: &str = "Bucketed histogram of processing successful asynchronous requests.";
const MEM_LOCK_NAME: &str = "tikv_storage_check_mem_lock_duration_seconds";
const MEM_LOCK_HELP: &str = "Histogram of the duration of checking memory locks";
const READ_NAME: &str = "tikv_scheduler_processing_read_duration_seconds";
const READ_HELP: &str = "Bucketed histogram of processing read duration";
const COMMAND_NAME: &str = "tikv_scheduler_command_duration_seconds";
const COMMAND_HELP: &str = "Bucketed histogram of command execution";
const REQUEST_WAIT_NAME: &str = "tikv_raftstore_request_wait_time_duration_secs";
const REQUEST_WAIT_HELP: &str = "Bucketed histogram of request wait time duration.";

const fn async_request(labels: &'static str, from: StageId, to: StageId) -> Duration {
    Duration { buckets: ASYNC, ..duration(ASYNC_NAME, ASYNC_HELP, Labels::Fixed(labels), from, to) }
}

/// Rows of one metric must be adjacent.
pub(super) static DURATIONS: &[Duration] = &[
    Duration {
        metric: "tikv_grpc_msg_duration_seconds",
        help: "Bucketed histogram of grpc server messages",
        labels: Labels::Rpc("priority=\"unknown\""),
        buckets: GRPC,
        from: Point::Begin,
        to: Point::End,
        with: &[],
        without: &[],
    },
    Duration {
        buckets: POOL,
        ..duration(
            "tikv_yatp_pool_schedule_wait_duration",
            "Histogram of yatp pool schedule wait duration.",
            POOL_LABELS,
            READ_POOL_QUEUE,
            READ_POOL_RUN,
        )
    },
    // A read that waits for a quorum does not execute during the wait, and its single polls are unknown.
    Duration {
        buckets: POOL,
        without: &[LOCAL_READ_REJECT],
        ..duration(
            "tikv_yatp_pool_schedule_exec_duration",
            "Histogram of yatp pool schedule exec duration.",
            POOL_LABELS,
            READ_POOL_RUN,
            READ_DONE,
        )
    },
    Duration {
        buckets: MEM_LOCK,
        ..duration(
            MEM_LOCK_NAME,
            MEM_LOCK_HELP,
            Labels::Command("result=\"unlocked\""),
            MEM_LOCK_CHECK,
            SNAPSHOT_REQUEST,
        )
    },
    Duration {
        buckets: MEM_LOCK,
        without: &[SNAPSHOT_REQUEST],
        ..duration(
            MEM_LOCK_NAME,
            MEM_LOCK_HELP,
            Labels::Command("result=\"locked\""),
            MEM_LOCK_CHECK,
            GRPC_REPLY,
        )
    },
    async_request("type=\"snapshot\"", SNAPSHOT_REQUEST, SNAPSHOT_READY),
    Duration {
        with: &[LOCAL_READ],
        ..async_request("type=\"snapshot_local_read\"", SNAPSHOT_REQUEST, SNAPSHOT_READY)
    },
    async_request("type=\"snapshot_read_index_propose_wait\"", SNAPSHOT_REQUEST, READ_INDEX_PROPOSE),
    async_request("type=\"snapshot_read_index_confirm\"", READ_INDEX_PROPOSE, READ_INDEX_CONFIRM),
    Duration { with: &[APPLY_DONE], ..async_request("type=\"write\"", SCHED_WRITE, SCHED_FINISH) },
    duration(
        "tikv_scheduler_latch_wait_duration_seconds",
        "Bucketed histogram of latch wait",
        Labels::Command(""),
        LATCH_WAIT,
        LATCH_ACQUIRED,
    ),
    Duration {
        buckets: THROTTLE,
        ..duration(
            "tikv_scheduler_throttle_duration_seconds",
            "Bucketed histogram of the wait for flow control.",
            Labels::None,
            FLOW_CONTROL,
            SCHED_WRITE,
        )
    },
    Duration {
        without: &[SCHED_RECEIVE],
        ..duration(READ_NAME, READ_HELP, Labels::Command(""), SNAPSHOT_READY, READ_DONE)
    },
    duration(READ_NAME, READ_HELP, Labels::Command(""), SCHED_PROCESS, SCHED_WRITE),
    Duration {
        without: &[SCHED_RECEIVE],
        ..duration(COMMAND_NAME, COMMAND_HELP, Labels::Command(""), READ_POOL_QUEUE, READ_DONE)
    },
    duration(COMMAND_NAME, COMMAND_HELP, Labels::Command(""), SCHED_RECEIVE, SCHED_FINISH),
    duration(REQUEST_WAIT_NAME, REQUEST_WAIT_HELP, Labels::None, RAFT_ROUTE, RAFT_PROPOSE),
    duration(REQUEST_WAIT_NAME, REQUEST_WAIT_HELP, Labels::None, LOCAL_READ_REJECT, READ_INDEX_PROPOSE),
    waterfall(
        "tikv_raftstore_store_wf_batch_wait_duration_seconds",
        "Bucketed histogram of proposals' wait batch duration.",
        RAFT_PROPOSE,
    ),
    waterfall(
        "tikv_raftstore_store_wf_send_to_queue_duration_seconds",
        "Bucketed histogram of proposals' send to write queue duration.",
        RAFT_READY,
    ),
    Duration {
        buckets: Buckets { first_ns: 1000, ..Buckets::USUAL },
        ..waterfall(
            "tikv_raftstore_store_wf_send_proposal_duration_seconds",
            "Bucketed histogram of proposals' waterfall send duration",
            RAFT_SEND,
        )
    },
    waterfall(
        "tikv_raftstore_store_wf_before_write_duration_seconds",
        "Bucketed histogram of proposals' before write duration.",
        RAFT_WRITE_BEGIN,
    ),
    waterfall(
        "tikv_raftstore_store_wf_write_end_duration_seconds",
        "Bucketed histogram of proposals' write db end duration.",
        RAFT_WRITE_END,
    ),
    waterfall(
        "tikv_raftstore_store_wf_persist_duration_seconds",
        "Bucketed histogram of proposals' persist duration.",
        RAFT_PERSISTED,
    ),
    Duration {
        buckets: ASYNC,
        ..waterfall(
            "tikv_raftstore_store_wf_commit_log_duration_seconds",
            "Bucketed histogram of proposals' commit and persist duration.",
            RAFT_COMMIT,
        )
    },
    duration(
        "tikv_raftstore_apply_wait_time_duration_secs",
        "Bucketed histogram of apply task wait time duration.",
        Labels::None,
        RAFT_COMMIT,
        APPLY_BEGIN,
    ),
    duration(
        "tikv_raftstore_apply_log_duration_seconds",
        "Bucketed histogram of peer applying log duration.",
        Labels::None,
        APPLY_BEGIN,
        APPLY_DONE,
    ),
    duration(
        "tikv_raftstore_apply_duration_secs",
        "Bucketed histogram of apply time duration.",
        Labels::None,
        APPLY_BEGIN,
        APPLY_DONE,
    ),
];
