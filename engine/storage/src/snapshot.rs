//! Requests a snapshot from the engine, with its stages.
use tikv_kv::{Engine, SnapContext, Snapshot};

use crate::errors::Result;

/// Takes a snapshot of the context's region.
///
/// TiKV: `Storage::snapshot`.
pub(crate) async fn take<E: Engine>(engine: &E, ctx: SnapContext) -> Result<E::Snap> {
    let req = ctx.req;
    tracepoints::step!(
        SNAPSHOT_REQUEST,
        req,
        region = ctx.pb_ctx.region_id,
        term = ctx.pb_ctx.term,
        ts = ctx.start_ts,
        replica_read = ctx.pb_ctx.replica_read,
    );
    let snapshot = engine.async_snapshot(ctx).await?;
    tracepoints::step!(
        SNAPSHOT_READY,
        req,
        region = snapshot.region_id(),
        term = snapshot.term(),
        applied = snapshot.apply_index(),
    );
    Ok(snapshot)
}
