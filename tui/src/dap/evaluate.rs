//! Evaluates the expressions that a person types or points at: fields, `key(..)`, `ts(..)`, `row(..)`, and paths of
//! variables.
use tracepoints::{catalogue::STAGES, trace::Step};

use super::{
    tree::{Node, Scope, field, key_forms, rows, timestamp},
    variables::marked,
};
use crate::{
    arguments::parse_key,
    state::{timeline::Timeline, timestamps::Timestamps},
};

/// The functions that an expression may use: name, description.
pub const FUNCTIONS: &[(&str, &str)] = &[
    ("key(", "the forms of a key: key(k1), key(0x6b31), key(\\153)"),
    ("ts(", "the time of a timestamp: ts(1), ts(commit_ts), ts(445645312341835777)"),
    ("row(", "the rows of the request's key in the three column families: row(k1)"),
];

/// Evaluates an expression at a step.
///
/// # Errors
/// A sentence that says which expressions there are.
pub fn evaluate(expression: &str, timeline: &Timeline, at: usize) -> Result<Node, String> {
    let text = expression.trim();
    let Some(step) = timeline.steps().get(at) else {
        return Err("expected a step, found none yet: wait for the first stop".into());
    };
    if let Some((name, argument)) = text.strip_suffix(')').and_then(|t| t.split_once('(')) {
        let argument = argument.trim().trim_matches('"');
        return match name.trim() {
            "key" => of_key(argument),
            "ts" => of_timestamp(argument, timeline, at),
            "row" | "rows" => of_row(argument, step).map(|mut node| {
                node.name_timestamps(timeline.timestamps());
                node
            }),
            other => Err(format!("expected key(..), ts(..) or row(..), found `{other}(..)`")),
        };
    }
    if let Some(found) = field(step, text) {
        return Ok(Node::leaf(text, found));
    }
    if let Some(found) = timestamps(timeline, at).find(text) {
        return Ok(Node::timestamp(text, found));
    }
    of_path(text, timeline, at).ok_or_else(|| {
        let fields: Vec<&str> = step.fields.keys().map(String::as_str).collect();
        format!(
            "expected a field of this stage ({}), key(..), ts(..), row(..), or a path such as Raft/region 1, found `{text}`",
            fields.join(", ")
        )
    })
}

/// The completions of a text: fields, functions, scopes and stages.
pub fn completions(text: &str, step: Option<&Step>) -> Vec<String> {
    let start = text.rfind(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(0, |i| i + 1);
    let word = text.get(start..).unwrap_or_default();
    let fields = step.into_iter().flat_map(|s| s.fields.keys().map(String::as_str));
    let scopes = Scope::ALL.iter().map(|scope| scope.name());
    let all = fields
        .chain(FUNCTIONS.iter().map(|(name, _)| *name))
        .chain(scopes)
        .chain(STAGES.iter().map(|s| s.name));
    all.filter(|name| name.starts_with(word)).take(30).map(str::to_owned).collect()
}

fn of_key(argument: &str) -> Result<Node, String> {
    let key = parse_key("key(..)", argument).map_err(|e| format!("{e:#}"))?;
    Ok(Node::parent("key", keys::escape(&key), key_forms(&key)))
}

fn of_timestamp(argument: &str, timeline: &Timeline, at: usize) -> Result<Node, String> {
    let step = timeline.steps().get(at);
    let of_field = step.and_then(|s| s.fields.get(argument)).copied();
    let known = timestamps(timeline, at);
    let ts = of_field.or_else(|| known.find(argument)).or_else(|| {
        let number: u64 = argument.parse().ok()?;
        known.find(&format!("ts{number}")).or(Some(number))
    });
    let ts =
        ts.ok_or_else(|| format!("expected a number, a field or a name such as ts1, found `{argument}`"))?;
    let parts = vec![Node::leaf("physical_ms", ts >> 18), Node::leaf("logical", ts & ((1 << 18) - 1))];
    Ok(Node::parent("ts", timestamp(ts), parts))
}

/// The timestamps that the operation has up to the step, with the names that the screen gives them.
fn timestamps(timeline: &Timeline, at: usize) -> Timestamps {
    Timestamps::of_steps(timeline.steps().get(..=at).unwrap_or_default())
}

fn of_row(argument: &str, step: &Step) -> Result<Node, String> {
    let Some(probe) = &step.state.mvcc else {
        return Err(
            "expected a step after the rows of the key were read, found one before: step forward".into()
        );
    };
    let key = parse_key("row(..)", argument).map_err(|e| format!("{e:#}"))?;
    let shown = keys::escape(&key);
    if !argument.is_empty() && shown != probe.key {
        return Err(format!(
            "expected the key of this request, {}, found {shown}: only its rows are published",
            probe.key
        ));
    }
    Ok(Node::parent("row", format!("{} writes", probe.writes.len()), rows(probe)))
}

/// The value of a path such as `Raft/region 1/store 2/commit`.
fn of_path(text: &str, timeline: &Timeline, at: usize) -> Option<Node> {
    let mut names = text.split('/').map(str::trim);
    let scope = Scope::parse(names.next()?)?;
    let mut node = Node::parent(scope.name(), "", marked(scope, timeline, at));
    for name in names {
        node = node.children.into_iter().find(|child| child.name == name)?;
    }
    Some(node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracepoints::probe::MvccProbe;

    const TS: u64 = 445_645_312_341_835_777;

    fn timeline() -> Timeline {
        let mut timeline = Timeline::new("get k1".into());
        let mut step = Step { stage: "mvcc_get".into(), store: 1, ..Step::default() };
        step.fields.insert("ts".into(), TS);
        step.state.mvcc = Some(MvccProbe { key: "k1".into(), ..MvccProbe::default() });
        timeline.add_step(step);
        timeline
    }

    #[test]
    fn fields_keys_timestamps_and_rows_are_evaluated() {
        let timeline = timeline();
        let value = |text: &str| evaluate(text, &timeline, 0).map(|node| node.value);
        assert_eq!(value("store").unwrap(), "1");
        assert!(value("ts").unwrap().starts_with(&TS.to_string()));
        assert_eq!(value("ts1"), value("ts"));
        assert_eq!(value("ts(1)"), value("ts(ts)"));
        let key = evaluate("key(0x6b31)", &timeline, 0).unwrap();
        assert_eq!((key.value.as_str(), key.children[1].value.as_str()), ("k1", "6B31"));
        assert_eq!(value("row(k1)").unwrap(), "0 writes");
        assert_eq!(value("Stage/stage").unwrap(), "mvcc_get");
        assert_eq!(value("Stage/ts").unwrap(), "ts1 (22:45:54.429 +1, start)");
    }

    #[test]
    fn an_unknown_expression_names_those_that_there_are() {
        let timeline = timeline();
        let error = |text: &str| evaluate(text, &timeline, 0).unwrap_err();
        assert!(error("commit_ts").contains("a field of this stage (ts)"));
        assert!(error("f(x)").contains("found `f(..)`"));
        assert!(error("ts(x)").contains("found `x`"));
        assert!(error("row(k2)").contains("the key of this request, k1"));
        assert!(error("key(0x6)").contains("even number"));
        assert!(error("").contains("found ``"));
        assert!(evaluate("ts", &timeline, 9).unwrap_err().contains("expected a step"));
    }

    #[test]
    fn completions_begin_with_the_word() {
        assert_eq!(completions("x > ro", None), ["row(", "rocksdb_perf"]);
    }
}
