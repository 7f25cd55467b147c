//! Walks JSON by brackets and quotes only, so that a damaged value does not hide its neighbours.
use std::borrow::Cow;

use super::Lost;

/// Maximum number of bytes read more than once in search of the next record, as a multiple of the file's
/// size.
const BUDGET: usize = 8;

/// Returns the offset of the first byte from `at` on that is not a space.
pub fn begin(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(rest.len())
}

/// Returns the end of the value that begins at `at`; `None` if the text ends first, or brackets do not match.
pub fn value_end(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at)? {
        b'"' => string_end(text, at),
        b'{' | b'[' => container_end(text, at),
        b'\'' => single_quoted_end(text, at).or_else(|| bare_end(text, at)),
        _ => bare_end(text, at),
    }
}

fn string_end(text: &[u8], at: usize) -> Option<usize> {
    let mut i = at + 1;
    loop {
        i += memchr::memchr2(b'"', b'\\', text.get(i..)?)?;
        if text[i] == b'"' {
            return Some(i + 1);
        }
        i += 2;
    }
}

/// Returns the end of text in single quotes, which must be on its line.
pub(super) fn single_quoted_end(text: &[u8], at: usize) -> Option<usize> {
    let mut i = at + 1;
    loop {
        match text.get(i)? {
            b'\'' => return Some(i + 1),
            b'\n' => return None,
            b'\\' => i += 2,
            _ => i += 1,
        }
    }
}

/// Returns the end of a comment, if one begins here.
pub(super) fn comment_end(text: &[u8], at: usize) -> Option<usize> {
    let rest = &text[at..];
    if rest.starts_with(b"//") {
        Some(memchr::memchr(b'\n', rest).map_or(text.len(), |n| at + n))
    } else if rest.starts_with(b"/*") {
        Some(memchr::memmem::find(&rest[2..], b"*/").map_or(text.len(), |n| at + 2 + n + 2))
    } else {
        None
    }
}

fn container_end(text: &[u8], at: usize) -> Option<usize> {
    let mut open = Vec::new();
    let mut i = at;
    while let Some(byte) = text.get(i) {
        let next = match byte {
            b'"' => string_end(text, i)?,
            b'\'' => single_quoted_end(text, i).unwrap_or(i + 1),
            b'/' => comment_end(text, i).unwrap_or(i + 1),
            _ => i + 1,
        };
        match byte {
            b'{' => open.push(b'}'),
            b'[' => open.push(b']'),
            b'}' | b']' if open.pop() != Some(*byte) => return None,
            b'}' | b']' if open.is_empty() => return Some(next),
            _ => {}
        }
        i = next;
    }
    None
}

pub(super) fn is_bare(byte: u8) -> bool {
    !byte.is_ascii_whitespace() && !matches!(byte, b',' | b':' | b'{' | b'}' | b'[' | b']' | b'"')
}

fn bare_end(text: &[u8], at: usize) -> Option<usize> {
    let len = text[at..].iter().position(|b| !is_bare(*b)).unwrap_or(text.len() - at);
    (len > 0).then_some(at + len)
}

/// Iterates over the members of an object: name, and the offset of the value.
pub struct Members<'a> {
    text: &'a [u8],
    at: usize,
    /// Offset of the last returned value, if its end is not known yet.
    pending: Option<usize>,
    closed: bool,
}

impl<'a> Members<'a> {
    /// Iterates over the object whose bracket is at `open`.
    pub fn new(text: &'a [u8], open: usize) -> Self {
        Self { text, at: open + 1, pending: None, closed: false }
    }

    /// Sets the end of the last value.
    pub fn resume(&mut self, at: usize) {
        (self.at, self.pending) = (at, None);
    }

    /// Whether the closing bracket was found.
    pub fn closed(&self) -> bool {
        self.closed
    }

    /// Current offset of the walk.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Returns the value that begins at `at`, possibly truncated.
    pub fn value(&mut self, at: usize) -> Option<&'a [u8]> {
        let end = value_end(self.text, at)?;
        self.resume(end);
        Some(&self.text[at..end])
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, usize);

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(at) = self.pending.take() {
            self.at = value_end(self.text, at)?;
        }
        loop {
            self.at = begin(self.text, self.at);
            match self.text.get(self.at)? {
                b',' => self.at += 1,
                b'/' => self.at = comment_end(self.text, self.at)?,
                _ => break,
            }
        }
        if self.text[self.at] == b'}' {
            (self.at, self.closed) = (self.at + 1, true);
            return None;
        }
        let end = value_end(self.text, self.at)?;
        let name = name(&self.text[self.at..end])?;
        let colon = begin(self.text, end);
        if self.text.get(colon) != Some(&b':') {
            return None;
        }
        self.at = begin(self.text, colon + 1);
        self.pending = Some(self.at);
        Some((name, self.at))
    }
}

fn name(text: &[u8]) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix(b"\"").and_then(|t| t.strip_suffix(b"\""));
    let plain = inner.filter(|t| !t.contains(&b'\\')).and_then(|t| std::str::from_utf8(t).ok());
    match plain {
        Some(name) => Some(Cow::Borrowed(name)),
        None => match super::parse(text)? {
            serde_json::Value::String(name) => Some(Cow::Owned(name)),
            _ => None,
        },
    }
}

/// Calls `take` with the result of `read` for each element of the array whose bracket is at `open` or,
/// without a bracket, for each value in sequence from there. Counts elements that `read` rejects as lost.
/// Returns the end offset.
pub fn elements<'a, T>(
    text: &'a [u8],
    open: usize,
    mut read: impl FnMut(&'a [u8]) -> Option<T>,
    mut take: impl FnMut(T),
    lost: &mut Lost,
) -> usize {
    let array = text.get(open) == Some(&b'[');
    let mut at = open + usize::from(array);
    let mut finder = Finder { text, budget: text.len().saturating_mul(BUDGET) };
    loop {
        at = separated(text, at);
        match text.get(at) {
            None => {
                lost.cut = lost.cut.or(array.then_some(at));
                return at;
            }
            Some(b']') if array => return at + 1,
            Some(_) => {}
        }
        let end = finder.end(at);
        if let Some(value) = end.and_then(|end| read(&text[at..end])) {
            take(value);
            at = end.unwrap_or(at + 1);
            continue;
        }
        match finder.next(at, end, &mut read) {
            Some(next) => {
                lost.add(at);
                at = next;
            }
            None => {
                lost.cut.get_or_insert(at);
                return text.len();
            }
        }
    }
}

fn separated(text: &[u8], mut at: usize) -> usize {
    loop {
        at = begin(text, at);
        match text.get(at) {
            // 0x1e begins each text of a JSON text sequence (RFC 7464).
            Some(b',' | 0x1e) => at += 1,
            Some(b'/') => match comment_end(text, at) {
                Some(end) => at = end,
                None => return at,
            },
            _ => return at,
        }
    }
}

/// Searches for the next record after a damaged one.
struct Finder<'a> {
    text: &'a [u8],
    budget: usize,
}

impl<'a> Finder<'a> {
    /// Returns the end of a value; searches only its own line once the budget is used up.
    fn end(&mut self, at: usize) -> Option<usize> {
        let text = if self.budget > 0 { self.text } else { &self.text[..self.line_end(at)] };
        let end = value_end(text, at);
        if end.is_none() {
            self.budget = self.budget.saturating_sub(text.len() - at);
        }
        end
    }

    fn line_end(&self, at: usize) -> usize {
        memchr::memchr(b'\n', &self.text[at..]).map_or(self.text.len(), |n| at + n)
    }

    /// Returns the offset of the next readable record after the one at `bad`: inside of it, since a surplus
    /// quote makes it look longer, or after its end.
    fn next<T>(
        &mut self,
        bad: usize,
        end: Option<usize>,
        read: &mut impl FnMut(&'a [u8]) -> Option<T>,
    ) -> Option<usize> {
        let limit = end.unwrap_or(self.text.len());
        let mut at = bad + 1;
        while let Some(n) = memchr::memchr(b'{', self.text.get(at..limit)?) {
            at += n;
            if !self.begins_record(at) {
                at += 1;
                continue;
            }
            // First tries a record on a line of its own, which is found without reading further.
            let line = &self.text[..self.line_end(at)];
            let whole = value_end(line, at).or_else(|| self.end(at));
            if whole.is_some_and(|whole| read(&self.text[at..whole]).is_some()) {
                return Some(at);
            }
            at += 1;
        }
        end
    }

    /// Whether a bracket may begin a record: after a comma, a bracket or a line break, but not after a colon.
    fn begins_record(&self, at: usize) -> bool {
        let before = &self.text[..at];
        let last = before.iter().rposition(|b| !b.is_ascii_whitespace());
        let Some(last) = last else { return true };
        matches!(before[last], b',' | b'}' | b'[')
            || (before[last] != b':' && before[last..].contains(&b'\n'))
    }
}
