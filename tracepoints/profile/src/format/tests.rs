use proptest::prelude::*;

use super::*;
use crate::model::{Sample, sample_profile};

/// Formats all data of a sample.
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

/// Asserts that two profiles are equal.
pub(crate) fn same(a: &Profile, b: &Profile) {
    let types = |p: &Profile| {
        let text = |t: &crate::model::ValueType| (p.text(t.kind).to_owned(), p.text(t.unit).to_owned());
        (p.value_types().iter().map(text).collect::<Vec<_>>(), p.period_type.as_ref().map(text))
    };
    assert_eq!(types(a), types(b));
    let when = |p: &Profile| (p.period, p.time_ns, p.duration_ns, p.default_value, p.comments.clone());
    assert_eq!(when(a), when(b));
    let all = |p: &Profile| {
        let mut all: Vec<_> = p.samples().map(|s| shown(p, &s)).collect();
        all.sort();
        all
    };
    assert_eq!(all(a), all(b));
}

#[test]
fn counts_of_more_than_63_bits_are_bounded_and_reported() {
    let text = "a;b 9000000000000000000\na;c 9000000000000000000\na;d 9000000000000000000\n";
    let (_, profile) = read(text.as_bytes(), &ReadOptions::default()).unwrap();
    let folded = profile.fold(&crate::FoldOptions::default());
    assert_eq!(folded.total(), i64::MAX as u64);
    crate::flame::svg_of(&folded, "large", &crate::FlameOptions::default()).unwrap();
    crate::tree::Tree::from_profiles("all", &[&folded]);
    let wanted = "the counts of samples add up to more than 63 bits: the surplus is left out";
    assert_eq!(profile.comments, [wanted]);
}

const SCRIPT: &str = "main 7/7 1.5: 10 cycles:u: \n\t55d0 leaf+0x1 (/bin/a)\n\t55d1 main+0x2 (/bin/a)\n\n";

#[test]
fn every_format_is_detected_by_its_content() {
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
fn other_kinds_of_files_are_named() {
    for (bytes, says) in [
        (&b""[..], "empty"),
        (b"<?xml version=\"1.0\"?><svg/>", "picture"),
        (b"\x7fELF\x02\x01", "--binary"),
        (b"{\"traceEvents\": []}", "trace"),
        (b"hello world\n", "line 1"),
        (b"\x00\x01\x02\x03\xff", "binary data"),
        (b"TPTRACE\0", "--trace"),
        (b"heap profile: 1: 2 [3: 4] @ heap/1", "go tool pprof"),
        (b"\xfd7zXZ\0", "xz -d"),
        (b"<svg width=\"1\">", "picture"),
        (b"MOJ\x03\x01", "mojo2austin"),
        (b"PERFFILE\x68\0\0\0\0\0\0\0\x50", "perf script"),
        (b"goroutine profile: total 7\n", "go tool pprof"),
        (b"Attaching 1 probe...\n\n@[\n    f+1\n]: 12\n", "bpftrace"),
        (b"# callgrind format\nevents: Ir\nfn=f\n1 2\n", "callgrind"),
        (b"{\n\t\"linux-perf-json-version\": 1,\n\t\"samples\": []}", "perf.data itself"),
    ] {
        let error = read(bytes, &ReadOptions::default()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn text_is_never_taken_for_another_format() {
    let folded: [&[u8]; 22] = [
        b"<module>;main 3\n",
        b"[unknown];main 3\n",
        b"{closure};main 3\n",
        b"[ perf record: Woken up 1 times ]\na;b 3\n",
        b"\n\x08\x01;b 3\n",
        b"a\x1b[31m;b\x00 3\n",
        b"latin\xe9;b 3\n",
        b"xz;b 3\n",
        b"main;GET 1 2.5: foo: 3\n",
        b"<svg::Node as Show>::show;b 3\n",
        b"<html5ever::Parser>::run;b 3\n",
        b"<!DOCTYPE>;b 3\n",
        b"MOJO_init;b 3\n",
        b"TPTRACE_begin;b 3\n",
        b"NettraceReader;b 3\n",
        b"PERFILE2_open;b 3\n",
        b"PERFFILE_open;b 3\n",
        b"heap profile: x;b 3\n",
        b"Attaching x;b 3\n",
        b"x^2;b 3\n",
        b"[\"a\"];b 3\n",
        b"{\"a\"};b 3\n",
    ];
    for text in folded {
        assert_eq!(detect(text).unwrap(), Format::Folded, "{:?}", String::from_utf8_lossy(text));
        let (_, profile) = read(text, &ReadOptions::default()).unwrap();
        assert_eq!(profile.total(0), 3);
    }
    for script in [
        format!("WARNING: x\nWas it\n\n{SCRIPT}"),
        format!("[ perf record: x ]\n{SCRIPT}"),
        SCRIPT.replace('\n', "\r\n"),
    ] {
        assert_eq!(detect(script.as_bytes()).unwrap(), Format::PerfScript, "{script}");
    }
}

#[test]
fn marks_compression_and_encodings_change_nothing() {
    use std::io::Write as _;
    let text = "main;größer 3\nmain;b 4\n";
    let plain = read(text.as_bytes(), &ReadOptions::default()).unwrap().1;
    let utf16: Vec<u8> =
        [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let forms = [
        format!("\u{feff}{text}").into_bytes(),
        utf16,
        gzip.finish().unwrap(),
        text.replace('\n', "\r").into_bytes(),
    ];
    for bytes in forms {
        same(&read(&bytes, &ReadOptions::default()).unwrap().1, &plain);
    }
}

#[test]
fn numbers_are_read_in_each_form() {
    let speedscope = r#"{"shared":{"frames":[{"name":"a"}]},"profiles":[{"type":"sampled","unit":"none",
"samples":[[0],[0],["0"],[0e0]],"weights":[1e1,"+2",+3,007]}]}"#;
    for (text, wanted) in [(speedscope, "a 22\n"), ("a 1e1\na +2\na 3.0\na 007\n", "a 22\n")] {
        let (_, profile) = read(text.as_bytes(), &ReadOptions::default()).unwrap();
        assert_eq!(profile.fold(&crate::FoldOptions::default()).to_string(), wanted, "{text}");
    }
}

#[test]
fn a_zero_inside_a_text_and_a_long_line_lose_nothing() {
    let zero = "a;b 1\r\na;c\0d 2\r\n".to_owned();
    let deep = format!("{}leaf 3\n", "frame;".repeat(50_000));
    let long = format!("{};leaf 3\n", "x".repeat(1 << 20));
    for text in [zero, deep, long] {
        let (format, profile) = read(text.as_bytes(), &ReadOptions::default()).unwrap();
        assert_eq!((format, profile.total(0)), (Format::Folded, 3));
        assert_eq!(profile.comments, [] as [&str; 0]);
    }
}

/// The reader skips members that it does not know without a bound on their depth.
#[test]
fn a_deep_member_changes_nothing() {
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let json = format!(
        r#"{{"exporter":{deep},"shared":{{"frames":[{{"name":"a"}}]}},"profiles":[{{"type":"sampled","unit":"none","samples":[[0]],"weights":[3]}}]}}"#
    );
    let (format, profile) = read(json.as_bytes(), &ReadOptions::default()).unwrap();
    assert_eq!((format, profile.total(0)), (Format::Speedscope, 3));
    assert_eq!(profile.comments, [] as [&str; 0]);
}

/// Empty lists are no damage: the reader returns an empty profile, or says what it expected.
#[test]
fn empty_lists_have_no_sample_and_bring_no_reader_down() {
    for json in [
        r#"{"shared":{"frames":[]},"profiles":[]}"#,
        r#"{"shared":{"frames":[]},"profiles":[{"type":"sampled","samples":[],"weights":[]}]}"#,
        r#"{"shared":{"frames":[]},"profiles":[{"type":"evented","events":[]}]}"#,
        r#"{"meta":{},"threads":[],"stackTable":[]}"#,
        r#"{"nodes":[],"samples":[],"timeDeltas":[],"callFrame":[]}"#,
        r#"{"head":{"children":[]},"functionName":[]}"#,
        r#"{"traceEvents":[],"ProfileChunk":[],"cpuProfile":[]}"#,
    ] {
        match read(json.as_bytes(), &ReadOptions::default()) {
            Ok((_, profile)) => assert!(profile.is_empty(), "{json}"),
            Err(error) => assert!(error.to_string().len() > 20, "{json}: {error}"),
        }
    }
}

#[test]
fn names_survive_every_format() {
    let names = [
        "a;b",
        "line\nend",
        "worker 3",
        "\"q\" & <x>",
        "größe",
        " lead",
        "#x",
        "f",
        "_[k]",
        "back\\slash",
        "tab\tbed",
    ];
    let mut profile = Profile::new(&[("samples", "count")]);
    for (i, name) in names.iter().enumerate() {
        let (main, leaf) = (profile.add_function("main"), profile.add_function(name));
        let stack = profile.stack([main, leaf]);
        profile.add(stack, crate::model::LabelsId::default(), &[i as i64 + 1]);
    }
    let options = crate::FoldOptions::default();
    let folded = profile.fold(&options);
    for bytes in [
        folded.to_string().into_bytes(),
        pprof::write_gzip(&profile),
        speedscope::write(&profile, 0, "t").into_bytes(),
    ] {
        let (format, again) = read(&bytes, &ReadOptions::default()).unwrap();
        assert_eq!(again.fold(&options), folded, "{format}");
        for name in names {
            assert!(again.frames().any(|f| again.text(f.function) == name), "{format}: {name:?}");
        }
    }
    let svg = crate::flame::svg_of(&folded, "t", &crate::FlameOptions::default()).unwrap();
    crate::flame::assert_well_formed(&svg);
    for shown in [
        "a;b (1 ",
        "line&#10;end (",
        "worker 3 (",
        "&quot;q&quot; &amp; &lt;x&gt; (",
        " lead (",
        "#x (",
        "tab&#9;bed (",
    ] {
        assert!(svg.contains(shown), "{shown}");
    }
    let page = crate::html::profile(&Default::default(), &folded, crate::flame::Measure::Samples).unwrap();
    assert!(page.contains("a;b") && page.contains("line\\nend"));
}

proptest! {
    #[test]
    fn every_line_of_perf_script_is_read_or_counted(
        lines in proptest::collection::vec("[a-z]{1,3} [0-9]{1,2} [0-9]\\.[0-9]: [0-9] cycles:|\t[0-9a-f]{4} [a-z]{1,3} \\(x\\)|[a-zA-Z: ]{1,12}|", 1..14),
    ) {
        let text = lines.join("\n");
        let read = perf_script::read(text.as_bytes(), &ReadOptions::default());
        let is_sample = |l: &&String| l.contains(" cycles:");
        let samples = lines.iter().filter(is_sample).count() as i64;
        match read {
            Ok(profile) => prop_assert!(profile.total(0) >= samples),
            Err(_) => prop_assert_eq!(samples, 0),
        }
    }

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
