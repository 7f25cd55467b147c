//! Interns names, arguments and source locations: each is written once and referred to by number.
use std::collections::HashMap;

use super::proto::{
    DebugAnnotation, InternedData, InternedName, InternedString, SourceLocation,
    debug_annotation::Value as Any,
};
use crate::model::{Source, Value};

#[derive(Default)]
pub(super) struct Interner {
    events: HashMap<String, u64>,
    categories: HashMap<String, u64>,
    annotations: HashMap<String, u64>,
    strings: HashMap<String, u64>,
    sources: HashMap<Source, u64>,
    /// New items for the next packet.
    new: InternedData,
}

impl Interner {
    pub fn event(&mut self, name: &str) -> u64 {
        named(&mut self.events, &mut self.new.event_names, name)
    }

    pub fn category(&mut self, name: &str) -> u64 {
        named(&mut self.categories, &mut self.new.event_categories, name)
    }

    pub fn source(&mut self, source: &Source) -> u64 {
        if let Some(iid) = self.sources.get(source) {
            return *iid;
        }
        let iid = self.sources.len() as u64 + 1;
        self.sources.insert(source.clone(), iid);
        self.new.source_locations.push(SourceLocation {
            iid: Some(iid),
            file_name: Some(source.file.clone()),
            function_name: Some(source.function.clone()),
            line_number: Some(source.line),
        });
        iid
    }

    pub fn annotation(&mut self, name: &str, value: &Value) -> DebugAnnotation {
        let name_iid = Some(named(&mut self.annotations, &mut self.new.debug_annotation_names, name));
        let value = match value {
            Value::Bool(b) => Any::BoolValue(*b),
            Value::Uint(n) => Any::UintValue(*n),
            Value::Int(n) => Any::IntValue(*n),
            Value::Float(x) => Any::DoubleValue(*x),
            Value::Text(text) => Any::StringValueIid(self.string(text)),
        };
        DebugAnnotation { name_iid, value: Some(value) }
    }

    fn string(&mut self, text: &str) -> u64 {
        let (iid, new) = number(&mut self.strings, text);
        if new {
            let str = Some(text.as_bytes().to_vec());
            self.new.debug_annotation_string_values.push(InternedString { iid: Some(iid), str });
        }
        iid
    }

    /// Returns the items that are new since the last packet.
    pub fn take(&mut self) -> Option<InternedData> {
        Some(std::mem::take(&mut self.new)).filter(|new| *new != InternedData::default())
    }
}

fn named(known: &mut HashMap<String, u64>, names: &mut Vec<InternedName>, name: &str) -> u64 {
    let (iid, new) = number(known, name);
    if new {
        names.push(InternedName { iid: Some(iid), name: Some(name.to_owned()) });
    }
    iid
}

/// Returns the number of a text, and whether it is new. Numbers begin with 1: 0 means none.
fn number(known: &mut HashMap<String, u64>, text: &str) -> (u64, bool) {
    if let Some(iid) = known.get(text) {
        return (*iid, false);
    }
    let iid = known.len() as u64 + 1;
    known.insert(text.to_owned(), iid);
    (iid, true)
}
