//! A stamp's place in the source: one static per `stamp!` call.
use crate::catalogue::StageId;

/// Source location of a stamp. A stamp has this static's address, so sites need no registration.
#[derive(Debug)]
pub struct StampSite {
    /// The stage.
    pub stage: StageId,
    /// Path relative to the workspace root.
    pub file: &'static str,
    /// Line in the file.
    pub line: u32,
    /// Names of the stamp's fields, in order.
    pub fields: &'static [&'static str],
    function: Function,
    pub(crate) join: Join,
}

/// Source of a site's function name: the compiler, or a file.
#[derive(Debug)]
enum Function {
    Here(fn() -> &'static str),
    Recorded(&'static str),
}

/// The fields of a site that join its stamps to requests; [`Join::NO`] if it has none.
#[derive(Debug)]
pub(crate) struct Join {
    pub region: u8,
    pub term: u8,
    pub index: u8,
    pub first: u8,
    pub last: u8,
    pub from_count: u8,
    pub read_id: u8,
    /// Whether any of these fields is present.
    pub any: bool,
}

/// Field with the sender and the number of acknowledged entries: see [`crate::field::from_count`].
pub(crate) const FROM_COUNT: &str = "from_count";

impl Join {
    const NO: u8 = u8::MAX;

    const fn find(fields: &[&str]) -> Self {
        let (index, first) = (place(fields, "index"), place(fields, "first"));
        let read_id = place(fields, "read_id");
        let from_count = place(fields, FROM_COUNT);
        Self {
            region: place(fields, "region"),
            term: place(fields, "term"),
            index,
            first,
            last: place(fields, "last"),
            from_count,
            read_id,
            any: index != Self::NO || first != Self::NO || from_count != Self::NO || read_id != Self::NO,
        }
    }
}

const fn place(fields: &[&str], wanted: &str) -> u8 {
    let mut i = 0;
    while i < fields.len() {
        if same(fields[i].as_bytes(), wanted.as_bytes()) {
            return i as u8;
        }
        i += 1;
    }
    Join::NO
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}

impl StampSite {
    /// Makes a site; `function` returns the path of an item within the stamp's function.
    pub const fn new(
        stage: StageId,
        file: &'static str,
        line: u32,
        fields: &'static [&'static str],
        function: fn() -> &'static str,
    ) -> Self {
        Self { stage, file, line, fields, function: Function::Here(function), join: Join::find(fields) }
    }

    /// Makes a site of the recorder itself, without a stage; `name` is stored in `file`.
    pub(crate) const fn mark(name: &'static str, fields: &'static [&'static str]) -> Self {
        Self {
            stage: StageId(u16::MAX),
            file: name,
            line: 0,
            fields,
            function: Function::Recorded(""),
            join: Join::find(&[]),
        }
    }

    /// Makes a site that another process recorded.
    pub(crate) fn recorded(
        stage: StageId,
        file: &'static str,
        line: u32,
        fields: &'static [&'static str],
        function: &'static str,
    ) -> Self {
        Self { stage, file, line, fields, function: Function::Recorded(function), join: Join::find(fields) }
    }

    pub(crate) fn is_mark(&self) -> bool {
        self.stage.0 == u16::MAX
    }

    /// Returns the function that contains the stamp, e.g.
    /// `storage::mvcc::reader::point_getter::PointGetter::get`.
    pub fn function(&self) -> String {
        match self.function {
            Function::Here(full) => pretty(full()),
            Function::Recorded(pretty) => pretty.to_owned(),
        }
    }
}

/// Simplifies the path of the macro's inner item to the function a person looks for: no generics, closures or
/// `as Trait`.
fn pretty(full: &str) -> String {
    let path = full.trim_end_matches("::__here").replace("::{{closure}}", "");
    strip_generics(&unwrap_trait(&path))
}

/// Turns `<a::Type<S> as b::Trait>::call` into `a::Type<S>::call`.
fn unwrap_trait(path: &str) -> String {
    let Some(inner) = path.strip_prefix('<') else { return path.to_owned() };
    let Some(close) = closing(inner) else { return path.to_owned() };
    let (ty, rest) = (&inner[..close], &inner[close + 1..]);
    let ty = split_as(ty).unwrap_or(ty);
    format!("{}{rest}", unwrap_trait(ty))
}

/// Returns the offset of the bracket that closes the one before `text`; the `>` of `->` closes nothing.
pub fn closing(text: &str) -> Option<usize> {
    let mut depth = 1;
    let mut before = ' ';
    for (i, c) in text.char_indices() {
        match c {
            '<' => depth += 1,
            '>' if before != '-' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(i);
        }
        before = c;
    }
    None
}

/// Returns the text before ` as ` outside of any bracket; the `>` of `->` closes nothing.
pub fn split_as(ty: &str) -> Option<&str> {
    let (mut depth, mut before) = (0, ' ');
    for (i, c) in ty.char_indices() {
        match c {
            '<' => depth += 1,
            '>' if before != '-' => depth -= 1,
            ' ' if depth == 0 && ty[i..].starts_with(" as ") => return Some(&ty[..i]),
            _ => {}
        }
        before = c;
    }
    None
}

fn strip_generics(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(open) = rest.find('<') {
        let Some(close) = closing(&rest[open + 1..]) else { break };
        out.push_str(rest[..open].trim_end_matches("::"));
        rest = &rest[open + 1 + close + 1..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_finds_its_join_fields() {
        let join = Join::find(&["region", "term", "first", "last"]);
        assert_eq!((join.region, join.term, join.first, join.last), (0, 1, 2, 3));
        assert_eq!((join.index, join.read_id, join.any), (Join::NO, Join::NO, true));
        assert!(!Join::find(&["region", "ts"]).any);
    }

    #[test]
    fn function_names_have_no_generics_closures_or_traits() {
        for (full, want) in [
            ("storage::get::__here", "storage::get"),
            ("storage::Getter<S>::get::{{closure}}::__here", "storage::Getter::get"),
            ("<a::b::Kv<R> as c::Engine<X>>::write::{{closure}}::{{closure}}::__here", "a::b::Kv::write"),
            ("a::Map<alloc::vec::Vec<u8>, fn() -> u8>::run::__here", "a::Map::run"),
            ("<<a::X as b::T>::Out as c::U>::go::__here", "a::X::Out::go"),
            ("<fn(a::X) -> u8 as c::U>::go::__here", "fn(a::X) -> u8::go"),
        ] {
            assert_eq!(pretty(full), want, "{full}");
        }
    }
}
