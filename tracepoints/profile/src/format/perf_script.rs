//! Reads the text printed by `perf script`, of any process, with or without call chains.
use std::collections::HashMap;

use ahash::RandomState;
use memchr::memrchr;

use super::{
    kind::Format,
    options::ReadOptions,
    perf_header::{self, Header},
    skipped::{Skipped, excerpt},
};
use crate::{
    ProfileError,
    model::{Frame, FrameId, LabelsId, Module, Profile, StackId, keys},
};

/// Whether the first lines are perf's output: most of them are samples or frames, and not stacks with a
/// count.
pub fn is_one(head: &[u8]) -> bool {
    let (mut perf, mut folded, mut after_text, mut after_count) = (0, 0, false, false);
    for line in head.split(|b| *b == b'\n').take(HEAD_LINES) {
        let text = line.trim_ascii();
        if text.is_empty() || text.starts_with(b"#") {
            continue;
        }
        let indented = line.first().is_some_and(|b| matches!(b, b' ' | b'\t'));
        let ends_with_number = text
            .rsplit(|b| matches!(b, b' ' | b'\t'))
            .next()
            .is_some_and(|w| w.iter().all(u8::is_ascii_digit));
        // A frame of a folded stack may look like a sample's first line: `main;GET 1 2.5: foo: 3`.
        let header = perf_header::parse(text).filter(|h| !(ends_with_number && h.comm.contains(&b';')));
        if header.is_some()
            || (indented && (after_text || line[0] == b'\t') && is_frame(line))
            || is_flat(text)
        {
            perf += 1;
            // The line before a frame ends with the number of a thread, not with a count.
            folded -= u32::from(after_count && indented);
            after_count = false;
        } else if ends_with_number {
            folded += 1;
            after_count = true;
        }
        after_text = true;
    }
    perf > folded || (perf > 0 && Headless::of_text(head).is_some())
}

/// Samples without a first line (`-F ip,sym`): nothing but frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Headless {
    /// Each line is a sample.
    Lines,
    /// Each block of lines is a sample.
    Stacks,
}

impl Headless {
    fn of_text(head: &[u8]) -> Option<Self> {
        let lines = || head.split(|b| *b == b'\n').take(HEAD_LINES).filter(|line| !line.starts_with(b"#"));
        let texts = || lines().filter(|line| !line.trim_ascii().is_empty());
        let indented = |line: &[u8]| line.starts_with(b"\t") || line.starts_with(b"  ");
        // The last line may be cut, and the source line of a frame begins with two spaces.
        let frames = texts().filter(|line| indented(line) && is_frame(line)).count();
        let others = texts().filter(|line| !indented(line) || is_flat(line.trim_ascii())).count();
        let stacks = lines()
            .any(|line| line.starts_with(b"\t") || line.trim_ascii().is_empty() && !line.is_empty())
            || head.windows(2).any(|two| two == b"\n\n");
        (frames > 0 && others == 0).then_some(if stacks { Self::Stacks } else { Self::Lines })
    }
}

/// Number of lines and bytes examined to detect the format.
const HEAD_LINES: usize = 1000;
const HEAD: usize = 64 << 10;

/// Whether a line is `address symbol+0x1f (module)`; after a tab, the symbol or the address is sufficient.
fn is_frame(line: &[u8]) -> bool {
    let after_tab = line.starts_with(b"\t");
    let module = |rest: &[u8]| rest.ends_with(b")") && memchr::memchr(b'(', rest).is_some();
    let bare = |at: &[u8], rest: &[u8]| !rest.is_empty() || at.len() >= MIN_ADDRESS;
    address(line.trim_ascii()).is_some_and(|(at, rest)| module(rest) || (after_tab && bare(at, rest)))
}

/// Minimum number of digits of an address without a symbol: shorter words may be text.
const MIN_ADDRESS: usize = 4;

/// Whether a line is a sample without a time, with its one frame on the same line.
fn is_flat(line: &[u8]) -> bool {
    perf_header::parse_untimed(line).is_some_and(|header| flat_frame(header.rest).is_some())
}

/// Returns the one frame of a sample without a call chain, which follows the event: `55d0 f+0x1 (/bin/a)`.
/// Flags of a branch may precede it, the target of the branch and instructions may follow. Other fields, and those
/// of a tracepoint, are not a frame.
fn flat_frame(rest: &[u8]) -> Option<&[u8]> {
    let mut at = 0;
    while at < rest.len() {
        let word = &rest[at..];
        let len = memchr::memchr(b' ', word).unwrap_or(word.len());
        if is_address(&word[..len]) {
            let end = AFTER_FRAME.iter().filter_map(|text| memchr::memmem::find(word, text)).min();
            let frame = word[..end.unwrap_or(word.len())].trim_ascii();
            let text = frame[len.min(frame.len())..].trim_ascii();
            let with_module = text.ends_with(b")") && memchr::memmem::find(text, b"(").is_some();
            let is_symbol = at == 0 && !text.is_empty() && text[0] != b'|' && !is_address(first_word(text));
            return (with_module || is_symbol).then_some(frame);
        }
        // Fields of a tracepoint have names.
        if word[..len].iter().any(|b| matches!(b, b'=' | b':')) {
            return None;
        }
        at += len + word[len..].iter().take_while(|b| **b == b' ').count();
    }
    None
}

/// Texts that follow a frame on its line.
const AFTER_FRAME: [&[u8]; 3] = [b" => ", b" insn: ", b" ilen: "];

fn first_word(text: &[u8]) -> &[u8] {
    text.split(|b| *b == b' ').next().unwrap_or_default()
}

/// Whether a word is the address of an instruction: `add` and `dead` are words.
fn is_address(word: &[u8]) -> bool {
    (word.len() >= MIN_ADDRESS && word.len() <= 16)
        && is_hex(word)
        && (word.len() >= 8 || word.iter().any(u8::is_ascii_digit))
}

/// Reads the samples of one event: their number, and the sum of their periods. Stacks are below the thread's
/// name. Other lines, such as warnings in between, are skipped; the comments give their number.
///
/// # Errors
/// [`ProfileError::Format`] with the first line that is not perf's, if there is no sample.
pub fn read(bytes: &[u8], options: &ReadOptions) -> Result<Profile, ProfileError> {
    let mut reader = Reader::new(options);
    reader.headless = Headless::of_text(&bytes[..bytes.len().min(HEAD)]);
    reader.profile.reserve(bytes.len() / BYTES_A_STACK);
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        reader.number += 1;
        reader.line(line);
    }
    reader.cut = reader.current.is_some() && !bytes.ends_with(b"\n");
    reader.end_of_sample();
    reader.give_up_pending();
    reader.finish()
}

/// Lower bound of bytes per new stack: a line is longer than half of it, and most lines belong to known
/// stacks.
const BYTES_A_STACK: usize = 128;

/// Symbol, module and source line of a frame, as printed.
type FrameKey<'a> = (&'a [u8], &'a [u8], &'a [u8]);

struct Reader<'a> {
    profile: Profile,
    options: &'a ReadOptions,
    event: Option<Vec<u8>>,
    others: HashMap<Vec<u8>, u64, RandomState>,
    /// By symbol, module, and source line if printed.
    frames: HashMap<FrameKey<'a>, FrameId, RandomState>,
    threads: HashMap<(&'a [u8], u32, u32), LabelsId, RandomState>,
    /// The current sample; `None` between two samples, and within one that is left out.
    current: Option<(LabelsId, Option<u64>, u64)>,
    /// Whether the current sample has another event.
    skipping: bool,
    /// Number of the current line.
    number: u64,
    /// A line that may be a sample without a time or an event: it is one if a frame follows.
    pending: Option<(u64, &'a [u8])>,
    /// The one frame of the sample, if no lines with frames follow.
    one_frame: Option<&'a [u8]>,
    /// Set if samples have no first line.
    headless: Option<Headless>,
    /// Whether the file ends within a line of a sample.
    cut: bool,
    /// Symbol and module of the last frame, which is not on the stack yet because its source line may follow.
    last_frame: Option<(&'a [u8], &'a [u8])>,
    /// Whether a line with a time was found: then all samples have one.
    timed: bool,
    skipped: Skipped,
    lost: u64,
    /// Whether the first line has more than the event, so the next line may begin a sample.
    flat: bool,
    /// Innermost first.
    stack: Vec<FrameId>,
    /// The stack of the previous sample, outermost first: the next one often begins equally.
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
            number: 0,
            pending: None,
            one_frame: None,
            headless: None,
            cut: false,
            last_frame: None,
            timed: false,
            skipped: Skipped::default(),
            lost: 0,
            flat: false,
            stack: Vec::new(),
            before: Vec::new(),
            start: u64::MAX,
            last: 0,
        }
    }

    fn line(&mut self, line: &'a [u8]) {
        let indented = line.first().is_some_and(|b| matches!(b, b' ' | b'\t'));
        let text = line.trim_ascii();
        if text.is_empty() {
            self.end_of_sample();
            return self.give_up_pending();
        }
        if self.headless == Some(Headless::Lines) && is_frame(line) {
            self.end_of_sample();
        }
        let inside = self.current.is_some() || self.skipping;
        // A short thread name is padded on the left, so the first line of a sample may begin with spaces.
        let next = self.flat && (perf_header::parse(text).is_some() || (!self.timed && is_flat(text)));
        if indented && inside && !next {
            return self.inside(line, text);
        }
        if let Some(header) = perf_header::parse(text) {
            self.end_of_sample();
            self.give_up_pending();
            self.timed = true;
            return self.header(&header);
        }
        // A comment, or a line of the source (-F srccode).
        if text.starts_with(b"#") || (inside && text.starts_with(b"|")) {
            return;
        }
        if indented && !inside && is_frame(line) && !is_flat(text) {
            return self.first_frame(text);
        }
        self.untimed(text);
    }

    /// Reads a frame after a line that may be a sample. Without such a line, the frame belongs to no sample.
    fn first_frame(&mut self, text: &'a [u8]) {
        if !self.begin_pending() {
            self.skip(self.number, text);
        } else if !self.skipping {
            // If the line is not a frame after all, the sample has no stack.
            let _ = self.frame(text);
        }
    }

    /// Reads a line inside of a sample.
    fn inside(&mut self, line: &'a [u8], text: &'a [u8]) {
        // A source line begins with two spaces (-F srcline), a frame with a tab.
        if line.starts_with(b"  ") && line.get(2).is_some_and(|b| *b > b' ') && self.source(text) {
            return;
        }
        if self.skipping || self.frame(text).is_some() || is_of_branches(line, text) {
            return;
        }
        match perf_header::parse(text) {
            Some(header) => {
                self.end_of_sample();
                self.header(&header);
            }
            None => self.skip(self.number, text),
        }
    }

    fn skip(&mut self, number: u64, text: &[u8]) {
        self.skipped
            .add(number, || format!("expected a sample or a frame of its stack, found {}", excerpt(text)));
    }

    fn give_up_pending(&mut self) {
        if let Some((number, text)) = self.pending.take() {
            self.skip(number, text);
        }
    }

    /// Reads a line without a time: a sample, or a warning in between. If other samples have times, it is no
    /// sample.
    fn untimed(&mut self, text: &'a [u8]) {
        self.give_up_pending();
        if self.timed {
            return self.skip(self.number, text);
        }
        match perf_header::parse_untimed(text) {
            Some(header) if is_frame(header.rest) => {
                self.end_of_sample();
                self.header(&header);
            }
            _ => self.pending = Some((self.number, text)),
        }
    }

    /// Begins the sample whose first line is pending; returns false if there is none.
    fn begin_pending(&mut self) -> bool {
        let Some((_, text)) = self.pending.take() else {
            if self.headless.is_some() {
                self.header(&Header::default());
            }
            return self.headless.is_some();
        };
        let named = || Header { comm: text, ..Header::default() };
        self.header(&perf_header::parse_untimed(text).unwrap_or_else(named));
        true
    }

    fn header(&mut self, header: &Header<'a>) {
        if header.event.starts_with(b"PERF_RECORD_") {
            // Lines of --show-task-events and the like are not samples.
            self.lost = self.lost.saturating_add(lost(header));
            self.skipping = true;
            return;
        }
        // A sample without an event selects none: the first named event is selected later.
        let event = self.event.get_or_insert_default();
        if event.is_empty() && self.options.event.is_none() {
            *event = header.event.to_vec();
        }
        self.flat = !header.rest.is_empty();
        // `-e cycles` is printed as `cycles:u` if the user may not profile the kernel.
        let same = event == header.event
            || header.event.strip_prefix(&event[..]).is_some_and(|m| m.starts_with(b":"));
        if !same {
            *self.others.entry(header.event.to_vec()).or_default() += 1;
            self.skipping = true;
            return;
        }
        let key = (header.comm, header.pid, header.tid);
        let labels = match self.threads.get(&key) {
            Some(known) => *known,
            None => {
                let labels = self.new_thread(header);
                self.threads.insert(key, labels);
                labels
            }
        };
        if let Some(time) = header.time {
            (self.start, self.last) = (self.start.min(time), self.last.max(time));
        }
        self.current = Some((labels, header.time, header.period.unwrap_or(1)));
        self.one_frame = flat_frame(header.rest);
    }

    fn new_thread(&mut self, header: &Header<'_>) -> LabelsId {
        if header.comm.is_empty() && (header.pid, header.tid) == (0, 0) {
            return LabelsId::default();
        }
        let name = String::from_utf8_lossy(header.comm).into_owned();
        let name = if name.is_empty() { format!(":{}", header.tid) } else { name };
        let mut labels = vec![self.profile.text_label(keys::THREAD, &name)];
        if (header.pid, header.tid) != (0, 0) || header.comm == b"swapper" {
            labels.push(self.profile.number_label(keys::PID, header.pid.into(), ""));
            labels.push(self.profile.number_label(keys::TID, header.tid.into(), ""));
        }
        self.profile.labels(&labels)
    }

    /// Reads `address symbol+offset (module)`; module, symbol or both may be missing.
    fn frame(&mut self, line: &'a [u8]) -> Option<()> {
        let (at, text) = address(line)?;
        if text.is_empty() {
            // Only the address (-F ip).
            let address = u64::from_str_radix(std::str::from_utf8(at).ok()?, 16)
                .ok()
                .filter(|_| at.len() >= MIN_ADDRESS)?;
            self.push_last_frame();
            let frame = self.profile.add_frame(Frame { address, ..Frame::default() });
            self.stack.push(frame);
            return Some(());
        }
        self.push_last_frame();
        self.last_frame = Some(parts(text));
        Some(())
    }

    fn push_last_frame(&mut self) {
        if let Some((symbol, module)) = self.last_frame.take() {
            self.push_frame(symbol, module, b"");
        }
    }

    fn push_frame(&mut self, symbol: &'a [u8], module: &'a [u8], source: &'a [u8]) {
        let frame = match self.frames.get(&(symbol, module, source)) {
            Some(known) => *known,
            None => {
                let frame = self.new_frame(symbol, module, source);
                self.frames.insert((symbol, module, source), frame);
                frame
            }
        };
        self.stack.push(frame);
    }

    /// Reads `file.c:183`, or `file.so[1090]` without a line; ` (inlined)` may follow. Returns false if there
    /// is no frame yet.
    fn source(&mut self, text: &'a [u8]) -> bool {
        if self.skipping {
            return true;
        }
        let Some((symbol, module)) = self.last_frame.take() else { return self.flat };
        let (text, module) = match text.strip_suffix(b" (inlined)") {
            Some(text) => (text, &b"inlined"[..]),
            None => (text, module),
        };
        self.push_frame(symbol, module, text);
        true
    }

    fn new_frame(&mut self, symbol: &[u8], module: &[u8], source: &[u8]) -> FrameId {
        let inlined = module == b"inlined";
        let bare = inlined || module.is_empty() || module == b"[unknown]" || module == b"unknown";
        let module = (!bare).then(|| {
            let path = self.profile.intern(&String::from_utf8_lossy(module));
            self.profile.module(Module { path, ..Module::default() })
        });
        let unknown = matches!(symbol, b"[unknown]" | b"unknown");
        let function = if unknown { String::new() } else { demangled(symbol) };
        let function = self.profile.intern(&function);
        let (file, line) = file_and_line(source);
        let file = self.profile.intern(&file);
        self.profile.add_frame(Frame { function, module, inlined, file, line, ..Frame::default() })
    }

    fn end_of_sample(&mut self) {
        self.skipping = false;
        if let Some(frame) =
            self.one_frame.take().filter(|_| self.stack.is_empty() && self.last_frame.is_none())
        {
            // It begins with an address.
            let _ = self.frame(frame);
        }
        self.push_last_frame();
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
            return Err(ProfileError::Event { wanted: event, known: names.join(", ") });
        }
        if self.profile.is_empty() {
            let error = self.skipped.error(Format::PerfScript, "line");
            return Err(error.unwrap_or(ProfileError::Empty("perf script printed no sample")));
        }
        self.profile.set_event(&event);
        self.profile.duration_ns = i64::try_from(self.last.saturating_sub(self.start)).unwrap_or(0);
        for (name, count) in others {
            let name = String::from_utf8_lossy(&name).into_owned();
            self.profile
                .comments
                .push(format!("{count} samples of event {name} are left out; choose it with --event"));
        }
        if self.lost > 0 {
            self.profile
                .comments
                .push(format!("perf lost {} events or samples: they are left out", self.lost));
        }
        if self.cut {
            let what = "the file ends within a line: the last sample may lack callers, which are left out";
            self.profile.comments.push(what.to_owned());
        }
        self.profile.comments.extend(self.skipped.report("line"));
        Ok(self.profile)
    }
}

/// Splits the address off the beginning of a line, with one space after it.
fn address(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b' ', line).unwrap_or(line.len());
    let word = &line[..end];
    let digits = word.strip_prefix(b"0x").unwrap_or(word);
    if digits.is_empty() || digits.len() > 16 || !is_hex(digits) {
        return None;
    }
    Some((digits, line[end..].trim_ascii()))
}

/// Whether a line is from -F brstackinsn or srccode: an instruction after an address and a tab, a label,
/// quoted source; or from -F brstack, iregs, uregs or bpf-output.
fn is_of_branches(line: &[u8], text: &[u8]) -> bool {
    let word = text.iter().position(|b| !b.is_ascii_hexdigit()).unwrap_or(text.len());
    let instruction = word >= 4 && text.get(word) == Some(&b'\t');
    let label = line.starts_with(b"\t") && text.ends_with(b":");
    let known =
        [&b"|"[..], b"ABI:", b"BPF output:", b"BPF string:"].iter().any(|known| text.starts_with(known));
    instruction || label || known || text == b"..." || is_branch(first_word(text))
}

/// Whether a word is a branch: `0x55d0/0x66d0/P/-/-/1`.
fn is_branch(word: &[u8]) -> bool {
    word.starts_with(b"0x") && word.iter().filter(|b| **b == b'/').count() >= 5
}

/// Parses `PERF_RECORD_LOST lost 12`.
fn lost(header: &Header<'_>) -> u64 {
    let text =
        String::from_utf8_lossy(header.event).into_owned() + " " + &String::from_utf8_lossy(header.rest);
    if !text.starts_with("PERF_RECORD_LOST") {
        return 0;
    }
    text.split_whitespace().find_map(|word| word.parse().ok()).unwrap_or(0)
}

/// Parses `file.c:183`; empty for `libc.so[1090]` and `??:0`.
fn file_and_line(source: &[u8]) -> (String, u32) {
    let text = String::from_utf8_lossy(source);
    match text.rsplit_once(':') {
        Some((file, line)) if file != "??" => {
            // A discriminator of the compiler may follow: `a.c:12 (discriminator 3)`.
            let digits = line.split(' ').next().unwrap_or_default();
            (file.to_owned(), digits.parse().unwrap_or(0))
        }
        _ => (String::new(), 0),
    }
}

/// Returns symbol and module of `symbol+0x1f (module)`, without the offset, which differs from sample to
/// sample.
fn parts(text: &[u8]) -> (&[u8], &[u8]) {
    let (symbol, module) = with_module(text);
    // A deleted or replaced file: `name+0x1 (/path (deleted))`; the offset in the module (-F dsoff):
    // `(/bin/ls+0x1234)`.
    let module = module.strip_suffix(b" (deleted)").unwrap_or(module);
    let module = without_offset(module);
    let module = module.strip_suffix(b" (deleted)").unwrap_or(module);
    (without_offset(symbol.trim_ascii()), module)
}

fn without_offset(text: &[u8]) -> &[u8] {
    match memrchr(b'+', text) {
        Some(at) if text[at + 1..].strip_prefix(b"0x").is_some_and(is_hex) => &text[..at],
        _ => text,
    }
}

/// Splits a frame's text into the symbol with its offset, and the text in the last brackets after a space. Both may
/// have brackets: `f(int (*)(int))+0x1 (/opt/a (x86)/lib.so)`.
fn with_module(text: &[u8]) -> (&[u8], &[u8]) {
    let Some(inner) = text.strip_suffix(b")") else { return (before_offset(text).unwrap_or(text), b"") };
    let mut depth = 0;
    for (at, byte) in inner.iter().enumerate().rev() {
        match byte {
            b')' => depth += 1,
            b'(' if depth > 0 => depth -= 1,
            b'(' if at == 0 || inner[at - 1] == b' ' => return (&inner[..at], &inner[at + 1..]),
            _ => {}
        }
    }
    // Brackets that do not match: the last one after a space.
    let open = memchr::memrchr_iter(b'(', inner).find(|at| *at == 0 || inner[at - 1] == b' ');
    open.map_or((text, b""), |at| (&inner[..at], &inner[at + 1..]))
}

/// Returns the symbol of a line that is cut within its module: `f+0x10 (/bi`.
fn before_offset(text: &[u8]) -> Option<&[u8]> {
    let plus = memchr::memmem::find(text, b"+0x")?;
    memchr::memmem::find(&text[plus..], b" (").map(|_| &text[..plus])
}

fn is_hex(text: &[u8]) -> bool {
    // A fold avoids a branch for each digit.
    text.iter().fold(true, |so_far, b| so_far & (b.is_ascii_digit() | (b | 0x20).wrapping_sub(b'a').lt(&6)))
}

/// Demangles a symbol that perf did not: it demangles C++ and, since 6.x, Rust.
fn demangled(symbol: &[u8]) -> String {
    let text = String::from_utf8_lossy(symbol);
    tracepoints::symbolize::demangle(&text)
}

impl Profile {
    /// Names the second value of perf's samples: the event, or CPU time for the clocks.
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
