use proptest::prelude::*;

use super::*;

fn fixed(text: &str) -> String {
    String::from_utf8(repair(text.as_bytes())).unwrap()
}

#[test]
fn forbidden_forms_become_valid_json() {
    for (from, to) in [
        (
            r#"{"a":NaN,"b":-Infinity,"c":+inf,"d":nan(ind)}"#,
            r#"{"a":"NaN","b":"-Infinity","c":"Infinity","d":"NaN"}"#,
        ),
        ("[1.#QNAN,-1.#INF,1e400,-1e400]", r#"["NaN","-Infinity","Infinity","-Infinity"]"#),
        ("[.5,5.,+7,007,-0x10,1E3]", "[0.5,5.0,7,7,-16,1e3]"),
        ("[True,None,undefined]", "[true,null,null]"),
        ("[1,,2,]", "[1,2]"),
        (r#"{"a":1 "b":2,}"#, r#"{"a":1 ,"b":2}"#),
        ("{'a':'it\\'s \"so\"',b:c}", r#"{"a":"it's \"so\"","b":"c"}"#),
        (
            r#"["C:\Users\new\x1b","\ud800x","\ud83d\ude00","\u12"]"#,
            r#"["C:\\Users\new\u001b","\ufffdx","\ud83d\ude00","\\u12"]"#,
        ),
        ("[\"a\nb\tc\"]", r#"["a\u000ab\u0009c"]"#),
        ("[1 /*x, */,2] //end", "[1 ,2] "),
        (r#"{"a":[{"b":1}]}"#, r#"{"a":[{"b":1}]}"#),
    ] {
        assert_eq!(fixed(from), to);
        serde_json::from_str::<Value>(to).unwrap();
    }
    assert_eq!(repair(b"[\"\xff\"]"), "[\"\u{fffd}\"]".as_bytes());
}

#[test]
fn a_member_that_is_there_twice_is_reported() {
    #[derive(serde::Deserialize)]
    struct One {
        k: i64,
    }
    for (text, says) in [
        (r#"{"k":1,"k":2}"#, "only the last one is read, and the others are left out"),
        (r#"{"k":1,"k":2,}"#, "only the last one is read, and the others are left out"),
        (r#"{"k":2,}"#, "nothing is left out"),
    ] {
        let (one, notes): (One, _) = document(text.as_bytes()).unwrap();
        assert!(one.k == 2 && notes.len() == 1 && notes[0].ends_with(says), "{notes:?}");
    }
}

#[test]
fn numbers_of_64_bits_stay_exact() {
    for n in ["18446744073709551615", "-9223372036854775808", "9007199254740993"] {
        assert_eq!(fixed(&format!("[{n},NaN]")), format!("[{n},\"NaN\"]"));
    }
}

#[test]
fn a_truncated_document_ends_after_its_last_complete_value() {
    for (from, to) in [
        (r#"{"a":[1,2,3"#, r#"{"a":[1,2]}"#),
        (r#"{"a":[{"b":"x","c"#, r#"{"a":[{"b":"x"}]}"#),
        (r#"{"a":[{"b":"x","c":"#, r#"{"a":[{"b":"x"}]}"#),
        (r#"{"a":[{"b":"x","c":"yy"#, r#"{"a":[{"b":"x"}]}"#),
        (r#"{"a":{},"b":["#, r#"{"a":{},"b":[]}"#),
        (r#"{"a":1}} trailing"#, r#"{"a":1}"#),
        ("[[1,2],[3", "[[1,2],[]]"),
    ] {
        assert_eq!(String::from_utf8(close(from.as_bytes())).unwrap(), to);
    }
}

/// Reads records that have a `k`.
fn read(text: &str) -> (Vec<i64>, Lost) {
    let (mut found, mut lost) = (Vec::new(), Lost::default());
    let one = |text: &[u8]| parse(text)?.get("k")?.as_i64();
    elements(text.as_bytes(), 0, one, |k| found.push(k), &mut lost);
    (found, lost)
}

#[test]
fn a_damaged_record_loses_only_itself() {
    for bad in [
        r#"{"k":1,"name":"say "hi"}"#,
        r#"{"k":1,"name":"open}"#,
        r#"{"k":1,"args":{"a":2}"#,
        r#"{"k":1,"args":[1,2}"#,
        r#"{"k" 1}"#,
        "null",
        "17",
        r#"{"other":[{"x":1},{"y":2}]}"#,
        "}",
    ] {
        let text = format!("[{{\"k\":0}},\n{bad},\n{{\"k\":2,\"a\":{{\"b\":[]}}}},\n{{\"k\":3}}]");
        let (found, lost) = read(&text);
        assert_eq!(found, [0, 2, 3], "{bad}");
        assert_eq!((lost.count, lost.first, lost.cut), (1, Some(10), None), "{bad}");
        assert!(lost.notes("events", text.as_bytes())[0].contains("offset 10 (line 2)"));
    }
}

#[test]
fn two_damaged_records_do_not_hide_those_between_them() {
    let (found, lost) = read(r#"[{"k":1,"a":"x"y"},{"k":2},{"k":3},{"k":4,"a":"x"y"},{"k":5}]"#);
    assert_eq!((found.as_slice(), lost.count), (&[2, 3, 5][..], 2));
}

#[test]
fn arrays_without_end_and_values_line_by_line_are_read() {
    assert_eq!(read("[{\"k\":1},{\"k\":2},").0, [1, 2]);
    assert_eq!(read("[{\"k\":1},{\"k\":2},{\"k\":").1.cut, Some(17));
    assert_eq!(read("{\"k\":1}\n{\"k\":2}\r\n\u{1e}{\"k\":3}\n").0, [1, 2, 3]);
    assert_eq!(read("[{\"k\":1}\n{\"k\":2}]").0, [1, 2], "missing commas");
}

/// Records that never end are read in a few passes over the file.
#[test]
fn a_file_of_damaged_records_is_read_in_linear_time() {
    let text = format!("[{}", "{\"k\":1,\"a\":{\"b\":[\n".repeat(50_000));
    let (found, lost) = read(&text);
    assert!(found.is_empty() && lost.cut.is_some());
    let text = format!("[{}", "{\"k\":1,\"a\":{\"b\":[\n{\"k\":2}\n".repeat(20_000));
    assert_eq!(read(&text).0.len(), 20_000);
}

#[test]
fn leaves_take_any_form() {
    let numbers: Vec<Number> = serde_json::from_str(r#"[1,-2,0.5,"7",null,"x",[1],{"a":[1]},true]"#).unwrap();
    let numbers: Vec<_> = numbers.iter().map(|n| n.0).collect();
    assert_eq!(numbers, [Some(1.0), Some(-2.0), Some(0.5), Some(7.0), None, None, None, None, None]);
    let places: Vec<Index> = serde_json::from_str(r#"[1,-1,null,2.0,"3","x",0.5,[]]"#).unwrap();
    let places: Vec<_> = places.iter().map(|n| n.0).collect();
    let nowhere = Some(usize::MAX);
    assert_eq!(places, [Some(1), None, None, Some(2), Some(3), nowhere, nowhere, nowhere]);
    let texts: Vec<Text> = serde_json::from_str(r#"["a",1,null,{}]"#).unwrap();
    assert_eq!(texts.iter().map(|t| t.0.as_str()).collect::<Vec<_>>(), ["a", "1", "", ""]);
    let lists: Vec<List<u8>> = serde_json::from_str(r#"[[1,2],null,{},"x"]"#).unwrap();
    assert_eq!(lists.iter().map(|l| l.0.len()).collect::<Vec<_>>(), [2, 0, 0, 0]);
}

proptest! {
    #[test]
    fn strict_json_is_left_as_it_is(n in any::<i64>(), x in any::<f64>(), text in ".{0,20}") {
        let value = serde_json::json!({"n": n, "x": x, "text": text, "list": [null, true, {}]});
        let text = value.to_string();
        prop_assert_eq!(String::from_utf8(repair(text.as_bytes())).unwrap(), text);
    }

    #[test]
    fn any_text_is_walked_to_its_end(text in "[\\[\\]{}\",:'/*\\\\kn1 \n-]{0,60}") {
        let bytes = text.as_bytes();
        let (found, lost) = read(&text);
        prop_assert!(found.len() as u64 + lost.count <= bytes.len() as u64);
        let _ = (parse(bytes), document::<Value>(bytes), close(bytes), close(&repair(bytes)));
        for (_, at) in Members::new(bytes, 0) {
            prop_assert!(at <= bytes.len());
        }
    }

    /// Complete records before and after any damage are found.
    #[test]
    fn damage_loses_one_record(at in 0usize..20, byte in any::<u8>()) {
        let good = br#"{"k":1,"a":{"b":2}}"#;
        let mut bad = good.to_vec();
        let at = at.min(good.len() - 1);
        // A bracket in place of the record would end the array.
        prop_assume!(at > 0 || byte != b']');
        bad[at] = byte;
        let text = [b"[", &good[..], b",\n", &bad, b",\n", good, b"]"].concat();
        let (mut found, mut lost) = (0, Lost::default());
        elements(&text, 0, |t| parse(t)?.get("k").cloned(), |_| found += 1, &mut lost);
        prop_assert!(found >= 2 && found + lost.count >= 3, "{} {:?}", found, lost);
    }
}
