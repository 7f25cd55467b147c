//! Dialects of trace-event JSON, as the specification allows them and the well-known tools write them.
use tracepoints_export::{Imported, Request, Span, Value, import};

use crate::chrome::export;

fn read(text: &str) -> Imported {
    import::read(text.as_bytes()).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// Returns name, duration in ns and parent's name of all spans, in the order of their begins.
fn rows(read: &Imported) -> Vec<(String, u64, Option<String>)> {
    let one = |r: &Request, s: &Span| (s.name.clone(), s.dur_ns, s.parent.map(|p| r.spans[p].name.clone()));
    read.requests.iter().flat_map(|r| r.spans.iter().map(|s| one(r, s)).collect::<Vec<_>>()).collect()
}

fn names(read: &Imported) -> Vec<String> {
    rows(read).into_iter().map(|(name, ..)| name).collect()
}

fn events(events: &str) -> Imported {
    read(&format!("{{\"traceEvents\":[{events}]}}"))
}

fn row(name: &str, us: u64, parent: Option<&str>) -> (String, u64, Option<String>) {
    (name.into(), us * 1000, parent.map(str::to_owned))
}

const EDGES: [&str; 6] = [
    r#"{"ph":"B","pid":1,"tid":1,"ts":0,"name":"alpha"}"#,
    r#"{"ph":"B","pid":1,"tid":1,"ts":10,"name":"beta"}"#,
    r#"{"ph":"B","pid":1,"tid":1,"ts":20,"name":"gamma"}"#,
    r#"{"ph":"E","pid":1,"tid":1,"ts":40,"name":"gamma"}"#,
    r#"{"ph":"E","pid":1,"tid":1,"ts":45,"name":"beta"}"#,
    r#"{"ph":"E","pid":1,"tid":1,"ts":100,"name":"alpha"}"#,
];

#[test]
fn events_in_any_order_give_the_same_spans() {
    let right = [row("alpha", 100, None), row("beta", 35, Some("alpha")), row("gamma", 20, Some("beta"))];
    for order in [[0, 1, 2, 3, 4, 5], [3, 1, 0, 4, 2, 5], [5, 4, 3, 2, 1, 0], [2, 5, 0, 3, 1, 4]] {
        let read = events(&order.map(|i| EDGES[i]).join(","));
        assert_eq!((rows(&read).as_slice(), read.notes.as_slice()), (&right[..], &[][..]), "{order:?}");
    }
}

#[test]
fn an_end_before_its_begin_at_the_same_time_matches() {
    let read = events(r#"{"ph":"E","ts":5,"name":"a"},{"ph":"B","ts":5,"name":"a"}"#);
    assert_eq!((rows(&read), read.notes.len()), (vec![row("a", 0, None)], 0));
}

#[test]
fn spans_that_are_not_nested_end_by_their_names() {
    let read = events(
        r#"{"ph":"B","ts":0,"name":"a"},{"ph":"B","ts":10,"name":"b"},{"ph":"E","ts":20,"name":"a"},{"ph":"E","ts":30,"name":"b"}"#,
    );
    assert_eq!(rows(&read), [row("a", 20, None), row("b", 20, None)]);
    let read = events(
        r#"{"ph":"B","ts":0,"name":"a"},{"ph":"B","ts":1,"name":"b"},{"ph":"E","ts":2},{"ph":"E","ts":9}"#,
    );
    assert_eq!(
        rows(&read),
        [row("a", 9, None), row("b", 1, Some("a"))],
        "ends without a name end the innermost"
    );
}

#[test]
fn unpaired_begins_and_ends_are_counted() {
    let read = events(
        r#"{"ph":"B","ts":0,"name":"a"},{"ph":"E","ts":5,"name":"lost"},{"ph":"E","ts":7,"name":"a"},{"ph":"B","ts":8,"name":"open"},{"ph":"X","ts":9,"dur":1,"name":"x"}"#,
    );
    assert_eq!(rows(&read), [row("a", 7, None), row("open", 2, None), row("x", 1, Some("open"))]);
    assert!(read.notes.iter().any(|n| n.starts_with("1 spans have no end")), "{:?}", read.notes);
    assert!(read.notes.iter().any(|n| n.starts_with("1 ends have no start")), "{:?}", read.notes);
}

#[test]
fn values_that_json_forbids_are_accepted() {
    let text = r#"{"traceEvents":[
{"name":"before","ph":"X","pid":1,"tid":1,"ts":0,"dur":5},
{"name":"odd","ph":"X","pid":1,"tid":1,"ts":10,"dur":5,"args":{"ratio":Infinity,"other":NaN}},
{"name":null,"cat":null,"ph":"X","pid":1,"tid":1,"ts":15,"dur":5,"args":null},
{"name":"after","ph":"X","pid":1,"tid":1,"ts":20,"dur":5}]}"#;
    let read = read(text);
    assert_eq!(
        (names(&read), read.notes.len()),
        (vec!["before".into(), "odd".into(), "".into(), "after".into()], 0)
    );
    let odd = &read.requests[0].spans[1].attributes;
    assert!(odd.contains(&("ratio".into(), Value::Text("Infinity".into()))), "{odd:?}");
}

#[test]
fn a_bad_event_loses_only_itself_and_is_reported() {
    for bad in [
        r#"{"name":"b"#,
        r#"{"name":"say "b"","ph":"X","ts":1}"#,
        r#"{"name":"b","ph":"X","ts":1,"args":{"x":1}"#,
        "null",
        "[]",
        r#"{"name":"b","ts":1}"#,
        r#"{"ph":"X","ts"}"#,
    ] {
        let text = format!(
            "{{\"traceEvents\":[\n{{\"name\":\"a\",\"ph\":\"X\",\"ts\":0,\"dur\":1}},\n{bad},\n{{\"name\":\"c\",\"ph\":\"X\",\"ts\":2,\"dur\":1}}]}}"
        );
        let read = read(&text);
        assert_eq!(names(&read), ["a", "c"], "{bad}");
        let at = text.find(bad).unwrap();
        let note =
            format!("1 events could not be read and were skipped; the first is at offset {at} (line 3)");
        assert_eq!(read.notes, [note], "{bad}");
    }
    let read = events(
        r#"{"ph":"X","name":"a","ts":1,"dur":2},{"ph":"X","name":"b","ts":"soon"},{"ph":"X","name":"c"},{"ph":"X","name":"d","ts":4,"dur":-2},{"ph":"X","name":"e","ts":4,"dur":NaN},{"ph":"X","name":"f","ts":5}"#,
    );
    assert_eq!(names(&read), ["a", "d", "e", "f"]);
    let notes = read.notes.join("\n");
    for says in [
        "2 events without a time were skipped; the first is at offset 53",
        "1 spans have a negative duration",
        "1 spans have a duration that is not a number",
        "1 spans (phase X) have no duration",
    ] {
        assert!(notes.contains(says), "{notes}");
    }
}

#[test]
fn every_form_of_document_is_read() {
    let event = r#"{"name":"a","ph":"X","pid":1,"tid":1,"ts":1,"dur":2}"#;
    for text in [
        format!("[{event}]"),
        format!("[{event},\n"),
        format!("[{event},]"),
        format!("[\n{event}\n"),
        format!("\u{feff}{{\"traceEvents\":[{event}]}}"),
        format!("{{\"traceEvents\":[{event},],}}"),
        format!(
            "{{\"displayTimeUnit\":\"ms\",\"systemTraceEvents\":\"\",\"traceEvents\":[{event}],\"samples\":[],\"metadata\":{{\"a\":[1]}}}}"
        ),
        format!("{{\"otherData\":{{\"version\":\"x\"}},\"traceEvents\":[{event}]"),
        format!("{event}\n"),
        format!(
            "{event}\r\n{{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":1,\"args\":{{\"name\":\"p\"}}}}\r\n"
        ),
        format!("{{\"args\":{{\"x\":1}},{}", &event[1..]),
        format!("data: [{event}]\n\n"),
        format!("{{\"beginningOfTime\":1,\"traceEvents\":[{event}]}} trailing"),
        format!("{{\"traceEvents\":[{event}]}}\n{{\"traceEvents\":[]}}"),
        format!("// by hand\n{{'traceEvents':[{}]}}", event.replace('"', "'")).replacen(
            "// by hand\n",
            "",
            1,
        ),
    ] {
        let read = read(&text);
        assert_eq!(rows(&read), [row("a", 2, None)], "{text}");
    }
}

/// Files that are compressed, or in the encodings of Windows' tools.
#[test]
fn packed_and_wide_files_are_read() {
    let text = r#"{"traceEvents":[{"name":"läuft","ph":"X","ts":1,"dur":2}]}"#;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, text.as_bytes()).unwrap();
    let little: Vec<u8> =
        "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for bytes in [gzip.finish().unwrap(), little, big] {
        assert_eq!(rows(&import::read(&bytes).unwrap()), [row("läuft", 2, None)]);
    }
}

#[test]
fn times_keep_their_nanoseconds_in_each_form() {
    for (ts, dur) in [
        ("1700000000000000.123", "0.457"),
        ("\"1700000000000000.123\"", "\"0.457\""),
        ("1.700000000000000123e15", "4.57e-1"),
    ] {
        let read = events(&format!(r#"{{"ph":"X","name":"a","ts":{ts},"dur":{dur}}}"#));
        let span = &read.requests[0].spans[0];
        assert_eq!((span.start_ns, span.dur_ns), (1_700_000_000_000_000_123, 457));
    }
    let torch = r#"{"schemaVersion":1,"baseTimeNanoseconds":1700000000000000001,"traceEvents":[{"ph":"X","name":"a","pid":"Spans","tid":"t","ts":2.5,"dur":1}]}"#;
    assert_eq!(read(torch).requests[0].spans[0].start_ns, 1_700_000_000_000_002_501);
    let clang = r#"{"traceEvents":[{"ph":"X","name":"Total","ts":0,"dur":12,"pid":1,"tid":2}],"beginningOfTime":1700000000000000}"#;
    assert_eq!(read(clang).requests[0].spans[0].dur_ns, 12_000);
}

#[test]
fn negative_times_are_moved_together() {
    let read = events(
        r#"{"ph":"X","name":"a","ts":-100,"dur":10},{"ph":"X","name":"b","ts":-50.5,"dur":2},{"ph":"X","name":"c","ts":3,"dur":1}"#,
    );
    let starts: Vec<_> = read.requests[0].spans.iter().map(|s| s.start_ns).collect();
    assert_eq!(starts, [0, 49_500, 103_000]);
    assert_eq!(read.notes, ["some times are negative; all were moved by 0.1 ms, so that the first one is 0"]);
}

/// Lua and JavaScript write whole numbers with a fraction, C writes hexadecimal in capitals.
#[test]
fn equal_numbers_in_other_forms_are_equal() {
    for (begin, end) in [
        (r#""pid":1,"tid":2"#, r#""pid":1.0,"tid":2.0"#),
        (r#""pid":"1","tid":"2""#, r#""pid":1,"tid":2"#),
        (r#""pid":1e3"#, r#""pid":1000"#),
    ] {
        let read = events(&format!(
            r#"{{"ph":"B","name":"a","ts":0,{begin}}},{{"ph":"E","name":"a","ts":5,{end}}}"#
        ));
        assert_eq!((rows(&read), read.notes.len()), (vec![row("a", 5, None)], 0), "{begin}");
    }
    for (begin, end) in [("1.0", "1"), ("\"0XFF\"", "\"0xff\""), ("255", "\"0xFF\"")] {
        let read = events(&format!(
            r#"{{"ph":"b","cat":"c","name":"a","ts":0,"id":{begin}}},{{"ph":"e","cat":"c","name":"a","ts":5,"id":{end}}}"#
        ));
        assert_eq!((rows(&read), read.notes.len()), (vec![row("a", 5, None)], 0), "{begin}");
    }
}

#[test]
fn arguments_that_are_too_deep_stay_text() {
    let args = format!("{}{}", "[".repeat(300), "]".repeat(300));
    let read = events(&format!(r#"{{"ph":"X","name":"a","ts":0,"dur":5,"args":{args}}}"#));
    assert_eq!((rows(&read), read.notes.len()), (vec![row("a", 5, None)], 0));
    assert_eq!(read.requests[0].spans[0].attributes, [("args".to_owned(), Value::Text(args))]);
}

#[test]
fn lines_end_in_each_form_and_may_be_long() {
    let event = r#"{"name":"a","ph":"X","ts":1,"dur":2,"args":{"x":"@"}}"#.replace('@', &"y".repeat(1 << 20));
    for end in ["\n", "\r\n", "\r", ""] {
        let text = ["[", &event, ",", &event, "]"].join(end);
        let read = read(&text);
        assert_eq!((names(&read), read.notes.len()), (vec!["a".to_owned(), "a".to_owned()], 0), "{end:?}");
    }
}

#[test]
fn numbers_with_signs_zeros_and_exponents_are_times() {
    for (ts, dur) in [("1", "2"), ("+1", "+2"), ("01", "002"), ("1e0", "2E+0"), ("\"1.0\"", "\"0.2e1\"")] {
        let read = events(&format!(r#"{{"ph":"X","name":"a","ts":{ts},"dur":{dur}}}"#));
        assert_eq!((rows(&read), read.notes.len()), (vec![row("a", 2, None)], 0), "{ts} {dur}");
    }
    let read = events(r#"{"ph":"X","name":"a","ts":1,"dur":-2}"#);
    assert_eq!(rows(&read), [row("a", 0, None)]);
    assert!(read.notes[0].contains("negative duration"), "{:?}", read.notes);
}

#[test]
fn a_text_after_zeros_or_in_latin_1_is_read() {
    let event = r#"[{"name":"a","ph":"X","ts":1,"dur":2}]"#;
    let zeros = [event.as_bytes(), &[0; 512]].concat();
    assert_eq!(rows(&import::read(&zeros).unwrap()), [row("a", 2, None)]);
    let latin = import::read(b"[{\"name\":\"caf\xe9\",\"ph\":\"X\",\"ts\":1,\"dur\":2}]").unwrap();
    assert_eq!(rows(&latin), [row("café", 2, None)]);
    assert!(latin.notes[0].contains("Latin-1"), "{:?}", latin.notes);
}

#[test]
fn a_file_without_a_span_is_refused_with_the_reason() {
    for (text, says) in [
        (r#"[{"ph":"X","name":"a","ts":"2024-01-01T00:00:00Z"}]"#, "1 events without a time"),
        (r#"[{"ph":"C","name":"c","ts":1}]"#, "C (counters)"),
        (r#"[{"ph":"X","name":"a"#, "cut short"),
        (r#"{"traceEvents":{"0":1}}"#, "`traceEvents` that is not a list"),
        ("callback([])", "text that begins with \"callback([])\""),
        ("# tracer: nop\n a-1 [000] 1.0: x: y\n", "ftrace"),
        ("<!DOCTYPE html><script>", "a page"),
    ] {
        let error = import::read(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

/// Two processes with equal names for themselves and their threads: their spans stay separate.
#[test]
fn processes_with_one_name_stay_separate() {
    let name = |pid: u32| {
        format!(
            r#"{{"ph":"M","name":"process_name","pid":{pid},"args":{{"name":"app"}}}},{{"ph":"M","name":"thread_name","pid":{pid},"tid":"main","args":{{"name":"main"}}}}"#
        )
    };
    let read = events(&format!(
        r#"{},{},{{"ph":"X","name":"one","pid":1,"tid":"main","ts":0,"dur":10}},{{"ph":"X","name":"two","pid":"2","tid":"main","ts":2,"dur":3}}"#,
        name(1),
        name(2)
    ));
    assert_eq!(rows(&read), [row("one", 10, None), row("two", 3, None)]);
    let names: Vec<_> = read.requests.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["app / main (pid 1, tid main)", "app / main (pid 2, tid main)"]);
}

#[test]
fn asynchronous_spans_pair_by_category_id_and_scope() {
    let read = events(
        r#"{"ph":"b","cat":"p","id":"0x10","name":"outer","ts":0,"pid":1},{"ph":"b","cat":"p","id":16,"name":"inner","ts":1,"pid":1},
{"ph":"n","cat":"p","id":16,"name":"step","ts":2,"pid":1},{"ph":"e","cat":"p","id":16,"name":"inner","ts":3,"pid":1},{"ph":"e","cat":"p","id":"0x10","name":"outer","ts":9,"pid":1},
{"ph":"b","cat":"p","id":16,"scope":"s","name":"scoped","ts":20,"pid":1},{"ph":"e","cat":"p","id":16,"scope":"s","name":"scoped","ts":24,"pid":1},
{"ph":"b","cat":"p","id2":{"local":"0x1"},"name":"mine","ts":30,"pid":1},{"ph":"b","cat":"p","id2":{"local":"0x1"},"name":"mine","ts":31,"pid":2},
{"ph":"e","cat":"p","id2":{"local":"0x1"},"name":"mine","ts":35,"pid":1},{"ph":"e","cat":"p","id2":{"local":"0x1"},"name":"mine","ts":39,"pid":2},
{"ph":"S","cat":"q","id":7,"name":"old","ts":40,"pid":1},{"ph":"T","cat":"q","id":7,"name":"old","ts":41,"pid":1},{"ph":"F","cat":"q","id":7,"name":"old","ts":45,"pid":1}"#,
    );
    assert_eq!(read.notes, Vec::<String>::new());
    let spans: Vec<_> = rows(&read).into_iter().map(|(name, ns, _)| (name, ns / 1000)).collect();
    let expected = [
        ("outer", 9),
        ("inner", 2),
        ("step", 0),
        ("scoped", 4),
        ("mine", 5),
        ("old", 5),
        ("old", 0),
        ("mine", 8),
    ];
    assert_eq!(spans, expected.map(|(name, us)| (name.to_owned(), us)));
}

#[test]
fn other_phases_are_counted_by_kind() {
    let read = events(
        r#"{"ph":"X","name":"a","ts":0,"dur":1},{"ph":"C","name":"c","ts":1,"args":{"v":1}},{"ph":"P","name":"Profile","ts":1},{"ph":"N","ts":1},{"ph":"O","ts":1},{"ph":"D","ts":1},
{"ph":"v","ts":1},{"ph":"c","ts":1},{"ph":"(","ts":1},{"ph":"s","id":1,"ts":1},{"ph":"f","id":1,"ts":1},{"ph":"Z","ts":1},{"ph":"R","name":"mark","ts":1},{"ph":"I","name":"instant","ts":1}"#,
    );
    assert_eq!(names(&read), ["a", "mark", "instant"]);
    let notes = read.notes.join("\n");
    for says in [
        "1 events of the phase C (counters)",
        "1 events of the phase P (CPU samples)",
        "3 events of the phase N, O, D (objects)",
        "1 events of the phase v, V",
        "phase \"Z\"",
        "2 arrows",
    ] {
        assert!(notes.contains(says), "{says}: {notes}");
    }
}

#[test]
fn stacks_of_events_are_named() {
    let text = r#"{"stackFrames":{"1":{"name":"main"},"2":{"name":"run","parent":1},"9":{"name":"x","parent":"9"}},
"traceEvents":[{"ph":"X","name":"a","ts":0,"dur":1,"sf":2},{"ph":"i","name":"b","ts":2,"stack":["f","g"]},{"ph":"i","name":"c","ts":3,"sf":"9"},{"ph":"i","name":"d","ts":4,"sf":77}],
"samples":[{"cpu":0,"tid":1,"ts":1,"sf":2}]}"#;
    let read = read(text);
    let stack = |i: usize| read.requests[0].spans[i].attributes[0].1.to_string();
    assert_eq!([stack(0), stack(1), stack(3)], ["main;run", "f;g", "77"]);
    assert!(stack(2).starts_with("x;x"), "a cycle ends");
    assert!(read.notes[0].contains("1 CPU samples"), "{:?}", read.notes);
}

/// An event of another tool may have an argument with a name that we use.
#[test]
fn arguments_of_other_tools_are_not_taken_for_ours() {
    let read = events(
        r#"{"ph":"X","name":"a","cat":"request","ts":0,"dur":9,"args":{"request":7,"thread":"t","function":"f","source":"s:1","lane":"l","attribute.lane":"m"}},{"ph":"X","name":"b","ts":1,"dur":2}"#,
    );
    assert_eq!(rows(&read), [row("a", 9, None), row("b", 2, Some("a"))]);
    let again = import::read(&export(&read.requests)).unwrap();
    assert_eq!(rows(&again), rows(&read));
    let sorted = |read: &Imported| {
        let mut attributes = read.requests[0].spans[0].attributes.clone();
        attributes.sort_by(|a, b| a.0.cmp(&b.0));
        attributes
    };
    assert_eq!(sorted(&again), sorted(&read));
    assert_eq!(sorted(&read).len(), 6);
}
