use proptest::prelude::*;

use super::*;
use crate::{
    FoldOptions,
    format::{ReadOptions, read as read_any},
};

fn folded(text: &str, expected: Format) -> (String, Vec<String>) {
    let (format, profile) = read_any(text.as_bytes(), &ReadOptions::default()).unwrap();
    assert_eq!(format, expected);
    (profile.fold(&FoldOptions::default()).to_string(), profile.comments)
}

const SAMPLE: &str = "\
Analysis of sampling tikv-server (pid 4711) every 1 millisecond
Process:         tikv-server [4711]
Path:            /usr/local/bin/tikv-server
Load Address:    0x10c2c1000
Code Type:       X86-64
----

Call graph:
    20 Thread_811   DispatchQueue_1: com.apple.main-thread  (serial)
    + 20 start  (in libdyld.dylib) + 1  [0x7fff6a2c1cc9]
    +   12 tikv::run  (in tikv-server) + 40  [0x10c2c2000]
    +   ! 12 <[u8; 4] as Get>::get  (in tikv-server) + 8  [0x10c2c2100]
    +   8 tikv::write  (in tikv-server) + 12  [0x10c2c2200]
    7 Thread_812
      7 thread_start  (in libsystem_pthread.dylib) + 15  [0x7fff6a4b7b8b]
        7 kevent  (in libsystem_kernel.dylib) + 10  [0x7fff6a3f7766]

Total number in stack (recursive counted multiple, when >=5):

Sort by top of stack, same collapsed (when >= 5):
        kevent  (in libsystem_kernel.dylib)        7

Binary Images:
       0x10c2c1000 -        0x10c2c4ff7 +tikv-server (0) <3A3C> /usr/local/bin/tikv-server
";

#[test]
fn the_output_of_macos_sample_is_read() {
    let (text, comments) = folded(SAMPLE, Format::Sample);
    let root = "Thread_811   DispatchQueue_1: com.apple.main-thread;libdyld`start;tikv-server`tikv::";
    assert_eq!(
        text,
        format!("{root}run;tikv-server`<[u8: 4] as Get>::get 12\n{root}write 8\n"),
        "the name's own semicolon is changed"
    );
    assert_eq!(comments, ["7 samples of waiting threads are left out"]);
}

#[test]
fn a_truncated_call_graph_is_read_up_to_its_end() {
    let cut = &SAMPLE[..SAMPLE.find("    7 Thread_812").unwrap() + 6];
    let (text, comments) = folded(cut, Format::Sample);
    assert!(text.contains("tikv-server`tikv::write 8"), "{text}");
    assert!(comments.iter().any(|c| c.contains("within its call graph")), "{comments:?}");
    let idle = SAMPLE.replace("tikv::write", "kevent").replace("<[u8; 4] as Get>::get", "kevent");
    let error = read_any(idle.as_bytes(), &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("27 samples of waiting threads"), "{error}");
}

const DTRACE: &str = "\
CPU     ID                    FUNCTION:NAME
  0  64091                        :tick-60s


              libc.so.1`__read+0xa
              tikv-server`tikv::get+0x17
              tikv-server`main+0x83
                5

              tikv-server`tikv::<impl [u8; 4]>::put+0x2
              0x40c2f1
              tikv-server`main+0x83
               12
";

#[test]
fn dtraces_stacks_are_read_with_and_without_its_head() {
    let (text, comments) = folded(DTRACE, Format::Dtrace);
    assert_eq!((text.lines().count(), comments.len()), (2, 0), "{text}");
    assert!(text.contains("tikv-server`main;tikv-server`tikv::get;libc.so.1`__read 5"), "{text}");
    assert!(text.contains(" 12\n") && text.contains("tikv-server`main;0x40c2f1;"), "{text}");
    let quiet = DTRACE.split_once("60s\n").unwrap().1;
    assert_eq!(folded(quiet, Format::Dtrace).0, text);
    assert_eq!(folded(quiet.trim_start_matches('\n'), Format::Dtrace).0, text);
    let (cut, comments) = folded(&DTRACE[..DTRACE.len() - 4], Format::Dtrace);
    assert_eq!(cut.lines().count(), 1);
    assert_eq!(comments, ["the last stack has no count: its 3 frames are left out"]);
}

const VTUNE: &str = "\
vtune: Using result path `/tmp/r000hs'
Function Stack,CPU Time:Self,Module
Total,0.0,
 main,0.010,tikv-server
  \"std::vector<int, std::allocator<int>>::push_back\",1.5,libfoo.so
  tikv::get,0.25,tikv-server
";

#[test]
fn vtunes_report_is_read_in_milliseconds() {
    let (text, _) = folded(VTUNE, Format::Vtune);
    assert_eq!(
        text,
        "Total;tikv-server`main 10\n\
         Total;tikv-server`main;libfoo.so`std::vector<int, std::allocator<int>>::push_back 1500\n\
         Total;tikv-server`main;tikv-server`tikv::get 250\n"
    );
    let (_, profile) = read_any(VTUNE.as_bytes(), &ReadOptions::default()).unwrap();
    assert_eq!(profile.text(profile.value_types()[0].unit), "milliseconds");
    let tabs = VTUNE.replace(',', "\t");
    let error = read_any(tabs.as_bytes(), &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("-csv-delimiter comma"), "{error}");
}

#[test]
fn folded_stacks_with_modules_stay_folded_stacks() {
    for text in ["tikv-server`main;libc`read 5\n", "a;b 3\n  12\n", "Function Stack;main 3\n"] {
        let (format, _) = read_any(text.as_bytes(), &ReadOptions::default()).unwrap();
        assert_eq!(format, Format::Folded, "{text}");
    }
}

#[test]
fn a_malformed_line_costs_itself_and_is_reported() {
    let (text, comments) = folded(&VTUNE.replace("0.25", "much"), Format::Vtune);
    assert!(text.contains("main 10") && !text.contains("tikv::get"), "{text}");
    assert_eq!(comments, ["1 malformed lines are left out"]);
    let (text, comments) = folded(&SAMPLE.replace("8 tikv::write", "x tikv::write"), Format::Sample);
    assert!(text.contains("Get>::get 12") && !text.contains("tikv::write"), "{text}");
    assert!(comments.contains(&"1 malformed lines are left out".to_owned()), "{comments:?}");
    let nothing = VTUNE.replace(['.', '"'], "x");
    let error = read_any(nothing.as_bytes(), &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("malformed lines"), "{error}");
}

#[test]
fn a_count_that_does_not_fit_is_reported() {
    let huge = DTRACE.replacen(" 12", " 99999999999999999999", 1);
    assert_ne!(huge, DTRACE, "the sample has this count");
    match read(Format::Dtrace, huge.as_bytes()) {
        Ok(profile) => {
            assert!(profile.comments.iter().any(|c| c.contains("left out")), "{:?}", profile.comments)
        }
        Err(e) => assert!(e.to_string().contains("left out"), "{e}"),
    }
}

#[test]
fn counts_of_dtrace_without_a_stack_are_left_out() {
    let twice = DTRACE.replace("                5\n", "                5\n                7\n");
    let (text, comments) = folded(&twice, Format::Dtrace);
    assert!(text.contains("tikv-server`tikv::get;libc.so.1`__read 5\n"), "{text}");
    assert_eq!(comments, ["1 count without a stack is left out"]);
}

proptest! {
    #[test]
    fn no_damage_brings_it_down(
        changes in proptest::collection::vec((0usize..1200, b'\t'..b'~'), 1..6),
        cut in 0usize..900,
    ) {
        for (format, text) in [(Format::Sample, SAMPLE), (Format::Dtrace, DTRACE), (Format::Vtune, VTUNE)] {
            let mut bytes = text.as_bytes().to_vec();
            let len = bytes.len();
            changes.iter().for_each(|(at, byte)| bytes[at % len] = *byte);
            bytes.truncate(len - cut % len);
            if let Ok(profile) = read(format, &bytes) {
                let _ = profile.fold(&FoldOptions::default());
            }
        }
    }
}
