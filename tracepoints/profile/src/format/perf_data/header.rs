//! The header of the file: position of the records, layout of samples, build ids, names of events.
use std::collections::HashMap;

use super::{bytes::Bytes, wrong::wrong};
use crate::{ProfileError, symbols::hex};

/// Bits of `perf_event_attr.sample_type`.
pub mod has {
    pub const IP: u64 = 1;
    pub const TID: u64 = 1 << 1;
    pub const TIME: u64 = 1 << 2;
    pub const ADDR: u64 = 1 << 3;
    pub const READ: u64 = 1 << 4;
    pub const CALLCHAIN: u64 = 1 << 5;
    pub const ID: u64 = 1 << 6;
    pub const CPU: u64 = 1 << 7;
    pub const PERIOD: u64 = 1 << 8;
    pub const STREAM_ID: u64 = 1 << 9;
    pub const RAW: u64 = 1 << 10;
    pub const BRANCH_STACK: u64 = 1 << 11;
    pub const REGS_USER: u64 = 1 << 12;
    pub const STACK_USER: u64 = 1 << 13;
    pub const IDENTIFIER: u64 = 1 << 16;
}

/// Bits of `perf_event_attr`'s flags.
const SAMPLE_ID_ALL: u64 = 1 << 18;
/// Sections after the data, by number.
const BUILD_ID: u32 = 2;
const ARCH: u32 = 6;
const EVENT_DESC: u32 = 12;
const HEADER_LEN: u64 = 104;
/// Header length in bytes of a stream (`perf record -o -`), in which the other parts of the header are
/// records.
const STREAM_HEADER_LEN: u64 = 16;

/// A sampled event.
#[derive(Clone, Debug, Default)]
pub struct Attr {
    pub name: String,
    pub sample_type: u64,
    pub read_format: u64,
    pub sample_id_all: bool,
    pub branch_sample_type: u64,
    /// Mask of the user-mode registers in a sample.
    pub regs_user: u64,
}

#[derive(Debug, Default)]
pub struct Header {
    /// Whether numbers are big-endian.
    pub big: bool,
    /// Whether the file was written to a pipe.
    pub stream: bool,
    /// Architecture in the form of `uname -m`; empty if unknown.
    pub arch: String,
    pub attrs: Vec<Attr>,
    /// Index of the event, by id.
    pub ids: HashMap<u64, usize>,
    /// By path.
    pub build_ids: HashMap<String, String>,
    pub data: (u64, u64),
}

impl Header {
    /// Adds an event: the kernel's structure, and the ids of its counters.
    pub fn add_attr(&mut self, attr: Bytes<'_>, mut ids: Bytes<'_>) -> Option<()> {
        let n = self.attrs.len();
        self.attrs.push(parse_attr(attr)?);
        while let Some(id) = ids.u64() {
            self.ids.insert(id, n);
        }
        Some(())
    }

    /// Adds a section, or the equivalent record of a stream.
    pub fn add_feature(&mut self, bit: u32, mut section: Bytes<'_>) {
        match bit {
            BUILD_ID => drop(read_build_ids(section, self)),
            ARCH => {
                // A length, then a text.
                section.u32();
                self.arch = section.text();
            }
            EVENT_DESC => drop(read_names(section, self)),
            _ => {}
        }
    }
}

pub fn read(file: &[u8]) -> Result<Header, ProfileError> {
    let big = file.starts_with(b"2ELIFREP");
    let cut = || wrong(file.len(), format!("the file ends within its header of {HEADER_LEN} bytes"));
    let mut head = Bytes { at: 8, rest: file.get(8..).unwrap_or_default(), big };
    let mut next = || head.u64().ok_or_else(cut);
    if next()? == STREAM_HEADER_LEN {
        let len = file.len() as u64 - STREAM_HEADER_LEN;
        return Ok(Header { big, stream: true, data: (STREAM_HEADER_LEN, len), ..Header::default() });
    }
    let (attr_size, attrs, data) = (next()?, (next()?, next()?), (next()?, next()?));
    let (_event_types, features) = ((next()?, next()?), next()?);
    let mut header = Header { big, data, ..Header::default() };
    read_attrs(file, attr_size, attrs, &mut header)?;
    // The samples are readable without these sections.
    let _ = read_features(file, features, &mut header);
    Ok(header)
}

fn read_attrs(file: &[u8], size: u64, at: (u64, u64), header: &mut Header) -> Result<(), ProfileError> {
    let place = usize::try_from(at.0).unwrap_or(usize::MAX);
    let mut all = Bytes::part(file, at.0, at.1, header.big).ok_or_else(|| {
        wrong(place, format!("expected {} bytes of events, found the end of the file", at.1))
    })?;
    // The first version of the kernel's structure has 64 bytes, followed by a section of ids.
    let size = usize::try_from(size).ok().filter(|size| (80..=4096).contains(size));
    let size = size.ok_or_else(|| wrong(16, "expected events of 80 to 4096 bytes, found another size"))?;
    while let Some(mut attr) = all.sub(size) {
        let n = header.attrs.len();
        let body = attr.sub(size - 16);
        let (offset, len) = (attr.u64().unwrap_or(0), attr.u64().unwrap_or(0));
        let ids = Bytes::part(file, offset, len, header.big).ok_or_else(|| {
            wrong(place, format!("expected the ids of event {n}, found the end of the file"))
        })?;
        body.and_then(|body| header.add_attr(body, ids))
            .ok_or_else(|| wrong(place, "expected an event, found part of one"))?;
    }
    if header.attrs.is_empty() {
        Err(wrong(place, "expected at least one event, found none"))
    } else {
        Ok(())
    }
}

fn parse_attr(mut attr: Bytes<'_>) -> Option<Attr> {
    let (kind, _size, config) = (attr.u32()?, attr.u32()?, attr.u64()?);
    let (_period, sample_type, read_format, flags) = (attr.u64()?, attr.u64()?, attr.u64()?, attr.u64()?);
    // Bits of a structure are counted from the other end on a big-endian machine.
    let flags = if attr.big { flags.reverse_bits() } else { flags };
    let name = match (kind, config) {
        (0, 0) => "cycles".to_owned(),
        (0, 1) => "instructions".to_owned(),
        (1, 0) => "cpu-clock".to_owned(),
        (1, 1) => "task-clock".to_owned(),
        _ => format!("event {kind}:{config}"),
    };
    // The structure of older kernels ends before this field.
    let _breakpoint = attr.skip_words(3);
    let (branch_sample_type, regs_user) = (attr.u64().unwrap_or(0), attr.u64().unwrap_or(0));
    let sample_id_all = flags & SAMPLE_ID_ALL != 0;
    Some(Attr { name, sample_type, read_format, sample_id_all, branch_sample_type, regs_user })
}

fn read_features(file: &[u8], features: u64, header: &mut Header) -> Option<()> {
    let big = header.big;
    let len = 16 * u64::from(features.count_ones());
    let mut table = Bytes::part(file, header.data.0.checked_add(header.data.1)?, len, big)?;
    for bit in (0..64).filter(|bit| features & (1 << bit) != 0) {
        if let Some(section) = Bytes::part(file, table.u64()?, table.u64()?, big) {
            header.add_feature(bit, section);
        }
    }
    Some(())
}

fn read_build_ids(mut section: Bytes<'_>, header: &mut Header) -> Option<()> {
    loop {
        let mut record = section;
        let (_kind, misc, size) = (record.u32()?, record.u16()?, record.u16()?);
        let body = section.sub(usize::from(size).max(8))?;
        record.rest = body.rest.get(8..)?;
        header.add_build_id(misc, record)?;
    }
}

impl Header {
    /// Adds a build id from the body of its record.
    pub fn add_build_id(&mut self, misc: u16, mut record: Bytes<'_>) -> Option<()> {
        let _pid = record.u32()?;
        let id = record.take(24)?;
        // Newer versions state its length; older ones always have 20 bytes.
        let len = if misc & (1 << 15) != 0 { usize::from(id[20]).min(20) } else { 20 };
        self.build_ids.insert(record.text(), hex(&id[..len]));
        Some(())
    }

    /// Sets the name of the event with an id, from a record of a stream.
    pub fn set_name(&mut self, id: u64, name: String) {
        if let Some(attr) = self.ids.get(&id).and_then(|n| self.attrs.get_mut(*n))
            && !name.is_empty()
        {
            attr.name = name;
        }
    }
}

fn read_names(mut section: Bytes<'_>, header: &mut Header) -> Option<()> {
    let (n, attr_size) = (section.u32()?, section.u32()?);
    for i in 0..usize::try_from(n).ok()? {
        section.take(usize::try_from(attr_size).ok()?)?;
        let (ids, len) = (section.u32()?, section.u32()?);
        let name = section.sub(usize::try_from(len).ok()?)?.text();
        section.skip_words(ids.into())?;
        if let Some(attr) = header.attrs.get_mut(i).filter(|_| !name.is_empty()) {
            attr.name = name;
        }
    }
    Some(())
}
