//! Commands on whole ranges and regions.
use kvproto::kvrpcpb::*;

use crate::{
    Case, call,
    caller::Caller,
    fine,
    raw::{got, put_one},
    stale,
    txn::{locked, value, written},
};

/// The RPCs of this file.
pub const CASES: &[Case] = &[
    ("RawDeleteRange", raw_delete_range),
    ("KvDeleteRange", delete_range),
    ("UnsafeDestroyRange", unsafe_destroy_range),
    ("KvPrepareFlashbackToVersion", flashback),
    ("KvFlashbackToVersion", flashback),
];

/// Changes the region, so it runs after all others.
pub const SPLIT_REGION: Case = ("SplitRegion", split_region);

pub fn raw_delete_range(c: &Caller) {
    ["range-1", "range-2", "range-3"].iter().for_each(|name| put_one(c, name, b"v"));
    let build = |context, start: &str, end: &str| RawDeleteRangeRequest {
        context,
        start_key: c.key(start),
        end_key: c.key(end),
        ..Default::default()
    };
    stale!(call!(c, raw_delete_range, RawDeleteRange, build(c.stale_context(), "range-1", "range-3")));
    let reply = call!(c, raw_delete_range, RawDeleteRange, build(c.context(), "range-3", "range-1"));
    let message = reply.region_error.expect("the start is after the end").message;
    assert!(message.contains("invalid delete range command"), "{message}");
    fine!(call!(c, raw_delete_range, RawDeleteRange, build(c.context(), "range-1", "range-3")));
    assert_eq!((got(c, "range-1"), got(c, "range-2")), (None, None));
    assert!(got(c, "range-3").is_some());
}

pub fn delete_range(c: &Caller) {
    written(c, &["versions-1", "versions-2"], 10, 11);
    locked(c, &["versions-1"], 20);
    let build = |context, notify_only| DeleteRangeRequest {
        context,
        start_key: c.key("versions-1"),
        end_key: c.key("versions-2"),
        notify_only,
    };
    stale!(call!(c, kv_delete_range, DeleteRange, build(c.stale_context(), false)));
    fine!(call!(c, kv_delete_range, DeleteRange, build(c.context(), true)));
    assert!(value(c, "versions-1", 15).is_some(), "the range was only notified");
    fine!(call!(c, kv_delete_range, DeleteRange, build(c.context(), false)));
    assert_eq!(value(c, "versions-1", 30), None, "the lock is gone, too");
    assert!(value(c, "versions-2", 30).is_some());
}

pub fn unsafe_destroy_range(c: &Caller) {
    written(c, &["destroyed-1", "destroyed-2"], 10, 11);
    locked(c, &["destroyed-1"], 20);
    let request = |start: &str, end: &str| UnsafeDestroyRangeRequest {
        context: c.context(),
        start_key: c.key(start),
        end_key: c.key(end),
    };
    let wrong = call!(c, unsafe_destroy_range, request("destroyed-2", "destroyed-1"));
    assert!(!wrong.error.is_empty(), "the start is after the end");
    assert!(value(c, "destroyed-1", 15).is_some());
    fine!(call!(c, unsafe_destroy_range, request("destroyed-1", "destroyed-2")));
    assert_eq!(value(c, "destroyed-1", 30), None, "locks and versions are removed");
    assert!(value(c, "destroyed-2", 30).is_some());
}

pub fn flashback(c: &Caller) {
    written(c, &["flashback"], 10, 11);
    written(c, &["flashback"], 20, 21);
    let prepare = |context| PrepareFlashbackToVersionRequest {
        context,
        start_key: c.key("flashback"),
        end_key: c.key("flashback-end"),
        start_ts: 30,
        version: 15,
    };
    let finish = |context| FlashbackToVersionRequest {
        context,
        start_key: c.key("flashback"),
        end_key: c.key("flashback-end"),
        start_ts: 30,
        commit_ts: 31,
        version: 15,
    };
    let reply = call!(c, kv_flashback_to_version, FlashbackToVersion, finish(c.context()));
    assert!(
        reply.region_error.is_some_and(|e| e.flashback_not_prepared.is_some()),
        "the region is not prepared"
    );
    stale!(call!(c, kv_prepare_flashback_to_version, PrepareFlashbackToVersion, prepare(c.stale_context())));
    fine!(call!(c, kv_prepare_flashback_to_version, PrepareFlashbackToVersion, prepare(c.context())));
    let read = GetRequest { context: c.context(), key: c.key("other"), version: 50, ..Default::default() };
    let reply = call!(c, kv_get, Get, read);
    assert!(reply.region_error.is_some_and(|e| e.flashback_in_progress.is_some()), "the region is closed");
    fine!(call!(c, kv_flashback_to_version, FlashbackToVersion, finish(c.context())));
    assert!(value(c, "flashback", 50).is_some());
    let old = GetRequest { context: c.context(), key: c.key("flashback"), version: 50, ..Default::default() };
    let old = GetRequest { need_commit_ts: true, ..old };
    assert_eq!(fine!(call!(c, kv_get, Get, old)).commit_ts, 31, "written back");
}

pub fn split_region(c: &Caller) {
    let build = |context, keys: &[&str]| SplitRegionRequest {
        context,
        split_keys: keys.iter().map(|key| key.as_bytes().to_vec()).collect(),
        is_raw_kv: true,
        ..Default::default()
    };
    stale!(call!(c, split_region, build(c.stale_context(), &["~"])));
    let message = call!(c, split_region, build(c.context(), &[])).region_error.expect("no keys").message;
    assert!(message.contains("no split key is specified"), "{message}");
    let mut elsewhere = c.ctx.clone();
    elsewhere.peer.as_mut().unwrap().id += 7;
    let reply = call!(c, split_region, build(Some(elsewhere), &["~"]));
    assert!(reply.region_error.is_some_and(|e| e.mismatch_peer_id.is_some()), "another peer");
    // The second way finds a region that ends where the first one split it.
    let key = format!("~{}", if c.way == crate::caller::Way::Unary { 2 } else { 1 });
    let reply = call!(c, split_region, build(c.context(), &[&key]));
    assert!(reply.region_error.is_none(), "{reply:?}");
    assert_eq!(reply.regions.len(), 2);
    assert_eq!(reply.regions[0].end_key, key.as_bytes());
}
