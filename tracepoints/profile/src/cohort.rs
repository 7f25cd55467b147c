//! Selects among recorded requests: by kind, by id, by a band of percentiles.
use std::collections::BTreeMap;

pub use crate::operation::Operation;
use crate::{
    Folded, ProfileError,
    wall::{self, WallOptions},
};

/// A filter for operations; with no field set it keeps all of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pick {
    /// The kind, in any case.
    pub kind: Option<String>,
    /// The id.
    pub request: Option<u64>,
    /// Band of the operations' durations within each kind, from and to, in percent.
    pub percentile: Option<(f64, f64)>,
}

impl Pick {
    /// Parses a band: `99..100`, or `99`, which is 99 to 100.
    ///
    /// # Errors
    /// A text with the expected form.
    pub fn band(text: &str) -> Result<(f64, f64), String> {
        let bad = || format!("expected a band of percentiles such as 99..100 or 45..55, found {text:?}");
        let (from, to) = text.split_once("..").unwrap_or((text, "100"));
        let number = |t: &str| t.trim().trim_start_matches(['p', '=']).parse::<f64>().map_err(|_| bad());
        let (from, to) = (number(from)?, number(to)?);
        if (0.0..=100.0).contains(&from) && from < to && to <= 100.0 { Ok((from, to)) } else { Err(bad()) }
    }

    /// Describes the filter for titles: `kv_get, p99..100`.
    pub fn words(&self) -> String {
        let band = self.percentile.map(|(from, to)| format!("p{from}..{to}"));
        let request = self.request.map(|id| format!("request {id}"));
        [self.kind.clone(), request, band].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// Keeps the matching operations.
    ///
    /// # Errors
    /// [`ProfileError::Nothing`] if none matches, with the recorded kinds.
    pub fn filter(&self, mut all: Vec<Operation>) -> Result<Vec<Operation>, ProfileError> {
        if all.is_empty() {
            return Err(ProfileError::NoRequest);
        }
        let known = known(&all);
        if let Some(kind) = &self.kind {
            all.retain(|o| o.kind.eq_ignore_ascii_case(kind));
        }
        if let Some(id) = self.request {
            all.retain(|o| o.id == id);
        }
        if let Some(band) = self.percentile {
            all = in_band(all, band);
        }
        if all.is_empty() {
            return Err(ProfileError::Nothing { wanted: self.words(), known });
        }
        Ok(all)
    }
}

/// Counts the operations of each kind, for an error.
fn known(all: &[Operation]) -> String {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    all.iter().for_each(|o| *kinds.entry(&o.kind).or_default() += 1);
    let words: Vec<String> = kinds.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
    words.join(", ")
}

/// Keeps the operations whose rank in their kind is in the band; at least one of each kind.
fn in_band(all: Vec<Operation>, (from, to): (f64, f64)) -> Vec<Operation> {
    let mut kinds: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
    all.into_iter().for_each(|o| kinds.entry(o.kind.clone()).or_default().push(o));
    let mut out = Vec::new();
    for (_, mut ops) in kinds {
        ops.sort_by_key(|o| (o.duration_ns(), o.id));
        let place = |p: f64| (p / 100.0 * ops.len() as f64).floor() as usize;
        let first = place(from).min(ops.len() - 1);
        let last = place(to).clamp(first + 1, ops.len());
        out.extend(ops.drain(first..last));
    }
    out.sort_by_key(|o| (o.begin_ns, o.id));
    out
}

/// Folds each operation's stacks, in ns.
pub fn stacks(operations: &[Operation], options: WallOptions) -> Vec<Folded> {
    operations.iter().map(|o| wall::operation(o, options)).collect()
}

/// Sums the stacks of all operations.
pub fn sum(stacks: &[Folded]) -> Folded {
    let mut all = Folded::default();
    stacks.iter().for_each(|s| all.merge(s));
    all
}

#[cfg(test)]
mod tests {
    use tracepoints::trace::Step;

    use super::*;

    fn operation(id: u64, kind: &str, ns: u64) -> Operation {
        let step = Step {
            stage: "mvcc_get".into(),
            kind: kind.into(),
            lane: "main".into(),
            dur_ns: ns,
            request: id,
            ..Step::default()
        };
        Operation::new(id, kind, id, vec![step])
    }

    fn ids(pick: &Pick, all: &[Operation]) -> Vec<u64> {
        pick.filter(all.to_vec()).unwrap().iter().map(|o| o.id).collect()
    }

    #[test]
    fn kinds_ids_and_bands_are_picked() {
        let mut all: Vec<_> = (1..=100).map(|i| operation(i, "kv_get", (i * 37) % 101)).collect();
        all.push(operation(101, "raw_put", 5));
        let band = |kind: Option<&str>, text: &str| Pick {
            kind: kind.map(str::to_owned),
            percentile: Some(Pick::band(text).unwrap()),
            request: None,
        };
        let slow = band(Some("kv_get"), "99..100");
        let found = slow.filter(all.clone()).unwrap();
        assert_eq!((found.len(), found[0].duration_ns()), (1, 100));
        assert_eq!(ids(&band(Some("KV_GET"), "45..55"), &all).len(), 10);
        assert_eq!(ids(&band(None, "p99"), &all).len(), 2, "the band applies to each kind");
        assert_eq!(ids(&Pick { request: Some(7), ..Pick::default() }, &all), [7]);
        assert_eq!(ids(&Pick::default(), &all).len(), 101);
        assert_eq!(slow.words(), "kv_get, p99..100");
    }

    #[test]
    fn an_empty_selection_names_the_recorded_kinds() {
        let pick = Pick { kind: Some("kv_scan".into()), ..Pick::default() };
        let error =
            pick.filter(vec![operation(1, "kv_get", 5), operation(2, "kv_get", 6)]).unwrap_err().to_string();
        assert!(error.contains("kv_scan") && error.contains("2 kv_get"), "{error}");
        assert!(pick.filter(vec![]).unwrap_err().to_string().contains("no request was recorded"));
        for text in ["", "x", "50..40", "-1..5", "99..101", "5..5", "nan"] {
            assert!(Pick::band(text).unwrap_err().contains("99..100"), "{text}");
        }
    }
}
