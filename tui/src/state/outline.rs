//! Extracts an outline of the packed source files: its definitions, its calls, and the statement after each stamp.
use std::{collections::BTreeSet, fmt::Write as _, sync::OnceLock};

use ra_ap_syntax::{
    AstNode, Edition, NodeOrToken, SourceFile, SyntaxKind as K, SyntaxNode, SyntaxToken, T, TextRange,
    ast::{self, HasAttrs, HasName},
};

use super::code;

/// The outline of all packed files but tests.
pub fn packed() -> String {
    let mut out = String::new();
    for path in code::packed_files().filter(|path| !is_file_of_tests(path)) {
        if let Some((_, text)) = code::packed(path) {
            write(path, text, stamp_macros(), &mut out);
        }
    }
    out
}

/// The outline of one packed file; empty for a file of tests.
pub fn of_file(path: &str, text: &str) -> String {
    let mut out = String::new();
    if !is_file_of_tests(path) {
        write(path, text, stamp_macros(), &mut out);
    }
    out
}

/// Names of the macros that stamp, the project's own around them included.
fn stamp_macros() -> &'static BTreeSet<String> {
    static NAMES: OnceLock<BTreeSet<String>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let mut names: BTreeSet<String> = STAMP_MACROS.map(String::from).into();
        let texts = code::packed_files().filter_map(|path| Some(code::packed(path)?.1));
        for text in texts.filter(|text| text.contains("macro_rules!")) {
            add_stamp_macros(text, &mut names);
        }
        names
    })
}

fn is_file_of_tests(path: &str) -> bool {
    ["/tests/", "/benches/", "/fuzz/"].iter().any(|part| path.contains(part)) || path.ends_with("/tests.rs")
}

/// Macros that stamp or publish; [`add_stamp_macros`] adds the project's own macros around them.
const STAMP_MACROS: [&str; 6] = ["stamp", "step", "step_fsm", "step_fsm_probe", "step_thread", "probe"];

/// Adds the names of macros whose rules use one of `known`.
fn add_stamp_macros(text: &str, known: &mut BTreeSet<String>) {
    for rules in parse(text).syntax().descendants().filter_map(ast::MacroRules::cast) {
        let Some(name) = rules.name() else { continue };
        let uses = rules.syntax().descendants_with_tokens().filter_map(NodeOrToken::into_token).any(|t| {
            t.kind() == K::IDENT && known.contains(t.text()) && next(&t).is_some_and(|n| n.kind() == T![!])
        });
        if uses {
            known.insert(name.text().to_string());
        }
    }
}

/// Writes the outline of one file as lines of fields separated by tabs; code of tests is left out.
///
/// - `f path`
/// - `d kind name owner first last`: a definition with its lines
/// - `c name qualifier line`: a call; the qualifier is a type, `self`, `.` for another method call, or empty
/// - `s first last from to`: a stamp, and the statement or match arm that it stands for; zeros: the caller's
fn write(path: &str, text: &str, stamps: &BTreeSet<String>, out: &mut String) {
    let lines = Lines::new(text);
    let root = parse(text).syntax().clone();
    let mut outline = Outline { lines: &lines, stamps, out };
    let _ = writeln!(outline.out, "f\t{path}");
    outline.node(&root);
}

fn parse(text: &str) -> SourceFile {
    SourceFile::parse(text, Edition::CURRENT).tree()
}

/// The lines of a text.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    /// The line of an offset, from 1.
    fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|end| *end < offset) + 1
    }

    fn first(&self, range: TextRange) -> usize {
        self.line(range.start().into())
    }

    fn last(&self, range: TextRange) -> usize {
        self.line(range.end().into())
    }
}

struct Outline<'a> {
    lines: &'a Lines,
    stamps: &'a BTreeSet<String>,
    out: &'a mut String,
}

impl Outline<'_> {
    fn node(&mut self, node: &SyntaxNode) {
        if is_test(node) {
            return;
        }
        self.definition(node);
        self.call(node);
        if let Some(call) = ast::MacroCall::cast(node.clone()) {
            self.macro_call(&call);
        }
        node.children().for_each(|child| self.node(&child));
    }

    fn definition(&mut self, node: &SyntaxNode) {
        let (kind, name) = match node.kind() {
            K::FN => ("fn", ast::Fn::cast(node.clone()).and_then(|n| n.name())),
            K::STRUCT => ("struct", ast::Struct::cast(node.clone()).and_then(|n| n.name())),
            K::ENUM => ("enum", ast::Enum::cast(node.clone()).and_then(|n| n.name())),
            K::VARIANT => ("variant", ast::Variant::cast(node.clone()).and_then(|n| n.name())),
            K::TRAIT => ("trait", ast::Trait::cast(node.clone()).and_then(|n| n.name())),
            K::CONST => ("const", ast::Const::cast(node.clone()).and_then(|n| n.name())),
            K::STATIC => ("static", ast::Static::cast(node.clone()).and_then(|n| n.name())),
            K::TYPE_ALIAS => ("type", ast::TypeAlias::cast(node.clone()).and_then(|n| n.name())),
            K::MACRO_RULES => ("macro", ast::MacroRules::cast(node.clone()).and_then(|n| n.name())),
            _ => return,
        };
        let Some(name) = name else { return };
        let owner = owner(node).unwrap_or_default();
        let (first, last) =
            (self.lines.first(name.syntax().text_range()), self.lines.last(node.text_range()));
        let _ = writeln!(self.out, "d\t{kind}\t{}\t{owner}\t{first}\t{last}", name.text());
    }

    fn call(&mut self, node: &SyntaxNode) {
        if let Some(call) = ast::MethodCallExpr::cast(node.clone()) {
            let on_self = call.receiver().is_some_and(|r| r.syntax().text() == "self");
            if let Some(name) = call.name_ref() {
                self.write_call(
                    name.text().as_str(),
                    if on_self { "self" } else { "." },
                    name.syntax().text_range(),
                );
            }
        } else if let Some(call) = ast::CallExpr::cast(node.clone())
            && let Some(ast::Expr::PathExpr(function)) = call.expr()
            && let Some(path) = function.path()
            && let Some(name) = path.segment().and_then(|s| s.name_ref())
        {
            let qualifier = path.qualifier().and_then(|q| q.segment()).map(|s| s.syntax().text().to_string());
            let qualifier =
                qualifier.as_deref().map_or("", |q| q.split(['<', '\n']).next().unwrap_or_default());
            self.write_call(name.text().as_str(), qualifier, name.syntax().text_range());
        }
    }

    fn write_call(&mut self, name: &str, qualifier: &str, at: TextRange) {
        let _ = writeln!(self.out, "c\t{name}\t{qualifier}\t{}", self.lines.first(at));
    }

    fn macro_call(&mut self, call: &ast::MacroCall) {
        let Some(name) = call.path().and_then(|p| p.segment()).and_then(|s| s.name_ref()) else { return };
        let stamps = self.stamps.contains(name.text().as_str());
        self.write_call(name.text().as_str(), "!", name.syntax().text_range());
        if stamps {
            self.stamp(call.syntax());
            return;
        }
        let tokens = call
            .token_tree()
            .into_iter()
            .flat_map(|t| t.syntax().descendants_with_tokens().collect::<Vec<_>>());
        for token in tokens.filter_map(NodeOrToken::into_token).filter(|t| t.kind() == K::IDENT) {
            if next(&token).is_some_and(|n| n.kind() == T!['(']) {
                let qualifier = match previous(&token) {
                    Some(p) if p.kind() == T![.] => match previous(&p) {
                        Some(own) if own.kind() == T![self] => "self".to_owned(),
                        _ => ".".to_owned(),
                    },
                    Some(p) if p.kind() == T![:] || p.kind() == T![::] => path_before(&p),
                    _ => String::new(),
                };
                self.write_call(token.text(), &qualifier, token.text_range());
            }
        }
    }

    /// Writes the lines of a stamp and of the statement that runs after it; zeros if none does in its function.
    fn stamp(&mut self, call: &SyntaxNode) {
        let at = statement_of(call);
        let next = self.statement_after(&at).map(|node| trimmed(&node)).or_else(|| arm(call));
        let (from, to) = next.map_or((0, 0), |range| (self.lines.first(range), self.lines.last(range)));
        let (first, last) = (self.lines.first(call.text_range()), self.lines.last(call.text_range()));
        let _ = writeln!(self.out, "s\t{first}\t{last}\t{from}\t{to}");
    }

    /// The next statement that works for the request; at the end of a block, that after the block.
    fn statement_after(&self, stamp: &SyntaxNode) -> Option<SyntaxNode> {
        let mut at = stamp.clone();
        loop {
            let mut after = at.next_sibling();
            while let Some(node) = after {
                let climbed = at != *stamp;
                let is_passed = self.is_stamp(&node) || is_mechanics(&node) || climbed && is_trivial(&node);
                if !is_passed {
                    return Some(node);
                }
                after = node.next_sibling();
            }
            let block = at.ancestors().skip(1).find(|n| n.kind() == K::STMT_LIST)?;
            let mut outside = block.ancestors().skip(1).take_while(|n| n.kind() != K::FN);
            at = outside.find(|n| n.parent().is_some_and(|p| p.kind() == K::STMT_LIST))?;
        }
    }

    fn is_stamp(&self, node: &SyntaxNode) -> bool {
        let call = node.descendants().take(3).find_map(ast::MacroCall::cast);
        let name = call.and_then(|c| c.path()?.segment()?.name_ref());
        name.is_some_and(|n| self.stamps.contains(n.text().as_str()))
    }
}

/// Whether a statement only counts, drops a value, or serves the observation of the request.
fn is_mechanics(node: &SyntaxNode) -> bool {
    if let Some(binding) = ast::LetStmt::cast(node.clone()) {
        // A clock is read for the details of the answer.
        return binding
            .initializer()
            .is_some_and(|value| value.syntax().text().to_string().ends_with("::now()"));
    }
    let expression = if node.kind() == K::EXPR_STMT { node.first_child() } else { Some(node.clone()) };
    match expression.and_then(ast::Expr::cast) {
        Some(ast::Expr::BinExpr(e)) => {
            let counts = matches!(e.op_kind(), Some(ast::BinaryOp::Assignment { op: Some(_) }));
            counts && matches!(e.rhs(), Some(ast::Expr::Literal(_)))
        }
        Some(ast::Expr::CallExpr(e)) => e.expr().is_some_and(|f| f.syntax().text() == "drop"),
        Some(ast::Expr::IfExpr(e)) => match e.condition() {
            // A gate's answer: the function returns and is called again.
            Some(ast::Expr::PathExpr(_)) => e.then_branch().is_some_and(|b| b.to_string().contains("return")),
            Some(condition) => condition.to_string().ends_with(".stepped()"),
            None => false,
        },
        _ => false,
    }
}

/// Whether a statement is only a value, such as `Flow::Done` or `Ok(())`.
fn is_trivial(node: &SyntaxNode) -> bool {
    matches!(node.kind(), K::PATH_EXPR | K::LITERAL) || node.text() == "Ok(())"
}

/// The pattern of the match arm around a statement, without its body.
fn arm(node: &SyntaxNode) -> Option<TextRange> {
    let arm = node.ancestors().take_while(|n| n.kind() != K::FN).find_map(ast::MatchArm::cast)?;
    Some(arm.pat()?.syntax().text_range())
}

/// The innermost statement of a block around a node: a child of a statement list.
fn statement_of(node: &SyntaxNode) -> SyntaxNode {
    let in_list = |n: &SyntaxNode| n.parent().is_some_and(|p| p.kind() == K::STMT_LIST);
    node.ancestors().find(in_list).unwrap_or_else(|| node.clone())
}

/// The range of a statement without its comments and attributes.
fn trimmed(node: &SyntaxNode) -> TextRange {
    let skipped = |kind: K| kind.is_trivia() || kind == K::ATTR;
    let first = node.children_with_tokens().find(|c| !skipped(c.kind()));
    let start = first.map_or(node.text_range().start(), |c| c.text_range().start());
    TextRange::new(start, node.text_range().end())
}

/// The type or trait around a definition, or the enum of a variant.
fn owner(node: &SyntaxNode) -> Option<String> {
    for outer in node.ancestors().skip(1) {
        if let Some(block) = ast::Impl::cast(outer.clone()) {
            let text = block.self_ty()?.syntax().text().to_string();
            let bare = text.trim_start_matches(['&', '*']).split('<').next().unwrap_or_default();
            return Some(bare.rsplit("::").next().unwrap_or_default().trim().to_owned());
        }
        if let Some(outer) = ast::Trait::cast(outer.clone()) {
            return Some(outer.name()?.text().to_string());
        }
        if let Some(outer) = ast::Enum::cast(outer.clone()) {
            return Some(outer.name()?.text().to_string());
        }
        if outer.kind() == K::FN {
            return None;
        }
    }
    None
}

fn is_test(node: &SyntaxNode) -> bool {
    let tests =
        |attrs: Option<String>| attrs.is_some_and(|a| a == "test" || a.replace(' ', "").contains("cfg(test"));
    let any =
        |node: &dyn HasAttrs| node.attrs().any(|a| tests(a.meta().map(|m| m.syntax().text().to_string())));
    match node.kind() {
        K::MODULE => ast::Module::cast(node.clone()).is_some_and(|m| any(&m)),
        K::FN => ast::Fn::cast(node.clone()).is_some_and(|f| any(&f)),
        K::IMPL => ast::Impl::cast(node.clone()).is_some_and(|i| any(&i)),
        _ => false,
    }
}

fn next(token: &SyntaxToken) -> Option<SyntaxToken> {
    let mut at = token.next_token();
    while at.as_ref().is_some_and(|t| t.kind().is_trivia()) {
        at = at.and_then(|t| t.next_token());
    }
    at
}

fn previous(token: &SyntaxToken) -> Option<SyntaxToken> {
    let mut at = token.prev_token();
    while at.as_ref().is_some_and(|t| t.kind().is_trivia()) {
        at = at.and_then(|t| t.prev_token());
    }
    at
}

/// The name before a `::`, of which `colon` is the last colon.
fn path_before(colon: &SyntaxToken) -> String {
    let mut at = previous(colon);
    while at.as_ref().is_some_and(|t| t.kind() == T![:]) {
        at = at.as_ref().and_then(previous);
    }
    at.filter(|t| t.kind() == K::IDENT || t.kind() == T![Self])
        .map_or_else(String::new, |t| t.text().to_owned())
}
