//! Flashback of a region: closes it, writes the old version, opens it again (TiKV
//! `future_prepare_flashback_to_version`, `future_flashback_to_version`;
//! `Debugger::key_range_flashback_to_version`).
use kvproto::{
    debugpb,
    kvrpcpb::{
        Context, FlashbackToVersionRequest, FlashbackToVersionResponse, PrepareFlashbackToVersionRequest,
        PrepareFlashbackToVersionResponse,
    },
    metapb::Region,
};
use storage::{Result, extract_region_error_from_error, txn::commands::Flashback};
use tikv_kv::Engine;
use tonic::Status;
use tracepoints::Req;
use txn_types::Key;

use super::{call::Call, reply::reply};
use crate::Storage;

/// Closes the region, rolls back its locks, and locks the first key that will change.
async fn prepare(storage: &Storage, flashback: Flashback, req: Req) -> Result<()> {
    let start_ts = flashback.start_ts.into_inner();
    storage.get_engine().start_flashback(&flashback.ctx, start_ts).await?;
    storage.sched_txn_command::<()>(flashback, req).await.0
}

/// Writes the data of the version and opens the region again.
async fn finish(storage: &Storage, flashback: Flashback, req: Req) -> Result<()> {
    let ctx = flashback.ctx.clone();
    storage.sched_txn_command::<()>(flashback, req).await.0?;
    Ok(storage.get_engine().end_flashback(&ctx).await?)
}

/// `KvPrepareFlashbackToVersion`.
pub async fn kv_prepare(
    storage: Storage,
    request: PrepareFlashbackToVersionRequest,
    call: Call,
) -> PrepareFlashbackToVersionResponse {
    let done = prepare(
        &storage,
        Flashback {
            ctx: request.context.unwrap_or_default(),
            version: request.version.into(),
            start_ts: request.start_ts.into(),
            commit_ts: 0.into(),
            start_key: Key::from_raw(&request.start_key),
            end_key: Key::from_raw_maybe_unbounded(&request.end_key),
        },
        call.req,
    )
    .await;
    let mut reply = PrepareFlashbackToVersionResponse::default();
    reply!(reply, done, |()| ());
    reply
}

/// `KvFlashbackToVersion`.
pub async fn kv_finish(
    storage: Storage,
    request: FlashbackToVersionRequest,
    call: Call,
) -> FlashbackToVersionResponse {
    let done = finish(
        &storage,
        Flashback {
            ctx: request.context.unwrap_or_default(),
            version: request.version.into(),
            start_ts: request.start_ts.into(),
            commit_ts: request.commit_ts.into(),
            start_key: Key::from_raw(&request.start_key),
            end_key: Key::from_raw_maybe_unbounded(&request.end_key),
        },
        call.req,
    )
    .await;
    let mut reply = FlashbackToVersionResponse::default();
    reply!(reply, done, |()| ());
    reply
}

/// `Debug.FlashbackToVersion`: prepares if there is no commit timestamp,
/// otherwise finishes. Keys have PD's form.
pub async fn debug(
    storage: &Storage,
    region: Region,
    store_id: u64,
    request: debugpb::FlashbackToVersionRequest,
) -> std::result::Result<(), Status> {
    let prepares = request.commit_ts == 0;
    if prepares && region.is_in_flashback {
        return Ok(());
    }
    if !prepares && !region.is_in_flashback {
        return Err(Status::unknown("not in flashback state"));
    }
    let ctx = Context {
        region_id: region.id,
        region_epoch: region.region_epoch,
        peer: region.peers.iter().find(|peer| peer.store_id == store_id).copied(),
        ..Context::default()
    };
    let flashback = Flashback {
        ctx,
        version: request.version.into(),
        start_ts: request.start_ts.into(),
        commit_ts: request.commit_ts.into(),
        start_key: Key::from_encoded(request.start_key),
        end_key: (!request.end_key.is_empty()).then(|| Key::from_encoded(request.end_key)),
    };
    let (what, done) = match prepares {
        true => ("prepare", prepare(storage, flashback, Req::NONE).await),
        false => ("finish", finish(storage, flashback, Req::NONE).await),
    };
    done.map_err(|e| {
        let why = extract_region_error_from_error(&e).map_or_else(|| e.to_string(), |e| e.message);
        Status::unknown(format!("exec {what} flashback failed: {why}"))
    })
}
