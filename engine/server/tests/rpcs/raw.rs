//! Raw keys.
use kvproto::kvrpcpb::*;

use crate::{Case, call, caller::Caller, fine, stale};

/// The RPCs of this file.
pub const CASES: &[Case] = &[
    ("RawGet", get),
    ("RawBatchGet", batch_get),
    ("RawPut", put),
    ("RawBatchPut", batch_put),
    ("RawDelete", delete),
    ("RawBatchDelete", batch_delete),
    ("RawScan", scan),
    ("RawBatchScan", batch_scan),
    ("RawGetKeyTTL", get_key_ttl),
    ("RawCompareAndSwap", compare_and_swap),
    ("RawChecksum", checksum),
    ("RawCoprocessor", coprocessor),
];

const TTL: &str = "ttl is not enabled, but get put request with ttl";

pub fn put_one(c: &Caller, name: &str, value: &[u8]) {
    let (key, value) = (c.key(name), value.to_vec());
    let request = RawPutRequest { context: c.context(), key, value, ..Default::default() };
    fine!(call!(c, raw_put, RawPut, request));
}

/// The value of a key, or none.
pub fn got(c: &Caller, name: &str) -> Option<Vec<u8>> {
    let request = RawGetRequest { context: c.context(), key: c.key(name), ..Default::default() };
    let reply = fine!(call!(c, raw_get, RawGet, request));
    (!reply.not_found).then_some(reply.value)
}

fn pair(c: &Caller, name: &str) -> KvPair {
    KvPair { key: c.key(name), value: b"v".to_vec(), ..Default::default() }
}

fn keys(pairs: &[KvPair]) -> Vec<Vec<u8>> {
    assert!(pairs.iter().all(|p| p.error.is_none()), "{pairs:?}");
    pairs.iter().map(|p| p.key.clone()).collect()
}

pub fn get(c: &Caller) {
    put_one(c, "get", b"v");
    assert_eq!(got(c, "get").as_deref(), Some(&b"v"[..]));
    assert_eq!(got(c, "get-absent"), None);
    let wrong = RawGetRequest { context: c.context(), cf: "nope".into(), ..Default::default() };
    assert!(call!(c, raw_get, RawGet, wrong).error.contains("invalid cf name: nope"));
    let request = RawGetRequest { context: c.stale_context(), key: c.key("get"), ..Default::default() };
    stale!(call!(c, raw_get, RawGet, request));
}

pub fn batch_get(c: &Caller) {
    put_one(c, "batch-get-1", b"v");
    put_one(c, "batch-get-3", b"v");
    let keys_of = c.keys(&["batch-get-3", "batch-get-2", "batch-get-1"]);
    let build = |context| RawBatchGetRequest { context, keys: keys_of.clone(), ..Default::default() };
    let reply = call!(c, raw_batch_get, RawBatchGet, build(c.context()));
    assert_eq!(keys(&reply.pairs), c.keys(&["batch-get-3", "batch-get-1"]));
    let wrong = RawBatchGetRequest { cf: "nope".into(), ..build(c.context()) };
    let reply = call!(c, raw_batch_get, RawBatchGet, wrong);
    assert!(reply.pairs[0].error.as_ref().is_some_and(|e| e.abort.contains("nope")), "{reply:?}");
    stale!(call!(c, raw_batch_get, RawBatchGet, build(c.stale_context())));
}

pub fn put(c: &Caller) {
    put_one(c, "put", b"v");
    assert_eq!(got(c, "put").as_deref(), Some(&b"v"[..]));
    let build = |context, for_cas, ttl| RawPutRequest {
        context,
        key: c.key("put"),
        value: b"w".to_vec(),
        for_cas,
        ttl,
        ..Default::default()
    };
    for for_cas in [false, true] {
        assert_eq!(call!(c, raw_put, RawPut, build(c.context(), for_cas, 5)).error, TTL);
        stale!(call!(c, raw_put, RawPut, build(c.stale_context(), for_cas, 0)));
    }
    assert_eq!(got(c, "put").as_deref(), Some(&b"v"[..]));
    fine!(call!(c, raw_put, RawPut, build(c.context(), true, 0)));
    assert_eq!(got(c, "put").as_deref(), Some(&b"w"[..]));
}

pub fn batch_put(c: &Caller) {
    let pairs = vec![pair(c, "batch-put-1"), pair(c, "batch-put-2"), pair(c, "batch-put-3")];
    let build = |context, for_cas, ttls: &[u64]| RawBatchPutRequest {
        context,
        pairs: pairs.clone(),
        for_cas,
        ttls: ttls.to_vec(),
        ..Default::default()
    };
    for for_cas in [false, true] {
        let refused = |ttls| call!(c, raw_batch_put, RawBatchPut, build(c.context(), for_cas, ttls)).error;
        assert_eq!(refused(&[7]), TTL);
        assert_eq!(refused(&[0, 0]), "The length of ttls does not equal to the length of pairs");
        assert_eq!(got(c, "batch-put-3"), None, "all or none");
    }
    stale!(call!(c, raw_batch_put, RawBatchPut, build(c.stale_context(), false, &[])));
    for ttls in [&[][..], &[0], &[0, 0, 0]] {
        fine!(call!(c, raw_batch_put, RawBatchPut, build(c.context(), ttls.is_empty(), ttls)));
        assert_eq!(got(c, "batch-put-3").as_deref(), Some(&b"v"[..]));
    }
}

pub fn delete(c: &Caller) {
    for for_cas in [false, true] {
        put_one(c, "delete", b"v");
        let build =
            |context| RawDeleteRequest { context, key: c.key("delete"), for_cas, ..Default::default() };
        stale!(call!(c, raw_delete, RawDelete, build(c.stale_context())));
        assert!(got(c, "delete").is_some());
        fine!(call!(c, raw_delete, RawDelete, build(c.context())));
        assert_eq!(got(c, "delete"), None);
    }
}

pub fn batch_delete(c: &Caller) {
    for for_cas in [false, true] {
        ["batch-delete-1", "batch-delete-2"].iter().for_each(|name| put_one(c, name, b"v"));
        let keys = c.keys(&["batch-delete-1", "batch-delete-2", "batch-delete-absent"]);
        let build =
            |context| RawBatchDeleteRequest { context, keys: keys.clone(), for_cas, ..Default::default() };
        stale!(call!(c, raw_batch_delete, RawBatchDelete, build(c.stale_context())));
        fine!(call!(c, raw_batch_delete, RawBatchDelete, build(c.context())));
        assert_eq!((got(c, "batch-delete-1"), got(c, "batch-delete-2")), (None, None));
    }
}

pub fn scan(c: &Caller) {
    ["scan-1", "scan-2", "scan-3"].iter().for_each(|name| put_one(c, name, b"v"));
    let build = |context, start: &str, end: &str, reverse| RawScanRequest {
        context,
        start_key: c.key(start),
        end_key: c.key(end),
        limit: 10,
        reverse,
        ..Default::default()
    };
    let forward = call!(c, raw_scan, RawScan, build(c.context(), "scan-1", "scan-3", false));
    assert_eq!(keys(&forward.kvs), c.keys(&["scan-1", "scan-2"]));
    let back = call!(c, raw_scan, RawScan, build(c.context(), "scan-3", "scan-1", true));
    assert_eq!(keys(&back.kvs), c.keys(&["scan-2", "scan-1"]));
    let open = RawScanRequest { end_key: Vec::new(), limit: 3, ..build(c.context(), "scan-1", "", false) };
    let open = call!(c, raw_scan, RawScan, open);
    assert_eq!(keys(&open.kvs), c.keys(&["scan-1", "scan-2", "scan-3"]));
    stale!(call!(c, raw_scan, RawScan, build(c.stale_context(), "scan-1", "scan-3", false)));
}

pub fn batch_scan(c: &Caller) {
    ["rows-1", "rows-2", "rows-3", "rows-4", "rows-5"].iter().for_each(|name| put_one(c, name, b"v"));
    let range = |start: &str, end: &str| KeyRange {
        start_key: c.key(start),
        end_key: if end.is_empty() { Vec::new() } else { c.key(end) },
    };
    let build = |context, ranges, reverse, key_only| RawBatchScanRequest {
        context,
        ranges,
        each_limit: 2,
        reverse,
        key_only,
        ..Default::default()
    };
    let scan = |ranges, reverse, key_only| {
        call!(c, raw_batch_scan, RawBatchScan, build(c.context(), ranges, reverse, key_only))
    };
    let found = scan(vec![range("rows-1", ""), range("rows-4", "rows-9")], false, true);
    assert_eq!(keys(&found.kvs), c.keys(&["rows-1", "rows-2", "rows-4", "rows-5"]));
    assert!(found.kvs.iter().all(|p| p.value.is_empty()), "only keys: {found:?}");
    let found = scan(vec![range("rows-1", ""), range("rows-2", "rows-3")], false, false);
    assert_eq!(keys(&found.kvs), c.keys(&["rows-1", "rows-2"]), "an empty end is the next start");
    assert_eq!(found.kvs[0].value, b"v");
    let found = scan(vec![range("rows-5", "rows-3"), range("rows-3", "rows-1")], true, false);
    assert_eq!(keys(&found.kvs), c.keys(&["rows-4", "rows-3", "rows-2", "rows-1"]));
    let wrong = scan(vec![range("rows-3", "rows-1")], false, false);
    let error = wrong.kvs[0].error.as_ref().expect("the start is after the end");
    assert!(error.abort.contains("InvalidKeyRanges"), "{error:?}");
    let ranges = vec![range("rows-1", "rows-3")];
    stale!(call!(c, raw_batch_scan, RawBatchScan, build(c.stale_context(), ranges, false, false)));
}

pub fn get_key_ttl(c: &Caller) {
    put_one(c, "ttl", b"v");
    let build = |context| RawGetKeyTtlRequest { context, key: c.key("ttl"), ..Default::default() };
    let reply = call!(c, raw_get_key_ttl, build(c.context()));
    assert_eq!(reply.error, "get ttl on non-ttl store");
    stale!(call!(c, raw_get_key_ttl, build(c.stale_context())));
}

pub fn compare_and_swap(c: &Caller) {
    let swap = |expected: Option<&[u8]>, value: &[u8], delete| {
        let request = RawCasRequest {
            context: c.context(),
            key: c.key("swap"),
            value: value.to_vec(),
            previous_not_exist: expected.is_none(),
            previous_value: expected.unwrap_or_default().to_vec(),
            delete,
            ..Default::default()
        };
        let reply = fine!(call!(c, raw_compare_and_swap, request));
        (reply.succeed, (!reply.previous_not_exist).then_some(reply.previous_value))
    };
    assert_eq!(swap(Some(b"0"), b"1", false), (false, None));
    assert_eq!(swap(None, b"1", true), (true, None), "there was nothing to delete");
    assert_eq!(swap(None, b"1", false), (true, None));
    assert_eq!(swap(None, b"2", false), (false, Some(b"1".to_vec())));
    assert_eq!(swap(Some(b"1"), b"2", false), (true, Some(b"1".to_vec())));
    assert_eq!(got(c, "swap").as_deref(), Some(&b"2"[..]));
    assert_eq!(swap(Some(b"2"), b"", true), (true, Some(b"2".to_vec())));
    assert_eq!(got(c, "swap"), None);
    let request = RawCasRequest { key: c.key("swap"), previous_not_exist: true, ..Default::default() };
    let build = |context, ttl| RawCasRequest { context, ttl, ..request.clone() };
    assert_eq!(call!(c, raw_compare_and_swap, build(c.context(), 5)).error, TTL);
    stale!(call!(c, raw_compare_and_swap, build(c.stale_context(), 0)));
}

pub fn checksum(c: &Caller) {
    ["sum-1", "sum-2", "sum-3"].iter().for_each(|name| put_one(c, name, b"v"));
    let range = |start: &str, end: &str| KeyRange { start_key: c.key(start), end_key: c.key(end) };
    let build = |context, ranges, algorithm| RawChecksumRequest { context, ranges, algorithm };
    let sum = |ranges| {
        let reply = fine!(call!(c, raw_checksum, build(c.context(), ranges, 0)));
        (reply.checksum, reply.total_kvs, reply.total_bytes)
    };
    let all = sum(vec![range("sum-1", "sum-9")]);
    assert_eq!((all.1, all.2), (3, c.keys(&["sum-1", "sum-2", "sum-3"]).concat().len() as u64 + 3));
    let parts = [sum(vec![range("sum-1", "sum-2")]), sum(vec![range("sum-2", "sum-9")])];
    assert_eq!(parts[0].0 ^ parts[1].0, all.0, "the sum is an exclusive or");
    assert_eq!(sum(vec![range("sum-1", "sum-2"), range("sum-2", "sum-9")]), all);
    put_one(c, "sum-2", b"w");
    assert_ne!(sum(vec![range("sum-1", "sum-9")]).0, all.0);
    let wrong = call!(c, raw_checksum, build(c.context(), vec![], 7));
    assert_eq!(wrong.error, "unknown checksum algorithm 7");
    stale!(call!(c, raw_checksum, build(c.stale_context(), vec![range("sum-1", "sum-9")], 0)));
}

pub fn coprocessor(c: &Caller) {
    let build = |context, name: &str, version: &str, data: &str| RawCoprocessorRequest {
        context,
        copr_name: name.to_owned(),
        copr_version_req: version.to_owned(),
        ranges: vec![KeyRange { start_key: b"a".to_vec(), end_key: b"b".to_vec() }],
        data: data.as_bytes().to_vec(),
    };
    let ask = |data: &str| {
        call!(c, raw_coprocessor, RawCoprocessor, build(c.context(), "operations", "^1.0", data))
    };
    let run = |data: &str| String::from_utf8(fine!(ask(data)).data).unwrap();
    let [k1, k2, k3] = ["copr-1", "copr-2", "copr-3"].map(|name| String::from_utf8(c.key(name)).unwrap());
    assert_eq!(run("ranges"), "a=b");
    assert_eq!(run(&format!("put {k1} v1")), "ok");
    assert_eq!(got(c, "copr-1").as_deref(), Some(&b"v1"[..]), "a client reads what a plugin wrote");
    assert_eq!(run(&format!("batch_put {k2} v2 {k3} v3")), "ok");
    assert_eq!(run(&format!("get {k2}")), "v2");
    assert_eq!(run(&format!("get {k2}-absent")), "none");
    assert_eq!(run(&format!("batch_get {k3} {k3}-absent {k1}")), format!("{k3}=v3 {k1}=v1"));
    assert_eq!(run(&format!("scan {k1} {k3}")), format!("{k1}=v1 {k2}=v2"));
    assert_eq!(run(&format!("delete {k1}")), "ok");
    assert_eq!(run(&format!("batch_delete {k2} {k1}")), "ok");
    assert_eq!(run(&format!("scan {k1} {k3}-end")), format!("{k3}=v3"));
    assert_eq!(run(&format!("delete_range {k1} {k3}-end")), "ok");
    assert_eq!(run(&format!("scan {k1} {k3}-end")), "");

    let refused = |name: &str, version: &str| {
        let reply = call!(c, raw_coprocessor, RawCoprocessor, build(c.context(), name, version, "ranges"));
        assert!(reply.region_error.is_none() && reply.data.is_empty(), "{reply:?}");
        reply.error
    };
    assert_eq!(refused("nope", "*"), "No registered coprocessor with name 'nope'");
    assert_eq!(
        refused("operations", ">=2.0.0"),
        "The plugin 'operations' with version '1.2.0' does not satisfy the version constraint '>=2.0.0'"
    );
    assert!(refused("operations", "one").contains("unexpected character"));
    let any = call!(c, raw_coprocessor, RawCoprocessor, build(c.context(), "operations", "", "ranges"));
    assert_eq!(fine!(any).data, b"a=b", "an empty requirement accepts every version");
    let panicked = ask("dance").error;
    assert!(
        panicked.starts_with("plugin 'operations' panicked: expected an operation, found dance"),
        "{panicked}"
    );
    let stale = |data: &str| build(c.stale_context(), "operations", "*", data);
    for data in [format!("get {k1}"), format!("put {k1} v")] {
        stale!(call!(c, raw_coprocessor, RawCoprocessor, stale(&data)));
    }
    let too_long = ask(&format!("put {} v", "k".repeat(100_000))).error;
    assert!(too_long.starts_with("max key size exceeded"), "{too_long}");
}
