//! RocksDB's counters for a piece of synchronous work.
use engine_rocks::{PerfContext, PerfStats};
use tracepoints::{Probe, Req, probe::PerfProbe};

/// Runs `f` and returns RocksDB's counters for it. In a stepped request a gate inside of `f` may block this
/// thread, so its other tasks first move to another thread.
pub fn with_perf_context<T>(req: Req, f: impl FnOnce() -> T) -> (T, PerfStats) {
    if req.stepped() { tokio::task::block_in_place(|| measure(req, f)) } else { measure(req, f) }
}

fn measure<T>(req: Req, f: impl FnOnce() -> T) -> (T, PerfStats) {
    let context = PerfContext::start();
    let result = f();
    let perf = context.report();
    tracepoints::stamp!(
        ROCKSDB_PERF,
        req,
        block_read_count = perf.block_read_count,
        block_cache_hit_count = perf.block_cache_hit_count,
        get_from_memtable_count = perf.get_from_memtable_count,
        internal_key_skipped_count = perf.internal_key_skipped_count,
    );
    tracepoints::probe!(req, || Probe::Perf(PerfProbe {
        block_cache_hit_count: perf.block_cache_hit_count,
        block_read_count: perf.block_read_count,
        block_read_byte: perf.block_read_byte,
        block_read_nanos: perf.block_read_time_ns,
        get_from_memtable_count: perf.get_from_memtable_count,
        internal_key_skipped_count: perf.internal_key_skipped_count,
        internal_delete_skipped_count: perf.internal_delete_skipped_count,
        seek_on_memtable_count: perf.seek_on_memtable_count,
        seek_child_seek_count: perf.seek_child_seek_count,
        bloom_memtable_miss_count: perf.bloom_memtable_miss_count,
        bloom_sst_miss_count: perf.bloom_sst_miss_count,
    }));
    (result, perf)
}
