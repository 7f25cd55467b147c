//! Parses a gate: `PLACE[#N] [if CONDITION]`.
use std::collections::BTreeMap;

use super::{
    Gate, Place,
    condition::{Comparison, Condition, Operand},
    error::GateError,
    lex::{Token, tokens},
    timestamps::is_timestamp,
    watch::Watched,
};
use crate::{
    Hold, Outcome, RequestKind, StageId,
    catalogue::{STAGES, find, stage},
    field, sites,
};

/// Returns the text of a source file.
pub type SourceOf<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The names that a gate may use besides those of stages and fields.
#[derive(Clone, Copy, Default)]
pub struct Names<'a> {
    /// Timestamps with a name, such as those of a scenario's `ts` directives.
    pub timestamps: Option<&'a BTreeMap<String, u64>>,
    /// Returns the text of a source file, to find the function of a line.
    pub source: Option<SourceOf<'a>>,
    /// Accepts stages that can only be observed: for log points, which hold nothing.
    pub observed: bool,
}

/// A gate as an error shows it.
const EXAMPLE: &str = "write_cf_found if commit_ts > ts1";

/// Values that every arrival has.
const COMMON: &[&str] = &["store", "kind", "key", "request"];

pub(super) fn gate(text: &str, names: &Names<'_>) -> Result<Gate, GateError> {
    let text = text.trim();
    let (place, condition) = split_if(text);
    let (place, hit) = hit_count(place.trim())?;
    if place.is_empty() {
        return Err(GateError::new(format!("expected a gate such as `{EXAMPLE}`, found `{text}`")));
    }
    let (written, place) = (place, parse_place(place, names)?);
    let parsed = condition.map(|text| Parser::condition(text, &place, names)).transpose()?;
    let mut text = match &place {
        // A stage has one name, however it was written.
        Place::Stages(stages) if find(written).is_some() => stages[0].name().to_owned(),
        // The line of the stamp: a program without the source must find the same one.
        Place::Line { line, .. } => {
            format!("{}:{line}", written.rsplit_once(':').map_or(written, |(file, _)| file))
        }
        _ => one_space(written),
    };
    if hit > 1 {
        text.push_str(&format!("#{hit}"));
    }
    if let Some(condition) = condition {
        // Kept as written: a key in quotes may contain several spaces.
        text.push_str(&format!(" if {condition}"));
    }
    Ok(Gate { place, hit, condition: parsed, text })
}

fn one_space(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Splits the text at the word `if`. Columns of the condition count from its first non-blank character.
fn split_if(text: &str) -> (&str, Option<&str>) {
    let at = text.match_indices("if").map(|(at, _)| at).find(|at| {
        let is_space = |c: Option<char>| c.is_none_or(char::is_whitespace);
        is_space(text[..*at].chars().next_back()) && is_space(text[at + 2..].chars().next())
    });
    at.map_or((text, None), |at| (&text[..at], Some(text[at + 2..].trim())))
}

fn hit_count(place: &str) -> Result<(&str, u32), GateError> {
    let Some((place, number)) = place.split_once('#') else { return Ok((place, 1)) };
    match number.trim().parse::<u32>() {
        Ok(n) if n > 0 => Ok((place.trim_end(), n)),
        _ => Err(GateError::new(format!(
            "expected the number of an arrival, from 1, found `{}`",
            number.trim()
        ))),
    }
}

fn parse_place(place: &str, names: &Names<'_>) -> Result<Place, GateError> {
    let words: Vec<&str> = place.split_whitespace().collect();
    match words.as_slice() {
        ["any" | "*"] => Ok(Place::Any),
        ["any", "error"] => {
            Ok(Place::Outcome(Outcome::ALL.into_iter().filter(|outcome| outcome.failed()).collect()))
        }
        ["key", "error"] => Ok(Place::Outcome(vec![Outcome::KeyError])),
        ["region", "error"] => Ok(Place::Outcome(vec![Outcome::RegionError])),
        ["change", "of", value] => Watched::parse(value).map(Place::Change).ok_or_else(|| {
            GateError::unknown("a value that is watched", value, "values", &Watched::ALL.map(Watched::name))
        }),
        [one] if one.contains("::") => of_function(one, names),
        [one] => match one.rsplit_once(':') {
            Some((file, line)) => of_line(file, line, names),
            None => Ok(Place::Stages(vec![holding(named(one)?, names)?])),
        },
        _ => Err(GateError::new(format!(
            "expected a stage, FILE:LINE, a function such as PointGetter::load_data, `any`, `any error`, \
             `key error`, `region error` or `change of VALUE`, found `{place}`; a condition begins with `if`"
        ))),
    }
}

fn named(name: &str) -> Result<StageId, GateError> {
    let all = || STAGES.iter().map(|s| s.name).collect::<Vec<_>>();
    let unknown = || GateError::unknown("a stage of the catalogue", name, "stages", &all());
    find(name).map(|s| s.id).ok_or_else(unknown)
}

/// Refuses a stage that cannot hold a request.
fn holding(id: StageId, names: &Names<'_>) -> Result<StageId, GateError> {
    if names.observed || id.stage().hold != Hold::None {
        return Ok(id);
    }
    let fits = |s: &&'static crate::Stage| s.hold != Hold::None && s.lane == id.stage().lane;
    let at = usize::from(id.0);
    let before = STAGES[..at].iter().rev().find(fits).map(|s| s.name);
    let after = STAGES[at..].iter().find(fits).map(|s| s.name);
    let others: Vec<&str> = before.into_iter().chain(after).collect();
    Err(GateError::new(format!(
        "expected a stage that can hold a request, found `{}`, which is only observed; choose one before or after \
         it, such as {}",
        id.name(),
        others.join(" or ")
    )))
}

fn of_function(path: &str, names: &Names<'_>) -> Result<Place, GateError> {
    let stages = sites::of_function(path);
    let can_hold = |id: &StageId| names.observed || id.stage().hold != Hold::None;
    let holding: Vec<StageId> = stages.iter().copied().filter(can_hold).collect();
    match (holding.is_empty(), stages.as_slice()) {
        (false, _) => Ok(Place::Stages(holding)),
        (true, []) => Err(GateError::new(format!(
            "expected the end of a path of a function with a stage, such as PointGetter::load_data, found `{path}`; \
             docs/src/stages.md lists the functions"
        ))),
        (true, [first, ..]) => self::holding(*first, names).map(|id| Place::Stages(vec![id])),
    }
}

fn of_line(file: &str, line: &str, names: &Names<'_>) -> Result<Place, GateError> {
    let wrong =
        || GateError::new(format!("expected FILE:LINE, such as point_getter.rs:170, found `{file}:{line}`"));
    let line: u32 = line.parse().map_err(|_| wrong())?;
    let known = sites::in_file(file);
    let Some(first) = known.first() else {
        return Err(GateError::new(format!(
            "expected a source file with a stage, found `{file}`, which has none; give the end of a path, such as \
             mvcc/reader/point_getter.rs"
        )));
    };
    if let Some(other) = known.iter().find(|site| site.file != first.file) {
        return Err(GateError::new(format!(
            "expected one file, found `{file}`, which may be {} or {}: give more of its path",
            first.file, other.file
        )));
    }
    let text = names.source.and_then(|source| source(first.file));
    match sites::at_line(file, line, text.as_deref()) {
        Some(site) => {
            let stage = holding(site.stage, names)?;
            Ok(Place::Line { stage, file: site.file, line: site.line })
        }
        None => {
            let nearest = known.iter().min_by_key(|site| site.line.abs_diff(line)).unwrap_or(first);
            Err(GateError::new(format!(
                "expected a line of a function with a stage, found {file}:{line}; the nearest stage of the file is {} \
                 in line {}",
                nearest.stage.name(),
                nearest.line
            )))
        }
    }
}

/// Finds the value that a field shows as this word: 80 for the word `Put` of a write_type.
fn value_of(field: &str, word: &str) -> Option<u64> {
    (0..=u64::from(u8::MAX))
        .find(|value| field::named(field, *value).is_some_and(|known| known.eq_ignore_ascii_case(word)))
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(usize, Token)>,
    next: usize,
    /// Number of comparisons so far.
    comparisons: usize,
    place: &'a Place,
    names: &'a Names<'a>,
}

/// Maximum depth of brackets and `not`.
const MAX_DEPTH: usize = 32;

/// Maximum number of comparisons: each `and` and `or` deepens the condition, whose evaluation recurses.
const MAX_COMPARISONS: usize = 64;

/// A side of a comparison, before the other side gives a bare word its meaning.
enum Side {
    Operand(Operand),
    /// A word that names no field, with the number of its token: a value such as `Put`, or a key.
    Word(String, usize),
}

impl<'a> Parser<'a> {
    fn condition(text: &'a str, place: &'a Place, names: &'a Names<'a>) -> Result<Condition, GateError> {
        let mut parser = Parser { text, tokens: tokens(text)?, next: 0, comparisons: 0, place, names };
        let condition = parser.or(0)?;
        match parser.peek() {
            None => Ok(condition),
            Some(token) => {
                Err(parser.wrong(&format!("expected `and`, `or` or the end, found `{}`", token.shown())))
            }
        }
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    /// The error at the next token.
    fn wrong(&self, problem: &str) -> GateError {
        let end = self.text.len() + 1;
        GateError::condition(
            problem,
            self.tokens.get(self.next).map_or(end, |(column, _)| *column),
            self.text,
        )
    }

    fn takes(&mut self, words: &[&str]) -> bool {
        let found = match self.peek() {
            Some(Token::Word(word)) => words.contains(&word.as_str()),
            Some(Token::Sign(sign)) => words.contains(sign),
            _ => false,
        };
        self.next += usize::from(found);
        found
    }

    fn or(&mut self, depth: usize) -> Result<Condition, GateError> {
        let mut left = self.and(depth)?;
        while self.takes(&["or", "||"]) {
            left = Condition::Or(Box::new(left), Box::new(self.and(depth)?));
        }
        Ok(left)
    }

    fn and(&mut self, depth: usize) -> Result<Condition, GateError> {
        let mut left = self.not(depth)?;
        while self.takes(&["and", "&&"]) {
            left = Condition::And(Box::new(left), Box::new(self.not(depth)?));
        }
        Ok(left)
    }

    fn not(&mut self, depth: usize) -> Result<Condition, GateError> {
        if depth > MAX_DEPTH {
            return Err(self.wrong(&format!("expected at most {MAX_DEPTH} brackets, found more")));
        }
        if self.takes(&["not", "!"]) {
            return Ok(Condition::Not(Box::new(self.not(depth + 1)?)));
        }
        if self.takes(&["("]) {
            let inner = self.or(depth + 1)?;
            return if self.takes(&[")"]) { Ok(inner) } else { Err(self.wrong("expected `)`, found none")) };
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Condition, GateError> {
        self.comparisons += 1;
        if self.comparisons > MAX_COMPARISONS {
            // The condition itself is too long to show.
            return Err(GateError::new(format!(
                "expected at most {MAX_COMPARISONS} comparisons in a condition, found more: set several gates"
            )));
        }
        let left = self.side()?;
        let Some(comparison) = self.operator() else {
            return Ok(Condition::Truth(self.resolve(left, None)?));
        };
        let right = self.side()?;
        let (left, right) = match (left, right) {
            (Side::Operand(left), right) => {
                let right = self.resolve(right, Some(&left))?;
                (left, right)
            }
            (left, Side::Operand(right)) => (self.resolve(left, Some(&right))?, right),
            (left, right) => {
                let left = self.resolve(left, None)?;
                let right = self.resolve(right, Some(&left))?;
                (left, right)
            }
        };
        let is_text = |operand: &Operand| matches!(operand, Operand::Key | Operand::Bytes(_));
        if is_text(&left) != is_text(&right) {
            return Err(self.wrong("expected two numbers or two keys, found a number and a key"));
        }
        Ok(Condition::Compare(left, comparison, right))
    }

    fn operator(&mut self) -> Option<Comparison> {
        let found = match self.peek()? {
            Token::Sign("==" | "=") => Comparison::Equal,
            Token::Sign("!=") => Comparison::NotEqual,
            Token::Sign("<=") => Comparison::LessOrEqual,
            Token::Sign(">=") => Comparison::GreaterOrEqual,
            Token::Sign("<") => Comparison::Less,
            Token::Sign(">") => Comparison::Greater,
            _ => return None,
        };
        self.next += 1;
        Some(found)
    }

    fn side(&mut self) -> Result<Side, GateError> {
        let at = self.next;
        let Some((_, token)) = self.tokens.get(at).cloned() else {
            return Err(self.wrong("expected a field, a number or a text, found the end"));
        };
        self.next += 1;
        Ok(Side::Operand(match token {
            Token::Number(n) => Operand::Number(n),
            Token::Text(text) => Operand::Bytes(text),
            Token::Word(word) if matches!(word.as_str(), "key" | "ts") && self.takes(&["("]) => {
                self.call(&word)?
            }
            Token::Word(word) => match self.name(&word) {
                Some(operand) => operand,
                None => return Ok(Side::Word(word, at)),
            },
            Token::Sign(sign) => {
                self.next = at;
                return Err(self.wrong(&format!("expected a field, a number or a text, found `{sign}`")));
            }
        }))
    }

    /// Parses the rest of `key(k1)` or `ts(NAME)`.
    fn call(&mut self, function: &str) -> Result<Operand, GateError> {
        let inner = self.tokens.get(self.next).map(|(_, token)| token.clone());
        let operand = match (function, inner) {
            ("key", Some(Token::Text(text))) => Operand::Bytes(text),
            ("key", Some(Token::Word(word))) => Operand::Bytes(word.into_bytes()),
            ("ts", Some(Token::Number(n))) => Operand::Number(n),
            ("ts", Some(Token::Word(word))) => {
                self.timestamp(&word).ok_or_else(|| self.no_timestamp(&word))?
            }
            ("key", _) => return Err(self.wrong("expected a key in the brackets, as in key(\"k1\")")),
            _ => return Err(self.wrong("expected a timestamp in the brackets, as in ts(ts1)")),
        };
        self.next += 1;
        if self.takes(&[")"]) { Ok(operand) } else { Err(self.wrong("expected `)`, found none")) }
    }

    fn no_timestamp(&self, word: &str) -> GateError {
        if self.is_of_change() {
            let column = self.tokens.get(self.next).map_or(1, |(column, _)| *column);
            return self.unknown_field(word, column);
        }
        let named = self.names.timestamps.map(|named| named.keys().map(String::as_str).collect::<Vec<_>>());
        let known = named
            .filter(|n| !n.is_empty())
            .map_or_else(String::new, |n| format!(" or one of {}", n.join(", ")));
        self.wrong(&format!("expected ts1, ts2 ... in the order of their first use{known}, found `{word}`"))
    }

    fn timestamp(&self, word: &str) -> Option<Operand> {
        if let Some(ts) = self.names.timestamps.and_then(|named| named.get(word)) {
            return Some(Operand::Number(*ts));
        }
        let number = word.strip_prefix("ts")?.parse::<usize>().ok()?;
        (number > 0 && !self.is_of_change()).then_some(Operand::Timestamp(number))
    }

    /// Whether the condition is one of a change, which belongs to no request: it has no key, kind or `tsN`.
    fn is_of_change(&self) -> bool {
        matches!(self.place, Place::Change(_))
    }

    /// The value with this name.
    fn name(&self, word: &str) -> Option<Operand> {
        let fields = self.fields();
        if fields.contains(&word)
            || (fields.is_empty() && !COMMON.contains(&word) && self.timestamp(word).is_none())
        {
            return Some(Operand::Field(word.to_owned()));
        }
        match word {
            "store" => Some(Operand::Store),
            "request" | "kind" | "key" if self.is_of_change() => None,
            "request" => Some(Operand::Request),
            "kind" => Some(Operand::Kind),
            "key" => Some(Operand::Key),
            "true" => Some(Operand::Number(1)),
            "false" => Some(Operand::Number(0)),
            _ => self.timestamp(word),
        }
    }

    /// The fields of the stages of the place; none if this program does not contain their stamps.
    fn fields(&self) -> Vec<&'static str> {
        let stages: Vec<StageId> = match self.place {
            Place::Stages(stages) => stages.clone(),
            Place::Line { stage, .. } => vec![*stage],
            Place::Any => STAGES.iter().map(|s| s.id).collect(),
            Place::Outcome(_) => vec![stage::GRPC_REPLY],
            Place::Change(_) => return Watched::FIELDS.to_vec(),
        };
        let mut fields: Vec<&str> = stages.into_iter().flat_map(sites::fields_of).collect();
        fields.sort_unstable();
        fields.dedup();
        fields
    }

    /// Gives a bare word its meaning: the value of the field on the other side, a kind, or a key.
    fn resolve(&self, side: Side, other: Option<&Operand>) -> Result<Operand, GateError> {
        let (word, at) = match side {
            Side::Operand(operand) => return Ok(operand),
            Side::Word(word, at) => (word, at),
        };
        let column = self.tokens.get(at).map_or(1, |(column, _)| *column);
        match other {
            Some(Operand::Key) => Ok(Operand::Bytes(word.into_bytes())),
            Some(Operand::Kind) => {
                RequestKind::parse(&word).map(|kind| Operand::Number(kind as u64)).ok_or_else(|| {
                    let kinds: Vec<String> = RequestKind::ALL.iter().map(|kind| kind.name()).collect();
                    let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
                    GateError::unknown("a kind of a request", &word, "kinds", &kinds)
                })
            }
            Some(Operand::Field(field)) => match value_of(field, &word) {
                Some(value) => Ok(Operand::Number(value)),
                None if is_timestamp(field) && word.starts_with("ts") => Err(self.no_timestamp(&word)),
                None => Err(self.unknown_field(&word, column)),
            },
            _ => Err(self.unknown_field(&word, column)),
        }
    }

    fn unknown_field(&self, word: &str, column: usize) -> GateError {
        let fields = self.fields().join(", ");
        let (place, all) = match self.place {
            Place::Stages(stages) => (
                stages.iter().map(|s| s.name()).collect::<Vec<_>>().join(" or "),
                format!("its fields are {fields}"),
            ),
            Place::Line { stage, .. } => (stage.name().to_owned(), format!("its fields are {fields}")),
            Place::Any => ("any stage".into(), "docs/src/stages.md lists the stages".into()),
            Place::Outcome(_) => ("a reply".into(), format!("its fields are {fields}")),
            Place::Change(_) => ("a change".into(), format!("its fields are {fields}, store")),
        };
        let common = match self.is_of_change() {
            true => String::new(),
            false => format!(" every stage also has {}, and the timestamps ts1, ts2 ...;", COMMON.join(", ")),
        };
        let problem = format!("expected a field of {place}, found `{word}`; {all};{common} look");
        GateError::condition(problem, column, self.text)
    }
}
