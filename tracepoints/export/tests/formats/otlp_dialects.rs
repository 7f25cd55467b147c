//! Dialects of OTLP, as the specification allows them and SDKs, collectors and back ends write them.
use prost::Message as _;
use tracepoints_export::{
    Imported, Request, Value, import,
    otlp::{self, proto},
};

fn read(text: &str) -> Imported {
    import::read(text.as_bytes()).unwrap_or_else(|e| panic!("{e}: {text}"))
}

const SPAN: &str = r#"{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"build","startTimeUnixNano":"1581452772000000321","endTimeUnixNano":"1581452773000000321"}"#;

fn spans(spans: &str) -> Imported {
    read(&format!(r#"{{"resourceSpans":[{{"resource":{{}},"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#))
}

fn brief(read: &Imported) -> Vec<(String, u64)> {
    let spans = |r: &Request| r.spans.iter().map(|s| (s.name.clone(), s.dur_ns)).collect::<Vec<_>>();
    let of = |r: &Request| [vec![(r.name.clone(), r.dur_ns)], spans(r)].concat();
    read.requests.iter().flat_map(of).collect()
}

#[test]
fn negative_counts_and_unknown_members_are_accepted() {
    let read = read(
        r#"{"resourceSpans":[{"resource":{},"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"build","startTimeUnixNano":"1581452772000000000","endTimeUnixNano":"1581452773000000000","events":[{"timeUnixNano":"1581452772500000000","name":"warn","attributes":[],"droppedAttributesCount":-1}],"droppedAttributesCount":-1,"links":[],"status":{"code":2},"flags":257}]}]}]}"#,
    );
    assert_eq!(brief(&read), [("build".into(), 1_000_000_000), ("warn".into(), 0)]);
    assert_eq!(read.notes, Vec::<String>::new());
    let request = &read.requests[0];
    assert_eq!(request.attributes, [("otel.status_code".into(), Value::Text("ERROR".into()))]);
    assert_eq!(request.spans[0].start_ns, 1_581_452_772_500_000_000);
}

#[test]
fn every_form_of_document_is_read() {
    let whole = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{SPAN}]}}]}}]}}"#);
    let snake = r#"{"resource_spans":[{"scope_spans":[{"spans":[{"trace_id":"5B8EFFF798038103D269B633813FC60C","span_id":"EEE19B7EC3C1B174","name":"build","start_time_unix_nano":1581452772000000321,"end_time_unix_nano":"1581452773000000321"}]}]}]}"#;
    for text in [
        whole.clone(),
        snake.into(),
        format!("\u{feff}{whole}"),
        format!("[{whole}]"),
        format!("\u{1e}{whole}\n"),
        whole.replace("scopeSpans", "instrumentationLibrarySpans"),
        format!(r#"{{"batches":[{{"scopeSpans":[{{"spans":[{SPAN}]}}]}}]}}"#),
        format!(r#"{{"trace":{whole}}}"#),
        format!(
            r#"{{"x":[1,{{}}],"resourceSpans":[{{"schemaUrl":"s","scopeSpans":[{{"spans":[{SPAN},],}}],"resource":null}}]}}"#
        ),
        whole
            .replace("5b8efff798038103d269b633813fc60c", "W47/95gDgQPSabYzgT/GDA==")
            .replace("eee19b7ec3c1b174", "7uGbfsPBsXQ="),
        whole
            .replace("5b8efff798038103d269b633813fc60c", "W47_95gDgQPSabYzgT_GDA")
            .replace("eee19b7ec3c1b174", "7uGbfsPBsXQ"),
        whole.replace("5b8efff798038103d269b633813fc60c", "0x5b8efff798038103d269b633813fc60c"),
        whole.replace("5b8efff798038103d269b633813fc60c", "5b8efff7-9803-8103-d269-b633813fc60c"),
        // A part of a message alone.
        format!(r#"[{{"resource":{{}},"scopeSpans":[{{"spans":[{SPAN}]}}]}}]"#),
        format!(r#"{{"scopeSpans":[{{"spans":[{SPAN}]}}]}}"#),
        format!("[{SPAN}]"),
        SPAN.to_owned(),
    ] {
        let read = read(&text);
        assert_eq!(brief(&read), [("build".into(), 1_000_000_000)], "{text}");
        assert_eq!(
            (read.requests[0].start_ns, read.requests[0].trace_id[0]),
            (1_581_452_772_000_000_321, 0x5b),
            "{text}"
        );
        assert_eq!(read.notes, Vec::<String>::new(), "{text}");
    }
    let two = format!("{whole}\n{}\n", whole.replace("5b8e", "6b8e"));
    assert_eq!(read(&two).requests.len(), 2);
}

#[test]
fn values_of_all_types_are_read_in_each_form() {
    let read = spans(&SPAN.replace(r#""name""#, r#""attributes":[{"key":"i","value":{"intValue":"-9223372036854775808"}},{"key":"u","value":{"intValue":18446744073709551615}},
{"key":"d","value":{"doubleValue":"NaN"}},{"key":"e","value":{"doubleValue":-Infinity}},{"key":"b","value":{"bool_value":true}},{"key":"s","value":{"stringValue":7}},
{"key":"k","value":{"kvlistValue":{"values":[{"key":"x","value":{"intValue":1}}]}}},{"key":"a","value":{"array_value":{"values":[{"stringValue":"y"},{}]}}},
{"key":"r","value":{"bytesValue":"aGk="}},{"key":"n","value":null},{"key":"plain","value":"text"},{"key":"odd","value":{"newValue":1}}],"name""#));
    let attributes = &read.requests[0].attributes;
    let shown: Vec<_> = attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let expected = [
        "i=-9223372036854775808",
        "u=18446744073709551615",
        "d=NaN",
        "e=-inf",
        "b=true",
        "s=7",
        r#"k={"kvlistValue":{"values":[{"key":"x","value":{"intValue":"1"}}]}}"#,
        r#"a={"arrayValue":{"values":[{"stringValue":"y"},{}]}}"#,
        "r=hi",
        "n=",
        "plain=text",
        r#"odd={"newValue":1}"#,
    ];
    assert_eq!(shown, expected);
    let map = spans(&SPAN.replace(r#""name""#, r#""attributes":{"a":1,"b":"c"},"name""#));
    assert_eq!(
        map.requests[0].attributes,
        [("a".into(), Value::Uint(1)), ("b".into(), Value::Text("c".into()))]
    );
}

#[test]
fn kinds_states_and_links_become_attributes() {
    for (kind, code) in [("3", "2"), ("\"SPAN_KIND_CLIENT\"", "\"STATUS_CODE_ERROR\""), ("\"3\"", "\"2\"")] {
        let more = format!(
            r#""kind":{kind},"status":{{"code":{code},"message":"no"}},"links":[{{"traceId":"0a","spanId":"0b"}}],"name""#
        );
        let read = spans(&SPAN.replace(r#""name""#, &more));
        let shown: Vec<_> =
            read.requests[0].attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            shown,
            ["otel.status_code=ERROR", "otel.status_description=no", "span.kind=client", "link=0a/0b"]
        );
    }
}

#[test]
fn a_bad_span_loses_only_itself_and_is_reported() {
    for bad in [
        "null",
        "7",
        r#"{"spanId":"x","name":"say "x""}"#,
        r#"{"spanId":"01","startTimeUnixNano":"soon"}"#,
        r#"{"spanId":"01","endTimeUnixNano":-5}"#,
        r#"{"spanId":"01","attributes":[}"#,
        "{}",
    ] {
        let read = spans(&format!("{SPAN},\n{bad},\n{}", SPAN.replace("5b8e", "6b8e")));
        assert_eq!(read.requests.len(), 2, "{bad}");
        let at = 59 + SPAN.len();
        assert_eq!(
            read.notes,
            [format!("1 spans could not be read and were skipped; the first is at offset {at} (line 2)")],
            "{bad}"
        );
    }
}

#[test]
fn invalid_times_are_counted() {
    let read = spans(
        r#"{"traceId":"01","spanId":"01","name":"open","startTimeUnixNano":5},{"traceId":"02","spanId":"01","name":"back","startTimeUnixNano":5,"endTimeUnixNano":"3"}"#,
    );
    assert_eq!(brief(&read), [("open".into(), 0), ("back".into(), 0)]);
    assert_eq!(read.notes.len(), 2);
    assert!(
        read.notes[0].starts_with("1 spans have no end")
            && read.notes[1].starts_with("1 spans end before they begin"),
        "{:?}",
        read.notes
    );
}

/// A span that is nested too deep for the reader loses only itself.
#[test]
fn deep_attributes_lose_only_their_span() {
    let value = format!("{}{{}}{}", r#"{"arrayValue":{"values":["#.repeat(200), "]}}".repeat(200));
    let deep = SPAN.replace("eee19b7ec3c1b174", "0102030405060708").replace(
        r#""name":"build""#,
        &format!(r#""name":"deep","attributes":[{{"key":"k","value":{value}}}]"#),
    );
    let read = spans(&format!("{deep},{SPAN}"));
    assert_eq!(brief(&read), [("build".into(), 1_000_000_000)]);
    assert!(
        read.notes.len() == 1 && read.notes[0].starts_with("1 spans could not be read"),
        "{:?}",
        read.notes
    );
}

#[test]
fn a_span_that_was_delivered_twice_is_one() {
    let child = SPAN
        .replace("eee19b7ec3c1b174", "0102030405060708")
        .replace(r#""name":"build""#, r#""name":"step","parentSpanId":"eee19b7ec3c1b174""#);
    let once = spans(&format!("{SPAN},{child}"));
    let twice = spans(&format!("{SPAN},{child},{child},{SPAN}"));
    assert_eq!((brief(&once).len(), once.notes.len()), (2, 0));
    assert_eq!(brief(&twice), brief(&once));
    assert!(twice.notes.len() == 1 && twice.notes[0].starts_with("2 spans are copies"), "{:?}", twice.notes);
    // Another span with the same id is no copy.
    let other = child.replace(r#""name":"step""#, r#""name":"other""#);
    let both = spans(&format!("{SPAN},{child},{other}"));
    assert_eq!((brief(&both).len(), both.notes.len()), (3, 0));
}

/// With missing, cyclic, duplicate or absent ids and parents, each span is still there once.
#[test]
fn any_shape_of_parents_keeps_all_spans() {
    let span = |id: &str, parent: &str, name: &str| {
        format!(
            r#"{{"traceId":"01","spanId":"{id}","parentSpanId":"{parent}","name":"{name}","startTimeUnixNano":1,"endTimeUnixNano":2}}"#
        )
    };
    for shape in [
        [("01", "99", "a"), ("02", "01", "b"), ("03", "77", "c")],
        [("01", "03", "a"), ("02", "01", "b"), ("03", "02", "c")],
        [("01", "", "a"), ("01", "01", "b"), ("01", "", "c")],
        [("", "", "a"), ("", "", "b"), ("", "", "c")],
        [("01", "0000000000000000", "a"), ("0000000000000000", "", "b"), ("02", "01", "c")],
    ] {
        let read = spans(&shape.map(|(id, parent, name)| span(id, parent, name)).join(","));
        let mut names: Vec<_> = read.requests.iter().flat_map(|r| &r.spans).map(|s| s.name.clone()).collect();
        // A single outermost span is the request.
        if names.len() == 2 {
            names.push(read.requests[0].name.clone());
        }
        names.sort();
        assert_eq!(names, ["a", "b", "c"], "{shape:?}");
    }
}

fn message(names: &[&str]) -> proto::ExportTraceServiceRequest {
    let span = |name: &&str| proto::Span {
        trace_id: vec![1; 16],
        span_id: name.bytes().take(4).collect(),
        name: (*name).into(),
        start_time_unix_nano: 1,
        end_time_unix_nano: 9,
        ..proto::Span::default()
    };
    let scope = proto::ScopeSpans { scope: None, spans: names.iter().map(span).collect() };
    let resource = proto::ResourceSpans { resource: None, scope_spans: vec![scope] };
    proto::ExportTraceServiceRequest { resource_spans: vec![resource] }
}

#[test]
fn protobuf_is_read_bare_and_with_each_form_of_length() {
    let (one, two) = (message(&["a", "b"]), message(&["c"]));
    let fixed = |m: &proto::ExportTraceServiceRequest| {
        [(m.encoded_len() as u32).to_be_bytes().to_vec(), m.encode_to_vec()].concat()
    };
    for bytes in [
        [one.encode_to_vec(), two.encode_to_vec()].concat(),
        [one.encode_length_delimited_to_vec(), two.encode_length_delimited_to_vec()].concat(),
        [fixed(&one), fixed(&two)].concat(),
    ] {
        let read = import::read(&bytes).unwrap();
        let mut names: Vec<_> = read.requests[0].spans.iter().map(|s| s.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!((names.as_slice(), read.notes.len()), (&["a", "b", "c"][..], 0));
    }
    // A resource whose length looks like the beginning of JSON.
    for len in [b'[', b'{', b'd'] {
        let mut name = "x".to_owned();
        while message(&[&name]).encode_to_vec()[1] < len {
            name.push('x');
        }
        let bytes = message(&[&name]).encode_to_vec();
        assert_eq!(bytes[1], len);
        assert_eq!(import::read(&bytes).unwrap().requests[0].name, name);
    }
}

/// The old name of field 2, before version 0.15, with its current number.
#[test]
fn spans_of_old_libraries_are_read() {
    let mut resource = Vec::new();
    let scope = message(&["a"]).resource_spans[0].scope_spans[0].encode_to_vec();
    prost::encoding::bytes::encode(1000, &scope, &mut resource);
    let mut bytes = Vec::new();
    prost::encoding::bytes::encode(1, &resource, &mut bytes);
    assert_eq!(otlp::read_protobuf(&bytes).unwrap().requests[0].name, "a");
}

#[test]
fn a_bad_span_of_protobuf_loses_only_itself() {
    let good = message(&["aaaa", "bbbb", "cccc"]).encode_to_vec();
    let at = good.windows(4).position(|w| w == b"bbbb").unwrap();
    let mut bytes = good;
    // The id and the name are invalid UTF-8.
    let name = at + 4 + bytes[at + 4..].windows(4).position(|w| w == b"bbbb").unwrap();
    bytes[name] = 0xff;
    let read = import::read(&bytes).unwrap();
    let names: Vec<_> = read.requests[0].spans.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["aaaa", "cccc"]);
    assert!(
        read.notes[0].starts_with("1 messages could not be read and were skipped; the first is at offset"),
        "{:?}",
        read.notes
    );
}

/// The collector's file exporter writes a length before each message, and may be killed within the last one.
#[test]
fn a_last_message_that_is_cut_loses_only_itself() {
    let (one, two) = (message(&["a"]).encode_to_vec(), message(&["b"]).encode_to_vec());
    let fixed = |m: &[u8]| [&(m.len() as u32).to_be_bytes()[..], m].concat();
    let varint = |m: &[u8]| {
        let mut out = Vec::new();
        prost::encoding::encode_varint(m.len() as u64, &mut out);
        [out, m.to_vec()].concat()
    };
    for bytes in [[fixed(&one), fixed(&two)].concat(), [varint(&one), varint(&two)].concat()] {
        let read = import::read(&bytes[..bytes.len() - 3]).unwrap();
        assert_eq!(read.requests[0].name, "a");
        assert!(read.notes[0].contains("cut short or damaged at offset"), "{:?}", read.notes);
    }
}

#[test]
fn unreadable_times_are_reported() {
    let span = SPAN.replace("1581452772000000321", "2020-01-01T00:00:00Z");
    let text = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#);
    let error = import::read(text.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("1 spans could not be read"), "{error}");
    let read = spans(&SPAN.replace(r#""startTimeUnixNano":"1581452772000000321","#, ""));
    assert!(read.notes[0].starts_with("1 spans have no start"), "{:?}", read.notes);
    let read = spans(&SPAN.replace(r#""name""#, r#""events":[{"name":"e","timeUnixNano":"soon"}],"name""#));
    let event = &read.requests[0].spans[0];
    assert_eq!((event.name.as_str(), event.start_ns), ("e", 1_581_452_772_000_000_321));
    assert_eq!(event.attributes, [("timeUnixNano".to_owned(), Value::Text("soon".into()))]);
}

#[test]
fn other_formats_are_named() {
    for (text, says) in [
        (r#"{"resourceLogs":[]}"#, "logs or metrics"),
        (r#"{"data":[{"traceID":"1","spans":[]}]}"#, "Jaeger"),
        (r#"[{"traceId":"1","id":"2","name":"a","timestamp":1,"duration":2}]"#, "Zipkin"),
        (r#"{"shared":{"frames":[]},"profiles":[]}"#, "tikv-ctl flamegraph"),
    ] {
        let error = import::read(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
