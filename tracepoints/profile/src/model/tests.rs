use super::*;
use crate::Folded;

/// Two threads, an inlined frame, a module without symbols, two kinds of value.
pub(crate) fn sample_profile() -> Profile {
    let mut p = Profile::new(&[("samples", "count"), ("cpu", "nanoseconds")]);
    p.period_type = Some(p.value_type("cpu", "nanoseconds"));
    (p.period, p.time_ns, p.duration_ns) = (10_000_000, 1_700_000_000_000_000_000, 2_000_000_000);
    p.comments.push("99 Hz".into());
    let (path, build_id) = (p.intern("/usr/bin/tikv-server"), p.intern("c0ffee00"));
    let module = p.module(Module { path, build_id, start: 0x1000, end: 0x9000, offset: 0x200 });
    let (file, system_name) = (p.intern("src/get.rs"), p.intern("_ZN3getE"));
    let function = |p: &mut Profile, name: &str, line, address, inlined| {
        let function = p.intern(name);
        let module = Some(module);
        p.add_frame(Frame { function, system_name, file, line, column: 0, module, address, inlined })
    };
    let main = function(&mut p, "main", 3, 0x1100, false);
    let get = function(&mut p, "get", 40, 0x1200, false);
    let seek = function(&mut p, "seek", 41, 0x1200, true);
    let bare = p.add_frame(Frame { module: Some(module), address: 0x1300, ..Frame::default() });
    let stage = p.text_label(keys::STAGE, "MVCC_GET");
    let thread = p.text_label(keys::THREAD, "unified-read-po");
    let region = p.number_label(keys::REGION, 2, "");
    let (labels, other) = (p.labels(&[stage, thread, region]), p.text_labels(&[("thread", "apply-0")]));
    let (deep, flat) = (p.stack([main, get, seek]), p.stack([main, bare]));
    p.add(deep, labels, &[2, 20_000_000]);
    p.add(deep, labels, &[1, 10_000_000]);
    p.add(flat, other, &[4, 40_000_000]);
    p
}

#[test]
fn equal_samples_are_summed_and_equal_parts_interned() {
    let mut p = sample_profile();
    assert_eq!((p.samples().len(), p.total(0), p.total(1), p.total(7)), (2, 7, 70_000_000, 0));
    assert_eq!((p.frames().len(), p.stacks().len()), (4, 4));
    let first = p.samples().next().unwrap().stack;
    let names: Vec<String> = p.walk(first).map(|f| p.frame_name(f)).collect();
    assert_eq!(names, ["seek", "get", "main"]);
    assert_eq!(p.label(p.samples().next().unwrap().labels, "region").as_deref(), Some("2"));
    assert_eq!(p.value_named("cpu"), Some(1));
    assert!(!p.is_timed());
    p.add_at(5, first, LabelsId::default(), &[1]);
    p.add_at(5, first, LabelsId::default(), &[1]);
    let times: Vec<_> = p.samples().map(|s| s.time_ns).collect();
    assert_eq!(times, [None, None, Some(5), Some(5)]);
    assert_eq!(p.samples().last().unwrap().values, [1, 0]);
}

#[test]
fn a_fold_names_threads_and_frames_without_symbols() {
    let p = sample_profile();
    let text = p.fold(&FoldOptions::default()).to_string();
    assert_eq!(text, "apply-0;main;tikv-server+0x500 4\nunified-read-po;main;get;seek 3\n");
    let options = FoldOptions { value: 1, roots: vec!["stage".into(), "region".into()] };
    let text = p.fold(&options).to_string();
    assert_eq!(text, "MVCC_GET;2;main;get;seek 30000000\nmain;tikv-server+0x500 40000000\n");
}

#[test]
fn folded_stacks_survive_a_round_trip() {
    let folded = Folded::parse("a;b 3\na;b;c 4\nd 1\n").unwrap();
    let profile = Profile::from_folded(&folded, "samples", "count");
    assert_eq!(profile.stacks().len(), 4);
    assert_eq!(profile.fold(&FoldOptions::default()), folded);
}
