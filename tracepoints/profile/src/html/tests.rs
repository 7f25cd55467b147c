//! Pages as text.
use tracepoints::{Lane, find_stage, trace::Step};

use super::*;
use crate::{
    cohort,
    compare::{Side, compare},
    wall::WallOptions,
};

/// Makes a write of 1 ms on three stores: store 2 completes the quorum, store 3 comes late.
pub(crate) fn write(id: u64, begin_ns: u64) -> Operation {
    let mut steps = Vec::new();
    let mut add = |stage: &str, store: u64, thread: &str, at_ns: u64, dur_ns: u64, fields: &[(&str, u64)]| {
        let entry = find_stage(stage).unwrap();
        steps.push(Step {
            stage: stage.into(),
            layer: entry.layer.into(),
            lane: if entry.lane == Lane::Main { "main" } else { "replica" }.into(),
            thread: thread.into(),
            kind: "raw_put".into(),
            fields: fields.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect(),
            request: id,
            store,
            at_ns,
            dur_ns,
            ..Step::default()
        });
    };
    let (grpc, poller) = ("grpc-server-1-0", "raftstore-1-0");
    add("grpc_receive", 1, grpc, 0, 40_000, &[]);
    add("raft_propose", 1, poller, 40_000, 10_000, &[("index", 9), ("term", 6), ("voters", 3)]);
    add("raft_send", 1, poller, 50_000, 850_000, &[]);
    add("raft_write_begin", 1, "store-writer-1-0", 60_000, 440_000, &[]);
    for (store, slow) in [(2, 0), (3, 500_000)] {
        let (raft, writer) = (format!("raftstore-{store}-0"), format!("store-writer-{store}-0"));
        add("follower_receive", store, &raft, 90_000, 10_000, &[]);
        add("follower_append", store, &raft, 100_000, 20_000, &[]);
        add("raft_write_begin", store, &writer, 120_000, 400_000 + slow, &[]);
        add("raft_write_end", store, &writer, 520_000 + slow, 10_000, &[]);
        add("raft_persisted", store, &raft, 530_000 + slow, 5_000, &[]);
        add("follower_ack", store, &raft, 535_000 + slow, 0, &[]);
        add("raft_ack", 1, poller, 565_000 + slow, 0, &[("from", store)]);
    }
    add("raft_persisted", 1, poller, 500_000, 10_000, &[]);
    add("raft_commit", 1, poller, 610_000, 40_000, &[]);
    add("apply_begin", 1, "apply-0", 650_000, 50_000, &[]);
    add("apply_done", 1, "apply-0", 850_000, 0, &[]);
    add("sched_finish", 1, "sched-worker-pool-0", 900_000, 30_000, &[]);
    add("grpc_reply", 1, grpc, 930_000, 70_000, &[]);
    steps.sort_by_key(|s| s.at_ns);
    steps.iter_mut().enumerate().for_each(|(i, s)| s.step = i);
    Operation::new(id, "raw_put", begin_ns, steps)
}

fn heading(title: &str) -> Heading {
    Heading {
        title: title.into(),
        subtitle: "a < b & \"c\"".into(),
        notes: vec!["taken by </script> hand".into()],
    }
}

pub(crate) fn traced(title: &str, operations: &[Operation]) -> Result<String, ProfileError> {
    let options = WallOptions { waits: true, ..WallOptions::default() };
    trace(&heading(title), operations, &cohort::sum(&cohort::stacks(operations, options)))
}

pub(crate) fn pages() -> [(&'static str, String); 3] {
    let folded = Folded::parse("main;run;<Vec<u8> as Get>::get 30\nmain;</script><b> 70\n").unwrap();
    let side = |label: &str, n: u64, ns: u64| {
        let of = |i: u64| Folded::parse(&format!("get;mvcc_get {}\nget;grpc_receive 90\n", ns + i)).unwrap();
        Side::cohort(label, (0..n).map(of).collect())
    };
    let c = compare(side("p50", 40, 10), side("p99", 20, 700), Measure::Nanoseconds).unwrap();
    [
        ("trace", traced("one write", &[write(7, 1_000)]).unwrap()),
        ("profile", profile(&heading("%DATA% of CPU"), &folded, Measure::Samples).unwrap()),
        ("diff", diff(&heading("p50 and p99"), &c).unwrap()),
    ]
}

fn data(page: &str) -> serde_json::Value {
    let from = page.find("id=\"data\">").unwrap() + "id=\"data\">".len();
    let json = page[from..].split("</script>").next().unwrap();
    serde_json::from_str(json).unwrap()
}

/// Removes scripts and styles, whose text is free, to check that every tag is closed.
fn markup(page: &str) -> String {
    let mut out = page.to_owned();
    for tag in ["script", "style"] {
        let (open, close) = (format!("<{tag}"), format!("</{tag}>"));
        while let Some(from) = out.find(&open) {
            let to = from + out[from..].find(&close).unwrap() + close.len();
            out.replace_range(from..to, "");
        }
    }
    let out = out.replace("<!DOCTYPE html>", "").replace("<meta charset=\"utf-8\"/>", "");
    // The check for SVG is used for the page, too.
    out.replace("<body>", "<body><svg /></body><body>").replacen("</body><body>", "", 1)
}

#[test]
fn pages_are_self_contained() {
    for (kind, page) in pages() {
        crate::flame::assert_well_formed(&markup(&page).replace("<svg />", "<svg x=\"\"/>"));
        assert!(!page.contains("http:") && !page.contains("https:"), "{kind} refers to the network");
        for reference in ["src=", "href=", "@import", "url(", "fetch(", "XMLHttpRequest", "import("] {
            assert!(!page.contains(reference), "{kind} loads by {reference}");
        }
        let ends = page.matches("</script>").count();
        assert_eq!(ends, page.matches("<script").count(), "data cannot end its script");
        let data = data(&page);
        assert_eq!(data["kind"], kind);
        assert_eq!(data["notes"][0], "taken by </script> hand");
        let nodes = data["flame"]["parent"].as_array().unwrap().len();
        for list in ["name", "class"] {
            assert_eq!(data["flame"][list].as_array().unwrap().len(), nodes, "{kind}: {list}");
        }
        for side in data["flame"]["value"].as_array().unwrap() {
            assert_eq!(side.as_array().unwrap().len(), nodes);
        }
        for row in data["table"]["rows"].as_array().unwrap() {
            let columns = data["table"]["columns"].as_array().unwrap().len();
            assert_eq!(row.as_array().unwrap().len(), columns, "{kind}");
        }
        assert!(page.contains("a &lt; b &amp; &quot;c&quot;"));
    }
}

#[test]
fn a_trace_has_lanes_messages_and_a_critical_path() {
    let page = traced("t", &[write(7, 1_000), write(8, 5_000)]).unwrap();
    let all = data(&page);
    let (timeline, names) = (&all["timeline"], all["names"].as_array().unwrap());
    let lanes: Vec<&str> =
        timeline["lanes"].as_array().unwrap().iter().map(|l| l["label"].as_str().unwrap()).collect();
    assert!(lanes.contains(&"1 · raftstore-1-0") && lanes.contains(&"3 · store-writer-3-0"), "{lanes:?}");
    let list = |of: &serde_json::Value| {
        of.as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect::<Vec<_>>()
    };
    let spans = &timeline["spans"];
    assert_eq!(list(&spans["at"]).len(), 2 * write(7, 0).steps.len());
    assert_eq!(timeline["end"], 1_065_000 + 4_000);
    let (name, arrows) = (list(&spans["name"]), &timeline["arrows"]);
    let of = |span: u64| names[name[span as usize] as usize].as_str().unwrap();
    let shown: Vec<_> = list(&arrows["from"])
        .into_iter()
        .zip(list(&arrows["to"]))
        .zip(list(&arrows["critical"]))
        .map(|((from, to), critical)| (of(from), of(to), critical))
        .collect();
    assert_eq!(shown.len(), 8, "{shown:?}");
    assert_eq!(shown.iter().filter(|a| **a == ("raft_send", "follower_receive", 1)).count(), 2);
    for (critical, who) in [(1, "store 2"), (0, "store 3")] {
        let acks = shown.iter().filter(|a| **a == ("follower_ack", "raft_ack", critical)).count();
        assert_eq!(acks, 2, "{who}'s, of each write");
    }
    let one = data(&pages()[0].1);
    let notes = one["notes"].to_string();
    assert!(
        notes.contains("store 2's ack made the quorum") || notes.contains("leader's own disk"),
        "{notes}"
    );
    let classes: u64 = one["classes"].as_array().unwrap().iter().map(|c| c[1].as_u64().unwrap()).sum();
    assert_eq!(classes, 1_000_000);
}

#[test]
fn a_trace_without_operations_is_an_error() {
    // The empty profile of an idle process can be drawn.
    assert!(profile(&heading("t"), &Folded::default(), Measure::Samples).is_ok());
    assert!(traced("t", &[]).unwrap_err().to_string().contains("record for longer"));
}

/// No stage is longer on the critical path than it took; the last stamp of a lane has no duration.
#[test]
fn the_table_has_each_stages_time_on_the_path() {
    let data = data(&traced("one write", &[write(7, 1_000)]).unwrap());
    let rows = data["table"]["rows"].as_array().unwrap();
    let row = |name: &str| rows.iter().find(|r| r[0] == name).unwrap();
    let number = |row: &serde_json::Value, i: usize| row[i].as_u64().unwrap();
    let done = row("apply_done");
    assert!(number(done, 9) > 0, "the operation waited after it: {done}");
    let mut critical = 0;
    for row in rows {
        let (total, longest, path) = (number(row, 6), number(row, 8), number(row, 9));
        assert!(path <= total && longest <= total, "{row}");
        assert!(row[10].as_f64().unwrap() <= 1.0, "{row}");
        critical += path;
    }
    assert_eq!(critical, 1_000_000, "the rows cover the path");
}
