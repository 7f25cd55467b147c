//! Names are unchanged after each format's round trip.
use proptest::prelude::*;
use tracepoints_export::{
    Request, Span, Value, import,
    otlp::{JsonWriter, ProtobufWriter},
};

use crate::chrome;

/// Quotes, separators, control characters, escapes, right-to-left marks, nothing.
const NAMES: [&str; 14] = [
    "",
    " ",
    "a;b",
    "say \"so\"",
    "back\\slash",
    "tab\tline\nfeed\r",
    "nul\u{0}bell\u{7}",
    "red\u{1b}[31m\u{1b}]0;own\u{7}",
    "läuft 已 🦀",
    "\u{202e}rtl\u{feff}",
    "request",
    "null",
    "9007199254740993x",
    "{\"ph\":\"X\"}],",
];

fn exports(requests: &[Request]) -> [Vec<u8>; 3] {
    let (mut protobuf, mut json) = (ProtobufWriter::new(Vec::new()), JsonWriter::new(Vec::new()));
    for request in requests {
        protobuf.request(request).unwrap();
        json.request(request).unwrap();
    }
    [chrome::export(requests), protobuf.finish().unwrap(), json.finish().unwrap()]
}

fn request(id: u64, name: &str, other: &str) -> Request {
    let attributes =
        vec![(other.to_owned(), Value::Text(name.into())), (format!("{name}+"), Value::Uint(u64::MAX))];
    let span = |start_ns, dur_ns, parent| Span {
        name: name.into(),
        category: other.into(),
        thread: name.into(),
        start_ns,
        dur_ns,
        parent,
        attributes: attributes.clone(),
        ..Span::default()
    };
    let mut trace_id = [1; 16];
    trace_id[8..].copy_from_slice(&id.to_be_bytes());
    let (start_ns, dur_ns) = (1_700_000_000_000_000_001 + id * 1000, 900);
    Request {
        id,
        name: name.into(),
        trace_id,
        start_ns,
        dur_ns,
        spans: vec![
            span(start_ns, 800, None),
            span(start_ns + 10, 700, Some(0)),
            span(start_ns + 20, 1, Some(1)),
        ],
        ..Request::default()
    }
}

fn same(requests: &[Request]) {
    for bytes in exports(requests) {
        let read = import::read(&bytes).unwrap();
        assert_eq!(read.notes, Vec::<String>::new());
        let plain =
            |requests: &[Request]| crate::sample::in_order(&crate::sample::without_trace_id(requests));
        assert_eq!(plain(&read.requests), plain(requests));
    }
}

#[test]
fn odd_names_survive_a_round_trip() {
    let requests: Vec<Request> =
        (1..).zip(NAMES).map(|(id, name)| request(id, name, NAMES[(id as usize * 5) % 14])).collect();
    same(&requests);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn any_name_survives_a_round_trip(name in ".{0,12}", other in "\\PC{0,6}|request|lane|thread|attribute\\.source") {
        same(&[request(1, &name, &other)]);
    }
}
