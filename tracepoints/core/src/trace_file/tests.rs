//! Files that are intact, truncated, damaged, or no trace files.
mod made_up;

use std::{fs, path::PathBuf};

use super::*;
use crate::{
    Req, StampSite,
    catalogue::stage,
    clock,
    collector::Folder,
    kind::RequestKind,
    recorded::RecordedRequest,
    recorder::{BEGIN, END},
    req::RequestInfo,
    stamp::Stamp,
    thread,
    trace::{Step, Summary, TraceRecord},
};

static GET: StampSite =
    StampSite::new(stage::MVCC_GET, "src/mvcc.rs", 7, &["region", "ts"], || "mvcc::get::__here");
static SEEK: StampSite = StampSite::new(stage::WRITE_CF_SEEK, "src/mvcc.rs", 9, &[], || "mvcc::seek::__here");

fn file() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.trace");
    (dir, path)
}

fn stamps(id: u64) -> Vec<Stamp> {
    let of = |at: u64, site| Stamp {
        at,
        req: Req::from_id(id),
        site: Some(site),
        thread: thread::id(),
        store: 2,
        field_count: 2,
        fields: [id, at, 0, 0],
    };
    let mut begin = of(id * 100, &BEGIN);
    begin.fields = [(RequestKind::KvGet as u64) << 32, 4, 0, 0];
    vec![begin, of(id * 100 + 1, &GET), of(id * 100 + 3, &SEEK), of(id * 100 + 7, &END)]
}

fn record(id: u64) -> TraceRecord {
    let info =
        RequestInfo { id, parent: 0, kind: RequestKind::KvGet, key: b"k".to_vec(), region: 1, store: 2 };
    let step = Step { stage: "mvcc_get".into(), dur_ns: 9, ..Step::default() };
    TraceRecord {
        requests: vec![info],
        steps: vec![step],
        summary: Summary { stage_ns: 9, ..Summary::default() },
    }
}

fn ids(file: &TraceFile) -> Vec<u64> {
    file.requests().map(|r| r.id).collect()
}

static PROPOSE: StampSite = StampSite::new(
    stage::RAFT_PROPOSE,
    "src/peer.rs",
    7,
    &["region", "term", "index"],
    || "peer::propose::__here",
);
static APPEND: StampSite = StampSite::new(
    stage::FOLLOWER_APPEND,
    "src/peer.rs",
    9,
    &["region", "term", "first", "last"],
    || "peer::append::__here",
);

/// Two stores recorded separately: the follower's stamps join the leader's request, and two requests with one
/// number stay separate.
#[test]
fn recordings_of_several_stores_become_one() {
    let dir = tempfile::tempdir().unwrap();
    let part = |name: &str, stamps: &[Stamp], dropped: u64| {
        let path = dir.path().join(name);
        let mut writer = TraceFileWriter::create(&path).unwrap();
        if dropped > 0 {
            writer.note_dropped(dropped);
        }
        writer.stamps(stamps).unwrap();
        writer.finish().unwrap();
        TraceFile::open(&path).unwrap()
    };
    let stamp = |at, id, store, site: &'static StampSite, fields| Stamp {
        at,
        req: Req::from_id(id),
        site: Some(site),
        thread: thread::id(),
        store,
        field_count: 4,
        fields,
    };
    let mut leader = stamps(1);
    leader.insert(2, stamp(102, 1, 1, &PROPOSE, [7, 6, 9, 0]));
    let mut follower = vec![stamp(103, 0, 2, &APPEND, [7, 6, 8, 9])];
    follower.extend(stamps(1));
    let (one, two) = (part("1", &leader, 0), part("2", &follower, 5));
    let path = dir.path().join("all");
    let all = fs::File::create_new(&path).unwrap();
    assert_eq!(merge(&[one, two], Box::new(all), &path).unwrap(), 10);
    let read = TraceFile::open(&path).unwrap();
    assert_eq!((read.verify(), ids(&read), read.dropped()), (vec![], vec![1, 1001], 5));
    let steps = read.request(1).unwrap().trace().steps;
    let found: Vec<_> = steps.iter().map(|s| (s.stage.as_str(), s.store)).collect();
    assert!(found.contains(&("raft_propose", 1)) && found.contains(&("follower_append", 2)), "{found:?}");
    assert_eq!(read.request(1).unwrap().begin_ns, clock::unix_base_ns() + 100, "times do not change");
    let other = read.request(1001).unwrap();
    assert!(other.trace().steps.iter().all(|s| s.stage != "follower_append"), "it proposed nothing");
}

#[test]
fn reader_returns_the_written_stamps() {
    let (_dir, path) = file();
    let mut writer = TraceFileWriter::create(&path).unwrap();
    writer.stamps(&[stamps(1), stamps(2)].concat()).unwrap();
    writer.trace(&record(7)).unwrap();
    writer.stamps(&stamps(3)).unwrap();
    assert_eq!(writer.finish().unwrap(), 12);
    let read = TraceFile::open(&path).unwrap();
    assert_eq!((read.verify(), read.truncated_at(), read.ending()), (vec![], None, Some(Ended::Stopped)));
    assert_eq!(read.traces().collect::<Vec<_>>(), [Ok(record(7))]);
    assert_eq!((ids(&read), read.request_count(), read.stamp_count()), (vec![1, 2, 3], 3, 12));
    let second = read.request(2).unwrap();
    assert_eq!((second.kind, second.region, second.store), (RequestKind::KvGet, 4, 2));
    assert_eq!((second.begin_ns, second.duration_ns()), (clock::unix_base_ns() + 200, Some(7)));
    assert_eq!((second.truncated, second.lost), (0, 0));
    let trace = second.trace();
    let step = &trace.steps[0];
    assert_eq!((step.stage.as_str(), step.function.as_str(), step.line), ("mvcc_get", "mvcc::get", 7));
    assert_eq!((step.fields["region"], step.fields["ts"], step.dur_ns), (2, 201, 2));
    assert_eq!(step.thread, thread::info(thread::id()).name);
    assert_eq!(trace.summary(), Summary { stage_ns: 6, wall_ns: 6, accounted: 1.0, dropped: 0 });
    let notes = read.notes();
    assert_eq!(notes.first().map(|n| (n.pid, n.stamps)), Some((std::process::id(), 0)));
    assert_eq!(notes.last().map(|n| n.stamps), Some(12));
    assert!(read.request(9).is_none());
}

/// Writes several chunks and checkpoints, with requests in flight at each of them.
fn long(path: &std::path::Path) -> Vec<u8> {
    let mut writer = TraceFileWriter::create(path).unwrap();
    for id in 1..=7 {
        let mut parts = stamps(id);
        let after = parts.split_off(2);
        writer.stamps(&parts).unwrap();
        writer.flush_chunk().unwrap();
        if id % 3 == 0 {
            writer.checkpoint(None).unwrap();
        }
        writer.stamps(&after).unwrap();
    }
    writer.trace(&record(7)).unwrap();
    writer.finish().unwrap();
    fs::read(path).unwrap()
}

fn shown(r: &RecordedRequest) -> (u64, RequestKind, u64, Option<u64>, usize) {
    (r.id, r.kind, r.begin_ns, r.end_ns, r.stamps.len())
}

#[test]
fn a_truncated_file_opens_and_continues_at_the_cut() {
    let (_dir, path) = file();
    let whole = long(&path);
    let all: Vec<_> = TraceFile::open(&path).unwrap().requests().map(|r| shown(&r)).collect();
    assert_eq!(all.len(), 7);
    let mut before = 0;
    for end in 16..whole.len() {
        fs::write(&path, &whole[..end]).unwrap();
        let read = TraceFile::open(&path).unwrap();
        assert!(read.verify().is_empty(), "cut at {end}: {:?}", read.damage());
        assert_eq!(read.ending(), None, "cut at {end}");
        assert!(read.end() <= end as u64);
        let mut found: Vec<_> = read.requests().map(|r| shown(&r)).collect();
        found.sort_by_key(|r| r.0);
        assert!(found.len() >= before, "cut at {end}: a longer prefix shows at least as many requests");
        before = found.len();
        let last = found.len().saturating_sub(1);
        assert_eq!(&found[..last], &all[..last], "cut at {end}: all but the last are whole");
    }
    let mut writer = TraceFileWriter::append(&path).unwrap();
    writer.stamps(&stamps(8)).unwrap();
    writer.finish().unwrap();
    let read = TraceFile::open(&path).unwrap();
    assert_eq!((read.verify(), read.truncated_at(), read.ending()), (vec![], None, Some(Ended::Stopped)));
    let mut found: Vec<_> = read.requests().map(|r| shown(&r)).collect();
    found.sort_by_key(|r| r.0);
    assert_eq!((found.len(), &found[..7]), (8, &all[..]), "entries that were only in memory are written now");
    assert_eq!(found[7].4, 2);
}

#[test]
fn any_damaged_byte_is_reported_and_loses_only_its_stamps() {
    let (_dir, path) = file();
    let whole = long(&path);
    let sound = TraceFile::open(&path).unwrap();
    let mut all: Vec<_> = sound.requests().map(|r| shown(&r)).collect();
    all.sort_by_key(|r| r.0);
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        fs::write(&path, &bytes).unwrap();
        let read = TraceFile::open(&path).unwrap();
        let damage = read.verify();
        let mut hits: Vec<_> = damage.iter().map(|d| d.offset..d.offset + d.len).collect();
        // A wrong length in the last chunk looks like a truncated file.
        hits.extend(read.truncated_at().map(|from| from..whole.len() as u64));
        assert_eq!(hits.len(), 1, "byte {at}: {damage:?}");
        assert!(hits[0].contains(&(at as u64)), "byte {at}: {damage:?}");
        let mut found: Vec<_> = read.requests().collect();
        found.sort_by_key(|r| r.id);
        if !sound.index().stamps.iter().any(|c| c.place.body_range().contains(&at)) {
            assert!(found.iter().all(|r| r.truncated + r.lost == 0), "byte {at}: {found:?}");
            assert_eq!(
                found.iter().map(shown).collect::<Vec<_>>(),
                all,
                "byte {at}: tables are only an index"
            );
        }
        assert_eq!(found.len(), all.len(), "byte {at}: all are shown");
        for (request, sound) in found.iter().zip(&all) {
            let declared = request.truncated > 0 || !request.began || request.end_ns.is_none();
            assert!(shown(request) == *sound || declared, "byte {at}: {request:?}");
        }
    }
}

#[test]
fn a_size_limit_ends_the_recording_with_its_index() {
    let (_dir, path) = file();
    let mut writer = TraceFileWriter::create(&path).unwrap();
    writer.limit(20_000);
    let mut failed = None;
    for id in 1..100 {
        writer.stamps(&stamps(id)).unwrap();
        if let Err(e) = writer.flush_chunk() {
            failed = Some((id, e.to_string()));
            break;
        }
    }
    let (id, why) = failed.unwrap();
    assert!(why.contains("a.trace"), "{why}");
    assert!(
        writer.stamps(&stamps(200)).is_err() || writer.flush_chunk().is_err(),
        "no more stamps are accepted"
    );
    let read = TraceFile::open(&path).unwrap();
    assert_eq!((read.verify(), read.truncated_at(), read.ending()), (vec![], None, Some(Ended::SizeLimit)));
    let found: Vec<_> = read.requests().collect();
    assert!(found.len() as u64 >= id - 1, "{} of {id}", found.len());
    assert!(found.iter().all(|r| r.truncated > 0 || r.stamps.len() == 2), "missing stamps are reported");
}

#[test]
fn the_table_answers_like_a_scan_of_all_requests() {
    let (_dir, path) = file();
    long(&path);
    let read = TraceFile::open(&path).unwrap();
    let base = clock::unix_base_ns();
    let any = Query::default;
    for query in [
        any(),
        Query { request: Some(5), ..any() },
        Query { kinds: vec![RequestKind::KvGet], ..any() },
        Query { kinds: vec![RequestKind::RawPut], ..any() },
        Query { region: Some(4), ..any() },
        Query { region: Some(5), ..any() },
        Query { min_ns: 7, ..any() },
        Query { min_ns: 8, ..any() },
        Query { since_ns: Some(base + 300), until_ns: Some(base + 700), ..any() },
        Query { key: Some(vec![]), ..any() },
        Query { key: Some(b"k".to_vec()), ..any() },
        Query { key_prefix: b"k".to_vec(), ..any() },
        Query { stages: vec![stage::MVCC_GET], min_ns: 2, ..any() },
        Query { stages: vec![stage::MVCC_GET], min_ns: 3, ..any() },
        Query { stages: vec![stage::RAFT_COMMIT], ..any() },
    ] {
        let found: Vec<u64> = read.find(&query).map(|r| r.id).collect();
        let wanted: Vec<u64> = read.requests().filter(|r| query.matches(r)).map(|r| r.id).collect();
        assert_eq!(found, wanted, "{query:?}");
        assert_eq!(read.heads(&query).map(|r| r.id).collect::<Vec<_>>(), wanted, "{query:?}");
    }
}

#[test]
fn other_files_are_refused_with_a_reason() {
    let (_dir, path) = file();
    let text = |e: TraceFileError| e.to_string();
    let open = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        text(TraceFile::open(&path).unwrap_err())
    };
    assert!(open(b"PK\x03\x04 something else").contains("is not a trace file"));
    assert!(open(b"TPT").contains("is not a trace file"));
    assert!(open(b"").contains("is not a trace file"));
    let mut later = header();
    later[8] = 9;
    let crc = crc32fast::hash(&later[..12]);
    later[12..].copy_from_slice(&crc.to_le_bytes());
    assert!(open(&later).contains("expected a trace file of version 2, found version 9"));
    let mut flipped = header();
    flipped[9] ^= 1;
    assert!(open(&flipped).contains("checksum"), "no intact chunk follows it");
    assert!(text(TraceFileWriter::create(&path).err().unwrap()).contains("never overwritten"));
    fs::remove_file(&path).unwrap();
    assert!(text(TraceFile::open(&path).unwrap_err()).contains("a.trace"));
}
