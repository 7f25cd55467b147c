//! [`RaftKv`]: the engine of the transaction layer, replicated by Raft (TiKV `src/server/raftkv/mod.rs`).
use std::time::Duration;

use futures::{
    FutureExt,
    channel::oneshot,
    future::{BoxFuture, ready},
};
use kvproto::{
    errorpb,
    kvrpcpb::Context,
    raft_cmdpb::{
        AdminCmdType, AdminRequest, CmdType, DeleteRangeRequest, DeleteRequest, PrepareFlashbackRequest,
        PutRequest, RaftCmdRequest, RaftRequestHeader, ReadIndexRequest, Request,
    },
};
use raftstore::{
    RaftRouter,
    store::{
        Callback, LocalReader, RegionSnapshot, WriteResponse, util::FLAG_FLASHBACK, util::FLAG_STALE_READ,
    },
};
use tikv_kv::{Engine, ErrorInner, Modify, Result, SnapContext, WriteData, WriteTimes};
use tracepoints::Req;

/// Reads through the [`LocalReader`], writes through the [`RaftRouter`].
#[derive(Clone)]
pub struct RaftKv {
    reader: LocalReader,
    router: RaftRouter,
}

impl RaftKv {
    /// Creates the engine of a store.
    pub fn new(reader: LocalReader, router: RaftRouter) -> Self {
        Self { reader, router }
    }

    /// Returns the router to this store's peers.
    pub(crate) fn router(&self) -> &RaftRouter {
        &self.router
    }

    /// Returns the RocksDB with all data of this store. TiKV: `Engine::kv_engine`.
    pub(crate) fn kv_engine(&self) -> &engine_rocks::RocksEngine {
        self.reader.kv_engine()
    }
}

impl Engine for RaftKv {
    type Snap = RegionSnapshot;

    fn async_snapshot(&self, ctx: SnapContext) -> BoxFuture<'static, Result<RegionSnapshot>> {
        let reader = self.reader.clone();
        let mut header = header(&ctx);
        if ctx.pb_ctx.stale_read {
            header.flags |= FLAG_STALE_READ;
        }
        // The reader checks the lease when it is polled, not before.
        async move { reader.snapshot(header, read_index(&ctx), ctx.req).await }.boxed()
    }

    fn async_write(&self, ctx: SnapContext, data: WriteData) -> BoxFuture<'static, Result<WriteTimes>> {
        if data.modifies.is_empty() {
            return ready(Ok(WriteTimes::default())).boxed();
        }
        let request = RaftCmdRequest {
            header: Some(header(&ctx)),
            requests: data.modifies.into_iter().map(to_request).collect(),
            ..RaftCmdRequest::default()
        };
        let (answered, answer) = oneshot::channel();
        let removed_locks = data.removed_locks;
        let callback = Callback::write(Box::new(move |response: WriteResponse| {
            // On the thread that applies: before it executes later entries.
            if let Some(removed) = removed_locks.filter(|_| response.error().is_none()) {
                removed.applied();
            }
            // The receiver may be gone; drop the response then.
            drop(answered.send(response));
        }));
        let callback = callback.on_proposed(data.on_proposed);
        // Before the future is polled: the caller may hold a lock until the peer's mailbox has the write. The callback
        // also receives a failure to send.
        let _ = self.router.send_write(request, callback, ctx.req, data.deadline);
        async move {
            match answer.await {
                Ok(response) => check(&response).map(|()| response.times),
                Err(_) => Err(ErrorInner::Closed.into()),
            }
        }
        .boxed()
    }

    fn start_flashback(&self, ctx: &Context, start_ts: u64) -> BoxFuture<'static, Result<()>> {
        let admin = AdminRequest {
            cmd_type: AdminCmdType::PrepareFlashback as i32,
            prepare_flashback: Some(PrepareFlashbackRequest { start_ts }),
            ..AdminRequest::default()
        };
        self.switch_flashback(ctx, admin, true)
    }

    fn end_flashback(&self, ctx: &Context) -> BoxFuture<'static, Result<()>> {
        let admin = AdminRequest {
            cmd_type: AdminCmdType::FinishFlashback as i32,
            finish_flashback: Some(Default::default()),
            ..AdminRequest::default()
        };
        self.switch_flashback(ctx, admin, false)
    }
}

/// Polls of the peer until it has noted an applied entry.
const FLASHBACK_POLL_ATTEMPTS: u32 = 500;
const FLASHBACK_POLL_INTERVAL: Duration = Duration::from_millis(10);

impl RaftKv {
    /// Proposes `admin` and waits until the peer itself has the new state, which happens after the proposer
    /// gets its reply.
    fn switch_flashback(
        &self,
        ctx: &Context,
        admin: AdminRequest,
        on: bool,
    ) -> BoxFuture<'static, Result<()>> {
        let region_id = ctx.region_id;
        let ctx = SnapContext { pb_ctx: ctx.clone(), allowed_in_flashback: true, ..SnapContext::default() };
        let request = RaftCmdRequest {
            header: Some(header(&ctx)),
            admin_request: Some(admin),
            ..RaftCmdRequest::default()
        };
        let router = self.router.clone();
        async move {
            let (callback, answer) = Callback::paired_write();
            // The callback also receives a failure to send.
            let _ = router.send_command(request, callback, Req::NONE);
            check(&answer.await.map_err(|_| ErrorInner::Closed)?)?;
            for _ in 0..FLASHBACK_POLL_ATTEMPTS {
                let meta = router.query_region_meta(region_id).await;
                if meta.is_some_and(|meta| meta.region.is_in_flashback == on) {
                    return Ok(());
                }
                tokio::time::sleep(FLASHBACK_POLL_INTERVAL).await;
            }
            Err(ErrorInner::Timeout(
                u64::from(FLASHBACK_POLL_ATTEMPTS) * FLASHBACK_POLL_INTERVAL.as_millis() as u64,
            )
            .into())
        }
        .boxed()
    }
}

fn check(response: &WriteResponse) -> Result<()> {
    response.error().map_or(Ok(()), |e: &errorpb::Error| Err(ErrorInner::Request(e.clone()).into()))
}

/// Builds the header that the RaftStore checks (TiKV `RaftKv::new_request_header`).
fn header(ctx: &SnapContext) -> RaftRequestHeader {
    let (allowed, start_ts) = (ctx.allowed_in_flashback, ctx.start_ts);
    let ctx = &ctx.pb_ctx;
    RaftRequestHeader {
        flags: if allowed { FLAG_FLASHBACK } else { 0 },
        // During a flashback a region still answers reads at an older timestamp.
        flag_data: if start_ts == 0 { Vec::new() } else { start_ts.to_be_bytes().to_vec() },
        region_id: ctx.region_id,
        peer: ctx.peer,
        region_epoch: ctx.region_epoch,
        term: ctx.term,
        sync_log: ctx.sync_log,
        replica_read: ctx.replica_read,
        ..RaftRequestHeader::default()
    }
}

/// Builds the part of a replica read that its leader checks (TiKV `raftkv::async_snapshot`).
fn read_index(ctx: &SnapContext) -> Option<ReadIndexRequest> {
    let asks = !ctx.key_ranges.is_empty() && ctx.start_ts != 0;
    asks.then(|| ReadIndexRequest { start_ts: ctx.start_ts, key_ranges: ctx.key_ranges.clone() })
}

/// The name of CF default is omitted (TiKV `modifies_to_requests`).
fn cf_name(cf: &str) -> String {
    if cf == engine_rocks::CF_DEFAULT { String::new() } else { cf.to_owned() }
}

fn to_request(modify: Modify) -> Request {
    let mut request = Request::default();
    match modify {
        Modify::Put(cf, key, value) => {
            request.cmd_type = CmdType::Put as i32;
            request.put = Some(PutRequest { cf: cf_name(cf), key: key.into_encoded(), value });
        }
        Modify::Delete(cf, key) => {
            request.cmd_type = CmdType::Delete as i32;
            request.delete = Some(DeleteRequest { cf: cf_name(cf), key: key.into_encoded() });
        }
        Modify::DeleteRange(cf, start, end, notify_only) => {
            request.cmd_type = CmdType::DeleteRange as i32;
            let (start_key, end_key) = (start.into_encoded(), end.into_encoded());
            request.delete_range =
                Some(DeleteRangeRequest { cf: cf_name(cf), start_key, end_key, notify_only });
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use txn_types::Key;

    use super::*;

    #[test]
    fn modifies_become_requests_as_in_tikv() {
        let put = to_request(Modify::Put(
            engine_rocks::CF_DEFAULT,
            Key::from_encoded(b"k".to_vec()),
            b"v".to_vec(),
        ));
        let expected = PutRequest { cf: String::new(), key: b"k".to_vec(), value: b"v".to_vec() };
        assert_eq!((put.cmd_type, put.put), (CmdType::Put as i32, Some(expected)));
        let delete = to_request(Modify::Delete(engine_rocks::CF_LOCK, Key::from_encoded(b"k".to_vec())));
        assert_eq!(delete.delete.map(|d| d.cf), Some("lock".into()));
    }

    #[test]
    fn the_header_has_the_clients_region_epoch_and_peer() {
        let ctx = Context { region_id: 2, term: 6, replica_read: true, ..Context::default() };
        let ctx =
            SnapContext { pb_ctx: ctx, allowed_in_flashback: true, start_ts: 258, ..SnapContext::default() };
        let header = header(&ctx);
        assert_eq!((header.flags, header.flag_data), (FLAG_FLASHBACK, vec![0, 0, 0, 0, 0, 0, 1, 2]));
        assert_eq!((header.region_id, header.term, header.replica_read), (2, 6, true));
    }
}
