use super::*;
use crate::{FoldOptions, model::sample_profile};

#[test]
fn stacks_threads_lines_and_times_survive_a_round_trip() {
    let mut profile = sample_profile();
    for value in [0, 1] {
        let again = read(write(&profile, value, "tikv-server").as_bytes()).unwrap();
        let options = FoldOptions { value, ..FoldOptions::default() };
        assert_eq!(again.fold(&FoldOptions::default()), profile.fold(&options));
        let seek = again.frames().find(|f| again.text(f.function) == "seek").unwrap();
        assert_eq!((again.text(seek.file), seek.line, seek.inlined), ("src/get.rs", 41, true));
        let module = again.module_of(seek.module.unwrap()).unwrap();
        assert_eq!(again.text(module.build_id), "c0ffee00");
        assert_eq!(again.time_ns, profile.time_ns);
    }
    let first = profile.samples().next().unwrap();
    let (stack, labels) = (first.stack, first.labels);
    profile.add_at(1_500_000_000, stack, labels, &[9, 9]);
    let again = read(write(&profile, 0, "tikv-server").as_bytes()).unwrap();
    let timed = again.samples().find(|s| s.values == [9]).unwrap();
    assert_eq!(timed.time_ns, Some(1_500_000_000));
}

#[test]
fn a_stage_is_a_category() {
    let json: serde_json::Value = serde_json::from_str(&write(&sample_profile(), 0, "t")).unwrap();
    let names: Vec<_> = json["meta"]["categories"].as_array().unwrap().iter().map(|c| &c["name"]).collect();
    assert_eq!(names, ["Other", "MVCC_GET"]);
    let thread = json["threads"].as_array().unwrap().iter().find(|t| t["name"] == "unified-read-po").unwrap();
    assert_eq!(thread["frameTable"]["category"], serde_json::json!([1, 1, 1]));
}

#[test]
fn an_unreadable_file_is_refused_with_the_position() {
    let error = read(b"{\"meta\": {},\n\"threads\": 3").unwrap_err().to_string();
    assert!(error.contains("line 2"), "{error}");
    let bad = r#"{"threads":[{"name":"t","frameTable":{"func":[88]},"funcTable":{"name":[]},"stackTable":{"prefix":[null],"frame":[0]},"samples":{"stack":[0]}}]}"#;
    let error = read(bad.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("thread 0 sample 0") && error.contains("function 88"), "{error}");
}

/// A row with an invalid reference loses the samples that need it.
#[test]
fn a_bad_row_loses_its_samples() {
    let good = write(&sample_profile(), 0, "t");
    for (from, to, says) in [
        ("\"prefix\":[null,0", "\"prefix\":[null,7", "there is no stack 7"),
        ("\"frame\":[0,", "\"frame\":[99,", "there is no frame 99"),
        ("\"func\":[0,", "\"func\":[88,", "there is no function 88"),
    ] {
        let profile = read(good.replacen(from, to, 1).as_bytes()).unwrap();
        assert_eq!(profile.samples().len(), 1);
        let note = &profile.comments[0];
        assert!(
            note.starts_with(
                "1 samples could not be read and are left out; the first is at thread 0 sample 0"
            ),
            "{note}"
        );
        assert!(note.contains(says), "{note}");
    }
}

fn folded(json: &str) -> (String, Vec<String>) {
    let profile = read(json.as_bytes()).unwrap_or_else(|e| panic!("{e}: {json}"));
    (profile.fold(&FoldOptions::default()).to_string(), profile.comments)
}

/// Gecko's own form: rows with a schema, other processes below, each with its own clock.
#[test]
fn profiles_of_gecko_are_read_with_all_processes() {
    let thread = r#"{"name":"GeckoMain","tid":7,"pid":5,"samples":{"schema":{"stack":0,"time":1,"eventDelay":2},"data":[[1,0.5,0],[null,1],[0],[9,3]]},
"markers":{"schema":{},"data":[]},"stackTable":{"schema":{"prefix":0,"frame":1},"data":[[null,0],[0,1]]},
"frameTable":{"schema":{"location":0,"relevantForJS":1,"line":2,"column":3},"data":[[0,false],[1,true,12]]},"stringTable":["(root)","run (resource://a.js:3:4)"]}"#;
    let json = format!(
        r#"{{"meta":{{"version":30,"interval":1,"startTime":1000}},"libs":[],"threads":[{thread}],"processes":[{{"meta":{{"startTime":1002}},"threads":[{}],"processes":[]}},"odd"]}}"#,
        thread.replace("GeckoMain", "Web")
    );
    let (text, notes) = folded(&json);
    assert_eq!(text, "GeckoMain;(root) 1\nGeckoMain;(root);run 1\nWeb;(root) 1\nWeb;(root);run 1\n");
    assert!(notes[0].starts_with("1 processes could not be read"), "{notes:?}");
    assert!(notes[1].starts_with("2 samples could not be read and are left out; the first is at thread 0 sample 3: there is no stack 9"), "{notes:?}");
    let profile = read(json.as_bytes()).unwrap();
    let run = profile.frames().find(|f| profile.text(f.function) == "run").unwrap();
    assert_eq!((profile.text(run.file), run.line, run.column), ("resource://a.js", 12, 4));
    let times: Vec<_> = profile.samples().map(|s| s.time_ns.unwrap()).collect();
    assert_eq!(times, [500_000, 1_000_000, 2_500_000, 3_000_000]);
}

/// Processed profiles of several versions: strings and libraries by thread or shared, times or their
/// differences.
#[test]
fn processed_profiles_of_all_versions_are_read() {
    let tables = r#""frameTable":{"func":[0,1],"address":[-1,16],"line":[null,3]},"funcTable":{"name":[0,1],"resource":[-1,0],"fileName":[null,2]},"stackTable":{"prefix":[null,0],"frame":[0,1],"category":[0,0]},"resourceTable":{"lib":[0],"name":[1]}"#;
    let strings = r#"["a","b","f.js"]"#;
    let lib = r#"[{"name":"l","path":"/l","debugName":"l"}]"#;
    for json in [
        format!(
            r#"{{"threads":[{{"name":"t","libs":{lib},"stringArray":{strings},{tables},"samples":{{"stack":[1,null,0],"time":[1,2,3],"length":3}}}}]}}"#
        ),
        format!(
            r#"{{"libs":{lib},"threads":[{{"name":"t","pid":"5","stringTable":{strings},{tables},"samples":{{"stack":[1,null,0],"timeDeltas":[1,1,1],"weight":null,"weightType":"samples"}}}}]}}"#
        ),
        format!(
            r#"{{"libs":{lib},"shared":{{"stringArray":{strings}}},"threads":[{{"name":"t","pid":5,{tables},"samples":{{"stack":[1,null,0],"timeDeltas":[1,1,1],"weight":[1,1,1]}}}}]}}"#
        ),
        format!(
            r#"{{"libs":{lib},"shared":{{"stringArray":{strings},{tables}}},"threads":[{{"name":"t","samples":{{"stack":[1,null,0],"timeDeltas":[1,1,1]}}}}]}}"#
        ),
        format!(
            r#"{{"libs":{lib},"shared":{{"stringArray":{strings},{},"sources":{{"filename":[2]}}}},"threads":[{{"name":"t","samples":{{"stack":[1,null,0],"timeDeltas":[1,NaN,2]}}}}]}}"#,
            tables.replace(r#""fileName":[null,2]"#, r#""source":[null,0]"#)
        ),
    ] {
        let (text, notes) = folded(&json);
        assert_eq!((text.as_str(), notes.len() <= 1), ("t;a 1\nt;a;b 1\n", true), "{json}");
        let profile = read(json.as_bytes()).unwrap();
        let b = profile.frames().find(|f| profile.text(f.function) == "b").unwrap();
        let module = profile.module_of(b.module.unwrap()).unwrap();
        assert_eq!(
            (profile.text(b.file), b.line, b.address, profile.text(module.path)),
            ("f.js", 3, 16, "/l")
        );
        assert_eq!(profile.samples().map(|s| s.time_ns.unwrap()).collect::<Vec<_>>(), [1_000_000, 3_000_000]);
    }
}

/// Threads with different units: their values are not mixed.
#[test]
fn units_of_threads_are_not_mixed() {
    let thread = |name: &str, kind: &str| {
        format!(
            r#"{{"name":"{name}","stringArray":["a"],"frameTable":{{"func":[0]}},"funcTable":{{"name":[0]}},"stackTable":{{"prefix":[null],"frame":[0]}},"samples":{{"stack":[0,0,0],"time":[0,1,2],"weight":[2,-1,null],"weightType":"{kind}"}}}}"#
        )
    };
    let json = format!(r#"{{"threads":[{},{}]}}"#, thread("time", "tracing-ms"), thread("space", "bytes"));
    let profile = read(json.as_bytes()).unwrap();
    assert_eq!((profile.total(0), profile.total(1)), (2_000_000, 2));
    assert!(profile.comments[0].starts_with("4 samples could not be read"), "{:?}", profile.comments);
}
