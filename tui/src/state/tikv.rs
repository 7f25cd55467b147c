//! Finds TiKV's function of a stage: its name from the catalogue, and its source in a checkout.
use std::path::{Path, PathBuf};

use rustc_lexer::{FrontmatterAllowed, TokenKind, tokenize};

/// A parsed `path::Type::function` of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The repository if it is not tikv/tikv, such as `tikv/pd`.
    pub repository: Option<String>,
    /// Path in the repository.
    pub file: String,
    /// The type or module of the function.
    pub owner: Option<String>,
    /// The function's name.
    pub function: String,
}

impl Place {
    /// Parses the catalogue's text.
    pub fn parse(tikv: &str) -> Self {
        let (repository, path) = match tikv.split_once(' ') {
            Some((repository, rest)) => (Some(repository.to_owned()), rest),
            None => (None, tikv),
        };
        let mut parts = path.split("::");
        let file = parts.next().unwrap_or_default().to_owned();
        let mut names: Vec<&str> = parts.collect();
        let function = names.pop().unwrap_or_default().to_owned();
        Place { repository, file, owner: names.last().map(|n| (*n).to_owned()), function }
    }

    /// `TiKV`, or the name of the other repository.
    pub fn whose(&self) -> &str {
        self.repository.as_deref().unwrap_or("TiKV")
    }

    /// The function with its type, such as `PointGetter::get`.
    pub fn name(&self) -> String {
        match &self.owner {
            Some(owner) => format!("{owner}::{}", self.function),
            None => self.function.clone(),
        }
    }
}

/// A function found in a checkout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFunction {
    /// The file in the checkout.
    pub path: PathBuf,
    /// The text of the file.
    pub text: String,
    /// 1-based line of the function.
    pub line: u32,
}

/// Finds the function's source below `root`; the error is a message.
pub fn find(root: &Path, place: &Place) -> Result<FoundFunction, String> {
    if let Some(repository) = &place.repository {
        return Err(format!("this function is in {repository}, not in the TiKV checkout {}", root.display()));
    }
    let path = root.join(&place.file);
    let text = super::code::read(&path)?;
    let Some(line) = line_of(&text, place) else {
        return Err(format!(
            "expected the function {1} in {0}, found none; the catalogue is for tikv/tikv 8e964719: check out that version",
            path.display(),
            place.name()
        ));
    };
    Ok(FoundFunction { path, text, line })
}

struct Word<'a> {
    text: &'a str,
    line: u32,
    depth: u32,
}

/// Finds the line of the function in an impl of its type, otherwise of any function or mention of its name.
fn line_of(text: &str, place: &Place) -> Option<u32> {
    let words = words(text);
    let functions = || {
        words
            .windows(2)
            .enumerate()
            .filter(|(_, w)| w[0].text == "fn" && w[1].text == place.function)
            .map(|(i, w)| (i, w[1].line))
    };
    let owned = place.owner.as_ref().and_then(|owner| functions().find(|(i, _)| owner_at(&words, *i, owner)));
    let mention = || words.iter().find(|w| w.text == place.function).map(|w| w.line);
    owned.or_else(|| functions().next()).map(|(_, line)| line).or_else(mention)
}

/// Whether the block around word `at` is an impl or trait of `owner`.
fn owner_at(words: &[Word<'_>], at: usize, owner: &str) -> bool {
    let depth = words[at].depth;
    let outside = words[..at].iter().rposition(|w| w.depth < depth);
    let Some(end) = outside else { return false };
    let head =
        words[..=end].iter().rposition(|w| w.depth == words[end].depth && matches!(w.text, "impl" | "trait"));
    head.is_some_and(|start| words[start..=end].iter().any(|w| w.text == owner))
}

fn words(text: &str) -> Vec<Word<'_>> {
    let (mut out, mut at, mut line, mut depth) = (Vec::new(), 0, 1, 0u32);
    for token in tokenize(text, FrontmatterAllowed::No) {
        let piece = &text[at..at + token.len as usize];
        at += token.len as usize;
        match token.kind {
            TokenKind::Ident => out.push(Word { text: piece, line, depth }),
            TokenKind::OpenBrace => depth += 1,
            TokenKind::CloseBrace => depth = depth.saturating_sub(1),
            _ => {}
        }
        line += piece.matches('\n').count() as u32;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "struct A;\nimpl Other {\n    fn get() { if x { y } }\n}\nimpl<S: Snap> Trait for A<S>\nwhere S: B {\n    \
        /// fn get\n    fn set() {}\n    pub async fn get(&self) {}\n}\nhandle!(kv_get, future_get);\n";

    fn place(name: &str) -> Place {
        Place::parse(&format!("src/x.rs::{name}"))
    }

    #[test]
    fn the_function_is_found_in_the_impl_of_its_type() {
        assert_eq!(line_of(SOURCE, &place("A::get")), Some(9));
        assert_eq!(line_of(SOURCE, &place("Other::get")), Some(3));
        assert_eq!(line_of(SOURCE, &place("set")), Some(8));
        assert_eq!(line_of(SOURCE, &place("Service::kv_get")), Some(11), "made by a macro: its mention");
        assert_eq!(line_of(SOURCE, &place("A::absent")), None);
    }

    #[test]
    fn every_stage_has_a_place() {
        for stage in tracepoints::catalogue::STAGES {
            let place = Place::parse(stage.tikv);
            assert!(place.file.contains('.') && !place.function.is_empty(), "{}", stage.name);
        }
        let pd = Place::parse("tikv/pd server/grpc_service.go::GrpcServer::Tso");
        assert_eq!(pd.repository.as_deref(), Some("tikv/pd"));
        let error = find(Path::new("/tikv"), &pd).unwrap_err();
        assert!(error.contains("tikv/pd") && error.contains("/tikv"));
    }

    #[test]
    fn a_missing_file_of_the_checkout_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(find(dir.path(), &place("A::get")).unwrap_err().contains("src/x.rs"));
        std::fs::create_dir(dir.path().join("src")).unwrap();
        std::fs::write(dir.path().join("src/x.rs"), SOURCE).unwrap();
        assert_eq!(find(dir.path(), &place("A::get")).unwrap().line, 9);
        assert!(find(dir.path(), &place("A::absent")).unwrap_err().contains("A::absent"));
    }
}
