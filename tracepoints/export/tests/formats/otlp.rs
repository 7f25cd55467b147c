//! OTLP, protobuf by field number and JSON by name, as in opentelemetry-proto.
use tracepoints_export::{
    Request, Value, import,
    otlp::{JsonWriter, ProtobufWriter, read_json, read_protobuf},
};

use crate::{sample, wire::Message};

fn protobuf(requests: &[Request]) -> Vec<u8> {
    let mut writer = ProtobufWriter::new(Vec::new());
    requests.iter().for_each(|r| writer.request(r).unwrap());
    writer.finish().unwrap()
}

fn json(requests: &[Request]) -> Vec<u8> {
    let mut writer = JsonWriter::new(Vec::new());
    requests.iter().for_each(|r| writer.request(r).unwrap());
    writer.finish().unwrap()
}

#[test]
fn our_requests_survive_a_round_trip() {
    let requests = sample::in_order(sample::requests());
    for bytes in [protobuf(&requests), json(&requests)] {
        let read = import::read(&bytes).unwrap();
        assert_eq!(read.notes, Vec::<String>::new());
        assert_eq!(sample::in_order(&read.requests), requests);
    }
}

#[test]
fn the_fields_have_the_protocols_numbers() {
    let requests = sample::requests();
    let mut names = Vec::new();
    let mut spans = 0;
    for resource in Message::read(&protobuf(requests)).messages(1) {
        let attributes = resource.message(1).unwrap().messages(1);
        let service = attributes.iter().find(|a| a.text(1).unwrap() == "service.name").unwrap();
        assert_eq!(service.message(2).unwrap().text(1).unwrap(), "tikv");
        for span in resource.messages(2).iter().flat_map(|s| s.messages(2)) {
            spans += 1;
            let (trace, id) = (&span.bytes(1)[0], &span.bytes(2)[0]);
            assert_eq!((trace.len(), id.len()), (16, 8));
            let request = requests.iter().find(|r| r.trace_id.as_slice() == trace).unwrap();
            let (start, end) = (span.number(7).unwrap(), span.number(8).unwrap());
            assert!(request.start_ns <= start && start <= end);
            let parent = span.bytes(4);
            match span.number(6) {
                Some(2) => assert!(parent.is_empty() && end == request.end_ns()),
                Some(1) => assert_eq!(parent[0].len(), 8),
                other => panic!("kind {other:?}"),
            }
            names.push(span.text(5).unwrap());
        }
    }
    assert_eq!(spans, requests.iter().map(|r| r.spans.len() + 1).sum::<usize>());
    assert_eq!(names.iter().filter(|n| *n == "follower_ack").count(), 4);
}

#[test]
fn the_json_has_the_protocols_names() {
    let requests = sample::requests();
    let text = String::from_utf8(json(requests)).unwrap();
    let message: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let spans = || {
        let resources = message["resourceSpans"].as_array().unwrap().iter();
        resources.flat_map(|r| r["scopeSpans"][0]["spans"].as_array().unwrap())
    };
    let get = spans().find(|s| s["name"] == "mvcc_get").unwrap();
    let hex = |v: &serde_json::Value, len: usize| {
        let text = v.as_str().unwrap();
        text.len() == len && text.bytes().all(|b| b.is_ascii_hexdigit())
    };
    assert!(hex(&get["traceId"], 32) && hex(&get["spanId"], 16) && hex(&get["parentSpanId"], 16));
    assert!(get["startTimeUnixNano"].is_string() && get["endTimeUnixNano"].is_string());
    let attribute = |name: &str| {
        let all = get["attributes"].as_array().unwrap();
        all.iter().find(|a| a["key"] == name).unwrap()["value"].clone()
    };
    assert_eq!(attribute("ts")["intValue"], sample::START_TS.to_string());
    assert_eq!(attribute("huge")["stringValue"], u64::MAX.to_string(), "OTLP's integers are signed");
    assert!(attribute("code.file.path")["stringValue"].as_str().unwrap().ends_with("sample.rs"));
}

/// In the style of collectors and SDKs: numbers as numbers, other names, several roots, values of all types.
const FOREIGN: &str = r#"{
  "resourceSpans": [{
    "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "checkout"}}], "droppedAttributesCount": 0},
    "scopeSpans": [{"scope": {"name": "s", "attributes": []}, "spans": [
      {"traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B174", "parentSpanId": "EEE19B7EC3C1B173",
       "name": "inner", "kind": 1, "startTimeUnixNano": 1544712660300000000, "endTimeUnixNano": "1544712660600000000",
       "attributes": [{"key": "n", "value": {"intValue": 5}}, {"key": "list", "value": {"arrayValue": {"values": [{"boolValue": true}]}}},
                      {"key": "raw", "value": {"bytesValue": "aGk="}}, {"key": "x", "value": {"doubleValue": 0.5}}, {"key": "none", "value": {}}],
       "status": {}, "flags": 1},
      {"traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B173", "parentSpanId": "",
       "name": "POST /buy", "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": "1544712661000000000"},
      {"traceId": "AA8EFFF798038103D269B633813FC60C", "spanId": "01", "name": "one"},
      {"traceId": "AA8EFFF798038103D269B633813FC60C", "spanId": "02", "name": "two"}
    ]}]
  }]
}"#;

#[test]
fn traces_of_other_tools_keep_their_names_and_their_nesting() {
    let read = import::read(FOREIGN.as_bytes()).unwrap();
    assert_eq!(read.requests.len(), 2);
    let buy = &read.requests[0];
    assert_eq!((buy.name.as_str(), buy.dur_ns, buy.spans.len()), ("POST /buy", 1_000_000_000, 1));
    let inner = &buy.spans[0];
    assert_eq!(
        (inner.name.as_str(), inner.thread.as_str(), inner.dur_ns),
        ("inner", "checkout", 300_000_000)
    );
    let value = |name: &str| inner.attributes.iter().find(|(n, _)| n == name).unwrap().1.clone();
    assert_eq!((value("n"), value("x")), (Value::Uint(5), Value::Float(0.5)));
    assert_eq!(value("list").text(), Some(r#"{"arrayValue":{"values":[{"boolValue":true}]}}"#));
    assert_eq!((value("raw").text(), value("none").text()), (Some("hi"), Some("")));
    assert_eq!(read.requests[1].spans.len(), 2, "a trace with two roots keeps both as spans");
    let again = read_protobuf(&protobuf(&read.requests)).unwrap();
    assert_eq!(again.requests[0].spans[0].name, "inner");
}

#[test]
fn a_file_of_the_collectors_exporter_is_read() {
    let requests = sample::in_order(sample::requests());
    let mut framed = Vec::new();
    for request in &requests {
        let message = protobuf(std::slice::from_ref(request));
        framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
        framed.extend_from_slice(&message);
    }
    assert_eq!(sample::in_order(&import::read(&framed).unwrap().requests), requests);
}

#[test]
fn a_truncated_file_is_read_up_to_its_end() {
    let requests = sample::requests();
    let text = json(&requests[..1]).repeat(2);
    let read = read_json(&text[..text.len() - 10]).unwrap();
    assert!(read.notes[0].contains("cut short or damaged at offset"), "{:?}", read.notes);
    let bytes = protobuf(requests);
    let read = read_protobuf(&bytes[..bytes.len() - 3]).unwrap();
    assert!(!read.requests.is_empty() && read.notes[0].contains("cut short"), "{:?}", read.notes);
}
