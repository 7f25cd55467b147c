//! Any bytes: an error or requests that can be written, never a panic.
use proptest::prelude::*;
use tracepoints_export::{Request, chrome, import, otlp, recorded};

use crate::{chrome as of_chrome, perfetto, sample};

fn take(bytes: &[u8]) {
    let readers: [fn(&[u8]) -> _; 4] = [import::read, chrome::read, otlp::read_json, otlp::read_protobuf];
    for read in readers {
        if let Ok(imported) = read(bytes) {
            write_all(&imported.requests);
        }
    }
}

/// Writes the requests in every format.
fn write_all(requests: &[Request]) {
    assert!(!of_chrome::export(requests).is_empty());
    perfetto::export(requests);
    let mut folder = tracepoints_export::folded::Folder::default();
    let mut batch = otlp::Batch::default();
    for request in requests {
        folder.request(request);
        batch.push(request);
        let record = recorded::record(request);
        assert_eq!(record.steps.len(), request.spans.len());
    }
    batch.take();
}

/// Makes pieces of all formats in any order.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "{\"traceEvents\":[",
        "[",
        "]",
        "{",
        "}",
        ",",
        "data:",
        "{\"ph\":\"B\",\"ts\":",
        "1",
        "-1e300",
        "1e400",
        "18446744073709551615",
        "\"X\"",
        "{\"ph\":\"E\",\"ts\":5}",
        "{\"ph\":\"b\",\"ts\":1,\"id\":2}",
        "{\"ph\":\"e\",\"ts\":1,\"id\":2}",
        "{\"ph\":\"X\",\"ts\":-5,\"dur\":1e30,\"args\":{\"request\":1}}",
        "{\"ph\":\"X\",\"ts\":9e18,\"dur\":-1,\"args\":[1]}",
        "{\"resourceSpans\":[",
        "{\"scopeSpans\":[{\"spans\":[",
        "{\"traceId\":\"00\",\"spanId\":\"01\",\"parentSpanId\":\"02\",\"name\":\"a\"}",
        "{\"traceId\":\"00\",\"spanId\":\"02\",\"parentSpanId\":\"01\",\"endTimeUnixNano\":\"18446744073709551615\"}",
        "]}]}",
        "\n",
        "\"otherData\":{\"base_unix_ns\":\"18446744073709551615\"}",
        "\u{0}",
        "\n\u{2}\u{12}\u{0}",
    ];
    let word = proptest::sample::select(words.to_vec()).prop_map(|w| w.as_bytes().to_vec());
    proptest::collection::vec(word, 0..24).prop_map(|v| v.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        take(&bytes);
    }

    #[test]
    fn any_pieces_are_read_or_refused(bytes in pieces()) {
        take(&bytes);
    }

    #[test]
    fn damage_anywhere_is_read_over_or_refused(which in 0..3usize, cut in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let requests = sample::requests();
        let mut bytes = match which {
            0 => of_chrome::export(requests),
            1 => {
                let mut writer = otlp::ProtobufWriter::new(Vec::new());
                requests.iter().for_each(|r| writer.request(r).unwrap());
                writer.finish().unwrap()
            }
            _ => {
                let mut writer = otlp::JsonWriter::new(Vec::new());
                requests.iter().for_each(|r| writer.request(r).unwrap());
                writer.finish().unwrap()
            }
        };
        let at = cut.index(bytes.len());
        take(&bytes[..at]);
        bytes[at] = byte;
        take(&bytes);
    }
}

#[test]
fn foreign_formats_are_named() {
    let message = |bytes: &[u8]| import::read(bytes).unwrap_err().to_string();
    assert!(message(b"").contains("empty"));
    assert!(message(b"  \n ").contains("empty"));
    assert!(message(b"TPTRACE\0....").contains("a trace file of this toolkit"));
    assert!(message(&[0x1f, 0x8b, 8, 0]).contains("unpack"));
    assert!(message(b"# TYPE x counter").contains("offset 0"));
    assert!(message(b"PK\x03\x04").contains("zip"));
    assert!(message(b"{\"a\": 1}").contains("traceEvents"));
    assert!(message(b"[]").contains("no span"));
    assert!(message(b"{\"resourceSpans\":[]}").contains("no span"));
    let perfetto = perfetto::export(sample::requests());
    assert!(import::read(&perfetto).is_err(), "Perfetto's files cannot be read");
}
