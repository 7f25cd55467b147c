//! The sampler on threads of its own process, well-behaved and not.
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tracepoints::{Req, RequestKind, label, request, symbolize::THREAD_START};

use tracepoints_profile::format;

use super::*;

/// Serializes the tests, since a process has one sampler.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[inline(never)]
fn burn_the_cpu(stop: &AtomicBool) -> u64 {
    let mut x = 1u64;
    while !stop.load(Ordering::Relaxed) {
        x = std::hint::black_box(x.wrapping_mul(0x9e37_79b9).rotate_left(7));
    }
    x
}

/// Threads that run until this value is dropped.
struct Threads {
    stop: Arc<AtomicBool>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    fn run(name: &str, count: usize, run: impl Fn(&AtomicBool) + Send + Sync + 'static) -> Self {
        let (stop, run) = (Arc::new(AtomicBool::new(false)), Arc::new(run));
        let spawn = |_| {
            let (stop, run) = (stop.clone(), run.clone());
            thread::Builder::new().name(name.into()).spawn(move || run(&stop)).unwrap()
        };
        Self { handles: (0..count).map(spawn).collect(), stop }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.handles.drain(..).for_each(|h| h.join().unwrap());
    }
}

/// Checks that every tag is closed, and that attributes and texts are valid.
fn assert_well_formed(svg: &str) {
    let mut reader = quick_xml::Reader::from_str(svg);
    loop {
        match reader.read_event().unwrap() {
            quick_xml::events::Event::Eof => break,
            quick_xml::events::Event::Start(tag) | quick_xml::events::Event::Empty(tag) => {
                tag.attributes().for_each(|attribute| _ = attribute.unwrap());
            }
            _ => {}
        }
    }
}

fn take(ms: u64) -> CpuProfile {
    profile(Sampler::Own, Duration::from_millis(ms), 997).unwrap()
}

/// Counts the samples with these label values.
fn labelled(profile: &CpuProfile, wanted: &[(&str, &str)]) -> i64 {
    let profile = &profile.profile;
    let all = |labels| wanted.iter().all(|(k, v)| profile.label(labels, k).as_deref().unwrap_or("") == *v);
    profile.samples().filter(|s| all(s.labels)).map(|s| s.values[0]).sum()
}

#[test]
fn a_profile_contains_the_function_that_burns_the_cpu() {
    let _alone = alone();
    assert!(matches!(profile(Sampler::Own, Duration::ZERO, 99), Err(SamplerError::Duration(_))));
    assert!(matches!(profile(Sampler::Own, Duration::from_secs(86_400), 99), Err(SamplerError::Duration(_))));
    for hz in [0, -1, 5000] {
        assert!(matches!(start(Sampler::Own, hz), Err(SamplerError::Frequency(f)) if f == hz));
    }
    let burner = Threads::run("burner-17", 1, |stop| _ = burn_the_cpu(stop));
    let running = start(Sampler::Own, 500).unwrap();
    let second = start(Sampler::Own, 500).err().unwrap();
    assert_eq!(second.to_string(), "Already in CPU Profiling", "TiKV's text");
    thread::sleep(Duration::from_millis(600));
    let profile = running.finish().unwrap();
    drop(burner);
    let folded = profile.folded();
    let found = folded.iter().find(|(s, _)| s.starts_with("burner;") && s.contains("::burn_the_cpu"));
    assert!(found.is_some(), "{:?}", folded.lines());
    assert!(labelled(&profile, &[("thread", "burner-17"), ("pool", "burner"), ("stage", "")]) > 0);
    let svg = profile.svg("burner").unwrap();
    assert_well_formed(&svg);
    assert!(svg.contains("tests::burn_the_cpu") && svg.contains("at 500 Hz"));
    assert!(!svg.contains(THREAD_START));
    assert_eq!(profile.profile.total(1), profile.profile.total(0) * 2_000_000);
    // Dropping a profile frees the sampler at once; an idle process has an empty profile, which can be drawn
    // and written.
    drop(start(Sampler::Own, 99).unwrap());
    let idle = super::profile(Sampler::Own, Duration::from_millis(50), 1).unwrap();
    assert_eq!((idle.samples(), idle.profile.is_empty()), (0, true));
    let svg = idle.svg("idle").unwrap();
    assert_well_formed(&svg);
    assert!(svg.contains("no samples") && svg.contains("at 1 Hz"), "{svg}");
    assert!(format::pprof::read(&format::pprof::write(&idle.profile)).unwrap().is_empty());
}

#[test]
fn both_samplers_find_the_function_of_a_thread() {
    let _alone = alone();
    let burner = Threads::run("burner-3", 1, |stop| _ = burn_the_cpu(stop));
    // Each sampler must work after the other one, which handled the same signal.
    for sampler in [Sampler::Own, Sampler::Pprof, Sampler::Own, Sampler::Pprof] {
        // On a busy machine the thread may not run during one of the profiles.
        let mut seen = Vec::new();
        let found = (0..10).any(|_| {
            let profile = profile(sampler, Duration::from_millis(500), 500).unwrap();
            assert_eq!(profile.profile.total(1), profile.profile.total(0) * 2_000_000, "{sampler}");
            let folded = profile.folded();
            seen = folded.lines();
            // With line tables only, pprof's names have no paths.
            folded.iter().any(|(s, _)| s.starts_with("burner;") && s.contains("burn_the_cpu"))
        });
        assert!(found, "{sampler}: {seen:?}");
    }
    drop(burner);
}

#[test]
fn samples_equal_cpu_time_even_with_short_lived_threads() {
    let _alone = alone();
    let steady = Threads::run("steady", 2, |stop| _ = burn_the_cpu(stop));
    let parent = Threads::run("parent", 1, |stop| {
        while !stop.load(Ordering::Relaxed) {
            let short = Threads::run("short", 1, |stop| _ = burn_the_cpu(stop));
            thread::sleep(Duration::from_millis(60));
            drop(short);
        }
    });
    let profile = take(1500);
    drop((steady, parent));
    assert!(labelled(&profile, &[("thread", "short")]) > 0, "{:?}", profile.folded().lines());
    let sampled = profile.profile.total(1) as f64 / 1e9;
    let ratio = sampled / profile.process_cpu.as_secs_f64();
    assert!((0.8..1.2).contains(&ratio), "sampled {sampled} s, used {:?}", profile.process_cpu);
    assert_eq!(profile.dropped, 0);
}

#[test]
fn every_sample_is_labelled_with_its_threads_stage() {
    let _alone = alone();
    fn at(kind: RequestKind, region: u64, stamp: fn(Req)) -> impl Fn(&AtomicBool) {
        move |stop| {
            let req = request::begin(kind, b"k", region);
            stamp(req);
            burn_the_cpu(stop);
            request::end(req);
        }
    }
    let reads = Threads::run("reader", 1, |stop| {
        tracepoints::register_thread("unified-read-pool-3", 1);
        at(RequestKind::KvGet, 7, |req| tracepoints::stamp!(MVCC_GET, req))(stop);
    });
    let writes = Threads::run(
        "writer",
        1,
        at(RequestKind::KvPrewrite, 8, |req| {
            tracepoints::stamp!(SCHED_WRITE, req);
        }),
    );
    let batch = Threads::run("store-writer-0", 1, |stop| {
        tracepoints::stamp!(RAFT_WRITE_BEGIN, Req::NONE, region = 9_u64);
        burn_the_cpu(stop);
    });
    let left = Threads::run("left", 1, |stop| {
        let req = request::begin(RequestKind::RawPut, b"k", 5);
        tracepoints::stamp!(SCHED_WRITE, req);
        label::clear();
        burn_the_cpu(stop);
        request::end(req);
    });
    let profile = take(800);
    drop((reads, writes, batch, left));
    let is = |labels: &[(&str, &str)]| labelled(&profile, labels) > 0;
    let read = [("thread", "unified-read-pool-3"), ("pool", "unified-read-pool")];
    assert!(is(&[read[0], read[1], ("stage", "mvcc_get"), ("request", "kv_get"), ("region", "7")]));
    assert!(is(&[
        ("thread", "writer"),
        ("stage", "sched_write"),
        ("request", "kv_prewrite"),
        ("region", "8")
    ]));
    assert!(is(&[("pool", "store-writer"), ("stage", "raft_write_begin"), ("request", ""), ("region", "9")]));
    assert!(is(&[("thread", "left"), ("stage", ""), ("request", ""), ("region", "")]));
    // No other thread's samples have these labels.
    assert_eq!(labelled(&profile, &[("request", "raw_put")]), 0);
    for (label, thread) in [("mvcc_get", "unified-read-pool-3"), ("sched_write", "writer")] {
        assert_eq!(
            labelled(&profile, &[("stage", label)]),
            labelled(&profile, &[("stage", label), ("thread", thread)])
        );
    }
}

/// Burns the CPU with an invalid frame pointer.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
fn burn_with_frame_pointer(fp: usize, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        // SAFETY: the frame pointer is restored before anything uses it.
        unsafe {
            std::arch::asm!(
                "push rbp",
                "mov rbp, {fp}",
                "2: dec {n}",
                "jnz 2b",
                "pop rbp",
                fp = in(reg) fp,
                n = inout(reg) 4_000_000_u64 => _,
            );
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn frame_pointers_of_any_value_do_no_harm() {
    let _alone = alone();
    let next = AtomicUsize::new(0);
    let threads = Threads::run("garbage", 6, move |stop| {
        let here = stop as *const AtomicBool as usize;
        let values = [0, 8, 0x10_0000, 0x7fff_ffff_fff8, usize::MAX & !7, here | 1];
        burn_with_frame_pointer(values[next.fetch_add(1, Ordering::Relaxed) % values.len()], stop);
    });
    let profile = take(1000);
    drop(threads);
    let found: u64 = profile
        .folded()
        .iter()
        .filter(|(s, _)| s.starts_with("garbage;") && s.contains("burn_with_frame_pointer"))
        .map(|(_, n)| n)
        .sum();
    assert!(found > 0, "{:?}", profile.folded().lines());
}

static ON_ALTERNATE: AtomicBool = AtomicBool::new(false);

#[inline(never)]
extern "C" fn burn_in_a_handler(_: libc::c_int) {
    burn_the_cpu(&ON_ALTERNATE);
}

#[test]
fn a_thread_on_its_alternate_stack_is_sampled_there() {
    let _alone = alone();
    ON_ALTERNATE.store(false, Ordering::Relaxed);
    let thread = Threads::run("alternate", 1, |_| {
        // SAFETY: the handler only counts; Rust's threads have an alternate stack.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = burn_in_a_handler as extern "C" fn(_) as usize;
            action.sa_flags = libc::SA_ONSTACK;
            libc::sigaction(libc::SIGUSR2, &action, std::ptr::null_mut());
            libc::raise(libc::SIGUSR2);
        }
    });
    let profile = take(500);
    ON_ALTERNATE.store(true, Ordering::Relaxed);
    drop(thread);
    let folded = profile.folded();
    let found = folded.iter().any(|(s, _)| s.starts_with("alternate;") && s.contains("::burn_the_cpu"));
    assert!(found, "{:?}", folded.lines());
}

#[test]
fn errno_and_interrupted_calls_are_unchanged() {
    let _alone = alone();
    let threads = Threads::run("errno", 2, |stop| {
        let mut text = [0u8; 1];
        while !stop.load(Ordering::Relaxed) {
            // SAFETY: a read from no file only sets errno, which must still be there after some work.
            let errno = unsafe {
                assert_eq!(libc::read(-1, text.as_mut_ptr().cast(), 1), -1);
                (0..200_000_u32).for_each(|i| _ = std::hint::black_box(i));
                *libc::__errno_location()
            };
            assert_eq!(errno, libc::EBADF);
        }
    });
    let calls = Threads::run("calls", 1, |stop| {
        // The vdso reads the clock.
        while !stop.load(Ordering::Relaxed) {
            std::hint::black_box(std::time::Instant::now());
        }
    });
    // On a busy machine a thread may not run during one of the profiles.
    let both = (0..10).any(|_| {
        let profile = take(800);
        ["errno", "calls"].iter().all(|name| labelled(&profile, &[("thread", name)]) > 0)
    });
    drop((threads, calls));
    assert!(both, "both threads are sampled");
}

#[test]
fn programs_start_and_libraries_load_during_a_profile() {
    let _alone = alone();
    let forks = Threads::run("forks", 2, |stop| {
        while !stop.load(Ordering::Relaxed) {
            // A pending signal that reached the child would end it: SIGPROF kills by default.
            let mut child = std::process::Command::new("/bin/sh");
            child.args(["-c", "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done"]);
            assert!(child.status().unwrap().success());
        }
    });
    let loads = Threads::run("loads", 1, |stop| {
        while !stop.load(Ordering::Relaxed) {
            // SAFETY: one of the C library's own libraries, whose loading runs no foreign code.
            unsafe {
                let library = libc::dlopen(c"libresolv.so.2".as_ptr(), libc::RTLD_NOW);
                if !library.is_null() {
                    libc::dlclose(library);
                }
            }
        }
    });
    let profile = take(1500);
    drop((forks, loads));
    assert!(profile.samples() > 0);
}
