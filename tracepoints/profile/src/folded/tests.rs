use proptest::prelude::*;

use super::*;

fn shown(folded: &Folded) -> Vec<(Vec<String>, u64)> {
    folded.iter().map(|(s, n)| (s.split(';').map(|f| show(f).into_owned()).collect(), n)).collect()
}

#[test]
fn folded_text_survives_a_round_trip() {
    let mut folded = Folded::default();
    folded.add(["kv_get", "<A as B>::go"], 7);
    folded.add(["kv_get", "<A as B>::go"], 3);
    folded.add(["kv_get", "nothing"], 0);
    folded.add(["store 2", "fn(A; B)", ""], 5);
    assert_eq!(
        folded.to_string(),
        "# name fn(A: B) is \"fn(A; B)\"\n# name store_2 is \"store 2\"\n\
         kv_get;<A as B>::go 10\nstore_2;fn(A: B);(unknown) 5\n"
    );
    assert_eq!(Folded::parse(&folded.to_string()).unwrap(), folded);
    assert_eq!((folded.total(), folded.lines().len()), (15, 2));
}

#[test]
fn names_with_equal_text_forms_stay_separate() {
    let mut folded = Folded::default();
    for (i, name) in ["a;b", "a:b", "a\tb", "a b", "#x", "_#x", " ", "_"].iter().enumerate() {
        folded.add([*name, "leaf"], i as u64 + 1);
    }
    let text = folded.to_string();
    assert_eq!(shown(&Folded::parse(&text).unwrap()), shown(&folded), "{text}");
    assert_eq!(folded.len(), 8);
}

#[test]
fn every_dialect_is_read() {
    let read = |text: &str| Folded::parse(text).unwrap().to_string();
    for (text, expected) in [
        ("# a comment\n\na;b   2\na;b 3\r\n#\n#!x\n", "a;b 5\n"),
        ("a;b\t3\n\u{feff}a;c 4\n", "a;b 3\na;c 4\n"),
        // stackcollapse-perf.pl --all, --inline; inferno.
        ("java;a_[j];b_[k];c_[i] 2\n", "java;a_[j];b_[k];c_[i] 2\n"),
        ("main;parse 1.5\nmain;eval 2.25\nmain;print 4\n", "main;eval 2.25\nmain;parse 1.5\nmain;print 4\n"),
        ("a 1e3\nb 2.5e-3\n", "a 1000\nb 0.0025\n"),
        ("a;b 3.0\n", "a;b 3\n"),
        // difffolded.pl: before and after.
        ("a;b 10 20\na;c 0 5\n", "a;b 20\na;c 5\n"),
        // Names that end with a number, and one line that does not.
        (
            "worker 1;f 3\nworker 2 4\nmain 5\n",
            "# name worker_1 is \"worker 1\"\n# name worker_2 is \"worker 2\"\nmain 5\nworker_1;f 3\nworker_2 4\n",
        ),
        // Austin, full mode: time, idle, memory.
        ("# mode: full\nP1;T2;f (a.py) 100,0,-64\n", "P1;T2;f (a.py) 100\n"),
        ("#frame;b 3\n", "# name _#frame is \"#frame\"\n_#frame;b 3\n"),
        ("[unknown];a 1\n<module>;b 2\n{closure};c 3\n", "<module>;b 2\n[unknown];a 1\n{closure};c 3\n"),
        ("a;;b 1\n;c 2\n", "(unknown);c 2\na;(unknown);b 1\n"),
        ("a;b 1\0\0\n", "a;b 1\n"),
        ("a;b +3\n", "a;b 3\n"),
        // Thousands with commas.
        ("a;b 1,234\na;c 2,000,001\n", "a;b 1234\na;c 2000001\n"),
        ("a;b 1,234.5\na;c 12\n", "a;b 1234.5\na;c 12\n"),
        // Both line ends in one file.
        ("a;b 1\rc;d 2\ne 3\r\n\rf 4", "a;b 1\nc;d 2\ne 3\nf 4\n"),
        ("", ""),
    ] {
        assert_eq!(read(text), expected, "{text:?}");
        assert_eq!(read(&read(text)), expected, "{text:?}");
    }
}

#[test]
fn a_bad_line_loses_only_itself_and_is_counted() {
    let text = "a;b 12\nthis line was torn by a full disk\na;c (app.py)\na;d 8\n17\nx NaN\nx inf\nx 99999999999999999999\nx 1,2\nx 1e-30\n";
    let read = lines(text);
    assert_eq!((read.stacks.len(), read.skipped.count), (2, 8));
    assert_eq!(
        read.skipped.report("line").unwrap(),
        "8 lines are skipped and left out, the first is line 2: expected `frame;frame COUNT`, found \"this line was torn by \
         a full disk\""
    );
    for (text, line) in [("a\nb", 1), ("# c\n\nx y", 3), ("17", 1)] {
        let error = Folded::parse(text).unwrap_err().to_string();
        assert!(error.contains(&format!("line {line}")), "{error}");
    }
}

proptest! {
    #[test]
    fn any_names_survive_the_text(stacks in proptest::collection::vec((proptest::collection::vec(".{1,6}|[a;: \n#0-9~_]{1,4}", 1..4), 1u64..99), 1..6)) {
        // Only the private characters for hidden ones are excluded from names.
        let plain = |frame: &String| frame.replace(|c: char| c >= '\u{10ff00}', "x");
        let plain = |(frames, count): &(Vec<String>, u64)| (frames.iter().map(plain).collect::<Vec<_>>(), *count);
        let stacks: Vec<_> = stacks.iter().map(plain).collect();
        let mut folded = Folded::default();
        for (frames, count) in &stacks {
            folded.add(frames, *count);
        }
        let again = Folded::parse(&folded.to_string()).unwrap();
        prop_assert_eq!(shown(&again), shown(&folded), "{}", folded);
        for (frames, _) in &stacks {
            prop_assert!(shown(&folded).iter().any(|(names, _)| names == frames));
        }
    }

    #[test]
    fn every_line_is_read_or_counted(rows in proptest::collection::vec("[a-z;# .0-9,-]{0,12}", 0..12)) {
        let text = rows.join("\n");
        let read = lines(&text);
        let comment = |l: &&String| {
            let l = l.trim();
            l.is_empty() || l.starts_with('#')
        };
        let some = rows.iter().filter(|l| !comment(l)).count() as u64;
        let all = rows.iter().filter(|l| !l.trim().is_empty()).count() as u64;
        let found = read.stacks.len() as u64 + read.skipped.count;
        prop_assert!((some..=all).contains(&found), "{found} of {some} to {all}");
    }
}
