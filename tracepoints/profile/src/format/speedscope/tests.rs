use proptest::prelude::*;

use super::*;
use crate::{FoldOptions, model::sample_profile};

#[test]
fn stacks_threads_and_lines_survive_a_round_trip() {
    let profile = sample_profile();
    for value in [0, 1] {
        let again = read(write(&profile, value, "two threads").as_bytes()).unwrap();
        let options = FoldOptions { value, ..FoldOptions::default() };
        assert_eq!(again.fold(&FoldOptions::default()), profile.fold(&options));
        let seek = again.frames().find(|f| again.text(f.function) == "seek").unwrap();
        assert_eq!((again.text(seek.file), seek.line), ("src/get.rs", 41));
        let unit = again.value_types()[0].unit;
        assert_eq!(again.text(unit), ["count", "nanoseconds"][value]);
    }
}

/// Returns the folded stacks and the comments of profiles with the frames a, b, c.
fn folded(profiles: &str) -> (String, Vec<String>) {
    let json = format!(
        r#"{{"$schema": "x", "shared": {{"frames": [{{"name": "a"}}, {{"name": "b"}}, {{"name": "c"}}]}}, "profiles": [{profiles}]}}"#
    );
    let profile = read(json.as_bytes()).unwrap();
    (profile.fold(&FoldOptions::default()).to_string(), profile.comments)
}

fn evented(unit: &str, events: &[(&str, f64, u32)]) -> (String, Vec<String>) {
    let events: Vec<_> = events
        .iter()
        .map(|(kind, at, frame)| format!(r#"{{"type": "{kind}", "at": {at}, "frame": {frame}}}"#))
        .collect();
    folded(&format!(
        r#"{{"type": "evented", "name": "t", "unit": "{unit}", "startValue": 0, "endValue": 10, "events": [{}]}}"#,
        events.join(",")
    ))
}

#[test]
fn events_become_the_time_between_them() {
    let events = [("O", 0.0, 0), ("O", 2.0, 1), ("C", 5.5, 1), ("C", 10.0, 0)];
    assert_eq!(evented("milliseconds", &events), ("t;a 6500000\nt;a;b 3500000\n".into(), vec![]));
    for (unit, text) in [
        ("nanoseconds", "7"),
        ("microseconds", "6500"),
        ("seconds", "6500000000"),
        ("none", "6.5"),
        ("bytes", "7"),
    ] {
        assert!(evented(unit, &events).0.starts_with(&format!("t;a {text}\n")), "{unit}");
    }
}

#[test]
fn events_in_any_order_give_the_same_stacks() {
    let events = [("C", 10.0, 0), ("C", 5.5, 1), ("O", 2.0, 1), ("O", 0.0, 0)];
    assert_eq!(evented("milliseconds", &events), ("t;a 6500000\nt;a;b 3500000\n".into(), vec![]));
}

#[test]
fn events_that_do_not_nest_are_read_and_counted() {
    let (text, notes) =
        evented("none", &[("O", 0.0, 0), ("O", 2.0, 1), ("C", 4.0, 0), ("C", 7.0, 1), ("C", 8.0, 2)]);
    assert_eq!(text, "t;a 2\nt;a;b 2\nt;b 3\n");
    assert!(
        notes[0].starts_with("1 ends of frames that are not open")
            && notes[1].starts_with("1 frames end before"),
        "{notes:?}"
    );
    let (text, notes) = evented("none", &[("O", 0.0, 0), ("O", 2.0, 1), ("C", 4.0, 1)]);
    assert_eq!(text, "t;a 8\nt;a;b 2\n", "it lasts until endValue");
    assert!(notes[0].starts_with("1 frames have no end"), "{notes:?}");
}

fn sampled(samples: &str, weights: &str) -> (String, Vec<String>) {
    folded(&format!(
        r#"{{"type": "sampled", "name": "t", "unit": "none", "startValue": 0, "endValue": 9, "samples": {samples}{weights}}}"#
    ))
}

#[test]
fn weights_are_read_in_each_form() {
    assert_eq!(sampled("[[0],[0,1]]", r#", "weights": [2, "3"]"#).0, "t;a 2\nt;a;b 3\n");
    for (weights, expected) in
        [("0.4, 0.4, 0.4", "t;a 1.2\n"), ("0.1, 0.2, 0", "t;a 0.3\n"), ("0.0004, 0, 0", "t;a 0.0004\n")]
    {
        let (text, notes) = sampled("[[0],[0],[0]]", &format!(r#", "weights": [{weights}]"#));
        assert_eq!((text.as_str(), notes.len()), (expected, 0));
    }
    let (text, notes) = sampled("[[0],[1]]", r#", "weights": [1e-9, 2]"#);
    assert_eq!(text, "t;b 2\n");
    assert!(notes[0].starts_with("1 stacks could not be read and are left out"), "{notes:?}");
    assert_eq!(
        sampled("[[0],[0,1]]", ""),
        ("t;a 1\nt;a;b 1\n".into(), vec![]),
        "without weights each counts one"
    );
    let (text, notes) = sampled("[[0],[7],[1],[2],[0,-1],null]", r#", "weights": [2,1,NaN,-4,1]"#);
    assert_eq!(text, "t;a 2\n");
    assert!(notes.iter().any(|n| n.starts_with("5 samples could not be read and are left out; the first is at profile 0 sample 1: there is no frame 7")), "{notes:?}");
}

#[test]
fn fractional_counts_survive_a_round_trip() {
    let json = r#"{"shared": {"frames": [{"name": "a"}]}, "profiles": [{"type": "sampled", "name": "t", "unit": "none", "samples": [[0]], "weights": [0.25]}]}"#;
    let again = read(write(&read(json.as_bytes()).unwrap(), 0, "x").as_bytes()).unwrap();
    assert_eq!(again.fold(&FoldOptions::default()).to_string(), "t;a 0.25\n");
}

#[test]
fn a_file_without_profiles_is_refused() {
    let error = read(br#"{"wrapped": {"shared": {}, "profiles": [1]}}"#).unwrap_err().to_string();
    assert!(error.contains("expected profiles"), "{error}");
}

/// Samples without weights are counts, not times.
#[test]
fn the_unit_of_missing_weights_is_samples() {
    let json = r#"{"shared": {"frames": [{"name": "a"}]}, "profiles": [{"type": "sampled", "name": "t", "unit": "seconds", "samples": [[0], [0]]}]}"#;
    let profile = read(json.as_bytes()).unwrap();
    assert_eq!((profile.text(profile.value_types()[0].unit), profile.total(0)), ("count", 2));
}

#[test]
fn older_and_odd_files_are_read() {
    for file in [
        r#"{"version":"0.6.0","$schema":"x","shared":{"frames":[{"name":"a","file":null,"line":null}]},"profiles":[{"type":"sampled","name":"t","unit":"none","samples":[[0]],"weights":[1]}]}"#,
        r#"{"exporter":"x@1","activeProfileIndex":null,"name":null,"shared":{"frames":[{"name":"a","file":"f","line":-1,"col":"3"}]},"profiles":[{"type":"sampled","name":"t","unit":"none","samples":[[0.0]],"weights":[1]},null]}"#,
        r#"{"profiles":[{"type":"sampled","name":"t","name":"t","unit":"none","samples":[[0]],"weights":[1],}],"shared":{"frames":[{"name":"a"},]}}"#,
        r#"{"shared":{"frames":[{"name":"a"}]},"profiles":[{"type":"sampled","name":"t","unit":"none","weights":[1],"samples":[[0]],"extra":NaN},{"name":"cut"#,
    ] {
        let profile = read(file.as_bytes()).unwrap_or_else(|e| panic!("{e}: {file}"));
        assert_eq!(profile.fold(&FoldOptions::default()).to_string(), "t;a 1\n", "{file}");
    }
}

#[test]
fn an_unreadable_file_is_refused_with_the_position() {
    let error = read(b"{\"shared\": {},\n\"profiles\"").unwrap_err().to_string();
    assert!(error.contains("line 2"), "{error}");
    let bad = r#"{"shared": {"frames": []}, "profiles": [
        {"type": "sampled", "name": "t", "unit": "none", "startValue": 0, "endValue": 1, "samples": [[4]], "weights": [1]}]}"#;
    let error = read(bad.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("profile 0 sample 0") && error.contains("frame 4"), "{error}");
}

proptest! {
    /// Any names are unchanged after a round trip.
    #[test]
    fn any_name_survives_a_round_trip(names in proptest::collection::vec(".{1,8}", 1..5)) {
        let mut profile = Profile::new(&[("samples", "count")]);
        let frames: Vec<FrameId> = names.iter().map(|name| {
            let function = profile.intern(name);
            profile.add_frame(crate::model::Frame { function, ..Default::default() })
        }).collect();
        let stack = profile.stack(frames);
        profile.add(stack, Default::default(), &[3]);
        let again = read(write(&profile, 0, "t").as_bytes()).unwrap();
        let first = again.samples().next().unwrap();
        let read: Vec<String> = again.frames_of(first.stack).into_iter().map(|f| again.frame_name(f)).collect();
        prop_assert_eq!(read, names);
    }

    /// Events are read or counted, and all of the time is there once: frame c is open from begin to end.
    #[test]
    fn counts_add_up(events in proptest::collection::vec((any::<bool>(), 0u32..20, 0usize..4), 0..40)) {
        let frames = [0, 1, 7, 9];
        let bad = events.iter().filter(|e| frames[e.2] > 2).count();
        let event = |(enter, at, frame): &(bool, u32, usize)| {
            (if *enter { "O" } else { "C" }, f64::from(*at), frames[*frame])
        };
        let mut all = vec![("O", 0.0, 2)];
        all.extend(events.iter().map(event));
        all.push(("C", 20.0, 2));
        let (text, notes) = evented("none", &all);
        let sum: u64 = text.lines().map(|l| l.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
        prop_assert_eq!(sum, 20);
        prop_assert_eq!(bad > 0, notes.iter().any(|n| n.starts_with(&format!("{bad} events could not be read"))));
    }
}
