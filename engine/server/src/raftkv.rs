//! [`RaftKv`]: the engine of the transaction layer, three copies through Raft (TiKV `src/server/raftkv/mod.rs`).
use futures::{
    FutureExt,
    future::{BoxFuture, ready},
};
use kvproto::{
    errorpb,
    kvrpcpb::Context,
    raft_cmdpb::{
        CmdType, DeleteRangeRequest, DeleteRequest, PutRequest, RaftCmdRequest, RaftRequestHeader, Request,
    },
};
use raftstore::{
    RaftRouter,
    store::{Callback, LocalReader, RegionSnapshot, WriteResponse},
};
use tikv_kv::{Engine, ErrorInner, Modify, Result, SnapContext, WriteData};

/// Reads through the [`LocalReader`], writes through the [`RaftRouter`].
#[derive(Clone)]
pub struct RaftKv {
    reader: LocalReader,
    router: RaftRouter,
}

impl RaftKv {
    pub fn new(reader: LocalReader, router: RaftRouter) -> Self {
        Self { reader, router }
    }
}

impl Engine for RaftKv {
    type Snap = RegionSnapshot;

    fn async_snapshot(&self, ctx: SnapContext) -> BoxFuture<'static, Result<RegionSnapshot>> {
        if ctx.pb_ctx.stale_read {
            let message = "stale reads are not supported; read from the leader".to_owned();
            return ready(Err(ErrorInner::Other(message).into())).boxed();
        }
        let reader = self.reader.clone();
        // The lease is looked at when the reader is polled, not before.
        async move { Ok(reader.snapshot(header(&ctx.pb_ctx), ctx.req).await.map_err(ErrorInner::Request)?) }
            .boxed()
    }

    fn async_write(&self, ctx: SnapContext, data: WriteData) -> BoxFuture<'static, Result<()>> {
        if data.modifies.is_empty() {
            return ready(Ok(())).boxed();
        }
        let request = RaftCmdRequest {
            header: Some(header(&ctx.pb_ctx)),
            requests: data.modifies.into_iter().map(to_request).collect(),
            ..RaftCmdRequest::default()
        };
        let (router, req, deadline) = (self.router.clone(), ctx.req, data.deadline);
        async move {
            let (callback, answer) = Callback::paired_write();
            // A failure to send is told to the callback as well.
            let _ = router.send_write(request, callback, req, deadline);
            match answer.await {
                Ok(response) => check(&response),
                Err(_) => Err(ErrorInner::Closed.into()),
            }
        }
        .boxed()
    }
}

fn check(response: &WriteResponse) -> Result<()> {
    response.error().map_or(Ok(()), |e: &errorpb::Error| Err(ErrorInner::Request(e.clone()).into()))
}

/// What the RaftStore checks a request against (TiKV `RaftKv::new_request_header`).
fn header(ctx: &Context) -> RaftRequestHeader {
    RaftRequestHeader {
        region_id: ctx.region_id,
        peer: ctx.peer,
        region_epoch: ctx.region_epoch,
        term: ctx.term,
        sync_log: ctx.sync_log,
        replica_read: ctx.replica_read,
        ..RaftRequestHeader::default()
    }
}

/// CF default is written without its name (TiKV `modifies_to_requests`).
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
    fn the_header_says_what_the_client_believes() {
        let ctx = Context { region_id: 2, term: 6, replica_read: true, ..Context::default() };
        let header = header(&ctx);
        assert_eq!((header.region_id, header.term, header.replica_read), (2, 6, true));
    }
}
