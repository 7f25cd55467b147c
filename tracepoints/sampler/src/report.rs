//! Turns addresses into a readable profile.
use tracepoints::symbolize::{Frame as Named, Symbolizer, THREAD_START};

use tracepoints_profile::{
    model::{Frame, FrameId, LabelsId, Profile, StackId, keys},
    view::pool,
};

use crate::tally::{Map, Tally, Who};

/// Resolves the sampled addresses; takes seconds for a large program.
pub fn profile(tally: &Tally, started: std::time::SystemTime) -> Profile {
    let mut report =
        Report { profile: Profile::new(&[("samples", "count"), ("cpu", "nanoseconds")]), ..Report::new() };
    for ((who, stack), count) in &tally.stacks {
        let stack = report.stack(stack, &tally.named);
        let labels = report.labels(who, &tally.threads);
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        report.profile.add(stack, labels, &[count, count.saturating_mul(tally.period_ns)]);
    }
    let mut profile = report.profile;
    profile.period = tally.period_ns;
    profile.period_type = Some(profile.value_type("cpu", "nanoseconds"));
    let since_1970 = started.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    profile.time_ns = i64::try_from(since_1970.as_nanos()).unwrap_or(0);
    profile.duration_ns = i64::try_from(tally.duration.as_nanos()).unwrap_or(0);
    profile.comments = comments(tally);
    profile
}

/// Describes the sampling and its losses.
fn comments(tally: &Tally) -> Vec<String> {
    let sampled: u64 = tally.stacks.values().sum();
    let sampled = sampled as f64 * tally.period_ns as f64 / 1e9;
    let used = tally.process_cpu_ns as f64 / 1e9;
    let mut out = vec![format!("sampled {sampled:.2} s of CPU time, of {used:.2} s that the process used")];
    let mut add = |n: u64, what: &str| {
        if n > 0 {
            out.push(format!("{n} {what}"));
        }
    };
    add(tally.dropped, "samples dropped: the buffer was full");
    add(tally.refused, "threads not sampled: the system refused a timer (ulimit -i)");
    add(
        tally.unnumbered,
        "samples without the number of their request: there were too many to keep them apart",
    );
    for ((end, module), n) in &tally.cut {
        out.push(format!("{n} samples whose stack is cut in {module}: {}", end.reason()));
    }
    out.push(missed(tally));
    out
}

/// Describes the CPU time without samples. It may be negative, since a last period has just begun.
fn missed(tally: &Tally) -> String {
    let s = |ns: i64| format!("{:.3} s", ns as f64 / 1e9);
    let of = &tally.missed;
    let most: Vec<String> = of.most.iter().map(|(name, ns)| format!("{name} {}", s(*ns))).collect();
    format!(
        "not sampled: {} since the last sample of each thread (most of it: {}), {} of threads that ended during the profile",
        s(of.running_ns),
        most.join(", "),
        s(of.ended_ns)
    )
}

struct Report {
    profile: Profile,
    /// Without symbols, frames are addresses.
    symbols: Option<Symbolizer>,
    /// Frames at an address, outermost first; `None` marks the start of a thread, together with the frames
    /// inside it.
    known: Map<usize, Frames>,
    labels: Map<Who, LabelsId>,
}

#[derive(Clone)]
struct Frames {
    ids: Vec<FrameId>,
    /// Whether only thread start-up frames are further out.
    starts: bool,
}

impl Report {
    fn new() -> Self {
        Self {
            profile: Profile::default(),
            symbols: Symbolizer::for_this_process().ok(),
            known: Map::default(),
            labels: Map::default(),
        }
    }

    /// Builds a stack of return addresses that begins with the innermost one.
    fn stack(&mut self, addresses: &[usize], given: &Map<usize, Vec<Named>>) -> StackId {
        let mut outwards = Vec::with_capacity(addresses.len());
        for address in addresses {
            let frames = self.frames(*address, given);
            let starts = frames.starts;
            outwards.push(frames.ids);
            if starts {
                break;
            }
        }
        self.profile.stack(outwards.into_iter().rev().flatten())
    }

    fn frames(&mut self, address: usize, given: &Map<usize, Vec<Named>>) -> Frames {
        if let Some(known) = self.known.get(&address) {
            return known.clone();
        }
        let mut named = match (given.get(&address), &mut self.symbols) {
            (Some(frames), _) => frames.clone(),
            (None, symbols) => symbols.as_mut().map(|s| s.resolve(&[address])).unwrap_or_default(),
        };
        let start = named.iter().position(|f| f.function.contains(THREAD_START));
        named.truncate(start.unwrap_or(named.len()));
        name_closures(&mut named);
        let ids = named.iter().rev().map(|f| self.frame(address, f)).collect();
        let frames = Frames { ids, starts: start.is_some() };
        self.known.insert(address, frames.clone());
        frames
    }

    fn frame(&mut self, address: usize, named: &Named) -> FrameId {
        let frame = Frame {
            function: self.profile.intern(&named.function),
            file: self.profile.intern(&named.file),
            line: named.line,
            address: address as u64,
            inlined: named.inlined,
            ..Frame::default()
        };
        self.profile.add_frame(frame)
    }

    fn labels(&mut self, who: &Who, threads: &[String]) -> LabelsId {
        if let Some(known) = self.labels.get(who) {
            return *known;
        }
        let thread = threads.get(who.thread).map_or("", String::as_str);
        let profile = &mut self.profile;
        let mut labels =
            vec![profile.text_label(keys::THREAD, thread), profile.text_label(keys::POOL, pool(thread))];
        if let Some(stage) = who.stage {
            labels.push(profile.text_label(keys::STAGE, stage.name()));
        }
        if let Some(kind) = who.kind {
            labels.push(profile.text_label(keys::REQUEST, &kind.name()));
        }
        if who.req != 0 {
            labels.push(profile.number_label(keys::REQUEST_ID, who.req as i64, ""));
        }
        if who.region != 0 {
            labels.push(profile.number_label(keys::REGION, who.region as i64, ""));
        }
        let labels = self.profile.labels(&labels);
        self.labels.insert(who.clone(), labels);
        labels
    }
}

/// Renames closures, which line tables all call `{closure#0}`: to the enclosing function, which is the next
/// frame outwards in the same file, otherwise to the source location. Frames begin with the innermost one.
fn name_closures(frames: &mut [Named]) {
    for i in 0..frames.len() {
        let closure = &frames[i];
        if !closure.function.starts_with('{') {
            continue;
        }
        let host = frames[i + 1..].iter().find(|f| f.file == closure.file && !f.function.starts_with('{'));
        let name = match host {
            Some(host) => format!("{}::{}", host.function, closure.function),
            None if closure.file.is_empty() => continue,
            None => {
                let file = closure.file.rsplit('/').next().unwrap_or_default();
                format!("{} at {file}:{}", closure.function, closure.line)
            }
        };
        frames[i].function = name;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closure_is_named_by_its_function_or_its_location() {
        let frame = |function: &str, file: &str, line| Named {
            function: function.into(),
            file: file.into(),
            line,
            inlined: true,
        };
        let mut frames = [
            frame("{closure#1}", "/src/get.rs", 7),
            frame("{closure#0}", "/src/get.rs", 5),
            frame("map<u8>", "/core/option.rs", 90),
            frame("{async_fn#0}", "/src/put.rs", 12),
            frame("tikv::get", "/src/get.rs", 1),
        ];
        name_closures(&mut frames);
        let names: Vec<&str> = frames.iter().map(|f| f.function.as_str()).collect();
        let expected = [
            "tikv::get::{closure#1}",
            "tikv::get::{closure#0}",
            "map<u8>",
            "{async_fn#0} at put.rs:12",
            "tikv::get",
        ];
        assert_eq!(names, expected);
    }
}
