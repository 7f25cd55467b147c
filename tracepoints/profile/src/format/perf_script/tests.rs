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
fn stacks_of_the_first_event_stand_under_their_threads() {
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
    let options = ReadOptions { event: Some("sched:sched_switch".into()), times: true };
    let profile = read(TEXT.as_bytes(), &options).unwrap();
    assert_eq!(profile.samples().len(), 1);
    let options = ReadOptions { event: None, times: true };
    let profile = read(TEXT.as_bytes(), &options).unwrap();
    let times: Vec<_> = profile.samples().map(|s| s.time_ns).collect();
    assert_eq!(times, [Some(0), Some(500_000_000), Some(2_000_000_000)]);
    let options = ReadOptions { event: Some("cycles".into()), times: false };
    let error = read(TEXT.as_bytes(), &options).unwrap_err().to_string();
    assert!(error.contains("cpu-clock:pppH, sched:sched_switch"), "{error}");
}

#[test]
fn a_line_that_is_none_of_perfs_is_told_by_its_number() {
    for (bad, line) in [("zzz", 2), ("\tzz foo (bar)", 2), ("\tffff", 2)] {
        let text = format!("a 1/2 3.4: 5 cycles:\n{bad}\n");
        let error = read(text.as_bytes(), &ReadOptions::default()).unwrap_err().to_string();
        assert!(error.contains(&format!("line {line}")), "{error}");
    }
    let error = read(b"# nothing\n", &ReadOptions::default()).unwrap_err();
    assert!(matches!(error, ProfileError::Empty(_)));
}
