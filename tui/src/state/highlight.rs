//! Splits Rust source into lines of classified pieces, which the view styles.
use rustc_lexer::{FrontmatterAllowed, LiteralKind, TokenKind, tokenize};

/// The class of a piece of source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Class {
    /// Anything else.
    #[default]
    Plain,
    /// A comment of any kind.
    Comment,
    /// A string or character.
    Text,
    /// A number.
    Number,
    /// A keyword.
    Keyword,
    /// A name that begins with a capital, or a primitive type.
    Type,
    /// The name of a called or defined function.
    Function,
    /// The name of a macro, or an attribute.
    Macro,
    /// A lifetime.
    Lifetime,
}

/// A line as pieces of one class each.
pub type CodeLine = Vec<(Class, String)>;

const KEYWORDS: &str = " as async await break const continue crate dyn else enum extern false fn for if impl in let loop \
    match mod move mut pub ref return self Self static struct super trait true type unsafe use where while ";

/// Splits source into lines of classified pieces; `rust` false: into plain lines.
pub fn highlight(text: &str, rust: bool) -> Vec<CodeLine> {
    if !rust {
        return text.lines().map(|l| vec![(Class::Plain, expand(l))]).collect();
    }
    let mut lines = vec![CodeLine::new()];
    let mut at = 0;
    let mut after_fn = false;
    for token in tokenize(text, FrontmatterAllowed::No) {
        let piece = &text[at..at + token.len as usize];
        at += token.len as usize;
        let class = classify(token.kind, piece, &text[at..], after_fn);
        if token.kind != TokenKind::Whitespace {
            after_fn = piece == "fn";
        }
        push(&mut lines, class, piece);
    }
    if lines.last().is_some_and(Vec::is_empty) {
        lines.pop();
    }
    lines
}

fn classify(kind: TokenKind, piece: &str, rest: &str, after_fn: bool) -> Class {
    match kind {
        TokenKind::LineComment { .. } | TokenKind::BlockComment { .. } => Class::Comment,
        TokenKind::Lifetime { .. } => Class::Lifetime,
        TokenKind::Literal { kind: LiteralKind::Int { .. } | LiteralKind::Float { .. }, .. } => Class::Number,
        TokenKind::Literal { .. } => Class::Text,
        TokenKind::Ident if KEYWORDS.contains(&format!(" {piece} ")) => Class::Keyword,
        TokenKind::Ident if after_fn => Class::Function,
        TokenKind::Ident if rest.starts_with('!') && !rest.starts_with("!=") => Class::Macro,
        TokenKind::Ident if piece.starts_with(|c: char| c.is_ascii_uppercase()) => Class::Type,
        TokenKind::Ident if rest.starts_with('(') => Class::Function,
        _ => Class::Plain,
    }
}

fn push(lines: &mut Vec<CodeLine>, class: Class, piece: &str) {
    for (i, part) in piece.split('\n').enumerate() {
        if i > 0 {
            lines.push(CodeLine::new());
        }
        let part = expand(part);
        let Some(line) = lines.last_mut() else { return };
        match line.last_mut() {
            Some((c, text)) if *c == class => text.push_str(&part),
            _ if part.is_empty() => {}
            _ => line.push((class, part)),
        }
    }
}

/// Replaces tabs by four spaces, and removes control characters, which a terminal would obey.
fn expand(text: &str) -> String {
    text.replace('\t', "    ").chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_classified_and_no_text_is_lost() {
        let source = "/// doc\npub fn get(&self, n: u64) -> Option<&'a str> {\n\tstamp!(X, \"a\nb\", 1)\n}\n";
        let lines = highlight(source, true);
        let text: Vec<String> = lines.iter().map(|l| l.iter().map(|(_, t)| t.as_str()).collect()).collect();
        assert_eq!(text.join("\n") + "\n", source.replace('\t', "    "));
        let has = |class, piece: &str| lines.iter().flatten().any(|(c, t)| *c == class && t == piece);
        assert!(has(Class::Comment, "/// doc") && has(Class::Keyword, "pub") && has(Class::Function, "get"));
        assert!(has(Class::Type, "Option") && has(Class::Lifetime, "'a") && has(Class::Macro, "stamp"));
        assert!(has(Class::Text, "\"a") && has(Class::Number, "1"));
    }
}
