//! Static metadata that `tracing` needs for a kind of span: made once for each name, target and set of
//! fields, and leaked.
use std::{
    collections::HashMap,
    sync::{Mutex, OnceLock, PoisonError},
};

use tracing::{
    Level, Metadata,
    callsite::{Callsite, Identifier},
    field::{FieldSet, Value, ValueSet},
    metadata::Kind,
    subscriber::Interest,
};

use crate::Source;

/// Maximum number of fields of one span; `tracing` allows 32.
pub(super) const MAX_FIELDS: usize = 16;
/// Maximum number of span kinds, a few for each stage. Beyond it, spans of new kinds are left out.
const MAX_SITES: usize = 4096;

struct Site(OnceLock<Metadata<'static>>);

impl Callsite for Site {
    fn set_interest(&self, _: Interest) {
        // Interest is computed for each span: this costs no time on the request's thread.
    }

    fn metadata(&self) -> &Metadata<'_> {
        self.0.get().expect("it is set before the site is published")
    }
}

type Key = (String, String, Vec<String>, Option<Source>);

static SITES: Mutex<Option<HashMap<Key, &'static Metadata<'static>>>> = Mutex::new(None);

/// Finds the site; `None` once there are too many kinds.
pub(super) fn find(
    name: &str,
    target: &str,
    level: Level,
    source: Option<&Source>,
    fields: &[&str],
) -> Option<&'static Metadata<'static>> {
    let owned = fields.iter().map(|f| (*f).to_owned()).collect();
    let key = (name.to_owned(), target.to_owned(), owned, source.cloned());
    let mut sites = SITES.lock().unwrap_or_else(PoisonError::into_inner);
    let sites = sites.get_or_insert_default();
    if let Some(known) = sites.get(&key) {
        return Some(known);
    }
    if sites.len() >= MAX_SITES {
        return None;
    }
    let made = make(&key, level);
    sites.insert(key, made);
    Some(made)
}

fn keep(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

fn make((name, target, fields, source): &Key, level: Level) -> &'static Metadata<'static> {
    let fields: Vec<&'static str> = fields.iter().map(|f| keep(f)).collect();
    let site: &'static Site = Box::leak(Box::new(Site(OnceLock::new())));
    let fields = FieldSet::new(Box::leak(fields.into_boxed_slice()), Identifier(site));
    let (file, line) = (source.as_ref().map(|s| keep(&s.file)), source.as_ref().map(|s| s.line));
    let module = source.as_ref().map(|s| keep(&s.function));
    let meta = site.0.get_or_init(|| {
        Metadata::new(keep(name), keep(target), level, file, line, module, fields, Kind::SPAN)
    });
    tracing::callsite::register(site);
    meta
}

/// Converts values, in the order of the fields, to the form that spans take.
pub(super) fn with_values<T>(
    meta: &'static Metadata<'static>,
    values: &[&dyn Value],
    take: impl FnOnce(&ValueSet<'_>) -> T,
) -> T {
    let fields: Vec<_> = meta.fields().iter().collect();
    let Some(first) = fields.first() else { return take(&meta.fields().value_set(&[])) };
    // The array has a fixed size: places after the last field repeat the first field without a value.
    let set: [_; MAX_FIELDS] =
        std::array::from_fn(|i| (fields.get(i).unwrap_or(first), values.get(i).copied()));
    take(&meta.fields().value_set(&set))
}
