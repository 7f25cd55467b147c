//! Overlays of the screen: help, the palette, the input of a search, the flame.
use tracepoints::catalogue::STAGES;

use super::{cursor::Spot, flame::FlameView, search};
use crate::input::action::{Action, BINDINGS};

/// The open overlay.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Overlay {
    /// No overlay.
    #[default]
    None,
    /// The help.
    Help {
        /// Number of lines above the first shown one.
        scroll: usize,
    },
    /// The palette of actions.
    Palette {
        /// The typed filter.
        query: String,
        /// Index of the selected entry.
        selected: usize,
    },
    /// The input of a search in the pane with the focus.
    Search {
        /// The typed text.
        input: String,
    },
    /// The flame.
    Flame(FlameView),
    /// Places in the code to choose from.
    Places(Places),
    /// The comparison with another run.
    Compare {
        /// Index of the selected row.
        selected: usize,
    },
    /// The offer to save the steps before the program ends.
    Leave,
    /// The list of gates.
    Gates {
        /// Index of the selected gate.
        selected: usize,
        /// The typed text of a new gate, and why it is refused; None: nothing is typed.
        input: Option<Typing>,
    },
    /// The list of held requests.
    Held {
        /// Index of the selected request.
        selected: usize,
    },
    /// The input of an operation to step.
    Operation(Typing),
}

/// A line that is typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Typing {
    /// The text.
    pub text: String,
    /// Why the text was refused; None before Enter.
    pub problem: Option<String>,
}

/// Places in the code to choose from: definitions of a name, or callers of a function.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Places {
    /// The title of the list.
    pub title: String,
    /// The entries: a function, a note, and its line.
    pub entries: Vec<PlaceEntry>,
    /// Index of the selected entry.
    pub selected: usize,
}

/// A place in the code.
#[derive(Clone, Debug, PartialEq)]
pub struct PlaceEntry {
    /// The function or definition.
    pub name: String,
    /// The step on whose stack it is, or empty.
    pub note: String,
    /// File and line.
    pub spot: Spot,
}

/// The effect of an entry of the palette.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// Performs an action.
    Action(Action),
    /// Sets or removes a gate at this stage.
    Gate(&'static str),
    /// Runs to the next arrival at this stage.
    RunTo(&'static str),
    /// Shows a step, by its number from 0.
    Step(usize),
}

/// An entry of the palette.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The effect.
    pub choice: Choice,
    /// The text of the entry.
    pub title: String,
    /// The keys of the action; empty if it has none.
    pub keys: String,
}

/// Lists the entries that match the query, best first: all actions, a gate at any stage, any step.
pub fn entries(query: &str, stages_passed: &[&str], gates: &[&str]) -> Vec<Entry> {
    let mut all: Vec<Entry> = BINDINGS
        .iter()
        .filter(|b| b.action != Action::Palette)
        .map(|b| Entry { choice: Choice::Action(b.action), title: b.title.into(), keys: b.keys.join(" ") })
        .collect();
    for stage in STAGES.iter().filter(|s| s.hold != tracepoints::Hold::None) {
        let verb = if gates.contains(&stage.name) { "remove gate at" } else { "set gate at" };
        let title = format!("{verb} {}", stage.name);
        all.push(Entry { choice: Choice::Gate(stage.name), title, keys: String::new() });
        let title = format!("run to {}", stage.name);
        all.push(Entry { choice: Choice::RunTo(stage.name), title, keys: String::new() });
    }
    for (i, stage) in stages_passed.iter().enumerate() {
        let title = format!("go to step {} {stage}", i + 1);
        all.push(Entry { choice: Choice::Step(i), title, keys: String::new() });
    }
    if query.is_empty() {
        return all;
    }
    let mut found: Vec<_> =
        all.into_iter().filter_map(|e| search::fuzzy(&e.title, query).map(|s| (s, e))).collect();
    found.sort_by_key(|(score, _)| *score);
    found.into_iter().map(|(_, e)| e).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_palette_has_every_action_and_finds_by_letters() {
        let all = entries("", &["grpc_receive"], &[]);
        for b in BINDINGS.iter().filter(|b| b.action != Action::Palette) {
            assert!(all.iter().any(|e| e.choice == Choice::Action(b.action)), "{}", b.title);
        }
        assert_eq!(entries("quit", &[], &[])[0].choice, Choice::Action(Action::Quit));
        assert_eq!(entries("gate at lock_cf", &[], &[])[0].choice, Choice::Gate("lock_cf_get"));
        assert_eq!(entries("remove gate at", &[], &["lock_cf_get"])[0].title, "remove gate at lock_cf_get");
        assert_eq!(entries("step 1", &["grpc_receive"], &[])[0].choice, Choice::Step(0));
    }
}
