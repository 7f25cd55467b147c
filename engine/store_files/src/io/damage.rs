//! Damage as data.
use std::{fmt, path::PathBuf};

/// Data of a store that cannot be read. Its text names the file, the offset, the finding and the lost keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damage {
    /// The file or directory; empty if none is known.
    pub path: PathBuf,
    /// Offset in bytes; `None` if the damage is not at one place.
    pub offset: Option<u64>,
    /// Bytes of the file, if the reader had all of it.
    pub len: Option<u64>,
    /// The expectation, the finding, and what the reader did.
    pub what: String,
    /// The range in which keys are lost, if it is known.
    pub lost: Option<KeyRange>,
    /// The column family, if it is known.
    pub cf: Option<String>,
}

/// A range of user keys in which some are lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyRange {
    /// Keys before it are not lost; empty: unbounded.
    pub after: Vec<u8>,
    /// Keys after it are not lost; empty: unbounded.
    pub up_to: Vec<u8>,
}

impl Damage {
    /// Creates damage of the whole file or directory `path`.
    pub fn whole(path: impl Into<PathBuf>, what: impl fmt::Display) -> Damage {
        Damage { path: path.into(), what: what.to_string(), ..Default::default() }
    }

    /// Creates damage at `offset` of the file `path`.
    pub fn at(path: impl Into<PathBuf>, offset: u64, what: impl fmt::Display) -> Damage {
        Damage { offset: Some(offset), ..Damage::whole(path, what) }
    }

    /// Adds the number of bytes of the file.
    #[must_use]
    pub fn of_len(self, len: usize) -> Damage {
        Damage { len: Some(len as u64), ..self }
    }

    /// Adds the column family.
    #[must_use]
    pub fn in_cf(self, cf: &str) -> Damage {
        Damage { cf: Some(cf.to_owned()).filter(|cf| !cf.is_empty()), ..self }
    }

    /// Adds the range in which keys are lost.
    #[must_use]
    pub fn losing(self, after: &[u8], up_to: &[u8]) -> Damage {
        Damage { lost: Some(KeyRange { after: after.to_vec(), up_to: up_to.to_vec() }), ..self }
    }

    /// The bounds of the range in which keys are lost; an empty bound is unbounded.
    pub fn lost_keys(&self) -> Option<(&[u8], &[u8])> {
        self.lost.as_ref().map(|range| (range.after.as_slice(), range.up_to.as_slice()))
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.as_os_str().is_empty() {
            write!(f, "{}", self.path.display())?;
            if let Some(offset) = self.offset {
                write!(f, " at byte {offset}")?;
            }
            if let Some(len) = self.len {
                write!(f, " of {len}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.what)?;
        self.lost.as_ref().map_or(Ok(()), |lost| write!(f, "; lost: keys {lost}"))
    }
}

impl fmt::Display for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (after, up_to) = (keys::escape(&self.after), keys::escape(&self.up_to));
        match (after.is_empty(), up_to.is_empty()) {
            (true, true) => f.write_str("of the whole file"),
            (true, false) => write!(f, "up to {up_to}"),
            (false, true) => write!(f, "after {after}"),
            (false, false) if after == up_to => f.write_str(&after),
            (false, false) => write!(f, "between {after} and {up_to}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_what_is_known() {
        let damage = Damage::at("1.sst", 7, "bad");
        assert_eq!(damage.to_string(), "1.sst at byte 7: bad");
        assert_eq!(damage.clone().of_len(9).to_string(), "1.sst at byte 7 of 9: bad");
        assert_eq!(
            damage.clone().losing(b"", b"").to_string(),
            "1.sst at byte 7: bad; lost: keys of the whole file"
        );
        assert_eq!(damage.losing(b"a", b"b").to_string(), "1.sst at byte 7: bad; lost: keys between a and b");
        assert_eq!(Damage::whole("db", "bad").in_cf("").to_string(), "db: bad");
        assert_eq!(Damage::whole("", "bad").to_string(), "bad");
    }
}
