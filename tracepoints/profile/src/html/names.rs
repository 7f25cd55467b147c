//! Names and classes, which a page refers to by number.
use std::collections::HashMap;

use serde::Serialize;
use tracepoints::catalogue::Class;

use crate::folded::show;

/// Interned texts.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub(super) struct Names {
    names: Vec<String>,
    #[serde(skip)]
    places: HashMap<String, usize>,
}

impl Names {
    pub(super) fn intern(&mut self, name: &str) -> usize {
        if let Some(at) = self.places.get(name) {
            return *at;
        }
        self.names.push(show(name).into_owned());
        self.places.insert(name.to_owned(), self.names.len() - 1);
        self.names.len() - 1
    }
}

/// Returns the number of a class; -1 for none.
pub(super) fn class_number(class: Option<Class>) -> i64 {
    class.and_then(|c| Class::ALL.iter().position(|k| *k == c)).map_or(-1, |n| n as i64)
}
