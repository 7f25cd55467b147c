//! The cursor of the source pane: a line and a name on it, the names that can be followed, and earlier places.
use super::{
    highlight::{Class, CodeLine},
    index::index,
    stack::Pick,
};

/// A line of a source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The path of the file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

/// The cursor in the shown document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The line, from 0.
    pub line: usize,
    /// The number of the name among [`names`] of the line.
    pub name: usize,
}

/// A place to go back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jump {
    /// The step, from 0.
    pub step: usize,
    /// The selected row of the stack.
    pub pick: Option<Pick>,
    /// The shown file, if it is not the step's.
    pub visit: Option<Spot>,
    /// The cursor of the source pane.
    pub cursor: Option<Cursor>,
    /// The source pane shows TiKV's function.
    pub tikv: bool,
}

/// A name in a line of source that the index knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub text: String,
    /// The qualifier in the form of [`super::index::Call`].
    pub qualifier: String,
    /// The first column, in characters.
    pub column: usize,
}

/// Lists the names of a line that have a definition, from left to right.
pub fn names(line: &CodeLine) -> Vec<Name> {
    let text: Vec<char> = line.iter().flat_map(|(_, piece)| piece.chars()).collect();
    let mut out = Vec::new();
    let mut at = 0;
    for (class, piece) in line {
        let len = piece.chars().count();
        if !matches!(class, Class::Comment | Class::Text | Class::Number | Class::Keyword | Class::Lifetime) {
            names_of(&text, at, at + len, &mut out);
        }
        at += len;
    }
    out
}

fn names_of(text: &[char], from: usize, to: usize, out: &mut Vec<Name>) {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut at = from;
    while at < to {
        if !is_name(text[at]) {
            at += 1;
            continue;
        }
        let end = (at..to).find(|i| !is_name(text[*i])).unwrap_or(to);
        let name: String = text[at..end].iter().collect();
        let follows = |tail: &str| {
            text[end..].iter().zip(tail.chars()).filter(|(a, b)| **a == *b).count() == tail.len()
        };
        let qualifier = if follows("!") && !follows("!=") { "!".to_owned() } else { qualifier(text, at) };
        let called = follows("(") || follows("::<");
        // A field or a variable has the name of a function at most by chance.
        let bare = matches!(qualifier.as_str(), "." | "self" | "") && !follows("::");
        let meant = called || !bare || (qualifier.is_empty() && name.starts_with(char::is_uppercase));
        if meant && index().has(&name) {
            out.push(Name { text: name, qualifier, column: at });
        }
        at = end;
    }
}

/// The qualifier of the name that begins at `at`.
fn qualifier(text: &[char], at: usize) -> String {
    let before: String = text[..at].iter().collect();
    let last_name = |text: &str| {
        let start = text.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |i| i + 1);
        text[start..].to_owned()
    };
    if let Some(path) = before.strip_suffix("::") {
        return last_name(path);
    }
    match before.strip_suffix('.') {
        Some(receiver) if last_name(receiver) == "self" && !receiver.ends_with(".self") => "self".into(),
        Some(receiver) if !receiver.ends_with('.') => ".".into(),
        _ => String::new(),
    }
}

/// The name at the cursor: that of its number, otherwise the first called one.
pub fn name_at(line: &CodeLine, cursor: Option<Cursor>) -> Option<Name> {
    let names = names(line);
    let wanted = cursor.map_or_else(|| first_called(line, &names), |c| c.name);
    names.into_iter().nth(wanted)
}

/// The number of the first called name, otherwise 0.
pub fn first_called(line: &CodeLine, names: &[Name]) -> usize {
    let text: Vec<char> = line.iter().flat_map(|(_, piece)| piece.chars()).collect();
    let called = |n: &Name| text.get(n.column + n.text.chars().count()) == Some(&'(');
    names.iter().position(called).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::highlight::highlight;

    fn line(text: &str) -> CodeLine {
        highlight(text, true).remove(0)
    }

    #[test]
    fn names_with_a_definition_are_found_with_their_qualifier() {
        let line = line(
            "let v = self.load_data(key)?; stamp!(X); PointGetter::load_data; \"load_data\" // load_data",
        );
        let found: Vec<_> = names(&line).into_iter().map(|n| (n.qualifier, n.text, n.column)).collect();
        let expected = [("self", "load_data", 13), ("!", "stamp", 30), ("", "PointGetter", 41)];
        let expected = expected.into_iter().chain([("PointGetter", "load_data", 54)]);
        let expected: Vec<_> = expected.map(|(q, n, c)| (q.to_owned(), n.to_owned(), c)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_first_called_name_is_chosen() {
        let line = line("PointGetter { x: self.load_data(key) }");
        assert_eq!(name_at(&line, None).map(|n| n.text).as_deref(), Some("load_data"));
        let first = Some(Cursor { line: 0, name: 0 });
        assert_eq!(name_at(&line, first).map(|n| n.text).as_deref(), Some("PointGetter"));
        assert_eq!(name_at(&super::tests::line("let x = 1;"), None), None);
    }
}
