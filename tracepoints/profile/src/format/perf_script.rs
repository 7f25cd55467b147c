//! The text that `perf script` prints, of any process, with or without call chains.
use std::collections::HashMap;

use ahash::RandomState;
use memchr::memrchr;

use super::{Format, ReadOptions, fail, perf_header};
use crate::{
    ProfileError,
    model::{Frame, FrameId, LabelsId, Module, Profile, StackId, keys},
};

/// Whether these are the first lines of what perf prints.
pub fn is_one(head: &[u8]) -> bool {
    let mut lines = head.split(|b| *b == b'\n').filter(|line| {
        let line = line.trim_ascii_start();
        !line.is_empty() && !line.starts_with(b"#")
    });
    lines.next().is_some_and(|line| perf_header::parse(line).is_some())
}

/// Reads the samples of one event: their count, and the sum of their periods. Stacks stand under the thread's name.
///
/// # Errors
/// [`ProfileError::Format`] with the line that is none of perf's.
pub fn read(bytes: &[u8], options: &ReadOptions) -> Result<Profile, ProfileError> {
    let mut reader = Reader::new(options);
    reader.profile.reserve(bytes.len() / BYTES_A_STACK);
    let (mut rest, mut number) = (bytes, 0);
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        number += 1;
        if reader.line(line).is_none() {
            let text = String::from_utf8_lossy(&line[..line.len().min(120)]).into_owned();
            let what = format!("expected a sample or a frame of its stack, found {text:?}");
            return Err(fail(Format::PerfScript, format!("line {number}"), what));
        }
    }
    reader.end_of_sample();
    reader.finish()
}

/// Text for each new stack, at the least that is likely: a line is longer than half of it, and most are of stacks known.
const BYTES_A_STACK: usize = 128;

struct Reader<'a> {
    profile: Profile,
    options: &'a ReadOptions,
    event: Option<Vec<u8>>,
    others: HashMap<Vec<u8>, u64, RandomState>,
    /// By symbol and module.
    frames: HashMap<(&'a [u8], &'a [u8]), FrameId, RandomState>,
    threads: HashMap<(&'a [u8], u32, u32), LabelsId, RandomState>,
    /// Of the sample that is being read; None between two, and within one that is left out.
    current: Option<(LabelsId, Option<u64>, u64)>,
    skipping: bool,
    /// Its first line holds more than the event, so the next may begin a sample.
    flat: bool,
    /// Innermost first.
    stack: Vec<FrameId>,
    /// The stack of the sample before, outermost first: the next one begins alike.
    before: Vec<(FrameId, StackId)>,
    start: u64,
    last: u64,
}

impl<'a> Reader<'a> {
    fn new(options: &'a ReadOptions) -> Self {
        Self {
            profile: Profile::new(&[("samples", "count"), ("period", "count")]),
            options,
            event: options.event.as_ref().map(|e| e.clone().into_bytes()),
            others: HashMap::default(),
            frames: HashMap::default(),
            threads: HashMap::default(),
            current: None,
            skipping: false,
            flat: false,
            stack: Vec::new(),
            before: Vec::new(),
            start: u64::MAX,
            last: 0,
        }
    }

    fn line(&mut self, line: &'a [u8]) -> Option<()> {
        let indented = line.first().is_some_and(|b| matches!(b, b' ' | b'\t'));
        let inside = self.current.is_some() || self.skipping;
        // A short thread name is padded to the right, so the first line of a sample may begin with spaces.
        let next = self.flat && perf_header::parse(line).is_some();
        let line = line.trim_ascii();
        if indented && inside && !next && !line.is_empty() {
            if !self.skipping {
                self.frame(line)?;
            }
            return Some(());
        }
        self.end_of_sample();
        if line.is_empty() || line.starts_with(b"#") {
            return Some(());
        }
        self.header(line)
    }

    fn header(&mut self, line: &'a [u8]) -> Option<()> {
        let header = perf_header::parse(line)?;
        let event = self.event.get_or_insert_with(|| header.event.to_vec());
        self.flat = !header.rest.is_empty();
        // `-e cycles` is printed as `cycles:u` where the kernel may not be looked at.
        let same = event == header.event
            || header.event.strip_prefix(&event[..]).is_some_and(|m| m.starts_with(b":"));
        if !same {
            *self.others.entry(header.event.to_vec()).or_default() += 1;
            self.skipping = true;
            return Some(());
        }
        let key = (header.comm, header.pid, header.tid);
        let labels = match self.threads.get(&key) {
            Some(known) => *known,
            None => {
                let labels = [
                    self.profile.text_label(keys::THREAD, &String::from_utf8_lossy(header.comm)),
                    self.profile.number_label(keys::PID, header.pid.into(), ""),
                    self.profile.number_label(keys::TID, header.tid.into(), ""),
                ];
                let labels = self.profile.labels(&labels);
                self.threads.insert(key, labels);
                labels
            }
        };
        if let Some(time) = header.time {
            (self.start, self.last) = (self.start.min(time), self.last.max(time));
        }
        self.current = Some((labels, header.time, header.period.unwrap_or(1)));
        // The one frame of a sample without a call chain; a tracepoint has its fields there.
        let _ = self.frame(header.rest);
        Some(())
    }

    /// `address symbol+offset (module)`
    fn frame(&mut self, line: &'a [u8]) -> Option<()> {
        let space = memchr::memchr(b' ', line)?;
        let (address, text) = (&line[..space], &line[space + 1..]);
        if address.is_empty() || !is_hex(address) {
            return None;
        }
        let (symbol, module) = parts(text.trim_ascii());
        let frame = match self.frames.get(&(symbol, module)) {
            Some(known) => *known,
            None => {
                let frame = self.new_frame(symbol, module);
                self.frames.insert((symbol, module), frame);
                frame
            }
        };
        self.stack.push(frame);
        Some(())
    }

    fn new_frame(&mut self, symbol: &[u8], module: &[u8]) -> FrameId {
        let inlined = module == b"inlined";
        let bare = inlined || module.is_empty() || module == b"[unknown]";
        let module = (!bare).then(|| {
            let path = self.profile.intern(&String::from_utf8_lossy(module));
            self.profile.module(Module { path, ..Module::default() })
        });
        let function = if symbol == b"[unknown]" { String::new() } else { demangled(symbol) };
        let function = self.profile.intern(&function);
        self.profile.add_frame(Frame { function, module, inlined, ..Frame::default() })
    }

    fn end_of_sample(&mut self) {
        self.skipping = false;
        let Some((labels, time, period)) = self.current.take() else { return };
        let stack = self.take_stack();
        let values = [1, i64::try_from(period).unwrap_or(i64::MAX)];
        match time.filter(|_| self.options.times) {
            Some(time) => self.profile.add_at(time - self.start.min(time), stack, labels, &values),
            None => self.profile.add(stack, labels, &values),
        }
    }

    fn take_stack(&mut self) -> StackId {
        let frames = self.stack.iter().rev();
        let same = frames.zip(&self.before).take_while(|(frame, (known, _))| *frame == known).count();
        self.before.truncate(same);
        let mut at = self.before.last().map_or(StackId::ROOT, |(_, stack)| *stack);
        for frame in self.stack.drain(..).rev().skip(same) {
            at = self.profile.push(at, frame);
            self.before.push((frame, at));
        }
        at
    }

    fn finish(mut self) -> Result<Profile, ProfileError> {
        let event = String::from_utf8_lossy(&self.event.unwrap_or_default()).into_owned();
        let mut others: Vec<_> = self.others.into_iter().collect();
        others.sort();
        if self.profile.is_empty() && !others.is_empty() {
            let names: Vec<_> = others.iter().map(|(name, _)| String::from_utf8_lossy(name)).collect();
            let what = format!("no sample is of event {event:?}; there are {}", names.join(", "));
            return Err(fail(Format::PerfScript, "the whole", what));
        }
        if self.profile.is_empty() {
            return Err(ProfileError::Empty("perf script printed no sample"));
        }
        self.profile.set_event(&event);
        self.profile.duration_ns = i64::try_from(self.last.saturating_sub(self.start)).unwrap_or(0);
        for (name, count) in others {
            let name = String::from_utf8_lossy(&name).into_owned();
            self.profile
                .comments
                .push(format!("{count} samples of event {name} are left out; choose it with --event"));
        }
        Ok(self.profile)
    }
}

/// Symbol and module of `symbol+0x1f (module)`; the place within the function differs from sample to sample.
fn parts(text: &[u8]) -> (&[u8], &[u8]) {
    // The file is gone, or was replaced since: `name+0x1 (/path (deleted))`.
    let inner = text.strip_suffix(b")").unwrap_or_default();
    let inner = inner.strip_suffix(b" (deleted)").unwrap_or(inner);
    let mut open = memrchr(b'(', inner);
    while let Some(at) = open.filter(|at| *at > 0 && inner[at - 1] != b' ') {
        open = memrchr(b'(', &inner[..at]);
    }
    let (symbol, module) = match open {
        Some(at) => (&inner[..at], &inner[at + 1..]),
        None => (text, &b""[..]),
    };
    let symbol = symbol.trim_ascii();
    match memrchr(b'+', symbol) {
        Some(at) if symbol[at + 1..].strip_prefix(b"0x").is_some_and(is_hex) => (&symbol[..at], module),
        _ => (symbol, module),
    }
}

fn is_hex(text: &[u8]) -> bool {
    // Without a branch for each digit.
    text.iter().fold(true, |so_far, b| so_far & (b.is_ascii_digit() | (b | 0x20).wrapping_sub(b'a').lt(&6)))
}

/// perf demangles C++ and, since 6.x, Rust; what it could not is demangled here.
fn demangled(symbol: &[u8]) -> String {
    let text = String::from_utf8_lossy(symbol);
    tracepoints::symbolize::demangle(&text)
}

impl Profile {
    /// Names what the second weight of perf's samples is: the event, or CPU time for the clocks.
    pub(crate) fn set_event(&mut self, event: &str) {
        self.comments.insert(0, format!("event {event}"));
        let clock = event.split(':').next().is_some_and(|e| matches!(e, "cpu-clock" | "task-clock"));
        let (kind, unit) = if clock { ("cpu", "nanoseconds") } else { (event, "count") };
        let value = self.value_type(kind, unit);
        self.set_value_type(1, value);
        self.period_type = Some(value);
    }
}

#[cfg(test)]
mod tests;
