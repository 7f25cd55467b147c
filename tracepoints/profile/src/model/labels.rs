//! Attributes of a sample besides its stack.
use super::{
    Profile,
    parts::{LabelsId, StrId},
};

/// Keys of this toolkit; keys of other tools are unchanged.
pub mod keys {
    /// Name of the thread, as in pprof's sampler.
    pub const THREAD: &str = "thread";
    /// Threads that share their work: `unified-read-pool`, `raftstore`.
    pub const POOL: &str = "pool";
    /// Stage of the catalogue that the request was in.
    pub const STAGE: &str = "stage";
    /// Request type, `kv_get`.
    pub const REQUEST: &str = "request";
    /// Id of the request, as in traces.
    pub const REQUEST_ID: &str = "request_id";
    /// Id of the request's region.
    pub const REGION: &str = "region";
    /// Program that a thread belongs to.
    pub const PROCESS: &str = "process";
    /// Process id.
    pub const PID: &str = "pid";
    /// Thread id.
    pub const TID: &str = "tid";
}

/// One attribute of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label {
    /// Name of the label.
    pub key: StrId,
    /// Value of the label.
    pub value: LabelValue,
}

/// The value of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LabelValue {
    /// A text.
    Text(StrId),
    /// A number and its unit, which may be empty.
    Number(i64, StrId),
}

impl Profile {
    /// Makes a label with a text.
    pub fn text_label(&mut self, key: &str, value: &str) -> Label {
        Label { key: self.intern(key), value: LabelValue::Text(self.intern(value)) }
    }

    /// Makes a label with a number; `unit` may be empty.
    pub fn number_label(&mut self, key: &str, value: i64, unit: &str) -> Label {
        Label { key: self.intern(key), value: LabelValue::Number(value, self.intern(unit)) }
    }

    /// Interns a set of labels, in any order.
    pub fn labels(&mut self, labels: &[Label]) -> LabelsId {
        let mut labels = labels.to_vec();
        labels.sort_unstable();
        labels.dedup();
        LabelsId(self.labels.insert_full(labels.into()).0 as u32)
    }

    /// Interns labels with text values.
    pub fn text_labels(&mut self, labels: &[(&str, &str)]) -> LabelsId {
        let labels: Vec<_> = labels.iter().map(|(key, value)| self.text_label(key, value)).collect();
        self.labels(&labels)
    }

    /// All sets of labels; a [`LabelsId`] is an index into them, the first is empty.
    pub fn label_sets(&self) -> impl ExactSizeIterator<Item = &[Label]> {
        self.labels.iter().map(|set| &**set)
    }

    /// Returns the labels of a set.
    pub fn labels_of(&self, id: LabelsId) -> &[Label] {
        self.labels.get_index(id.index()).map_or(&[], |set| set)
    }

    /// Returns the value of a label as text, a number with its unit.
    pub fn label(&self, id: LabelsId, key: &str) -> Option<String> {
        let found = self.labels_of(id).iter().find(|label| self.text(label.key) == key)?;
        Some(self.label_text(found))
    }

    /// Formats the value of a label.
    pub fn label_text(&self, label: &Label) -> String {
        match label.value {
            LabelValue::Text(text) => self.text(text).to_owned(),
            LabelValue::Number(n, unit) => format!("{n}{}", self.text(unit)),
        }
    }
}
