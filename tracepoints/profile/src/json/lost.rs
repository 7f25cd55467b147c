//! Counts unreadable parts.

/// Number of skipped records, and the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Number of skipped records.
    pub count: u64,
    /// Offset of the first one in the file, in bytes.
    pub first: Option<usize>,
    /// Offset at which the file ends within a value.
    pub cut: Option<usize>,
}

impl Lost {
    /// Counts a skipped record at an offset in bytes.
    pub fn add(&mut self, offset: usize) {
        self.count += 1;
        self.first.get_or_insert(offset);
    }

    /// Describes the losses; `text` is empty for formats without lines.
    pub fn notes(&self, what: &str, text: &[u8]) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(at) = self.first {
            let line = memchr::memchr_iter(b'\n', &text[..at.min(text.len())]).count() + 1;
            let line = if text.is_empty() { String::new() } else { format!(" (line {line})") };
            let n = self.count;
            notes.push(format!(
                "{n} {what} could not be read and were skipped; the first is at offset {at}{line}"
            ));
        }
        if let Some(at) = self.cut {
            notes.push(format!(
                "the file is cut short or damaged at offset {at}; the data before it was read"
            ));
        }
        notes
    }
}
