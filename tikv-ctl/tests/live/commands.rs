//! Runs every command in every output format: the output parses, has the keys that the guide names, and the
//! exit code is that of the guide.
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use kvproto::raft_serverpb::{SnapshotCfFile, SnapshotMeta, StoreIdent};
use prost::Message;
use security::SecurityConfig;
use serde_json::Value;

use crate::{
    cluster::Cluster,
    common::{Store, ctl, fill},
};

/// Schema of a command's JSON.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// An object with these keys and no others; those with `?` may be missing.
    Object(&'static str),
    /// A list of such objects; it may be empty.
    List(&'static str),
    /// An object whose keys are data.
    Map,
    /// A list of texts.
    Texts,
}
use Shape::{List, Map, Object, Texts};

const CHANGES: Shape = Object("changes command dry_run errors");
const DONE: Shape = Object("changes command dry_run undo_file");

/// The guide's page on each command's JSON.
const GUIDE: &str = include_str!("../../../docs/src/tikv-ctl-json.md");

/// Command lines for a directory; `DIR`, `SST`, `RAFT`, `SCRIPT` and `OUT` stand for paths.
const OFFLINE: &[(&str, Shape)] = &[
    ("raft region", Object("region_infos")),
    ("region -r 2", Object("region_infos")),
    ("raft log -r 2 -i 7", Object("region_id index term entry_type context data conf_change request")),
    ("size", Object("regions total_bytes")),
    ("size -r 2 --approximate", Object("approximate regions total_bytes")),
    ("scan -f z -t {", List("key key_hex user_key lock? writes? values?")),
    ("mvcc -k a --key-format raw", List("key key_hex user_key lock? writes? values?")),
    ("raw-scan", List("key key_hex user_key value")),
    ("print -k zraw\\001", Object("key key_hex user_key value")),
    ("region-properties -r 2", Map),
    ("range-properties", Map),
    ("store", Object("store_id api_version")),
    ("cluster", Object("cluster_id")),
    ("show-cluster-id", Object("cluster_id")),
    ("bad-regions", List("region_id error")),
    ("bad-ssts", List("file cf level error smallest largest regions")),
    ("diff -r 2 --to-data-dir DIR", Object("region_id comparable differences db1_keys db2_keys")),
    ("find a --key-format raw", List("user_key user_key_hex tidb events read damages")),
    ("key t100_r5", Object("key ambiguous readings value?")),
    ("cleanup-encryption-meta", Object("encrypted")),
    ("tombstone -r 2 --force --dry-run", CHANGES),
    ("recover-mvcc -a --dry-run", CHANGES),
    ("unsafe-recover remove-fail-stores -s 99 --all-regions --dry-run", CHANGES),
    ("unsafe-recover drop-unapplied-raftlog --all-regions --dry-run", CHANGES),
    ("reset-to-version -v 15 --dry-run", CHANGES),
    ("flashback -v 15 --dry-run", CHANGES),
    ("compact -c write", Object("store db cf from to")),
    ("sst SST", Map),
    ("sst SST properties", Map),
    ("sst SST verify", Object("ok entries range_deletions data_blocks types damages")),
    ("sst SST keys", List("key key_hex user_key seq type value")),
    ("sst SST layout", List("block offset size compression up_to")),
    ("sst SST histogram", Map),
    ("sst SST recompress", Object("plain_bytes stored_bytes with")),
    ("manifest DIR/db", Object("file edits state damages")),
    ("wal DIR/db", List("file offset sequence changes")),
    ("lsm DIR/db", Object("cfs regions")),
    ("log RAFT", List("file offset lz4 items")),
    ("log RAFT --summary", List("file batches regions")),
    ("raft-engine-ctl -- check --path RAFT", Object("broken_groups damaged_files")),
    ("raft-engine-ctl -- dump --path RAFT", Texts),
    ("raft-engine-ctl -- try-purge --path RAFT", Object("groups_to_rewrite")),
    ("raft-engine-ctl -- repair --path RAFT --script SCRIPT --dry-run", CHANGES),
    ("ldb --db=DIR/db list_column_families", Texts),
    ("ldb --db=DIR/db manifest_dump", List("id name log_number comparator files")),
    ("ldb --db=DIR/db --column_family=write --hex scan", List("key_hex value")),
    ("sst_dump --file=SST --command=scan --output_hex", List("key_hex sequence type value")),
    ("sst_dump --file=SST --command=check", Object("file entries properties")),
    ("flamegraph FOLDED --as folded", List("stack count")),
    ("flamegraph diff FOLDED FOLDED", Object("before after test frames")),
    ("dump-snap-meta -f META", List("cf size checksum")),
    ("ldb --db=DIR/db --hex get 0x7A72617701", Object("value")),
    ("ldb --db=DIR/db --hex multi_get 0x7A72617701 0x7A", List("key_hex value")),
    ("ldb --db=DIR/db --column_family=write --hex dump", List("key_hex value")),
    ("ldb --db=DIR/db --count_only dump", Object("keys")),
    ("ldb --db=DIR/db checkconsistency", Object("consistent")),
    ("sst_dump --file=DIR/db --command=verify", List("file entries properties")),
    ("sst SST block", Object("block offset size plain_size compression entries")),
    ("completions bash", Object("shell script")),
    ("man OUT", Object("dir pages")),
    ("--to-hex a", Object("key")),
    ("--to-escaped 61", Object("key")),
    ("--encode a", Object("key")),
    ("--decode a\\000\\000\\000\\000\\000\\000\\000\\370", Object("key")),
];

/// For an encrypted directory.
const ENCRYPTED: &[(&str, Shape)] = &[
    ("encryption-meta dump-file", List("file key_id iv method")),
    ("decrypt-file --file SST --out-file OUT -y", Object("infile outfile encrypted crc32")),
    ("cleanup-encryption-meta --dry-run", CHANGES),
];

/// For a server; `HOST` and `PD` stand for addresses.
const ONLINE: &[(&str, Shape)] = &[
    ("metrics -t prometheus,rocksdb_kv", Map),
    ("consistency-check -r 2", Object("success")),
    ("get-region-read-progress -r 2", Object("region_read_progress resolver")),
    ("modify-tikv-config -n log.level -v warn", Object("success")),
    ("fail list", List("name actions")),
    ("inflight", Object("requests in_flight memory_locks wait_graph")),
    ("keep -n 1", Object("count")),
    ("compact", Object("store db cf from to")),
    ("raft region", Object("region_infos")),
    ("size", Object("regions total_bytes")),
    ("scan -f z -t {", List("key key_hex user_key lock? writes? values?")),
    ("raw-scan", List("key key_hex user_key value")),
    ("region-properties -r 2", Map),
    ("range-properties", Map),
    ("bad-regions", List("region_id error")),
    ("store", Object("store_id api_version")),
    ("cluster", Object("cluster_id regions")),
    ("region", Object("region_infos")),
    ("show-cluster-id", Object("cluster_id")),
    ("diff -r 2 --to-host HOST", Object("region_id comparable differences db1_keys db2_keys")),
    ("key t100_r5", Object("key ambiguous readings value?")),
];

/// Command lines for a directory and a PD.
const RECREATE: &[(&str, Shape)] = &[("recreate-region -p PD -r 2 --dry-run", CHANGES)];

const BY_PD: &[(&str, Shape)] = &[
    ("split-region -r 2 -k k", Object("region_id left right")),
    ("compact-cluster", Object("store db cf from to")),
    ("cluster", Object("cluster_id stores regions")),
    ("flashback -v 1 --dry-run", Object("command dry_run version regions changes")),
];

/// Commands that read only the input of their own flags.
const OWN: [&str; 3] = ["completions", "man", "flamegraph"];

/// Commands without a test.
const ELSEWHERE: [&str; 1] = ["help"];

fn words<'a>(line: &'a str, places: &[(&str, &'a str)]) -> Vec<String> {
    let replace =
        |word: &str| places.iter().fold(word.to_owned(), |word, (name, value)| word.replace(name, value));
    line.split(' ').map(replace).collect()
}

/// Whether the object has exactly these keys; those with `?` may be missing.
pub(crate) fn has_keys(value: &Value, keys: &str) -> bool {
    let Some(object) = value.as_object() else { return false };
    let must = keys.split(' ').filter(|key| !key.ends_with('?')).all(|key| object.contains_key(key));
    must && object.keys().all(|found| keys.split(' ').any(|key| key.trim_end_matches('?') == found))
}

fn fits(value: &Value, shape: Shape) -> bool {
    let all = |test: &dyn Fn(&Value) -> bool| value.as_array().is_some_and(|list| list.iter().all(test));
    match shape {
        Object(keys) => has_keys(value, keys),
        List(keys) => all(&|element| has_keys(element, keys)),
        Map => value.is_object(),
        Texts => all(&Value::is_string),
    }
}

/// Returns the names between the outermost braces of a text such as `{a, b: [{c}], d}`; `key..` are all forms
/// of a key.
fn names(braces: &str) -> BTreeSet<String> {
    let (mut depth, mut all, mut name) = (0, BTreeSet::new(), String::new());
    for c in braces.chars() {
        depth += i32::from("{[(".contains(c)) - i32::from("}])".contains(c));
        match c {
            ',' | '}' if depth == i32::from(c == ',') => {
                let key = name.split(':').next().unwrap_or_default().trim().to_owned();
                match key.strip_suffix("..") {
                    Some(key) => all.extend([key.into(), format!("{key}_hex"), format!("user_{key}")]),
                    None => all.extend([key]),
                }
                name.clear();
            }
            _ if depth == 1 && c != '{' => name.push(c),
            _ => {}
        }
    }
    all
}

/// Returns the names of each object that the guide lists for `command`.
fn documented(command: &str) -> Vec<BTreeSet<String>> {
    let tables = GUIDE.split("| command | JSON |").skip(1).filter_map(|rest| rest.split("\n\n").next());
    let rows = tables.flat_map(str::lines);
    let rows = rows.filter_map(|row| row.replace("\\|", "/").strip_prefix("| ").map(str::to_owned));
    let rows = rows.filter_map(|row| row.split_once(" | ").map(|(a, b)| (a.to_owned(), b.to_owned())));
    let of = rows.filter(|(commands, _)| {
        let named = commands.contains(&format!("`{command}`")) || commands.contains(&format!("`{command} "));
        named || (command == "writing" && commands.starts_with(command))
    });
    let objects = |text: String| {
        let optional: Vec<String> = ["approximate"].map(str::to_owned).into();
        let braces = text.split('`').filter(|part| part.starts_with('{')).map(names).collect::<Vec<_>>();
        braces.into_iter().map(move |names| names.into_iter().chain(optional.clone()).collect())
    };
    of.flat_map(|(_, text)| objects(text)).collect()
}

/// Whether the guide lists each object of `value` for the line's command.
fn is_documented(line: &[String], value: &Value) -> bool {
    let known: Vec<BTreeSet<String>> =
        [line[0].as_str(), "writing"].into_iter().flat_map(documented).collect();
    let known_name = |object: &serde_json::Map<String, Value>| {
        // Words in upper case stand for names from the data.
        let open = |names: &BTreeSet<String>| names.iter().any(|name| name == "NAME" || name == "TAG");
        known.iter().any(|names| open(names) || object.keys().all(|key| names.contains(key)))
    };
    let elements = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    elements.iter().filter_map(Value::as_object).all(known_name)
}

#[test]
fn objects_of_the_guide_are_parsed() {
    let set = |names: &str| names.split(' ').map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(names("{a, b: [{c, d}], e: N}"), set("a b e"));
    assert_eq!(names("{key.., seq}"), set("key key_hex user_key seq"));
    assert_eq!(documented("store"), [set("store_id api_version approximate"), set("cluster_id approximate")]);
    assert!(documented("no-such-command").is_empty());
}

/// Runs a line in all formats, and to a file; the error describes the difference.
fn check(line: &str, shape: Shape, mode: &[&str], places: &[(&str, &str)]) -> Result<(), String> {
    let line = words(line, places);
    let run = |more: &[&str]| {
        // Global flags stand before a command that takes all later arguments for itself.
        let mode = if OWN.contains(&line[0].as_str()) { &[] } else { mode };
        let args: Vec<&str> =
            mode.iter().chain(more).copied().chain(line.iter().map(String::as_str)).collect();
        match ctl(&args) {
            (0, out, _) => Ok(out),
            (code, out, err) => Err(format!("{args:?}: {code} {out}{err}")),
        }
    };
    let parse = |text: &str| -> Result<Value, String> {
        serde_json::from_str(text).map_err(|e| format!("{line:?}: {e}: {text}"))
    };
    let expect = |value: &Value, shape: Shape| match (fits(value, shape), is_documented(&line, value)) {
        (true, true) => Ok(()),
        (true, false) => Err(format!("{line:?}: the guide has another schema than {value}")),
        (false, _) => Err(format!("{line:?}: expected {shape:?}, found {value}")),
    };
    run(&["--format", "text"])?;
    expect(&parse(&run(&["--format", "json"])?)?, shape)?;
    for row in run(&["--format", "jsonl"])?.lines() {
        match (shape, parse(row)?) {
            (Texts, Value::String(_)) => {}
            (List(keys), row) => expect(&row, Object(keys))?,
            (shape, row) => expect(&row, shape)?,
        }
    }
    if line.first().is_some_and(|command| command == "man") {
        // `man` writes a file for each command, and refuses a single output file.
        return Ok(());
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out");
    let rest = run(&["--format", "json", "-o", file.to_str().unwrap()])?;
    let written = std::fs::read_to_string(&file).map_err(|e| format!("{line:?}: {e}"))?;
    expect(&parse(&written)?, shape)?;
    if rest.is_empty() {
        Ok(())
    } else {
        Err(format!("{line:?}: expected output only in the file, found {rest}"))
    }
}

fn check_all(lines: &[(&str, Shape)], mode: &[&str], places: &[(&str, &str)]) {
    let failed: Vec<String> =
        lines.iter().filter_map(|(line, shape)| check(line, *shape, mode, places).err()).collect();
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), lines.len(), failed.join("\n"));
}

pub(crate) fn sst(dir: &Path) -> String {
    let ssts = std::fs::read_dir(dir.join("db")).unwrap().map(|entry| entry.unwrap().path());
    let mut ssts: Vec<_> = ssts.filter(|path| path.extension().is_some_and(|e| e == "sst")).collect();
    ssts.sort();
    ssts.pop().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn commands_for_directories_print_json_as_documented() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(&Store::open(dir.path()));
    let script = other.path().join("script.rhai");
    std::fs::write(&script, "fn filter_clean(id, first, count, rewrite_count, queue) { 1 }").unwrap();
    let (path, raft) = (dir.path().to_str().unwrap(), dir.path().join("raft-engine"));
    let (sst, pages) = (sst(dir.path()), other.path().join("man"));
    let (folded, meta) = (other.path().join("stacks.folded"), other.path().join("gen_2_6_7.meta"));
    std::fs::write(&folded, "main;run 3\nmain;wait 4\n").unwrap();
    let file = SnapshotCfFile { cf: "write".into(), size: 9, checksum: 7 };
    std::fs::write(&meta, SnapshotMeta { cf_files: vec![file], ..Default::default() }.encode_to_vec())
        .unwrap();
    let places = [
        ("DIR", path),
        ("SST", sst.as_str()),
        ("RAFT", raft.to_str().unwrap()),
        ("SCRIPT", script.to_str().unwrap()),
        ("OUT", pages.to_str().unwrap()),
        ("FOLDED", folded.to_str().unwrap()),
        ("META", meta.to_str().unwrap()),
    ];
    check_all(OFFLINE, &["--data-dir", path], &places);
}

#[test]
fn encrypted_directories_print_json_as_documented() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(&Store::open(dir.path()));
    let info = kvproto::encryptionpb::FileInfo { key_id: 7, iv: vec![1; 16], method: 4 };
    let files = BTreeMap::from([("/data/db/999999.sst".to_owned(), info)]);
    std::fs::write(dir.path().join("file.dict"), tikv_ctl::encryption::encode_files(2, &files)).unwrap();
    let (sst, out) = (sst(dir.path()), other.path().join("plain"));
    let places = [("SST", sst.as_str()), ("OUT", out.to_str().unwrap())];
    check_all(ENCRYPTED, &["--data-dir", dir.path().to_str().unwrap()], &places);
}

#[test]
fn writing_and_undo_print_json_as_documented() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(&Store::open(dir.path()));
    let (path, undo) = (dir.path().to_str().unwrap(), other.path().join("undo"));
    let undo = undo.to_str().unwrap();
    let lines = [
        (format!("tombstone -r 2 --force --yes --undo-file {undo}"), DONE),
        (format!("undo {undo} --dry-run"), CHANGES),
        (format!("undo {undo} --yes"), DONE),
    ];
    for (line, shape) in &lines {
        let line: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let args = ["--format", "json", "--data-dir", path].into_iter();
        let (code, out, err) = ctl(&args.chain(line.iter().map(String::as_str)).collect::<Vec<_>>());
        let value: Value = serde_json::from_str(&out).unwrap_or_default();
        assert!(code == 0 && fits(&value, *shape) && is_documented(&line, &value), "{line:?}: {out}{err}");
    }
}

#[test]
fn commands_for_servers_print_json_as_documented() {
    let cluster = Cluster::start(1, SecurityConfig::default());
    cluster.write(&[(b"a", Some(b"1")), (b"z", Some(b"2"))]);
    let (host, pd) = (cluster.host(), cluster.pd());
    check_all(ONLINE, &["--host", &host], &[("HOST", &host)]);
    check_all(&BY_PD[1..], &["--pd", &pd], &[]);
    // A key splits a region once.
    let (line, shape) = BY_PD[0];
    let args = [&["--pd", &pd, "--format", "json"][..], &line.split(' ').collect::<Vec<_>>()].concat();
    let (code, out, err) = ctl(&args);
    assert!(code == 0 && fits(&serde_json::from_str(&out).unwrap(), shape), "{out}{err}");
    // A trace is binary.
    let kept = ["kept".to_owned()];
    let (code, out, err) = ctl(&["--host", &host, "--format", "json", "kept"]);
    let value: Value = serde_json::from_str(&out).unwrap_or_default();
    assert!(
        code == 0 && has_keys(&value, "bytes trace_base64") && is_documented(&kept, &value),
        "{out}{err}"
    );
    // A store that lost its region recreates it from PD.
    let dir = tempfile::tempdir().unwrap();
    let ident = StoreIdent { cluster_id: 77, store_id: 1, ..Default::default() };
    Store::open(dir.path()).kv.put_msg(keys::STORE_IDENT_KEY, &ident).unwrap();
    check_all(RECREATE, &["--data-dir", dir.path().to_str().unwrap()], &[("PD", &pd)]);
}

#[test]
fn every_command_is_tested() {
    let (_, help, _) = ctl(&["--help"]);
    let commands = help.split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    let commands = commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let commands: BTreeSet<&str> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    let tables = [OFFLINE, ENCRYPTED, ONLINE, RECREATE, BY_PD];
    let tried = tables.into_iter().flatten().map(|(line, _)| line.split(' ').next().unwrap());
    // These two have tests of their own: one needs another command's file, the other prints a trace.
    let tried: BTreeSet<&str> = tried.chain(ELSEWHERE).chain(["undo", "kept"]).collect();
    let left: Vec<_> = commands.iter().filter(|command| !tried.contains(*command)).collect();
    assert!(commands.len() > 40 && left.is_empty(), "{left:?} of {commands:?}");
}

#[test]
fn the_leader_of_a_region_is_shown() {
    let cluster = Cluster::start(1, SecurityConfig::default());
    let (host, pd) = (cluster.host(), cluster.pd());
    let led = |args: &[&str]| -> Value {
        let (code, out, err) = ctl(args);
        assert_eq!(code, 0, "{out}{err}");
        let shown: Value = serde_json::from_str(&out).unwrap();
        shown["region_infos"]["2"]["leader"].clone()
    };
    cluster.until("a leader answers", || led(&["--host", &host, "region", "-r", "2"])["store_id"] == 1);
    cluster.until("PD knows the leader", || led(&["--host", &host, "--pd", &pd, "region"])["store_id"] == 1);
    // TiKV's own format stays unchanged.
    assert_eq!(led(&["--host", &host, "raft", "region", "-r", "2"]), Value::Null);
    let (code, out, err) = ctl(&["--host", &host, "cluster"]);
    assert!(code == 0 && out.trim().parse::<u64>().is_ok(), "{out}");
    assert!(err.contains("region 2: led by peer") && err.contains("on store 1;"), "{err}");
    let (code, out, err) = ctl(&["--pd", &pd, "cluster"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("store 1: ") && out.contains("leads 1 regions"), "{out}");
    assert!(out.contains("region 2: led by peer") && out.starts_with("cluster id: "), "{out}");
}

#[test]
fn replies_that_are_too_large_are_fetched_in_pieces() {
    use kvproto::{kvrpcpb::RawPutRequest, tikvpb::tikv_client::TikvClient};
    use tikv_ctl::{Online, source::Source};
    let cluster = Cluster::start(1, SecurityConfig::default());
    let host = cluster.host();
    let online = Online::connect(&host, &Default::default()).unwrap();
    let region = online.region_info(2).unwrap().region_local_state.unwrap().region.unwrap();
    let context = kvproto::kvrpcpb::Context {
        region_id: 2,
        region_epoch: region.region_epoch,
        peer: region.peers.first().copied(),
        ..Default::default()
    };
    cluster.until("the region is led", || online.leader(&region).is_some());
    cluster.block_on(async {
        let mut client = TikvClient::connect(format!("http://{host}")).await.unwrap();
        let small = [(b"".to_vec(), b"small".to_vec())];
        let large = (0..20u8).map(|n| ([b'k', b'a' + n].to_vec(), vec![n; 1 << 20]));
        for (key, value) in small.into_iter().chain(large) {
            let request = RawPutRequest { context: Some(context.clone()), key, value, ..Default::default() };
            let reply = client.raw_put(request).await.unwrap().into_inner();
            assert!(reply.region_error.is_none() && reply.error.is_empty(), "{reply:?}");
        }
    });
    let keys = |args: &[&str]| {
        let (code, out, err) = ctl(&[&["--host", &host, "raw-scan"][..], args].concat());
        assert_eq!(code, 0, "{args:?}: {err}{}", &out[..out.len().min(300)]);
        out.lines()
            .filter(|line| line.starts_with("key: "))
            .map(|line| line[..12].to_owned())
            .collect::<Vec<_>>()
    };
    // The range ends before the large values: they are not read.
    assert_eq!(keys(&["-f", "z", "-t", "za"]).len(), 1);
    assert_eq!(keys(&["-f", "z", "-t", "zkd"]).len(), 4);
    assert_eq!(keys(&["-f", "z", "-t", "{", "--limit", "1000"]).len(), 21);
    assert_eq!(
        keys(&["-f", "zkb", "-t", "{", "--limit", "3"]),
        [r#"key: "zkb", "#, r#"key: "zkc", "#, r#"key: "zkd", "#]
    );
}
