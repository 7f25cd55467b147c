//! Asks the engine for a snapshot, with its stages.
use kvproto::kvrpcpb::Context;
use tikv_kv::{Engine, SnapContext, Snapshot};
use tracepoints::Req;
use txn_types::{Key, TimeStamp};

use crate::errors::Result;

/// A snapshot of the context's region. `start_ts` and `keys` are the read's.
///
/// TiKV: `Storage::snapshot`.
pub(crate) async fn take<E: Engine>(
    engine: &E,
    ctx: &Context,
    req: Req,
    start_ts: TimeStamp,
    keys: &[Key],
) -> Result<E::Snap> {
    tracepoints::step!(
        SNAPSHOT_REQUEST,
        req,
        region = ctx.region_id,
        term = ctx.term,
        ts = start_ts.into_inner(),
        replica_read = ctx.replica_read,
    );
    let snap_ctx = SnapContext {
        pb_ctx: ctx.clone(),
        req,
        start_ts: start_ts.into_inner(),
        keys: keys.iter().map(|k| k.as_encoded().clone()).collect(),
    };
    let snapshot = engine.async_snapshot(snap_ctx).await?;
    tracepoints::step!(
        SNAPSHOT_READY,
        req,
        region = snapshot.region_id(),
        term = snapshot.term(),
        applied = snapshot.apply_index(),
    );
    Ok(snapshot)
}
