//! Formats the entries of an SST as sst_dump prints them. A dump may have millions of lines with keys in
//! order, so the text that a line shares with the previous one is reused.
use super::{key_text::KeyText, line::Line};
use crate::lsm::InternalKey;

/// The format of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// TiKV's escaped form, which shows every byte.
    Escaped,
    /// The bytes themselves.
    Plain,
    /// Upper-case hexadecimal.
    Hex,
}

/// Formats the lines of entries in order.
#[derive(Debug)]
pub struct EntryLines {
    form: Form,
    key: KeyText,
    /// Text between key and value: sequence number and type.
    middle: Line,
    packed: Option<u64>,
}

impl EntryLines {
    /// Creates a formatter of lines of the form `form`.
    pub fn new(form: Form) -> EntryLines {
        EntryLines { form, key: KeyText::default(), middle: Line::default(), packed: None }
    }

    /// Adds the line of an entry to `text`. The first `shared` bytes of its key are those of the previous
    /// key; the first line ignores the number.
    #[inline]
    pub fn add(&mut self, key: InternalKey<'_>, shared: usize, value: &[u8], text: &mut Line) {
        text.push(b"'");
        match self.form {
            Form::Escaped => text.push(self.key.following(key.user_key, shared)),
            Form::Plain => text.push(key.user_key),
            Form::Hex => text.hex(key.user_key),
        }
        if self.packed != Some(key.packed) {
            self.set_middle(key);
        }
        text.push(self.middle.as_bytes());
        match self.form {
            Form::Escaped => text.escaped(value),
            Form::Plain => text.push(value),
            Form::Hex => text.hex(value),
        }
        text.push(b"\n");
    }

    fn set_middle(&mut self, key: InternalKey<'_>) {
        self.packed = Some(key.packed);
        self.middle.clear();
        self.middle.push(b"' seq:");
        self.middle.number(key.sequence());
        self.middle.push(b", type:");
        self.middle.number(key.packed & 0xff);
        self.middle.push(b" => ");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(form: Form, entries: &[(&[u8], u64, usize, &[u8])]) -> String {
        let (mut lines, mut text) = (EntryLines::new(form), Line::default());
        for (user_key, packed, shared, value) in entries {
            lines.add(InternalKey { user_key, packed: *packed }, *shared, value, &mut text);
        }
        String::from_utf8(text.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn bytes_that_keys_share_are_shown_in_each_line() {
        let entries: [(&[u8], u64, usize, &[u8]); 5] = [
            // The first entry shares bytes with a key that was not shown.
            (b"z\xff\n1", 7 << 8 | 1, 3, b"v"),
            (b"z\xff\n2longer", 7 << 8 | 1, 3, b"\0"),
            // Shorter than the common bytes of the internal keys.
            (b"z\xff", 8 << 8, 9, b""),
            (b"", 8 << 8, 0, b""),
            (b"y", 9 << 8 | 0x11, 0, b"\"w"),
        ];
        assert_eq!(
            lines(Form::Escaped, &entries),
            "'z\\377\\n1' seq:7, type:1 => v\n'z\\377\\n2longer' seq:7, type:1 => \\000\n'z\\377' seq:8, type:0 => \n\
             '' seq:8, type:0 => \n'y' seq:9, type:17 => \\\"w\n"
        );
        assert_eq!(lines(Form::Hex, &entries[..1]), "'7AFF0A31' seq:7, type:1 => 76\n");
        assert_eq!(lines(Form::Plain, &entries[4..]), "'y' seq:9, type:17 => \"w\n");
    }
}
