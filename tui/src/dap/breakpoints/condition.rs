//! Conditions of breakpoints: comparisons of fields with numbers, timestamps and words, joined by `and` and `or`.
use tracepoints::{field::named as word_of, trace::Step};

use crate::state::timestamps::Timestamps;

/// A condition: one of its groups must hold; of a group, all comparisons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition(Vec<Vec<Comparison>>);

/// `field operator value`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Comparison {
    left: String,
    operator: &'static str,
    right: String,
}

/// The operators; those of two characters come first.
const OPERATORS: [&str; 6] = ["==", "!=", "<=", ">=", "<", ">"];

impl Condition {
    /// Parses a text such as `commit_ts > ts1 and store == 2`.
    ///
    /// # Errors
    /// A sentence with the part that is no comparison.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.replace("&&", " and ").replace("||", " or ");
        let group = |part: &str| part.split(" and ").map(comparison).collect();
        text.split(" or ").map(group).collect::<Result<_, _>>().map(Self)
    }

    /// Whether it holds at the step of this number. A comparison with an absent value is false.
    pub fn holds(&self, steps: &[Step], at: usize) -> bool {
        self.0.iter().any(|group| group.iter().all(|comparison| comparison.holds(steps, at)))
    }
}

fn comparison(part: &str) -> Result<Comparison, String> {
    let bad = || {
        format!(
            "expected a comparison such as `commit_ts > ts1`, found `{}`: join several by `and` or `or`",
            part.trim()
        )
    };
    let found = OPERATORS.iter().find_map(|op| part.split_once(op).map(|(left, right)| (left, *op, right)));
    let (left, operator, right) = found.ok_or_else(bad)?;
    let (left, right) = (left.trim(), right.trim().trim_matches('"'));
    let is_word =
        |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || "=<>!".contains(c));
    if !is_word(left) || !is_word(right) {
        return Err(bad());
    }
    Ok(Comparison { left: left.to_owned(), operator, right: right.to_owned() })
}

impl Comparison {
    fn holds(&self, steps: &[Step], at: usize) -> bool {
        let step = &steps[at];
        if let (Some(left), Some(right)) = (number(&self.left, steps, at), number(&self.right, steps, at)) {
            return self.accepts(left.cmp(&right));
        }
        let Some(left) = word(&self.left, step) else { return false };
        self.accepts(left.as_str().cmp(self.right.as_str()))
    }

    fn accepts(&self, order: std::cmp::Ordering) -> bool {
        match self.operator {
            "==" => order.is_eq(),
            "!=" => order.is_ne(),
            "<" => order.is_lt(),
            "<=" => order.is_le(),
            ">" => order.is_gt(),
            _ => order.is_ge(),
        }
    }
}

fn number(text: &str, steps: &[Step], at: usize) -> Option<u64> {
    let step = &steps[at];
    let own = match text {
        "store" => Some(step.store),
        "request" => Some(step.request),
        _ => step.fields.get(text).copied(),
    };
    own.or_else(|| text.parse().ok()).or_else(|| Timestamps::of_steps(&steps[..=at]).find(text))
}

/// The word of a field such as `write_type`, or a text of the step.
fn word(name: &str, step: &Step) -> Option<String> {
    match name {
        "kind" => Some(step.kind.clone()),
        "thread" => Some(step.thread.clone()),
        "key" => Some(step.state.mvcc.as_ref()?.key.clone()),
        _ => word_of(name, *step.fields.get(name)?).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Timestamps of PD.
    const T1: u64 = 470_607_130_216_890_369;
    const T2: u64 = T1 + 1;

    fn holds(text: &str) -> bool {
        let fields = [("commit_ts".to_owned(), T2), ("ts".to_owned(), T1), ("write_type".to_owned(), 80)];
        let first = Step { fields: [("ts".to_owned(), T1)].into(), ..Step::default() };
        let step = Step { store: 2, kind: "kv_get".into(), fields: fields.into(), ..Step::default() };
        Condition::parse(text).unwrap().holds(&[first, step], 1)
    }

    #[test]
    fn fields_compare_with_numbers_timestamps_and_words() {
        for text in [
            "commit_ts > ts1",
            "commit_ts == ts2",
            &format!("store == 2 and ts <= {T1}"),
            "store == 3 or kind == kv_get",
        ] {
            assert!(holds(text), "{text}");
        }
        assert!(
            holds("write_type == Put")
                && holds("kind != \"kv_commit\"")
                && holds(&format!("commit_ts>={T2}&&store<3"))
        );
        let later = format!("store == 2 and ts > {T1}");
        for text in ["commit_ts < ts1", "absent == 1", &later, "kind == kv_put", "ts3 == 1"] {
            assert!(!holds(text), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_comparison_is_refused() {
        for bad in ["commit_ts", "== 2", "a = 1", "a == ", "a == b c", "a == 1 and", ""] {
            assert!(Condition::parse(bad).unwrap_err().contains("expected a comparison"), "{bad}");
        }
    }
}
