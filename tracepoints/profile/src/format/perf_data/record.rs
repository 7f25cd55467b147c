//! The records of the file, in the order of their times.
use super::{
    bytes::Bytes,
    header::{Attr, Header, has},
    wrong,
};
use crate::{ProfileError, symbols::hex};

const MMAP: u32 = 1;
const LOST: u32 = 2;
const COMM: u32 = 3;
const FORK: u32 = 7;
const SAMPLE: u32 = 9;
const MMAP2: u32 = 10;
const LOST_SAMPLES: u32 = 13;
const AUXTRACE: u32 = 71;
const COMPRESSED: u32 = 81;
const COMPRESSED2: u32 = 83;
/// Of a mapping: it has a build id in place of the file's number.
const MISC_BUILD_ID: u16 = 1 << 14;
/// Entries of a call chain from here up tell kernel from user, and are no addresses.
const CONTEXT: u64 = u64::MAX - 4094;

#[derive(Debug)]
pub enum Event {
    Map { pid: u32, start: u64, len: u64, offset: u64, path: String, build_id: String },
    Comm { pid: u32, tid: u32, name: String },
    Fork { pid: u32, parent: u32, tid: u32 },
    Lost(u64),
    Sample(Sample),
}

#[derive(Debug)]
pub struct Sample {
    pub attr: usize,
    pub pid: u32,
    pub tid: u32,
    pub time: Option<u64>,
    pub period: u64,
    /// Innermost first; callers at their call, not behind it.
    pub addresses: Vec<u64>,
}

pub struct Records {
    pub events: Vec<Event>,
    /// What is wrong from where on, if the file was cut.
    pub cut: Option<String>,
}

pub fn read(file: &[u8], header: &Header) -> Result<Records, ProfileError> {
    let (offset, len) = header.data;
    let at = usize::try_from(offset).unwrap_or(usize::MAX);
    let rest = file.get(at..).ok_or_else(|| wrong(at, "the records are not there"))?;
    let rest = &rest[..rest.len().min(usize::try_from(len).unwrap_or(usize::MAX))];
    let mut all = Bytes { at, rest };
    // perf that was killed has not said how much it wrote.
    let mut cut = (len == 0 || rest.len() as u64 != len).then(|| "the file was not finished".to_owned());
    if len == 0 {
        all.rest = &file[at..];
    }
    let mut events: Vec<(u64, Event)> = Vec::new();
    while !all.rest.is_empty() {
        let at = all.at;
        let Some((kind, misc, body)) = next(&mut all) else {
            cut = Some(format!("the record at byte {at} is cut short"));
            break;
        };
        if matches!(kind, COMPRESSED | COMPRESSED2) {
            return Err(wrong(at, "its records are compressed (perf record -z); print it with perf script"));
        }
        if kind == AUXTRACE {
            let size = Bytes { ..body }.u64().and_then(|size| usize::try_from(size).ok());
            size.and_then(|size| all.take(size))
                .ok_or_else(|| wrong(at, "its hardware trace is cut short"))?;
            continue;
        }
        match event(kind, misc, body, header) {
            Some(event) => events.extend(event),
            None => {
                return Err(wrong(
                    at,
                    format!("a record of type {kind} is shorter than what it says it holds"),
                ));
            }
        }
    }
    // Each core writes its own; what was mapped must be known before it is met.
    events.sort_by_key(|(time, _)| *time);
    Ok(Records { events: events.into_iter().map(|(_, event)| event).collect(), cut })
}

fn next<'a>(all: &mut Bytes<'a>) -> Option<(u32, u16, Bytes<'a>)> {
    let (kind, misc, size) = (all.u32()?, all.u16()?, all.u16()?);
    let at = all.at;
    Some((kind, misc, Bytes { at, rest: all.take(usize::from(size).checked_sub(8)?)? }))
}

/// The event with its time; an empty answer for a record that says nothing about stacks.
fn event(kind: u32, misc: u16, mut body: Bytes<'_>, header: &Header) -> Option<Option<(u64, Event)>> {
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

/// Takes off what stands behind every record but samples: thread, time, ids. Gives the time.
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
    let time = Bytes { at: 0, rest: tail.get(before..)? }.u64();
    Some(time.filter(|_| attr.sample_type & has::TIME != 0).unwrap_or(0))
}

fn sample(mut body: Bytes<'_>, header: &Header) -> Option<Sample> {
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
    let mut sample = Sample { attr: n, pid: 0, tid: 0, time: None, period: 1, addresses: Vec::new() };
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
        let mut chain = Bytes { at: 0, rest: body.take(usize::try_from(n).ok()?.checked_mul(8)?)? };
        // Where kernel or user mode was left or interrupted is exact; a return address points behind its call, which may be
        // another function's.
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
    Some(sample)
}

/// The values of counters, which are no part of the stack.
fn skip_read(body: &mut Bytes<'_>, format: u64) -> Option<()> {
    let bit = |bit: u64| u64::from(format & bit != 0);
    let (times, each) = (bit(1) + bit(2), 1 + bit(4) + bit(16));
    let n = if bit(8) == 1 { body.u64()? } else { 1 };
    body.skip_words(times.checked_add(n.checked_mul(each)?)?)
}
