use proptest::prelude::*;

use super::*;
use crate::model::{Sample, sample_profile};

/// All that is known of a sample, in words.
fn shown(profile: &Profile, sample: &Sample<'_>) -> String {
    let text = |id| profile.text(id);
    let frames: Vec<_> = profile
        .frames_of(sample.stack)
        .into_iter()
        .map(|id| {
            let f = profile.frame(id);
            let module = f.module.and_then(|m| profile.module_of(m));
            let module = module.map(|m| (text(m.path), text(m.build_id), m.start, m.end, m.offset));
            let names = (text(f.function), text(f.system_name), text(f.file));
            format!("{names:?} {}:{} {module:?} {:#x} {}", f.line, f.column, f.address, f.inlined)
        })
        .collect();
    let labels = profile.labels_of(sample.labels).iter();
    let mut labels: Vec<_> = labels.map(|l| (text(l.key), profile.label_text(l))).collect();
    labels.sort();
    format!("{frames:?} {labels:?} {:?} {:?}", sample.values, sample.time_ns)
}

/// Asserts that two profiles say the same.
pub(crate) fn same(a: &Profile, b: &Profile) {
    let types = |p: &Profile| {
        let text = |t: &crate::model::ValueType| (p.text(t.kind).to_owned(), p.text(t.unit).to_owned());
        (p.value_types().iter().map(text).collect::<Vec<_>>(), p.period_type.as_ref().map(text))
    };
    assert_eq!(types(a), types(b));
    let when = |p: &Profile| (p.period, p.time_ns, p.duration_ns, p.comments.clone());
    assert_eq!(when(a), when(b));
    let all = |p: &Profile| {
        let mut all: Vec<_> = p.samples().map(|s| shown(p, &s)).collect();
        all.sort();
        all
    };
    assert_eq!(all(a), all(b));
}

const SCRIPT: &str = "main 7/7 1.5: 10 cycles:u: \n\t55d0 leaf+0x1 (/bin/a)\n\t55d1 main+0x2 (/bin/a)\n\n";

#[test]
fn every_form_is_told_by_its_content() {
    let profile = sample_profile();
    let forms = [
        (pprof::write(&profile), Format::Pprof),
        (pprof::write_gzip(&profile), Format::Pprof),
        (speedscope::write(&profile, 0, "t").into_bytes(), Format::Speedscope),
        (firefox::write(&profile, 0, "t").into_bytes(), Format::Firefox),
        (b"# taken at noon\na;b 3\n".to_vec(), Format::Folded),
        (SCRIPT.as_bytes().to_vec(), Format::PerfScript),
        (format!("# captured on: today\n#\n{SCRIPT}").into_bytes(), Format::PerfScript),
    ];
    for (bytes, expected) in forms {
        let (format, read) = read(&bytes, &ReadOptions::default()).unwrap();
        assert_eq!(format, expected);
        assert!(!read.is_empty());
    }
}

#[test]
fn what_is_no_profile_is_named() {
    for (bytes, says) in [
        (&b""[..], "empty"),
        (b"<?xml version=\"1.0\"?><svg/>", "picture"),
        (b"\x7fELF\x02\x01", "--binary"),
        (b"{\"traceEvents\": []}", "trace"),
        (b"hello world\n", "line 1"),
        (b"\x00\x01\x02\x03\xff", "pprof"),
    ] {
        let error = read(bytes, &ReadOptions::default()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

proptest! {
    #[test]
    fn no_bytes_bring_a_reader_down(
        head in 0usize..6,
        bytes in proptest::collection::vec(any::<u8>(), 0..160),
        text in "[a-z0-9 :;/()\\[\\]{}\",.\t\n+]{0,160}",
    ) {
        let heads: [&[u8]; 6] = [b"", b"\x1f\x8b\x08", b"{\"shared\":{},\"profiles\":", b"{\"threads\":[{\"stackTable\":",
            b"a 1/2 3.4: 5 cycles:\n", b"PERFILE2"];
        for tail in [bytes.as_slice(), text.as_bytes()] {
            let all = [heads[head], tail].concat();
            if let Ok((_, profile)) = read(&all, &ReadOptions::default()) {
                let _ = profile.fold(&crate::FoldOptions::default());
            }
        }
    }

    #[test]
    fn no_damage_brings_a_json_reader_down(at in 0usize..4000, byte in b' '..b'~', cut in 0usize..4) {
        let profile = sample_profile();
        for json in [speedscope::write(&profile, 0, "t"), firefox::write(&profile, 0, "t")] {
            let mut bytes = json.into_bytes();
            let len = bytes.len();
            bytes[at % len] = byte;
            if let Ok((_, profile)) = read(&bytes[..len - cut], &ReadOptions::default()) {
                let _ = profile.fold(&crate::FoldOptions::default());
            }
        }
    }
}
