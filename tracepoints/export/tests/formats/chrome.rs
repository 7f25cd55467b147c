//! Trace-event JSON: ours written and read back, other tools' read.
use tracepoints_export::{Request, Value, chrome};

use crate::sample;

pub fn export(requests: &[Request]) -> Vec<u8> {
    let mut writer = chrome::Writer::new(Vec::new());
    requests.iter().for_each(|r| writer.request(r).unwrap());
    writer.finish().unwrap()
}

#[test]
fn our_requests_survive_a_round_trip() {
    let requests = sample::requests();
    let bytes = export(requests);
    let read = chrome::read(&bytes).unwrap();
    assert_eq!(read.notes, Vec::<String>::new());
    assert_eq!(sample::in_order(&read.requests), sample::in_order(&sample::without_trace_id(requests)));
}

#[test]
fn requests_with_one_id_are_reported() {
    let twice = [export(sample::requests()), export(sample::requests())].concat();
    let read = chrome::read(&twice).unwrap();
    let n = sample::requests().len();
    assert_eq!(read.requests.len(), n);
    assert!(
        read.notes[0].starts_with(&format!("{n} requests have the id of an earlier one")),
        "{:?}",
        read.notes
    );
}

/// The JSON as read by any other reader.
#[test]
fn the_document_is_plain_trace_event_json() {
    let requests = sample::requests();
    let json: serde_json::Value = serde_json::from_slice(&export(requests)).unwrap();
    let events = json["traceEvents"].as_array().unwrap();
    let of = |ph: &str| events.iter().filter(|e| e["ph"] == ph).collect::<Vec<_>>();
    let base: u64 = json["otherData"]["base_unix_ns"].as_str().unwrap().parse().unwrap();
    let spans: usize = requests.iter().map(|r| r.spans.len() + 1).sum();
    assert_eq!(of("X").len(), spans);
    assert_eq!(base, requests[0].start_ns);
    for event in of("X") {
        assert!(event["ts"].as_f64().unwrap() >= 0.0 && event["dur"].as_f64().unwrap() >= 0.0);
        let named = of("M")
            .iter()
            .any(|m| m["name"] == "thread_name" && m["pid"] == event["pid"] && m["tid"] == event["tid"]);
        assert!(named, "{event}");
    }
    // Slices of one thread must not overlap: a viewer would nest them.
    for a in of("X") {
        for b in of("X").into_iter().filter(|b| (&b["pid"], &b["tid"]) == (&a["pid"], &a["tid"])) {
            let range = |e: &serde_json::Value| {
                let ns = |v: &serde_json::Value| (v.as_f64().unwrap() * 1000.0).round() as u64;
                (ns(&e["ts"]), ns(&e["ts"]) + ns(&e["dur"]))
            };
            let ((a0, a1), (b0, b1)) = (range(a), range(b));
            assert!(std::ptr::eq(a, b) || a1 <= b0 || b1 <= a0, "{a} and {b}");
        }
    }
    let (starts, ends) = (of("s"), of("f"));
    assert!(!starts.is_empty() && starts.len() == ends.len());
    for start in starts {
        let end: Vec<_> = ends.iter().filter(|e| e["id"] == start["id"]).collect();
        assert_eq!(end.len(), 1);
        assert!(start["ts"].as_f64() <= end[0]["ts"].as_f64());
    }
    let text = String::from_utf8(export(requests)).unwrap();
    assert!(text.contains(&format!("\"{}\"", sample::START_TS)), "a double cannot represent it");
}

/// The form of TiDB's flight recorder: begins and ends, asynchronous ones, a stream of `data:` lines.
#[test]
fn a_flight_recording_of_tidb_is_read() {
    let text = concat!(
        r#"data: [{"name":"session","ph":"B","ts":1700000000000000,"pid":0,"tid":77,"cat":"general","args":{"conn":5}},"#,
        r#"{"name":"kvRequest","ph":"b","ts":1700000000000010,"pid":0,"tid":77,"id":3,"cat":"kv_request"},"#,
        r#"{"name":"parse","ph":"B","ts":1700000000000020,"pid":0,"tid":77,"cat":"general"},"#,
        r#"{"name":"parse","ph":"E","ts":1700000000000050,"pid":0,"tid":77},"#,
        r#"{"name":"note","ph":"i","ts":1700000000000060,"pid":0,"tid":77},"#,
        r#"{"name":"kvRequest","ph":"e","ts":1700000000000080,"pid":0,"tid":77,"id":3,"cat":"kv_request"},"#,
        r#"{"name":"session","ph":"E","ts":1700000000000100,"pid":0,"tid":77,"args":{"rows":1}}]"#,
        "\n\n",
        r#"data: [{"name":"later","ph":"X","ts":1700000000000200.5,"dur":1.25,"pid":0,"tid":78}]"#,
        "\n\n"
    );
    let read = tracepoints_export::import::read(text.as_bytes()).unwrap();
    assert_eq!(read.requests.len(), 2);
    let first = &read.requests[0];
    assert_eq!(first.name, "process 0 / thread 77");
    let spans: Vec<_> =
        first.spans.iter().map(|s| (s.name.as_str(), s.start_ns % 1_000_000, s.dur_ns, s.parent)).collect();
    assert_eq!(
        spans,
        [
            ("session", 0, 100_000, None),
            ("kvRequest", 10_000, 70_000, Some(0)),
            ("parse", 20_000, 30_000, Some(1)),
            ("note", 60_000, 0, Some(1))
        ]
    );
    let session = &first.spans[0];
    assert_eq!(session.category, "general");
    assert_eq!(session.attributes, [("conn".into(), Value::Uint(5)), ("rows".into(), Value::Uint(1))]);
    let later = &read.requests[1].spans[0];
    assert_eq!((later.start_ns, later.dur_ns), (1_700_000_000_000_200_500, 1_250));
}

#[test]
fn an_unclosed_array_is_read_up_to_its_end() {
    let text = r#"[ {"name":"a","ph":"X","ts":1,"dur":2,"pid":"p","tid":"t"}, {"name":"b","ph":"X","ts":4,"#;
    let read = chrome::read(text.as_bytes()).unwrap();
    assert_eq!(read.requests[0].spans.len(), 1);
    assert!(read.notes[0].contains("cut short or damaged at offset"), "{:?}", read.notes);
    let open = r#"[{"name":"a","ph":"B","ts":1,"pid":1,"tid":1},{"name":"b","ph":"E","ts":9,"pid":1,"tid":2},{"ph":"?"}]"#;
    let read = chrome::read(open.as_bytes()).unwrap();
    assert_eq!(read.requests[0].spans[0].dur_ns, 8_000);
    assert_eq!(read.notes.len(), 3, "{:?}", read.notes);
}

#[test]
fn foreign_spans_keep_their_names_when_written_again() {
    let text = r#"{"traceEvents":[{"name":"läuft \"so\"","ph":"X","ts":1,"dur":2,"pid":1,"tid":1}]}"#;
    let read = chrome::read(text.as_bytes()).unwrap();
    let again = chrome::read(&export(&read.requests)).unwrap();
    assert_eq!(again.requests[0].spans[0].name, "läuft \"so\"");
}
