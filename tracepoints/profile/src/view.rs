//! The presentation of a server's CPU profile: stages first, threads by pool, the async runtime's frames as
//! one.
use crate::{
    Folded, Profile,
    model::{Sample, keys},
};

/// The parts shown in full.
#[derive(Clone, Copy, Debug, Default)]
pub struct View {
    /// Each thread separately, instead of its pool.
    pub threads: bool,
    /// Every frame of the async runtime and of thread start-up.
    pub runtime: bool,
}

/// Root row for samples without a request.
pub const OUTSIDE: &str = "outside of requests";
/// Replaces adjacent frames of the async runtime.
pub const RUNTIME: &str = "(async runtime)";

/// Prefixes of functions that only run others: of tokio, futures, and of the standard library below them.
const RUNNERS: &[&str] = &[
    "tokio::runtime::",
    "tokio::task::",
    "tokio::util::",
    "tokio::loom::",
    "tokio::future::",
    "core::pin::Pin",
    "core::future::",
    "core::ops::function::",
    "core::panic::unwind_safe::",
    "futures_util::",
    "futures_core::",
    "futures_executor::",
    "tracing::instrument::",
    "std::panic::catch_unwind",
    "std::panicking::",
    "std::sys::backtrace::",
    "std::thread::local::",
    "alloc::boxed::Box",
    "__rust_try",
];
/// Inlined runners by their last names only, which is all that line tables have, without their types.
const INLINED_RUNNERS: &[&str] = &[
    "poll",
    "call_once",
    "call_mut",
    "call",
    "catch_unwind",
    "do_call",
    "try",
    "try_with",
    "with",
    "with_mut",
    "block_on",
];

/// Folds one kind of value.
pub fn fold(profile: &Profile, value: usize, view: View) -> Folded {
    let stages = profile.samples().any(|s| profile.label(s.labels, keys::STAGE).is_some());
    let mut folded = Folded::default();
    for sample in profile.samples() {
        let weight = sample.values.get(value).and_then(|v| u64::try_from(*v).ok()).unwrap_or(0);
        let mut frames = roots(profile, &sample, stages, view);
        let own = profile.frames_of(sample.stack).into_iter().map(|f| profile.frame_name(f));
        if view.runtime {
            frames.extend(own);
        } else {
            frames.extend(without_runners(own.collect()));
        }
        folded.add(frames, weight);
    }
    folded
}

fn roots(profile: &Profile, sample: &Sample<'_>, stages: bool, view: View) -> Vec<String> {
    let label = |key| profile.label(sample.labels, key);
    let mut roots = Vec::new();
    if stages {
        roots.push(label(keys::STAGE).unwrap_or_else(|| OUTSIDE.to_owned()));
    }
    let thread = label(keys::THREAD);
    roots.extend(match view.threads {
        true => thread,
        false => label(keys::POOL).or_else(|| thread.map(|thread| pool(&thread).to_owned())),
    });
    roots
}

/// Replaces runner frames; the innermost frame always stays.
fn without_runners(names: Vec<String>) -> Vec<String> {
    let last = names.len().saturating_sub(1);
    let mut out: Vec<String> = Vec::with_capacity(names.len());
    for (i, name) in names.into_iter().enumerate() {
        if i == last || !is_runner(&name) {
            out.push(name);
        } else if out.last().is_none_or(|before| before != RUNTIME) {
            out.push(RUNTIME.to_owned());
        }
    }
    out
}

fn is_runner(name: &str) -> bool {
    let name = name.trim_start_matches(['<', '&']);
    let last = name.split('<').next().unwrap_or(name);
    RUNNERS.iter().any(|runner| name.starts_with(runner)) || (last != name && INLINED_RUNNERS.contains(&last))
}

/// Returns the pool of a thread: its name without the trailing numbers, `raftstore` for `raftstore-1-0`.
pub fn pool(thread: &str) -> &str {
    let mut name = thread;
    loop {
        let cut = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let cut = if cut.len() < name.len() { cut.trim_end_matches(['-', '_']) } else { cut };
        if cut.len() == name.len() || cut.is_empty() {
            return name;
        }
        name = cut;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_first_and_pools_and_the_runtime_are_one_frame() {
        let mut profile = Profile::new(&[("samples", "count"), ("cpu", "nanoseconds")]);
        let names = [
            "tokio::runtime::task::raw::poll",
            "<core::pin::Pin<P> as core::future::future::Future>::poll",
            "catch_unwind<(), {closure_env#0}>",
            "tikv::get",
            "call",
            "tokio::runtime::park",
        ];
        let frames: Vec<_> = names.iter().map(|name| profile.add_function(name)).collect();
        let stack = profile.stack(frames);
        for (thread, stage) in [("grpc-server-3", Some("mvcc_get")), ("grpc-server-11", None)] {
            let mut labels = vec![profile.text_label(keys::THREAD, thread)];
            labels.extend(stage.map(|stage| profile.text_label(keys::STAGE, stage)));
            let labels = profile.labels(&labels);
            profile.add(stack, labels, &[1, 10]);
        }
        let text = fold(&profile, 1, View::default()).to_string();
        assert_eq!(
            text,
            "mvcc_get;grpc-server;(async runtime);tikv::get;call;tokio::runtime::park 10\n\
             outside of requests;grpc-server;(async runtime);tikv::get;call;tokio::runtime::park 10\n"
        );
        let all = fold(&profile, 0, View { threads: true, runtime: true });
        assert!(
            all.iter().any(|(s, _)| s.starts_with("mvcc_get;grpc-server-3;tokio::runtime::task::raw::poll;"))
        );
    }

    #[test]
    fn a_pool_is_a_name_without_its_numbers() {
        for (thread, pool) in [
            ("raftstore-1-100", "raftstore"),
            ("grpc-server-5", "grpc-server"),
            ("rocksdb:bg1000", "rocksdb:bg"),
            ("unified-read-pool-0", "unified-read-pool"),
            ("apply_0", "apply"),
            ("main", "main"),
            ("17", "17"),
        ] {
            assert_eq!(super::pool(thread), pool);
        }
    }
}
