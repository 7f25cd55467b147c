//! A recording whose disk fails while requests run. One test, since a process has one collector.
use std::{
    fs::File,
    io::{self, Write},
    time::{Duration, Instant},
};

use tracepoints::{
    Collector, CollectorConfig, RequestKind,
    collector::TextWriter,
    request::{begin, end},
    trace_file::{Ended, Medium, TraceFile, TraceFileWriter},
};

/// A file on a disk of fixed size: beyond it nothing is written and, if reserved ahead, nothing is promised.
struct Small {
    file: File,
    room: u64,
    end: u64,
}

fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

impl Write for Small {
    /// Writes as much as fits, like a disk, so that a chunk is half-written.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fits = bytes.len().min((self.room - self.end) as usize);
        if fits == 0 && !bytes.is_empty() {
            return Err(full());
        }
        let n = self.file.write(&bytes[..fits])?;
        self.end += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Medium for Small {
    /// Like a file system that cannot reserve space: writing fails in the middle of a chunk.
    fn promise(&mut self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&mut self, end: u64) -> io::Result<()> {
        self.end = end;
        Medium::truncate(&mut self.file, end)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }
}

fn get() -> u64 {
    let req = begin(RequestKind::KvGet, b"k1", 2);
    tracepoints::stamp!(GRPC_RECEIVE, req);
    tracepoints::stamp!(GRPC_REPLY, req);
    end(req);
    req.id()
}

#[test]
fn a_full_disk_ends_the_recording_and_nothing_else() {
    let collector = Collector::start(CollectorConfig::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("full.trace");
    let small = Small { file: File::create_new(&path).unwrap(), room: 2_500_000, end: 0 };
    collector.record_with(|| TraceFileWriter::to(Box::new(small), &path)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut made = 0;
    while collector.records() {
        assert!(Instant::now() < deadline, "the disk is full");
        for _ in 0..500 {
            get();
        }
        made += 500;
        collector.flush();
    }
    // Requests continue and the collector sees them; the recording lacks them.
    let last = get();
    assert_eq!(collector.recent().last().map(|r| r.id), Some(last));
    let recorded = collector.stop_recording().unwrap();
    let why = recorded.failed.unwrap().to_string();
    assert!(why.contains("full.trace") && why.contains("storage space"), "{why}");
    assert_eq!(recorded.stamps + recorded.lost, (made + 1) * 4, "every stamp is in the file, or lost");
    assert!(recorded.stamps > 0 && recorded.lost > 0);
    let stats = collector.stats();
    assert_eq!((stats.recordings_failed, stats.recording_lost), (1, recorded.lost));
    let mut metrics = TextWriter::default();
    collector.write_metrics(0, &mut metrics);
    let metrics = metrics.finish();
    assert!(metrics.contains("tikv_trace_recordings_failed_total 1\n"), "{metrics}");

    let file = TraceFile::open(&path).unwrap();
    assert_eq!(file.verify(), [], "the half-written chunk is removed");
    assert!(
        matches!(file.ending(), Some(Ended::DiskFull) | None),
        "the reason is there if the end chunk fits"
    );
    assert_eq!(file.stamp_count(), recorded.stamps);
    let whole = file.requests().filter(|r| r.stamps.len() == 2 && r.end_ns.is_some()).count() as u64;
    assert!(whole >= recorded.stamps / 4 - 1, "{whole} of {} stamps", recorded.stamps);

    // The next recording is not affected.
    let again = dir.path().join("again.trace");
    collector.record_to(&again).unwrap();
    let id = get();
    let recorded = collector.stop_recording().unwrap();
    assert!(recorded.stamps == 4 && recorded.lost == 0 && recorded.failed.is_none(), "{recorded:?}");
    assert_eq!(TraceFile::open(&again).unwrap().request(id).map(|r| r.stamps.len()), Some(2));
}
