//! Files that are whole, cut short, damaged, foreign.
use std::{fs, path::PathBuf};

use super::*;
use crate::{
    Req, StampSite,
    catalogue::stage,
    clock,
    recorder::{BEGIN, END, Stamp},
    request::{RequestInfo, RequestKind},
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
        req: Req::of(id),
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
    file.requests().iter().map(|r| r.id).collect()
}

#[test]
fn what_was_written_is_read() {
    let (_dir, path) = file();
    let mut writer = TraceFileWriter::create(&path).unwrap();
    writer.stamps(&[stamps(1), stamps(2)].concat()).unwrap();
    writer.trace(&record(7)).unwrap();
    writer.stamps(&stamps(3)).unwrap();
    assert_eq!(writer.finish().unwrap(), 12);
    let read = TraceFile::open(&path).unwrap();
    assert_eq!((read.damage(), read.cut()), (&[][..], None));
    assert_eq!(read.traces().collect::<Vec<_>>(), [Ok(record(7))]);
    assert_eq!(ids(&read), [1, 2, 3]);
    let second = &read.requests()[1];
    assert_eq!((second.kind, second.region, second.store), (RequestKind::KvGet, 4, 2));
    assert_eq!(second.begin_ns, clock::unix_base_ns() + 200);
    let trace = second.trace();
    let step = &trace.steps[0];
    assert_eq!((step.stage.as_str(), step.function.as_str(), step.line), ("mvcc_get", "mvcc::get", 7));
    assert_eq!((step.fields["region"], step.fields["ts"], step.dur_ns), (2, 201, 2));
    assert_eq!(step.thread, thread::info(thread::id()).name);
    assert_eq!(trace.summary(), Summary { stage_ns: 6, wall_ns: 6, accounted: 1.0, dropped: 0 });
}

#[test]
fn a_file_cut_anywhere_opens_up_to_the_cut_and_goes_on_from_there() {
    let (_dir, path) = file();
    let mut writer = TraceFileWriter::create(&path).unwrap();
    writer.stamps(&stamps(1)).unwrap();
    let first = fs::metadata(&path).unwrap().len() as usize;
    writer.stamps(&stamps(2)).unwrap();
    drop(writer);
    let whole = fs::read(&path).unwrap();
    for end in 16..whole.len() {
        fs::write(&path, &whole[..end]).unwrap();
        let read = TraceFile::open(&path).unwrap();
        assert!(read.damage().is_empty(), "cut at {end}: {:?}", read.damage());
        assert_eq!(ids(&read), if end < first { vec![] } else { vec![1] }, "cut at {end}");
        assert_eq!(read.cut().is_some(), end != first && !read_ends_at(&read, end), "cut at {end}");
    }
    let mut writer = TraceFileWriter::append(&path).unwrap();
    writer.stamps(&stamps(3)).unwrap();
    writer.finish().unwrap();
    let read = TraceFile::open(&path).unwrap();
    assert_eq!((ids(&read), read.cut()), (vec![1, 3], None));
    assert_eq!(read.requests()[1].stamps.len(), 2);
}

/// Whether a chunk ends exactly there.
fn read_ends_at(read: &TraceFile, end: usize) -> bool {
    read.cut().is_none() && read.end() == end as u64
}

#[test]
fn a_damaged_chunk_is_told_with_its_offset_and_passed_over() {
    let (_dir, path) = file();
    let mut writer = TraceFileWriter::create(&path).unwrap();
    writer.stamps(&stamps(1)).unwrap();
    let second = fs::metadata(&path).unwrap().len() as usize;
    writer.trace(&record(2)).unwrap();
    let third = fs::metadata(&path).unwrap().len() as usize;
    writer.trace(&record(3)).unwrap();
    drop(writer);
    let whole = fs::read(&path).unwrap();
    for at in second..third {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        fs::write(&path, &bytes).unwrap();
        let read = TraceFile::open(&path).unwrap();
        let damage = read.damage();
        assert_eq!(damage.len(), 1, "byte {at}: {damage:?}");
        assert_eq!((damage[0].offset, damage[0].len), (second as u64, (third - second) as u64), "byte {at}");
        assert_eq!(read.traces().collect::<Vec<_>>(), [Ok(record(3))], "byte {at}");
        assert_eq!(ids(&read), [1]);
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
    later[8] = 2;
    let crc = crc32fast::hash(&later[..12]);
    later[12..].copy_from_slice(&crc.to_le_bytes());
    assert!(open(&later).contains("version 2; this program reads version 1"));
    let mut flipped = header();
    flipped[9] ^= 1;
    assert!(open(&flipped).contains("checksum"));
    assert!(text(TraceFileWriter::create(&path).err().unwrap()).contains("never overwritten"));
    fs::remove_file(&path).unwrap();
    assert!(text(TraceFile::open(&path).unwrap_err()).contains("a.trace"));
}
