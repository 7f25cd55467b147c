//! Follows processes through the records: names of threads, and the mappings at the time of each sample.
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use super::{
    super::{kind::Format, options::ReadOptions},
    header::Header,
    record::{Event, Records, Sample},
    unwind::Unwinder,
    wrong::wrong,
};
use crate::{
    ProfileError,
    format::skipped::Skipped,
    model::{Frame, FrameId, LabelsId, Module, ModuleId, Profile, StackId, keys},
};

/// Process id used for the kernel's mappings.
const KERNEL: u32 = u32::MAX;
/// Start of the kernel's half of the addresses.
const KERNEL_START: u64 = 1 << 63;

struct Follower<'a> {
    header: &'a Header,
    options: &'a ReadOptions,
    profile: Profile,
    /// Mappings of each process, by the first address.
    maps: HashMap<u32, BTreeMap<u64, (u64, ModuleId)>>,
    names: HashMap<u32, String>,
    labels: HashMap<(u32, u32), LabelsId>,
    /// Index of the event that is kept.
    attr: Option<usize>,
    others: BTreeMap<usize, u64>,
    start: Option<u64>,
    last: u64,
    lost: u64,
    /// Kernel frames, and samples whose copied stack cannot be unwound.
    kernel_frames: u64,
    flat: u64,
    unwinder: Unwinder,
}

pub fn fold(header: &Header, records: Records<'_>, options: &ReadOptions) -> Result<Profile, ProfileError> {
    let attr = match &options.event {
        Some(name) => Some(named(header, name)?),
        None => None,
    };
    let mut follower = Follower {
        header,
        options,
        profile: Profile::new(&[("samples", "count"), ("period", "count")]),
        maps: HashMap::new(),
        names: HashMap::new(),
        labels: HashMap::new(),
        attr,
        others: BTreeMap::new(),
        start: None,
        last: 0,
        lost: 0,
        kernel_frames: 0,
        flat: 0,
        unwinder: Unwinder::new(&header.arch, options),
    };
    for (_, event) in records.events {
        follower.event(event);
    }
    follower.finish(records.cut, records.skipped)
}

fn named(header: &Header, name: &str) -> Result<usize, ProfileError> {
    let is =
        |full: &str| full.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'));
    header.attrs.iter().position(|attr| is(&attr.name)).ok_or_else(|| {
        let names: Vec<_> = header.attrs.iter().map(|attr| attr.name.as_str()).collect();
        ProfileError::Event { wanted: name.to_owned(), known: names.join(", ") }
    })
}

impl Follower<'_> {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Map { pid, start, len, offset, path, build_id } => {
                self.map(pid, start, len, offset, &path, build_id);
            }
            Event::Comm { pid, tid, name } => {
                self.labels.remove(&(pid, tid));
                self.names.insert(tid, name);
            }
            Event::Fork { pid, parent, tid } => {
                if pid != parent {
                    let maps = self.maps.get(&parent).cloned().unwrap_or_default();
                    self.maps.insert(pid, maps);
                }
                if let Some(name) = self.names.get(&parent).cloned() {
                    self.names.entry(tid).or_insert(name);
                }
            }
            Event::Lost(n) => self.lost = self.lost.saturating_add(n),
            Event::Sample(sample) => self.sample(&sample),
        }
    }

    fn map(&mut self, pid: u32, start: u64, len: u64, offset: u64, path: &str, build_id: String) {
        let known =
            if build_id.is_empty() { self.header.build_ids.get(path).cloned() } else { Some(build_id) };
        let end = start.saturating_add(len);
        let path = self.profile.intern(path);
        let build_id = self.profile.intern(&known.unwrap_or_default());
        let module = self.profile.module(Module { path, build_id, start, end, offset });
        let maps = self.maps.entry(pid).or_default();
        // Removes the parts of mappings that the new one replaces.
        let below = maps.range(..end).rev();
        let old: Vec<_> =
            below.take_while(|(_, (old_end, _))| *old_end > start).map(|(s, m)| (*s, *m)).collect();
        for (old_start, (old_end, old_module)) in old {
            maps.remove(&old_start);
            if old_start < start {
                maps.insert(old_start, (start, old_module));
            }
            if old_end > end {
                maps.insert(end, (old_end, old_module));
            }
        }
        if start < end {
            maps.insert(start, (end, module));
        }
    }

    fn sample(&mut self, sample: &Sample<'_>) {
        if *self.attr.get_or_insert(sample.attr) != sample.attr {
            *self.others.entry(sample.attr).or_default() += 1;
            return;
        }
        let labels = self.labels_of(sample.pid, sample.tid);
        let mut stack = StackId::ROOT;
        let addresses = self.addresses(sample);
        for address in addresses.iter().rev() {
            let frame = self.frame(sample.pid, *address);
            stack = self.profile.push(stack, frame);
        }
        let values = [1, i64::try_from(sample.period).unwrap_or(i64::MAX)];
        // Records are sorted by time, so the first one is the earliest.
        let start = *self.start.get_or_insert(sample.time.unwrap_or(0));
        self.last = self.last.max(sample.time.unwrap_or(0));
        match sample.time.filter(|_| self.options.times) {
            Some(time) => self.profile.add_at(time.saturating_sub(start), stack, labels, &values),
            None => self.profile.add(stack, labels, &values),
        }
    }

    /// Returns the addresses of the kernel and, from the copied stack, of the program.
    fn addresses<'s>(&mut self, sample: &'s Sample<'_>) -> Cow<'s, [u64]> {
        let Some(user) = &sample.user else { return Cow::Borrowed(&sample.addresses) };
        let regs = self.header.attrs.get(sample.attr).map_or(0, |attr| attr.regs_user);
        let maps = self.maps.get(&sample.pid);
        match self.unwinder.walk(sample.pid, regs, user, maps, &self.profile) {
            Some(callers) => {
                let kernel = sample.addresses.iter().filter(|address| **address >= KERNEL_START);
                Cow::Owned(kernel.copied().chain(callers).collect())
            }
            None => {
                self.flat += 1;
                Cow::Borrowed(&sample.addresses)
            }
        }
    }

    fn labels_of(&mut self, pid: u32, tid: u32) -> LabelsId {
        if let Some(known) = self.labels.get(&(pid, tid)) {
            return *known;
        }
        let name = match self.names.get(&tid).or_else(|| self.names.get(&pid)) {
            Some(name) => name.clone(),
            None if pid == 0 => "swapper".to_owned(),
            None => format!(":{tid}"),
        };
        let labels = [
            self.profile.text_label(keys::THREAD, &name),
            self.profile.number_label(keys::PID, pid.into(), ""),
            self.profile.number_label(keys::TID, tid.into(), ""),
        ];
        let labels = self.profile.labels(&labels);
        self.labels.insert((pid, tid), labels);
        labels
    }

    fn frame(&mut self, pid: u32, address: u64) -> FrameId {
        let kernel = address >= KERNEL_START;
        let maps = self.maps.get(if kernel { &KERNEL } else { &pid });
        let found = maps.and_then(|maps| maps.range(..=address).next_back());
        let module = found.filter(|(_, (end, _))| address < *end).map(|(_, (_, module))| *module);
        let named = module.and_then(|m| self.profile.module_of(m)).map_or("", |m| self.profile.text(m.path));
        if kernel
            && (module.is_none() || named.starts_with("[kernel.kallsyms]") || named.starts_with("[guest"))
        {
            // The kernel's addresses change with every boot and no file has its names: they count from its
            // start.
            self.kernel_frames += 1;
            let start = module.and_then(|m| self.profile.module_of(m)).map_or(0, |m| m.start);
            let path = self.profile.intern("[kernel.kallsyms]");
            let module = Some(self.profile.module(Module { path, start, ..Module::default() }));
            return self.profile.add_frame(Frame { module, address, ..Frame::default() });
        }
        self.profile.add_frame(Frame { module, address, ..Frame::default() })
    }

    fn finish(mut self, cut: Option<String>, skipped: Skipped) -> Result<Profile, ProfileError> {
        if self.profile.is_empty() {
            if let Some(error) = skipped.error(Format::PerfData, "the record at byte") {
                return Err(error);
            }
            return Err(match cut {
                Some(cut) => wrong(0, format!("{cut}, and there is no sample")),
                None => ProfileError::Empty("perf.data has no sample; record for longer, or under load"),
            });
        }
        let name = |attr: usize| self.header.attrs.get(attr).map_or("", |attr| attr.name.as_str());
        self.profile.set_event(name(self.attr.unwrap_or(0)));
        self.profile.duration_ns =
            i64::try_from(self.last.saturating_sub(self.start.unwrap_or(0))).unwrap_or(i64::MAX);
        for (attr, n) in &self.others {
            let name = name(*attr);
            self.profile
                .comments
                .push(format!("{n} samples of event {name} are left out; choose it with --event"));
        }
        if self.lost > 0 {
            self.profile
                .comments
                .push(format!("perf lost {} events or samples: they are left out", self.lost));
        }
        self.profile.comments.extend(skipped.report("record at byte"));
        if self.kernel_frames > 0 {
            self.profile.comments.push(
                "the kernel's functions are left out, because the file does not contain their names: print it with perf script \
                 on the machine that recorded it"
                    .to_owned(),
            );
        }
        if self.flat > 0 {
            self.profile.comments.push(format!(
                "{} samples have a copy of the stack that cannot be unwound here: their callers are left out; give the program \
                 that ran as --binary, or print the file with perf script",
                self.flat
            ));
        }
        if let Some(cut) = cut {
            self.profile.comments.push(format!("{cut}: the data after it is left out"));
        }
        Ok(self.profile)
    }
}
