//! Random traffic of several stores: a file returns the same requests as folding the same stamps.
use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const ENTRY: &[&str] = &["region", "term", "index"];
const BATCH: &[&str] = &["region", "term", "first", "last"];

fn site(stage: crate::StageId, fields: &'static [&'static str]) -> &'static StampSite {
    Box::leak(Box::new(StampSite::new(stage, "src/f.rs", 1, fields, || "f::__here")))
}

struct Sites {
    get: &'static StampSite,
    propose: &'static StampSite,
    ready: &'static StampSite,
    follower: &'static StampSite,
    read: &'static StampSite,
    heartbeat: &'static StampSite,
}

fn sites() -> &'static Sites {
    static SITES: std::sync::OnceLock<Sites> = std::sync::OnceLock::new();
    SITES.get_or_init(|| Sites {
        get: site(stage::MVCC_GET, &[]),
        propose: site(stage::RAFT_PROPOSE, ENTRY),
        ready: site(stage::RAFT_READY, BATCH),
        follower: site(stage::FOLLOWER_APPEND, BATCH),
        read: site(stage::READ_INDEX_PROPOSE, &["region", "term", "read_id"]),
        heartbeat: site(stage::READ_INDEX_HEARTBEAT, &["region", "read_id"]),
    })
}

/// One random event: kind, request, time, store and numbers.
#[derive(Clone, Debug)]
pub(super) struct Event {
    what: u8,
    id: u64,
    at: u64,
    store: u16,
    index: u64,
    len: u64,
    /// The event never reaches the collector because its ring is full.
    dropped: bool,
    /// Ends a chunk, a checkpoint or a round after the event.
    then: u8,
}

pub(super) fn event() -> impl Strategy<Value = Event> {
    let numbers = (0u8..8, 1u64..9, 0u64..2000, 0u16..4);
    (numbers, 0u64..12, 0u64..4, proptest::bool::weighted(0.1), 0u8..24).prop_map(
        |((what, id, at, store), index, len, dropped, then)| Event {
            what,
            id,
            at,
            store,
            index,
            len,
            dropped,
            then,
        },
    )
}

impl Event {
    /// Makes the event's stamp; the clocks of all stores but the first are skewed.
    fn stamp(&self, skew: [u64; 4]) -> Stamp {
        let sites = sites();
        // An entry and a read round belong to one request; a request may have two entries.
        let (region, term, own) = (1, 6, self.id + 8 * (self.index % 2));
        let (site, fields, req) = match self.what {
            0 => (&BEGIN, [(RequestKind::KvGet as u64) << 32 | 1, region, 0, 0], self.id),
            1 => (&END, [0; 4], self.id),
            2 => (sites.get, [0; 4], self.id),
            3 => (sites.propose, [region, term, own, 0], self.id),
            4 => (sites.ready, [region, term, self.index, self.index + 3 * self.len], self.id),
            5 => (sites.follower, [region, term, self.index, self.index + 3 * self.len], 0),
            6 => (sites.read, [region, term, own, 0], self.id),
            _ => (sites.heartbeat, [region, self.index, 0, 0], 0),
        };
        Stamp {
            // A request's begin is its earliest stamp.
            at: if self.what == 0 { 5_000 } else { 5_000 + self.at + skew[usize::from(self.store)] },
            req: Req::from_id(req),
            site: Some(site),
            thread: thread::id(),
            store: self.store,
            field_count: site.fields.len() as u32,
            fields,
        }
    }
}

fn folded(events: &[Event], skew: [u64; 4]) -> Vec<RecordedRequest> {
    let mut folder = Folder::new(usize::MAX, usize::MAX, usize::MAX);
    events.iter().filter(|e| !e.dropped).for_each(|e| {
        let stamp = e.stamp(skew);
        folder.push(&stamp, stamp.at);
    });
    folder.end_round();
    folder.all()
}

fn written(path: &std::path::Path, events: &[Event], skew: [u64; 4]) {
    let mut writer = TraceFileWriter::create(path).unwrap();
    for e in events.iter().filter(|e| !e.dropped) {
        writer.stamps(&[e.stamp(skew)]).unwrap();
        if e.then < 6 {
            writer.flush_chunk().unwrap();
        }
        if e.then == 0 {
            writer.checkpoint(None).unwrap();
        }
    }
    writer.finish().unwrap();
}

type Shown = (u64, RequestKind, bool, u64, Option<u64>, u64, Vec<(u64, u64, u16, [u64; 4], &'static str)>);

fn shown(r: &RecordedRequest, base: u64) -> Shown {
    let of = |s: &Stamp| (s.at - base, s.req.id(), s.store, s.fields, s.site.unwrap().stage.name());
    let mut stamps: Vec<_> = r.stamps.iter().map(of).collect();
    stamps.sort_unstable();
    let end = r.end_ns.map(|at| at - base);
    (r.id, r.kind, r.began, r.begin_ns - base, end, r.truncated, stamps)
}

/// Checks that spans are valid: none is negative, and those of the main lane are adjacent, within the request
/// and up to its end; and that they equal the steps of the trace.
fn check(r: &RecordedRequest) {
    use crate::Lane;
    let spans = r.spans();
    let trace = r.trace();
    let steps: Vec<_> = trace.steps.iter().map(|s| (s.stage.as_str(), s.dur_ns)).collect();
    assert_eq!(spans.iter().map(|s| (s.stage.name(), s.dur_ns)).collect::<Vec<_>>(), steps, "{r:?}");
    assert!(spans.is_sorted_by_key(|s| s.at_ns));
    let inside = |at: u64| r.end_ns.is_none_or(|end| at <= end);
    let main: Vec<_> = spans.iter().filter(|s| s.lane() == Lane::Main && inside(s.at_ns)).collect();
    for pair in main.windows(2) {
        assert_eq!(pair[0].at_ns + pair[0].dur_ns, pair[1].at_ns, "a gap or an overlap: {r:?}");
    }
    if let (Some(first), Some(last), Some(end)) = (main.first(), main.last(), r.end_ns) {
        assert_eq!(last.at_ns + last.dur_ns, end, "the last stage lasts until the end: {r:?}");
        assert_eq!(main.iter().map(|s| s.dur_ns).sum::<u64>(), end - first.at_ns, "the sum: {r:?}");
    }
    for store in 0..4 {
        let of: Vec<_> = spans.iter().filter(|s| s.lane() == Lane::Replica && s.store == store).collect();
        assert!(of.windows(2).all(|p| p[0].at_ns + p[0].dur_ns == p[1].at_ns), "store {store}: {r:?}");
    }
    let summary = trace.summary();
    assert!(summary.stage_ns <= summary.wall_ns && (0.0..=1.0).contains(&summary.accounted), "{summary:?}");
    assert_eq!(summary.dropped, r.truncated + r.lost, "losses are reported");
}

/// Maps each request to the chunks that contain its own stamps.
fn own_stamps(file: &TraceFile) -> HashMap<u64, Vec<u32>> {
    let mut out: HashMap<u64, Vec<u32>> = HashMap::new();
    for chunk in &file.index().stamps {
        let opened = file.chunk(chunk.summary.number).unwrap();
        for i in 0..opened.rows {
            let row = super::row::Row::nth(file.body(&opened), i).unwrap();
            out.entry(row.req).or_default().push(chunk.summary.number);
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The spans are valid for any events in any order.
    #[test]
    fn spans_of_any_traffic_are_sound(events in proptest::collection::vec(event(), 1..80), skew in any::<[u8; 3]>()) {
        let skew = [0, u64::from(skew[0]), u64::from(skew[1]) * 10, u64::from(skew[2]) * 1000];
        folded(&events, skew).iter().for_each(check);
    }

    /// A file returns the fold of the written stamps, and its index answers like a scan of all requests.
    #[test]
    fn a_file_gives_back_the_fold(events in proptest::collection::vec(event(), 1..80), skew in any::<[u8; 3]>()) {
        let skew = [0, u64::from(skew[0]), u64::from(skew[1]) * 10, u64::from(skew[2]) * 1000];
        let (_dir, path) = file();
        written(&path, &events, skew);
        let read = TraceFile::open(&path).unwrap();
        prop_assert_eq!((read.verify(), read.truncated_at()), (vec![], None));
        let mut requests: Vec<_> = read.requests().collect();
        requests.iter().for_each(check);
        requests.sort_by_key(|r| r.id);
        let live: Vec<_> = folded(&events, skew).iter().map(|r| shown(r, 0)).collect();
        prop_assert_eq!(requests.iter().map(|r| shown(r, clock::unix_base_ns())).collect::<Vec<_>>(), live);
        for stage in [stage::MVCC_GET, stage::RAFT_READY, stage::FOLLOWER_APPEND, stage::READ_INDEX_HEARTBEAT] {
            let query = Query { stages: vec![stage], min_ns: 20, ..Query::default() };
            let mut found: Vec<u64> = read.find(&query).map(|r| r.id).collect();
            found.sort_unstable();
            let wanted: Vec<u64> = requests.iter().filter(|r| query.matches(r)).map(|r| r.id).collect();
            prop_assert_eq!(found, wanted);
        }
    }

    /// Truncated at any byte, the file opens, every span is valid, and incomplete requests report the loss.
    #[test]
    fn a_cut_file_declares_what_it_lacks(events in proptest::collection::vec(event(), 1..60), cut in 0.0..1.0f64) {
        let (_dir, path) = file();
        written(&path, &events, [0; 4]);
        let whole = fs::read(&path).unwrap();
        let kept = 16 + ((whole.len() - 16) as f64 * cut) as usize;
        fs::write(&path, &whole[..kept]).unwrap();
        let read = TraceFile::open(&path).unwrap();
        prop_assert!(read.ending().is_none() && read.verify().is_empty());
        let live = folded(&events, [0; 4]);
        for request in read.requests() {
            check(&request);
            let wanted = live.iter().find(|r| r.id == request.id);
            prop_assert!(wanted.is_some_and(|w| request.stamps.len() <= w.stamps.len()));
        }
    }

    /// Truncated at any byte and with another byte flipped: every request that still has stamps is shown, and
    /// losses are reported; only stamps and their names can be lost.
    #[test]
    fn a_damaged_byte_of_a_cut_file_costs_stamps_only(
        events in proptest::collection::vec(event(), 1..60),
        cut in 0.0..1.1f64,
        flip in any::<proptest::sample::Index>(),
        bit in 0..8u32,
    ) {
        let (_dir, path) = file();
        written(&path, &events, [0; 4]);
        let mut bytes = fs::read(&path).unwrap();
        bytes.truncate(16 + ((bytes.len() - 16) as f64 * cut) as usize);
        fs::write(&path, &bytes).unwrap();
        let before = TraceFile::open(&path).unwrap();
        // The rest of a truncated chunk is unused.
        let at = flip.index(before.end() as usize);
        let own = own_stamps(&before);
        let sound: Vec<_> = before.requests().collect();
        bytes[at] ^= 1 << bit;
        // Another file, since the first one is still mapped.
        let other = path.with_extension("damaged");
        fs::write(&other, &bytes).unwrap();
        let Ok(read) = TraceFile::open(&other) else {
            // The header is damaged and no intact chunk follows it.
            prop_assert!(at < 16 && bytes.len() < 600);
            return Ok(());
        };
        prop_assert!(!read.verify().is_empty() || read.truncated_at() != before.truncated_at(), "byte {} is reported", at);
        let found: HashMap<u64, RecordedRequest> = read.requests().map(|r| (r.id, r)).collect();
        found.values().for_each(check);
        prop_assert_eq!(read.requests().count(), found.len(), "no request is shown twice");
        let hit = |p: &super::chunk::Place| (p.at..p.end()).contains(&at);
        let stamps = before.index().stamps.iter().find(|c| hit(&c.place)).map(|c| c.summary.number);
        let names = before.index().of_kind(super::chunk::Kind::Sites).any(|p| hit(&p));
        for sound in &sound {
            let Some(now) = found.get(&sound.id) else {
                prop_assert!(stamps.is_some_and(|n| own[&sound.id].iter().all(|of| *of == n)), "{:?}", sound);
                continue;
            };
            let same = shown(now, clock::unix_base_ns()) == shown(sound, clock::unix_base_ns());
            let of = &own[&sound.id];
            // Late stamps of a request with a complete entry may only be reported missing for the whole file.
            let late = stamps.is_some_and(|n| of.contains(&n) && of.iter().any(|of| *of < n) && now.end_ns.is_some());
            let declared = now.truncated + now.lost > 0 || !now.began || now.end_ns.is_none();
            prop_assert!(same || declared || late, "byte {}: {:?} was {:?}", at, now, sound);
            prop_assert!(same || stamps.is_some() || names, "byte {}: {:?} was {:?}", at, now, sound);
        }
    }

    /// With all tables of one kind damaged, every request is still shown, rebuilt from the stamps.
    #[test]
    fn without_its_tables_a_file_shows_all(events in proptest::collection::vec(event(), 1..80), which in 0..3) {
        use super::chunk::Kind;
        let (_dir, path) = file();
        written(&path, &events, [0; 4]);
        let before = TraceFile::open(&path).unwrap();
        let base = clock::unix_base_ns();
        let mut all: Vec<_> = before.requests().map(|r| shown(&r, base)).collect();
        all.sort_by_key(|r| r.0);
        let mut bytes = fs::read(&path).unwrap();
        let tables: Vec<_> = match which {
            0 => before.index().requests.iter().map(|(p, _)| *p).collect(),
            1 => before.index().of_kind(Kind::Late).collect(),
            _ => before.index().of_kind(Kind::Live).collect(),
        };
        tables.iter().for_each(|p| bytes[p.body_range().start + 5] ^= 1);
        let other = path.with_extension("damaged");
        fs::write(&other, &bytes).unwrap();
        let read = TraceFile::open(&other).unwrap();
        let mut found: Vec<_> = read.requests().map(|r| shown(&r, base)).collect();
        found.sort_by_key(|r| r.0);
        prop_assert_eq!(found, all);
        prop_assert_eq!(read.verify().len(), tables.len());
    }

    /// Any bytes are read without a panic.
    #[test]
    fn arbitrary_bytes_are_read_without_a_panic(
        events in proptest::collection::vec(event(), 1..30),
        at in any::<proptest::sample::Index>(),
        garbage in proptest::collection::vec(any::<u8>(), 1..64),
    ) {
        let (_dir, path) = file();
        written(&path, &events, [0; 4]);
        let mut bytes = fs::read(&path).unwrap();
        let at = 16 + at.index(bytes.len() - 16);
        let to = (at + garbage.len()).min(bytes.len());
        bytes[at..to].copy_from_slice(&garbage[..to - at]);
        fs::write(&path, &bytes).unwrap();
        let read = TraceFile::open(&path).unwrap();
        read.verify();
        read.requests().for_each(|r| check(&r));
        read.traces().for_each(drop);
        read.notes();
    }
}
