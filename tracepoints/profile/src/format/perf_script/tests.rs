use super::*;
use crate::FoldOptions;

const TEXT: &str = "# ========\n# captured on: Sat\n#\n\
grpc-server-0  12/13 [001]  5.000001:   10101010 cpu-clock:pppH: \n\
\t    55d0 tikv::get+0x10 (/usr/bin/tikv-server)\n\
\t    55d0 std::vector<int, std::allocator<int> >::push_back(int&&)+0x3 (inlined)\n\
\t    66d0 _ZN4tikv3run17h0123456789abcdefE+0x8 (/usr/bin/tikv server (deleted))\n\
\t    77d0 [unknown] ([unknown])\n\
\n\
   swapper     0 [000]  5.500001:   10101010 cpu-clock:pppH: \n\
\tffffffff81 native_safe_halt ([kernel.kallsyms])\n\
\t7f00 [unknown] (/usr/lib/libc.so.6)\n\
\n\
grpc-server-0  12/13 [001]  6.000001:   7 sched:sched_switch: prev=1\n\
\t    55d0 tikv::get+0x10 (/usr/bin/tikv-server)\n\
\n\
grpc-server-0  12/13 [001]  7.000001:   10101010 cpu-clock:pppH: \n\
\t    55d8 tikv::get+0x18 (/usr/bin/tikv-server)\n\
\t    55d8 std::vector<int, std::allocator<int> >::push_back(int&&)+0x9 (inlined)\n\
\t    66d0 _ZN4tikv3run17h0123456789abcdefE+0x8 (/usr/bin/tikv server (deleted))\n\
\t    77d0 [unknown] ([unknown])\n";

#[test]
fn stacks_of_the_first_event_are_below_their_threads() {
    let profile = read(TEXT.as_bytes(), &ReadOptions::default()).unwrap();
    let text = profile.fold(&FoldOptions::default()).to_string();
    let expected = "grpc-server-0;(unknown);tikv::run;\
        std::vector<int, std::allocator<int> >::push_back(int&&);tikv::get 2\n\
        swapper;[libc.so.6];native_safe_halt 1\n";
    assert_eq!(text, expected);
    assert_eq!(profile.total(profile.value_named("cpu").unwrap()), 3 * 10_101_010);
    assert_eq!(
        profile.comments,
        [
            "event cpu-clock:pppH",
            "1 samples of event sched:sched_switch are left out; choose it with --event"
        ]
    );
    assert_eq!(profile.duration_ns, 2_000_000_000);
    assert_eq!(profile.label(profile.samples().next().unwrap().labels, "tid").as_deref(), Some("13"));
}

#[test]
fn one_event_is_chosen_and_times_are_kept() {
    let options =
        ReadOptions { event: Some("sched:sched_switch".into()), times: true, ..ReadOptions::default() };
    let profile = read(TEXT.as_bytes(), &options).unwrap();
    assert_eq!(profile.samples().len(), 1);
    let options = ReadOptions { event: None, times: true, ..ReadOptions::default() };
    let profile = read(TEXT.as_bytes(), &options).unwrap();
    let times: Vec<_> = profile.samples().map(|s| s.time_ns).collect();
    assert_eq!(times, [Some(0), Some(500_000_000), Some(2_000_000_000)]);
    let options = ReadOptions { event: Some("cycles".into()), times: false, ..ReadOptions::default() };
    let error = read(TEXT.as_bytes(), &options).unwrap_err().to_string();
    assert!(error.contains("cpu-clock:pppH, sched:sched_switch"), "{error}");
}

#[test]
fn a_foreign_line_loses_only_itself_and_is_counted() {
    let sample = "a 1/2 3.4: 5 cycles:\n\t55d0 f+0x1 (/bin/a)\n";
    for bad in ["zzz", "\tzz foo (bar)", "WARNING: lost", "\u{1b}[31mx"] {
        for text in [format!("{sample}{bad}\n\n{sample}"), format!("{bad}\n{sample}\n{sample}")] {
            let profile = read(text.as_bytes(), &ReadOptions::default()).unwrap();
            assert_eq!(profile.fold(&FoldOptions::default()).to_string(), "a;f 2\n", "{text:?}");
            let says = format!(
                "1 line is skipped and left out, the first is line {}",
                if text.starts_with('a') { 3 } else { 1 }
            );
            assert!(
                profile.comments.iter().any(|c| c.starts_with(&says)),
                "{text:?}: {:?}",
                profile.comments
            );
        }
    }
    // Within a stack, the stack continues after the line.
    let text = "a 1/2 3.4: 5 cycles:\n\t55d0 f+0x1 (/bin/a)\nWARNING: lost\n\t55d0 main+0x1 (/bin/a)\n";
    let profile = read(text.as_bytes(), &ReadOptions::default()).unwrap();
    assert_eq!(profile.fold(&FoldOptions::default()).to_string(), "a;main;f 1\n");
    let error = read(b"# nothing\n", &ReadOptions::default()).unwrap_err();
    assert!(matches!(error, ProfileError::Empty(_)));
    let error = read(b"zzz\nyyy\n", &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("line 1"), "{error}");
}

fn folded(text: &str) -> (String, Vec<String>) {
    assert!(is_one(text.as_bytes()), "{text}");
    let profile = read(text.as_bytes(), &ReadOptions::default()).unwrap();
    let losses = profile.comments.iter().filter(|c| c.contains("left out")).cloned().collect();
    (profile.fold(&FoldOptions::default()).to_string(), losses)
}

/// Combinations of fields that `perf script -F` may print, from tools/perf/builtin-script.c and
/// util/evsel_fprintf.c.
#[test]
fn every_choice_of_fields_is_read() {
    let stack = "\t    55d0 f+0x10 (/bin/a)\n\t    66d0 main+0x8 (/bin/a)\n\n";
    for first in [
        "a 1/2 [001] 3.4:   10 cycles:u: ",
        "a 1 3.000000004: cycles:u: ",
        "a 1/2 3.4: ",
        "a 1/2 3.4:  250000 ",
        "a 3.4: cycles:",
        "a 1/2 [003] U 3.4: 1 cycles:",
        "a 1/2 2020-07-13 18:26:55.620971 3.4: 1 cycles:",
        // No time.
        "a 1/2 cycles:u: ",
        "a 1 [001]  250 cycles:u:",
        "a 1/2 2020-07-13 18:26:55.620971 cycles: ",
        "a ",
    ] {
        let text = format!("{first}\n{stack}{first}\n{stack}");
        assert_eq!(folded(&text), ("a;main;f 2\n".to_owned(), vec![]), "{first}");
        assert_eq!(folded(&text.replace('\n', "\r\n")), ("a;main;f 2\n".to_owned(), vec![]), "{first}");
    }
    // One frame on the line itself, the thread's name padded on the left.
    for line in [
        "               a   1/2    3.4:  10 cycles:u:      55d0 f+0x1 (/bin/a)",
        "  a  1 cycles:u:  55d0 f+0x1 (/bin/a)",
    ] {
        assert_eq!(folded(&format!("{line}\n{line}\n")).0, "a;f 2\n", "{line}");
    }
    let anonymous = "  7 3.4: cycles:\n\t55d0 f (/bin/a)\n";
    assert_eq!(folded(anonymous).0, ":7;f 1\n");
    // No thread.
    for first in ["  3.4: cycles: \n", " 3.4: \n", "\n", ""] {
        let text = format!("{first}{stack}{first}{stack}");
        assert_eq!(folded(&text), ("main;f 2\n".to_owned(), vec![]), "{first:?}");
        let bare = text.replace(" f+0x10 (/bin/a)", "").replace(" main+0x8 (/bin/a)", "");
        assert_eq!(folded(&bare), ("0x66d0;0x55d0 2\n".to_owned(), vec![]), "{first:?}");
    }
    let flat = "            55d0 f+0x1 (/bin/a)\n".repeat(3);
    assert_eq!(folded(&flat), ("f 3\n".to_owned(), vec![]));
    // Addresses only, after lines that end with a number.
    for first in ["a 29605 ", "a 29605/29605 "] {
        let text =
            format!("{first}\n\t            55d0\n\n{first}\n\t            55d0\n\t            66d0\n\n");
        let name = first.trim();
        let names = if name.contains('/') { name.to_owned() } else { "a_29605".to_owned() };
        let (stacks, losses) = folded(&text);
        assert!(stacks.contains(&format!("{names};0x55d0 1\n{names};0x66d0;0x55d0 1\n")), "{stacks}");
        assert!(losses.is_empty(), "{losses:?}");
    }
}

/// Fields after the event, with and without a call chain (builtin-script.c, `process_event`).
#[test]
fn other_fields_of_a_sample_are_no_frames() {
    let stack = "\t    55d0 f+0x10 (/bin/a)\n\t    66d0 main+0x8 (/bin/a)\n";
    for rest in [
        "7ffff0001234 ",
        "7ffff0001234 |OP LOAD|LVL L1 hit|SNP None|TLB L1 or L2 hit|LCK No|BLK  N/A   33 ",
        "7ffff0001234 foo+0x1 (/bin/b) ",
        "68100142 1234 foo (x)",
    ] {
        let text = format!("a 1/2 3.4: 10 cycles:u:     {rest}\n{stack}\n");
        assert_eq!(folded(&text), ("a;main;f 1\n".to_owned(), vec![]), "{rest}");
    }
    for rest in [
        "add foo bar",
        "dead beef (x)",
        "NR 0 (3, 7f, 400)",
        "(ffffffff81234567)",
        "dev 8,1 (y)",
        "c0ffee=1 1234 f (z)",
    ] {
        let line = format!("a 1/2 3.4: my:event: {rest}\n");
        assert_eq!(folded(&format!("{line}{stack}\n")), ("a;main;f 1\n".to_owned(), vec![]), "{rest}");
        assert_eq!(folded(&format!("{line}{line}")), ("a 2\n".to_owned(), vec![]), "{rest}");
    }
    for rest in [
        "55d0 f+0x1 (/bin/a) => 66d0 g+0x2 (/bin/a)",
        "call                     55d0 f+0x1 (/bin/a) =>     66d0 g+0x2 (/bin/a)",
        "55d0 f+0x1 (/bin/a)           insn: 48 89 e5 ",
        "main                                     55d0 f+0x1 (/bin/a)",
        "55d0 f+0x1",
    ] {
        let line = format!("a 1/2 3.4: 1 branches:u: {rest}\n");
        assert_eq!(folded(&format!("{line}{line}")), ("a;f 2\n".to_owned(), vec![]), "{rest}");
    }
    for line in [
        " ABI:2    AX:0x1    BX:0x2 ",
        " 0x55d0(/bin/a)/0x66(/bin/a)/P/-/-/1 0x1/0x2/M/-/-/0 ",
        "\t BPF output: 0000: 68 65 6c",
    ] {
        let text = format!("a 1/2 3.4: 10 cycles:u: \n{stack}{line}\n\n");
        assert_eq!(folded(&text), ("a;main;f 1\n".to_owned(), vec![]), "{line}");
    }
}

#[test]
fn a_file_that_ends_within_a_line_is_reported() {
    let (stacks, losses) = folded("a 1/2 3.4: 10 cycles:u: \n\t    55d0 f+0x10 (/bi");
    assert_eq!(stacks, "a;f 1\n");
    assert!(losses[0].contains("ends within a line"), "{losses:?}");
}

#[test]
fn frames_have_symbols_modules_and_source_lines_or_not() {
    let head = "ls 900 10.1: 1 cycles:u:\n";
    for (frames, expected) in [
        // srcline, with and without a line; inlined; quoted source.
        (
            "\t7f01 dl+0x1 (/lib/ld.so)\n  dl.c:183\n\t7f03 _start+0x7 (/lib/ld.so)\n  ld.so[1090]\n",
            "ls;_start;dl 1\n",
        ),
        (
            "\t7f01 f\n  a.c:1 (inlined)\n\t7f01 main (/bin/a)\n  a.c:9 (discriminator 2)\n|9  x = f();\n",
            "ls;main;f 1\n",
        ),
        ("\t7f01 f (inlined)\n\t7f01 main (/bin/a)\n", "ls;main;f 1\n"),
        // Without a symbol, a module, both; with the offset in the module.
        ("\t7f01 (/bin/a)\n\t7f03 main\n", "ls;main;[a] 1\n"),
        ("\t7f01aa\n", "ls;0x7f01aa 1\n"),
        ("\t7f01 f+0x1 (/bin/a+0x1234)\n", "ls;f 1\n"),
        ("\t7f01 [unknown] (/bin/a b (deleted))\n", "ls;[a b] 1\n"),
        ("\t7f01 [unknown] (/bin/a (deleted)+0x12)\n", "ls;[a] 1\n"),
        // Brackets in the path, in the name, in both.
        ("\t7f01 f+0x10 (/opt/My App (x86)/lib.so)\n", "ls;f 1\n"),
        ("\t7f01 [unknown] (/opt/My App (x86)/lib.so)\n", "ls;[lib.so] 1\n"),
        ("\t7f01 f(int (*)(char)) (/opt/My App (x86)/lib.so)\n", "ls;f(int (*)(char)) 1\n"),
        ("\t7f01 f+0x1 (/opt/a)b)\n", "ls;f 1\n"),
        ("\t7f01 f+0x1 (/opt/a(b)\n", "ls;f 1\n"),
        ("\t7f01 operator new(unsigned long)+0x3 (/lib/c++.so)\n", "ls;operator new(unsigned long) 1\n"),
        ("\t0x7f01 f+0x1 (/bin/a)\n", "ls;f 1\n"),
        // brstackinsn.
        ("\t7f01 f+0x1 (/bin/a)\n\tmain:\n\t0000563e3b4b6139\tinsn: 0f 1f\n", "ls;f 1\n"),
    ] {
        assert_eq!(folded(&format!("{head}{frames}\n")), (expected.to_owned(), vec![]), "{frames}");
    }
    let text = format!("{head}\t7f01 dl+0x1 (/lib/ld.so)\n  dl.c:183\n");
    let profile = read(text.as_bytes(), &ReadOptions::default()).unwrap();
    let frame = profile.frames().next().unwrap();
    assert_eq!((profile.text(frame.file), frame.line), ("dl.c", 183));
}

#[test]
fn records_of_tasks_and_lost_events_are_no_samples() {
    let text = "perf-exec 0 0.0: PERF_RECORD_COMM: perf-exec:9/9\nf 9 1.0: PERF_RECORD_COMM exec: f:9/9\n\
                f 9 1.0: PERF_RECORD_MMAP2 9/9: [0x55(0x1) @ 0x1 fe:00 9 0]: r-xp /bin/f\n\
                f 9 2.0: 1 cpu-clock: \n\t55d0 f+0x1 (/bin/f)\n\nf 9 3.0: PERF_RECORD_LOST lost 12\n";
    let (stacks, losses) = folded(text);
    assert_eq!(stacks, "f;f 1\n");
    assert_eq!(losses, ["perf lost 12 events or samples: they are left out"]);
    let (_, losses) = folded(&format!("{text}f 9 4.0: PERF_RECORD_LOST lost {}\n", u64::MAX));
    assert_eq!(losses, [format!("perf lost {} events or samples: they are left out", u64::MAX)]);
}

#[test]
fn short_names_of_c_are_no_types() {
    let names: Vec<String> =
        ('a'..='z').map(String::from).chain(["St", "Kc", "ZN1aE"].map(str::to_owned)).collect();
    let sample = |name: &String| format!("prog 1/1 1.0: 1 cycles:\n\t5510 {name}+0x4 (/opt/prog)\n\n");
    let (stacks, _) = folded(&names.iter().map(sample).collect::<String>());
    for name in &names {
        assert!(stacks.contains(&format!("prog;{name} 1\n")), "{name}: {stacks}");
    }
}
