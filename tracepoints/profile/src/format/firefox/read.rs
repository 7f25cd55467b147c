//! Reads Firefox's profiles.
use super::{
    gecko,
    tables::{File, Lib, Samples, Thread},
};
use crate::{
    ProfileError,
    format::{fail::fail, fraction, kind::Format, losses::Losses},
    json::{self, Index, List, Object, Text},
    model::{Frame, FrameId, LabelsId, Module, ModuleId, Profile, StackId, keys},
};

/// Reads the samples of all threads of all processes, of processed profiles and of Gecko's own. Rows with an
/// invalid reference are left out, and counted in the profile's comments.
///
/// # Errors
/// [`ProfileError::Format`] with the line of invalid JSON, or with the first bad row if no sample can be
/// read.
pub fn read(bytes: &[u8]) -> Result<Profile, ProfileError> {
    let (mut file, notes): (File, _) = json::document(bytes)
        .map_err(|e| fail(Format::Firefox, format!("line {} column {}", e.line(), e.column()), e))?;
    if file.threads.0.is_empty() && file.processes.0.is_empty() {
        let none = "expected `threads` in the outermost object, found none";
        return Err(fail(Format::Firefox, "the text", notes.first().map_or(none, |note| note)));
    }
    let (mut units, mut counts) = (Vec::new(), Vec::new());
    each_thread(&file, &mut |thread| {
        let unit = unit(thread);
        if !units.contains(&unit)
            && thread.samples.0.as_ref().is_some_and(|s| !s.stack.0.is_empty() || !s.data.0.is_empty())
        {
            units.push(unit);
        }
        let weights =
            thread.samples.0.iter().filter(|_| unit == SAMPLES).flat_map(|samples| &samples.weight.0);
        counts.extend(weights.filter_map(|weight| weight.0));
    });
    let decimals = fraction::decimals(&counts);
    let unit_text =
        |unit: &Unit| if *unit == SAMPLES { fraction::unit(unit.1, decimals) } else { unit.1.to_owned() };
    let types: Vec<_> = units.iter().map(|unit| (unit.0, unit_text(unit))).collect();
    let types: Vec<_> = types.iter().map(|(kind, unit)| (*kind, unit.as_str())).collect();
    let mut profile = Profile::new(&types);
    let meta = file.meta.0.take().unwrap_or_default();
    let start = meta.start_time.0.unwrap_or(0.0);
    profile.time_ns = (start * 1e6) as i64;
    if let Some(interval) = meta.interval.0.filter(|interval| *interval > 0.0) {
        profile.period_type = Some(profile.value_type("wall", "nanoseconds"));
        profile.period = (interval * 1e6) as i64;
    }
    file.meta.0 = Some(meta);
    let one = 10f64.powi(decimals as i32);
    let mut reader =
        Reader { profile: &mut profile, units, one, start, losses: Losses::default(), threads: 0 };
    reader.process(file);
    let losses = reader.losses;
    losses.judge(Format::Firefox, &mut profile, notes)?;
    Ok(profile)
}

fn each_thread(file: &File, look: &mut impl FnMut(&Thread)) {
    file.threads.0.iter().filter_map(|thread| thread.0.as_ref()).for_each(&mut *look);
    for process in file.processes.0.iter().filter_map(|process| process.0.as_ref()) {
        each_thread(process, look);
    }
}

/// Kind, unit, and conversion factor.
type Unit = (&'static str, &'static str, f64);

fn unit(thread: &Thread) -> Unit {
    match thread.samples.0.as_ref().map_or("", |samples| samples.weight_type.0.as_str()) {
        "tracing-ms" => ("time", "nanoseconds", 1e6),
        "bytes" => ("space", "bytes", 1.0),
        _ => SAMPLES,
    }
}

const SAMPLES: Unit = ("samples", "count", 1.0);

struct Reader<'a> {
    profile: &'a mut Profile,
    units: Vec<Unit>,
    /// The value of one sample: 10 if weights have one decimal digit.
    one: f64,
    /// Start of the first process in ms: the origin of sample times.
    start: f64,
    losses: Losses,
    /// Number of threads read.
    threads: usize,
}

impl Reader<'_> {
    fn process(&mut self, file: File) {
        let meta = file.meta.0.unwrap_or_default();
        let shift = meta.start_time.0.map_or(0.0, |start| start - self.start);
        let modules = modules(self.profile, &file.libs);
        let mut shared = file.shared.0.unwrap_or_default();
        gecko::process(&mut shared);
        for thread in file.threads.0 {
            let n = self.threads;
            self.threads += 1;
            match thread.0 {
                Some(mut thread) => {
                    gecko::process(&mut thread);
                    let own = modules_of(self.profile, &thread, &modules);
                    let unit = unit(&thread);
                    self.thread(
                        ThreadReader { n, thread: &thread, shared: &shared, modules: &own },
                        unit,
                        shift,
                    );
                }
                None => self.losses.add("threads", || format!("thread {n}"), || "it is not an object".into()),
            }
        }
        for (n, process) in file.processes.0.into_iter().enumerate() {
            match process.0 {
                Some(process) => self.process(process),
                None => {
                    self.losses.add("processes", || format!("process {n}"), || "it is not an object".into())
                }
            }
        }
    }

    fn thread(&mut self, thread: ThreadReader<'_>, unit: Unit, shift: f64) {
        let n = thread.n;
        if thread.thread.native_allocations.is_some() || thread.thread.js_allocations.is_some() {
            let at = || format!("thread {n}");
            self.losses.odd(
                "threads have samples of allocations, which are left out",
                1,
                at,
                "allocations have times of their own",
            );
        }
        let frames = thread.frames(self.profile);
        let stacks = thread.stacks(self.profile, &frames);
        let labels = thread.labels(self.profile);
        let at = self.units.iter().position(|known| known.0 == unit.0).unwrap_or(0);
        let scale = if unit == SAMPLES { self.one } else { unit.2 };
        let mut values = vec![0; self.units.len().max(1)];
        let (profile, losses) = (&mut *self.profile, &mut self.losses);
        thread.samples(|i, sample| match sample.and_then(|s| Ok((stack(&stacks, s.stack)?, s))) {
            Ok((Some(stack), sample)) => {
                values[at] = (sample.weight * scale).round() as i64;
                if values[at] == 0 && sample.weight > 0.0 {
                    let why = || format!("its weight is less than one of the unit: {}", sample.weight);
                    losses.add("samples", || format!("thread {n} sample {i}"), why);
                }
                let time = ((sample.time + shift) * 1e6).round().max(0.0) as u64;
                profile.add_at(time, stack, labels, &values);
            }
            // The thread was idle.
            Ok((None, _)) => {}
            Err(why) => losses.add("samples", || format!("thread {n} sample {i}"), || why),
        });
    }
}

/// Returns the stack of a row: none for an idle thread.
fn stack(stacks: &[Result<StackId, String>], at: Option<usize>) -> Result<Option<StackId>, String> {
    let Some(at) = at else { return Ok(None) };
    let found = stacks.get(at).ok_or_else(|| format!("there is no stack {at}"))?;
    found.clone().map(Some)
}

fn modules(profile: &mut Profile, libs: &List<Object<Lib>>) -> Vec<ModuleId> {
    let mut module = |lib: &Lib| {
        let path = if lib.path.0.is_empty() { &lib.name.0 } else { &lib.path.0 };
        let (path, build_id) = (profile.intern(path), profile.intern(&lib.code_id.0));
        profile.module(Module { path, build_id, ..Module::default() })
    };
    libs.0.iter().map(|lib| module(lib.0.as_ref().unwrap_or(&Lib::default()))).collect()
}

fn modules_of(profile: &mut Profile, thread: &Thread, all: &[ModuleId]) -> Vec<ModuleId> {
    if thread.libs.0.is_empty() { all.to_vec() } else { modules(profile, &thread.libs) }
}

struct Sample {
    stack: Option<usize>,
    /// Time in ms.
    time: f64,
    weight: f64,
}

struct ThreadReader<'a> {
    n: usize,
    thread: &'a Thread,
    shared: &'a Thread,
    modules: &'a [ModuleId],
}

fn at<T: Copy>(list: &List<T>, i: usize) -> Option<T> {
    list.0.get(i).copied()
}

fn number(list: &List<Index>, i: usize) -> u32 {
    at(list, i).and_then(|n| n.0).and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
}

impl<'a> ThreadReader<'a> {
    /// Returns a table of the thread, or else the shared one.
    fn table<T>(&self, of: impl Fn(&'a Thread) -> &'a Object<T>) -> Option<&'a T> {
        of(self.thread).0.as_ref().or_else(|| of(self.shared).0.as_ref())
    }

    fn string(&self, index: Index) -> Option<&'a str> {
        let own = &self.thread.string_array.0;
        let strings = if own.is_empty() { &self.shared.string_array.0 } else { own };
        strings.get(index.0?).map(|Text(text)| text.as_str())
    }

    fn frames(&self, profile: &mut Profile) -> Vec<Result<FrameId, String>> {
        let Some(table) = self.table(|t| &t.frame_table) else { return Vec::new() };
        let funcs = self.table(|t| &t.func_table);
        let resources = self.table(|t| &t.resource_table);
        let sources = self.table(|t| &t.sources);
        let frame = |(i, func): (usize, &Index)| {
            let func = func.0.ok_or("a frame has no function")?;
            let missing = || format!("there is no function {func}");
            let funcs = funcs.ok_or_else(missing)?;
            let name = self.string(at(&funcs.name, func).ok_or_else(missing)?);
            let name = name.ok_or_else(|| format!("function {func} has no name"))?;
            let source = || at(&sources?.filename, at(&funcs.source, func)?.0?);
            let file = at(&funcs.file_name, func).filter(|file| file.0.is_some()).or_else(source);
            let module = || {
                let lib = at(&resources?.lib, at(&funcs.resource, func)?.0?)?;
                self.modules.get(lib.0?).copied()
            };
            let address = at(&table.address, i).and_then(|n| n.0).filter(|n| *n > 0.0);
            let frame = Frame {
                module: module(),
                address: address.unwrap_or(0.0) as u64,
                line: number(&table.line, i),
                column: number(&table.column, i),
                inlined: number(&table.inline_depth, i) > 0,
                function: profile.intern(name),
                file: profile.intern(file.and_then(|file| self.string(file)).unwrap_or_default()),
                ..Frame::default()
            };
            Ok(profile.add_frame(frame))
        };
        table.func.0.iter().enumerate().map(frame).collect()
    }

    fn stacks(
        &self,
        profile: &mut Profile,
        frames: &[Result<FrameId, String>],
    ) -> Vec<Result<StackId, String>> {
        let Some(table) = self.table(|t| &t.stack_table) else { return Vec::new() };
        let mut stacks: Vec<Result<StackId, String>> = Vec::with_capacity(table.frame.0.len());
        for (i, frame) in table.frame.0.iter().enumerate() {
            let prefix = match at(&table.prefix, i).and_then(|prefix| prefix.0) {
                None => Ok(StackId::ROOT),
                // A stack's row follows the rows of its callers.
                Some(prefix) => {
                    let none = || Err(format!("there is no stack {prefix} before stack {i}, its callee"));
                    stacks.get(prefix).cloned().unwrap_or_else(none)
                }
            };
            let frame = match frame.0 {
                Some(at) => frames.get(at).cloned().unwrap_or_else(|| Err(format!("there is no frame {at}"))),
                None => Err(format!("stack {i} has no frame")),
            };
            stacks.push(prefix.and_then(|prefix| Ok(profile.push(prefix, frame?))));
        }
        stacks
    }

    fn labels(&self, profile: &mut Profile) -> LabelsId {
        let mut labels = vec![profile.text_label(keys::THREAD, &self.thread.name.0)];
        if !self.thread.process_name.0.is_empty() {
            labels.push(profile.text_label(keys::PROCESS, &self.thread.process_name.0));
        }
        for (key, value) in [(keys::PID, &self.thread.pid), (keys::TID, &self.thread.tid)] {
            if let Some(n) = value.0.parse().ok().filter(|n: &i64| *n != 0) {
                labels.push(profile.number_label(key, n, ""));
            }
        }
        profile.labels(&labels)
    }

    /// Passes each sample with its row to `give`, or the reason why it cannot be read.
    fn samples(&self, mut give: impl FnMut(usize, Result<Sample, String>)) {
        let Some(Samples { stack, time_deltas, time, weight, .. }) = &self.thread.samples.0 else { return };
        let mut now = 0.0;
        for (i, stack) in stack.0.iter().enumerate() {
            now += at(time_deltas, i).and_then(|delta| delta.0).unwrap_or(0.0);
            now = at(time, i).and_then(|time| time.0).unwrap_or(now);
            let weight =
                if weight.0.is_empty() { Some(1.0) } else { at(weight, i).and_then(|weight| weight.0) };
            let sample = match weight {
                None => Err("it has no weight".into()),
                Some(weight) if weight < 0.0 => Err(format!("its weight is negative: {weight}")),
                Some(weight) => Ok(Sample { stack: stack.0, time: now, weight }),
            };
            give(i, sample);
        }
    }
}
