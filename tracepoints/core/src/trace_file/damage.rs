//! Damaged parts of a file.
use super::chunk::Place;

/// A damaged part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Offset of the damage from the start of the file, in bytes.
    pub offset: u64,
    /// Length of the skipped part, in bytes.
    pub len: u64,
    /// Describes the damage and the loss.
    pub reason: String,
}

impl Damage {
    pub(super) fn at(place: &Place, reason: String) -> Self {
        Self { offset: place.at as u64, len: (place.end() - place.at) as u64, reason }
    }
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "at byte {}: {} ({} bytes skipped)", self.offset, self.reason, self.len)
    }
}
