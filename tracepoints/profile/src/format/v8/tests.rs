use super::*;
use crate::FoldOptions;

fn folded(json: &str) -> (String, Vec<String>) {
    let profile = read(json.as_bytes()).unwrap_or_else(|e| panic!("{e}: {json}"));
    (profile.fold(&FoldOptions::default()).to_string(), profile.comments)
}

const NODES: &str = r#"[{"id":1,"callFrame":{"functionName":"(root)","scriptId":"0","url":"","lineNumber":-1,"columnNumber":-1},"hitCount":0,"children":[2,3]},
{"id":3,"callFrame":{"functionName":"(idle)"}},{"id":2,"callFrame":{"functionName":"main","url":"file:///a.js","lineNumber":4,"columnNumber":0},"children":[4],"hitCount":1},
{"id":4,"callFrame":{"functionName":""},"hitCount":2}]"#;

#[test]
fn a_sample_lasts_until_the_next() {
    let json = format!(
        r#"{{"nodes":{NODES},"startTime":100,"endTime":1000,"samples":[2,4,4,3],"timeDeltas":[10,100,200,300]}}"#
    );
    assert_eq!(folded(&json), ("(idle) 290000\nmain 100000\nmain;(anonymous) 500000\n".into(), vec![]));
    let profile = read(json.as_bytes()).unwrap();
    let main = profile.frames().find(|f| profile.text(f.function) == "main").unwrap();
    assert_eq!((profile.text(main.file), main.line, main.column), ("file:///a.js", 5, 1));
}

#[test]
fn a_line_of_any_number_is_read() {
    let nodes = NODES.replacen(r#""lineNumber":4,"#, r#""lineNumber":4294967295,"#, 1);
    let json = format!(r#"{{"nodes":{nodes},"startTime":0,"endTime":9,"samples":[2],"timeDeltas":[0]}}"#);
    let profile = read(json.as_bytes()).unwrap();
    let main = profile.frames().find(|f| profile.text(f.function) == "main").unwrap();
    assert_eq!(main.line, u32::MAX);
}

#[test]
fn negative_deltas_are_sorted() {
    let json = format!(
        r#"{{"nodes":{NODES},"startTime":0,"endTime":40,"samples":[2,3,4],"timeDeltas":[0,30,-10]}}"#
    );
    assert_eq!(folded(&json).0, "(idle) 10000\nmain 20000\nmain;(anonymous) 10000\n");
}

#[test]
fn bad_samples_and_nodes_are_counted() {
    let json = format!(
        r#"{{"nodes":{},"startTime":0,"endTime":30,"samples":[2,99,null],"timeDeltas":[0,10,10]}}"#,
        NODES.replacen('[', r#"[null,{"callFrame":{}},{"id":7,"parent":8},{"id":9,"parent":9},"#, 1)
    );
    let (text, notes) = folded(&json);
    assert_eq!(text, "main 10000\n");
    assert!(notes[0].starts_with("4 nodes could not be read and are left out"), "{notes:?}");
    assert!(
        notes[1].starts_with("2 samples could not be read and are left out; the first is at sample 1"),
        "{notes:?}"
    );
}

#[test]
fn ids_are_read_in_each_form() {
    let plain =
        format!(r#"{{"nodes":{NODES},"startTime":0,"endTime":40,"samples":[2,4],"timeDeltas":[0,10]}}"#);
    let wanted = "main 10000\nmain;(anonymous) 30000\n";
    assert_eq!(folded(&plain), (wanted.into(), vec![]));
    for (from, to) in [
        (r#""children":[4]"#, r#""children":["4"]"#),
        (r#""children":[4]"#, r#""children":[4.0]"#),
        (r#""children":[4]"#, r#""children":[4e0]"#),
        (r#""samples":[2,4]"#, r#""samples":["2",4.0]"#),
        (r#"{"id":1,"#, r#"{"id":1,"parent":-1,"#),
        (r#"{"id":1,"#, r#"{"id":1,"parent":null,"#),
    ] {
        let json = plain.replacen(from, to, 1);
        assert_ne!(json, plain);
        assert_eq!(folded(&json), (wanted.into(), vec![]), "{to}");
    }
    // A number that is no id belongs to no node.
    let json = plain.replacen("[2,4]", "[-1,1.5,2,4]", 1).replacen("[0,10]", "[0,0,0,10]", 1);
    let (text, notes) = folded(&json);
    assert!(
        text.lines().count() == 2 && notes[0].starts_with("2 samples could not be read"),
        "{text} {notes:?}"
    );
    let json = plain.replacen(r#"{"id":4,"#, r#"{"id":4,"callFrame":{"functionName":"x"}},{"id":4,"#, 1);
    let (text, notes) = folded(&json);
    assert_eq!(text, wanted.replace("(anonymous)", "x"));
    assert!(
        notes[0].starts_with("1 nodes could not be read") && notes[0].contains("has its id, 4"),
        "{notes:?}"
    );
}

#[test]
fn profiles_from_before_2017_are_read() {
    let json = r#"{"head":{"functionName":"(root)","id":1,"hitCount":0,"children":[{"functionName":"f","url":"a.js","lineNumber":3,"id":2,"hitCount":5,"children":[]}]},"startTime":1,"endTime":2,"samples":[2,2],"timestamps":[1000,1500]}"#;
    assert_eq!(folded(json).0, "f 1000000\n");
    let hits = json.replace(r#","samples":[2,2],"timestamps":[1000,1500]"#, "");
    assert_eq!(folded(&hits).0, "f 5000000\n", "counts only: 1 ms each");
}

#[test]
fn profiles_of_the_heap_are_bytes() {
    let json = r#"{"head":{"callFrame":{"functionName":"(root)"},"selfSize":0,"id":1,"children":[{"callFrame":{"functionName":"f"},"selfSize":64,"id":2,"children":[{"callFrame":{"functionName":"g"},"selfSize":32,"id":3,"children":[]}]}]},"samples":[{"size":64,"nodeId":2,"ordinal":1}]}"#;
    assert_eq!(folded(json).0, "f 64\nf;g 32\n");
    let profile = read(json.as_bytes()).unwrap();
    assert_eq!(profile.text(profile.value_types()[0].unit), "bytes");
}

/// Each call nests an object and a list: 200 calls are more than the JSON reader's 128 levels.
#[test]
fn deep_trees_are_read() {
    let nested = |frame: &str, leaf: &str| {
        let mut node = leaf.to_owned();
        for i in (0..200).rev() {
            node = format!(r#"{{"children":[{node}, 7],{}}}"#, frame.replace('@', &i.to_string()));
        }
        node
    };
    let stack = (0..200).map(|i| format!("f{i};")).collect::<String>();
    let tree = nested(
        r#""callFrame":{"functionName":"f@"},"selfSize":0,"id":@"#,
        r#"{"callFrame":{"functionName":"leaf"},"selfSize":8,"id":900}"#,
    );
    assert_eq!(folded(&format!(r#"{{"head":{tree},"samples":[]}}"#)).0, format!("{stack}leaf 8\n"));
    let tree = nested(
        r#""functionName":"f@","id":@,"hitCount":0"#,
        r#"{"functionName":"leaf","id":900,"hitCount":1,"children":[]}"#,
    );
    let json = format!(r#"{{"startTime":1,"head":{tree},"samples":[900,900],"timestamps":[1,2]}}"#);
    assert_eq!(folded(&json).0, format!("{stack}leaf 2000\n"));
    assert!(read(&json.as_bytes()[..json.len() - 60]).is_err());
}

#[test]
fn profiles_in_traces_are_assembled_from_chunks() {
    let json = r#"{"traceEvents":[{"ph":"M","name":"thread_name","pid":1,"tid":7,"args":{"name":"CrRendererMain"}},{"ph":"X","name":"other","args":{"data":{"samples":[1]}}},
{"ph":"P","name":"Profile","id":"0x1","pid":1,"tid":7,"ts":5,"args":{"data":{"startTime":1000}}},
{"ph":"P","name":"ProfileChunk","id":"0x1","pid":1,"tid":9,"ts":6,"args":{"data":{"cpuProfile":{"nodes":[{"id":1,"callFrame":{"functionName":"(root)"}},{"id":2,"parent":1,"callFrame":{"functionName":"a"}}],"samples":[2,2]},"timeDeltas":[10,20]}}},
{"ph":"P","name":"ProfileChunk","id":"0x1","pid":1,"tid":9,"ts":7,"args":{"data":{"cpuProfile":{"nodes":[{"id":3,"parent":2,"callFrame":{"functionName":"b"}}],"samples":[3]},"timeDeltas":[30],"endTime":1100}}}]}"#;
    assert_eq!(folded(json), ("CrRendererMain;a 50000\nCrRendererMain;a;b 40000\n".into(), vec![]));
}
