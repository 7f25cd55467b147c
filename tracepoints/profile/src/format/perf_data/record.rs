//! Reads the records of the file, sorted by time.
use crate::format::skipped::Skipped;

use super::{
    bytes::Bytes,
    header::{Attr, Header, has},
};
use crate::symbols::hex;

const MMAP: u32 = 1;
const LOST: u32 = 2;
const COMM: u32 = 3;
const FORK: u32 = 7;
const SAMPLE: u32 = 9;
const MMAP2: u32 = 10;
const LOST_SAMPLES: u32 = 13;
/// Record types of a stream for the contents of a file's header. Linux: tools/lib/perf/include/perf/event.h.
const HEADER_ATTR: u32 = 64;
const TRACING_DATA: u32 = 66;
const HEADER_BUILD_ID: u32 = 67;
const AUXTRACE: u32 = 71;
const EVENT_UPDATE: u32 = 78;
const HEADER_FEATURE: u32 = 80;
/// Subtype of [`EVENT_UPDATE`]: the event's name.
const UPDATE_NAME: u64 = 2;
const COMPRESSED: u32 = 81;
const COMPRESSED2: u32 = 83;
/// Flag of a mapping with a build id in place of the file's number.
const MISC_BUILD_ID: u16 = 1 << 14;
/// Entries of a call chain from here up mark kernel or user mode and are not addresses.
const CONTEXT: u64 = u64::MAX - 4094;

#[derive(Debug)]
pub enum Event<'a> {
    Map { pid: u32, start: u64, len: u64, offset: u64, path: String, build_id: String },
    Comm { pid: u32, tid: u32, name: String },
    Fork { pid: u32, parent: u32, tid: u32 },
    Lost(u64),
    Sample(Sample<'a>),
}

#[derive(Debug)]
pub struct Sample<'a> {
    pub attr: usize,
    pub pid: u32,
    pub tid: u32,
    pub time: Option<u64>,
    pub period: u64,
    /// Innermost first; callers with the address of their call, not after it.
    pub addresses: Vec<u64>,
    pub user: Option<UserStack<'a>>,
}

/// A copy of the user-mode stack, to be unwound (`perf record --call-graph dwarf`).
#[derive(Clone, Copy, Debug)]
pub struct UserStack<'a> {
    /// The registers of [`Attr::regs_user`], 8 bytes each.
    pub regs: Bytes<'a>,
    /// Bytes from the stack pointer on.
    pub stack: &'a [u8],
}

#[derive(Default)]
pub struct Records<'a> {
    /// Events with their times.
    pub events: Vec<(u64, Event<'a>)>,
    /// Concatenated parts of a compressed stream of further records.
    pub packed: Vec<u8>,
    /// Reason why the file is incomplete.
    pub cut: Option<String>,
    /// Skipped records by their offset.
    pub skipped: Skipped,
}

/// Returns the part of a file with the records.
pub fn part<'a>(file: &'a [u8], header: &Header, out: &mut Records<'_>) -> Bytes<'a> {
    let (offset, len) = header.data;
    let at = usize::try_from(offset).unwrap_or(usize::MAX);
    let all = file.get(at..).unwrap_or_default();
    let rest = &all[..all.len().min(usize::try_from(len).unwrap_or(usize::MAX))];
    // A killed perf has not written the length of its data.
    if (len == 0 && !header.stream) || rest.len() as u64 != len {
        out.cut = Some("the file was not finished".to_owned());
    }
    let rest = if len == 0 { all } else { rest };
    Bytes { at, rest, big: header.big }
}

/// Reads the records, and the events of a stream, as far as they are intact.
pub fn read<'a>(mut all: Bytes<'a>, header: &mut Header, out: &mut Records<'a>) {
    while !all.rest.is_empty() {
        let at = all.at;
        let Some((kind, misc, mut body)) = next(&mut all) else {
            out.cut = Some(format!("the record at byte {at} is cut short"));
            break;
        };
        let whole = match kind {
            COMPRESSED => {
                out.packed.extend_from_slice(body.rest);
                Some(())
            }
            COMPRESSED2 => body
                .u64()
                .and_then(|len| body.take(usize::try_from(len).ok()?))
                .map(|packed| out.packed.extend_from_slice(packed)),
            AUXTRACE | TRACING_DATA => {
                // The record is followed by data whose length it states.
                let size = if kind == AUXTRACE {
                    body.u64()
                } else {
                    body.u32().map(|n| u64::from(n).next_multiple_of(8))
                };
                let size = size.and_then(|size| usize::try_from(size).ok());
                if size.and_then(|size| all.take(size)).is_none() {
                    out.cut = Some(format!("the trace at byte {at} is cut short"));
                    break;
                }
                Some(())
            }
            64.. => of_stream(kind, misc, body, header),
            _ => event(kind, misc, body, header).map(|event| out.events.extend(event)),
        };
        if whole.is_none() {
            out.skipped
                .add(at as u64, || format!("a record of type {kind} is shorter than its stated contents"));
        }
    }
}

/// Reads records of a stream that replace a file's header.
fn of_stream(kind: u32, misc: u16, mut body: Bytes<'_>, header: &mut Header) -> Option<()> {
    match kind {
        HEADER_ATTR => {
            let mut ahead = body;
            let (_kind, size) = (ahead.u32()?, ahead.u32()?);
            let attr = body.sub(usize::try_from(size).ok().filter(|size| *size >= 64)?)?;
            header.add_attr(attr, body)
        }
        HEADER_BUILD_ID => header.add_build_id(misc, body),
        EVENT_UPDATE => {
            let (what, id) = (body.u64()?, body.u64()?);
            if what == UPDATE_NAME {
                header.set_name(id, body.text());
            }
            Some(())
        }
        HEADER_FEATURE => {
            let bit = u32::try_from(body.u64()?).ok()?;
            header.add_feature(bit, body);
            Some(())
        }
        _ => Some(()),
    }
}

fn next<'a>(all: &mut Bytes<'a>) -> Option<(u32, u16, Bytes<'a>)> {
    let (kind, misc, size) = (all.u32()?, all.u16()?, all.u16()?);
    Some((kind, misc, all.sub(usize::from(size).checked_sub(8)?)?))
}

/// Reads an event with its time; `Some(None)` for a record that is irrelevant to stacks.
fn event<'a>(kind: u32, misc: u16, mut body: Bytes<'a>, header: &Header) -> Option<Option<(u64, Event<'a>)>> {
    if kind == SAMPLE {
        let sample = sample(body, header)?;
        return Some(Some((sample.time.unwrap_or(0), Event::Sample(sample))));
    }
    if !matches!(kind, MMAP | MMAP2 | COMM | FORK | LOST | LOST_SAMPLES) {
        return Some(None);
    }
    let time = trailer(&mut body, header.attrs.first()?)?;
    let event = match kind {
        MMAP | MMAP2 => {
            let (pid, _tid) = (body.u32()?, body.u32()?);
            let (start, len, offset) = (body.u64()?, body.u64()?, body.u64()?);
            let mut build_id = String::new();
            if kind == MMAP2 {
                let id = body.take(24)?;
                if misc & MISC_BUILD_ID != 0 {
                    build_id = hex(id.get(4..4 + usize::from(id[0]).min(20))?);
                }
                body.take(8)?;
            }
            Event::Map { pid, start, len, offset, path: body.text(), build_id }
        }
        COMM => Event::Comm { pid: body.u32()?, tid: body.u32()?, name: body.text() },
        FORK => {
            let (pid, parent, tid) = (body.u32()?, body.u32()?, body.u32()?);
            Event::Fork { pid, parent, tid }
        }
        LOST => {
            body.u64()?;
            Event::Lost(body.u64()?)
        }
        _ => Event::Lost(body.u64()?),
    };
    Some(Some((time, event)))
}

/// Removes the trailer of all records but samples: thread, time, ids. Returns the time.
fn trailer(body: &mut Bytes<'_>, attr: &Attr) -> Option<u64> {
    if !attr.sample_id_all {
        return Some(0);
    }
    let bit = |bit: u64| usize::from(attr.sample_type & bit != 0) * 8;
    let before = bit(has::TID);
    let all =
        before + bit(has::TIME) + bit(has::ID) + bit(has::STREAM_ID) + bit(has::CPU) + bit(has::IDENTIFIER);
    let (rest, tail) = body.rest.split_at(body.rest.len().checked_sub(all)?);
    body.rest = rest;
    let time = Bytes { rest: tail.get(before..)?, ..*body }.u64();
    Some(time.filter(|_| attr.sample_type & has::TIME != 0).unwrap_or(0))
}

fn sample<'a>(mut body: Bytes<'a>, header: &Header) -> Option<Sample<'a>> {
    let first = header.attrs.first()?;
    let mut n = 0;
    if first.sample_type & has::IDENTIFIER != 0 {
        n = header.ids.get(&body.u64()?).copied().unwrap_or(0);
    } else if first.sample_type & has::ID != 0 {
        let before = [has::IP, has::TID, has::TIME, has::ADDR];
        let skip = before.iter().filter(|bit| first.sample_type & **bit != 0).count();
        let mut ahead = body;
        ahead.skip_words(skip as u64)?;
        n = header.ids.get(&ahead.u64()?).copied().unwrap_or(0);
    }
    let attr = header.attrs.get(n)?;
    let is = |bit: u64| attr.sample_type & bit != 0;
    let mut sample =
        Sample { attr: n, pid: 0, tid: 0, time: None, period: 1, addresses: Vec::new(), user: None };
    let ip = if is(has::IP) { Some(body.u64()?) } else { None };
    if is(has::TID) {
        (sample.pid, sample.tid) = (body.u32()?, body.u32()?);
    }
    if is(has::TIME) {
        sample.time = Some(body.u64()?);
    }
    for bit in [has::ADDR, has::ID, has::STREAM_ID, has::CPU] {
        body.skip_words(is(bit).into())?;
    }
    if is(has::PERIOD) {
        sample.period = body.u64()?;
    }
    if is(has::READ) {
        skip_read(&mut body, attr.read_format)?;
    }
    if is(has::CALLCHAIN) {
        let n = body.u64()?;
        let mut chain = body.sub(usize::try_from(n).ok()?.checked_mul(8)?)?;
        // The interrupted address of kernel or user mode is exact; a return address points after its call,
        // possibly into another function.
        let mut exact = true;
        while let Some(address) = chain.u64() {
            if address >= CONTEXT {
                exact = true;
            } else if address != 0 {
                sample.addresses.push(address - u64::from(!exact));
                exact = false;
            }
        }
    }
    if sample.addresses.is_empty() {
        sample.addresses.extend(ip.filter(|ip| *ip != 0));
    }
    // The other contents of a sample are useful only if they are complete.
    sample.user = user_stack(&mut body, attr);
    Some(sample)
}

/// Reads the registers and the stack of user mode, after raw data and branches.
fn user_stack<'a>(body: &mut Bytes<'a>, attr: &Attr) -> Option<UserStack<'a>> {
    let is = |bit: u64| attr.sample_type & bit != 0;
    if !is(has::REGS_USER) || !is(has::STACK_USER) {
        return None;
    }
    if is(has::RAW) {
        let len = body.u32()?;
        body.take(usize::try_from(len).ok()?)?;
    }
    if is(has::BRANCH_STACK) {
        let n = body.u64()?;
        let (index, counters) = (attr.branch_sample_type & (1 << 17), attr.branch_sample_type & (1 << 19));
        body.skip_words(u64::from(index != 0))?;
        body.skip_words(n.checked_mul(3 + u64::from(counters != 0))?)?;
    }
    if body.u64()? == 0 {
        // A kernel thread has no user-mode registers.
        return None;
    }
    let regs = body.sub(attr.regs_user.count_ones() as usize * 8)?;
    let size = usize::try_from(body.u64()?).ok()?;
    let stack = body.take(size)?;
    let filled = usize::try_from(body.u64().unwrap_or(0)).ok()?;
    Some(UserStack { regs, stack: stack.get(..filled)? })
}

/// Skips the values of counters, which are not part of the stack.
fn skip_read(body: &mut Bytes<'_>, format: u64) -> Option<()> {
    let bit = |bit: u64| u64::from(format & bit != 0);
    let (times, each) = (bit(1) + bit(2), 1 + bit(4) + bit(16));
    let n = if bit(8) == 1 { body.u64()? } else { 1 };
    body.skip_words(times.checked_add(n.checked_mul(each)?)?)
}
