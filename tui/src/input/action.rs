//! All actions of the program with their keys and titles, which the keyboard, the help and the palette use.
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// An action of the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Shows the next step, or releases the request to its next stage.
    Next,
    /// Like [`Action::Next`], but also inside of a stage.
    Into,
    /// Shows the previous step.
    Back,
    /// Continues to the next gate.
    ToGate,
    /// Runs to the end.
    Run,
    /// Sets or removes a gate at this stage.
    Gate,
    /// Shows the first step.
    First,
    /// Shows the end of the operation, then the newest step.
    Last,
    /// Shows the held step, or the list of held requests if there are several.
    Held,
    /// Opens the list of gates.
    Gates,
    /// Runs the operation again, up to the step at the cursor.
    RunToStep,
    /// Asks for an operation, and steps it.
    Operation,
    /// Runs the operation or the scenario again.
    Restart,
    /// Runs the scenario's next directive or operation.
    NextOperation,
    /// Opens the source of the selected step, frame or name.
    Open,
    /// Goes to the definition of the name at the cursor.
    Definition,
    /// Lists the callers of the function at the cursor.
    Callers,
    /// Goes back to the place before the last jump.
    Return,
    /// Shows each frame of the stack, or folds runtimes and closures.
    Unfold,
    /// Switches between our code and TiKV's function.
    Tikv,
    /// Opens the source line in an editor.
    Editor,
    /// Copies the text of the pane.
    Copy,
    /// Opens the comparison with another run.
    Compare,
    /// Opens or closes the flame.
    Flame,
    /// Writes the flame into files.
    SaveFlame,
    /// Writes the steps into a file.
    SaveTrace,
    /// Moves the focus to the next pane.
    NextPane,
    /// Moves the focus to the previous pane.
    PreviousPane,
    /// Moves the focus to a pane, by its index.
    Pane(usize),
    /// Shows only the pane with the focus, or all panes.
    Zoom,
    /// Moves down in the pane.
    Down,
    /// Moves up in the pane.
    Up,
    /// Moves the pane to the left.
    Left,
    /// Moves the pane to the right.
    Right,
    /// Moves down by half a page.
    PageDown,
    /// Moves up by half a page.
    PageUp,
    /// Opens the input of a search.
    Search,
    /// Goes to the next match.
    NextMatch,
    /// Goes to the previous match.
    PreviousMatch,
    /// Opens the palette.
    Palette,
    /// Opens or closes the help.
    Help,
    /// Closes the innermost overlay, zoom, search or frame.
    Cancel,
    /// Suspends the program's job.
    Suspend,
    /// Closes the innermost overlay; ends the program if there is none.
    Quit,
}

/// The section of the help that lists an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Steps and gates.
    Step,
    /// Other views of a step.
    Look,
    /// Panes and searches.
    Move,
    /// The program itself.
    Program,
}

/// An action with its keys and its title.
pub struct Binding {
    /// The action.
    pub action: Action,
    /// The keys as the help shows them, in the form of [`key_name`].
    pub keys: &'static [&'static str],
    /// The text in help and palette.
    pub title: &'static str,
    /// The section of the help.
    pub group: Group,
}

const fn bind(action: Action, keys: &'static [&'static str], title: &'static str, group: Group) -> Binding {
    Binding { action, keys, title, group }
}

/// All actions in the order of the help.
pub const BINDINGS: &[Binding] = &[
    bind(
        Action::Next,
        &["n", "→"],
        "step forward; at the newest step: release the held request",
        Group::Step,
    ),
    bind(Action::Into, &[">"], "step into the stage: its parts, one by one", Group::Step),
    bind(Action::Back, &["p", "←"], "step back; state is shown as it was", Group::Step),
    bind(Action::ToGate, &["c"], "continue to the next gate", Group::Step),
    bind(Action::Run, &["r"], "run to the end", Group::Step),
    bind(Action::Gate, &["b"], "set or remove a gate at this stage", Group::Step),
    bind(Action::Gates, &["B"], "gates: conditions, hit counts, on and off", Group::Step),
    bind(Action::First, &["0", "Home"], "first step", Group::Step),
    bind(Action::Last, &["$", "End"], "newest step", Group::Step),
    bind(Action::Held, &["H"], "to the held step; if several: choose which one continues", Group::Step),
    bind(Action::RunToStep, &["U"], "run again, up to this step", Group::Step),
    bind(Action::Operation, &["e"], "step an operation of your own, such as get k1", Group::Step),
    bind(Action::Restart, &["R"], "run the operation or the scenario again", Group::Step),
    bind(Action::NextOperation, &["N"], "run the next directive, operation or request", Group::Step),
    bind(
        Action::Open,
        &["Enter"],
        "open the selected frame or name; in the logical stack: to its step",
        Group::Look,
    ),
    bind(Action::Definition, &["g"], "go to the definition of the name at the cursor", Group::Look),
    bind(Action::Callers, &["G"], "callers of this function, on this path and in all sources", Group::Look),
    bind(Action::Return, &["Ctrl-o"], "back to the place before the last jump", Group::Look),
    bind(Action::Unfold, &["u"], "unfold the frames of runtimes and closures, or fold them", Group::Look),
    bind(Action::Tikv, &["t"], "TiKV's function for this stage, or our code", Group::Look),
    bind(Action::Flame, &["f"], "wall-clock flame of this operation", Group::Look),
    bind(
        Action::Compare,
        &["d"],
        "differences: this run beside the one before or the one to compare",
        Group::Look,
    ),
    bind(Action::Editor, &["o"], "open the source in $EDITOR at the line", Group::Look),
    bind(Action::Copy, &["y"], "copy this pane's line: step, file:line, frame or row", Group::Look),
    bind(Action::SaveFlame, &[], "save the flame as folded stacks, SVG and a page", Group::Look),
    bind(Action::SaveTrace, &[], "save the steps as JSON lines", Group::Look),
    bind(Action::NextPane, &["Tab"], "next pane", Group::Move),
    bind(Action::PreviousPane, &["Shift-Tab"], "previous pane", Group::Move),
    bind(Action::Pane(0), &["1"], "pane: path", Group::Move),
    bind(Action::Pane(1), &["2"], "pane: source", Group::Move),
    bind(Action::Pane(2), &["3"], "pane: stack", Group::Move),
    bind(Action::Pane(3), &["4"], "pane: state", Group::Move),
    bind(Action::Pane(4), &["5"], "pane: log", Group::Move),
    bind(Action::Zoom, &["z"], "zoom this pane, or back", Group::Move),
    bind(Action::Down, &["j", "↓"], "down: next row, frame or line", Group::Move),
    bind(Action::Up, &["k", "↑"], "up", Group::Move),
    bind(Action::Left, &["h"], "scroll left", Group::Move),
    bind(Action::Right, &["l"], "scroll right", Group::Move),
    bind(Action::PageDown, &["Ctrl-d", "PageDown"], "half a page down", Group::Move),
    bind(Action::PageUp, &["Ctrl-u", "PageUp"], "half a page up", Group::Move),
    bind(Action::Search, &["/"], "search in this pane", Group::Move),
    bind(Action::NextMatch, &["]"], "next match", Group::Move),
    bind(Action::PreviousMatch, &["["], "previous match", Group::Move),
    bind(Action::Palette, &[":"], "palette: every action by name", Group::Program),
    bind(Action::Help, &["?"], "help for this pane", Group::Program),
    bind(Action::Cancel, &["Esc"], "back: close what is open, end search and zoom", Group::Program),
    bind(Action::Suspend, &["Ctrl-z"], "suspend the program; the shell's fg continues it", Group::Program),
    bind(Action::Quit, &["q", "Ctrl-c"], "back, or quit", Group::Program),
];

/// Finds the binding of an action.
pub fn binding(action: Action) -> Option<&'static Binding> {
    BINDINGS.iter().find(|b| b.action == action)
}

/// The name of a key in bindings: `n`, `Ctrl-d`, `→`, `Shift-Tab`.
pub fn key_name(key: KeyEvent) -> String {
    let name = match key.code {
        KeyCode::Char(c) => c.to_string(),
        KeyCode::Right => "→".into(),
        KeyCode::Left => "←".into(),
        KeyCode::Up => "↑".into(),
        KeyCode::Down => "↓".into(),
        KeyCode::BackTab => return "Shift-Tab".into(),
        KeyCode::Tab if key.modifiers.contains(KeyModifiers::SHIFT) => return "Shift-Tab".into(),
        other => format!("{other:?}"),
    };
    if key.modifiers.contains(KeyModifiers::CONTROL) { format!("Ctrl-{name}") } else { name }
}

/// The meaning of a key: an action, the first key of a pair, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressed {
    /// The action of the key, or of the pair.
    Action(Action),
    /// The first of two keys.
    Prefix(char),
    /// No action has this key.
    Nothing,
}

/// Finds the meaning of a key; `prefix` is the first key of a pair, if one was pressed before.
pub fn press(prefix: Option<char>, key: KeyEvent) -> Pressed {
    let name = key_name(key);
    let whole = prefix.map_or(name.clone(), |p| format!("{p}{name}"));
    if let Some(b) = BINDINGS.iter().find(|b| b.keys.contains(&whole.as_str())) {
        return Pressed::Action(b.action);
    }
    let first = name.chars().next().filter(|_| prefix.is_none() && name.chars().count() == 1);
    match first.filter(|c| BINDINGS.iter().flat_map(|b| b.keys).any(|k| k.len() == 2 && k.starts_with(*c))) {
        Some(c) => Pressed::Prefix(c),
        None => Pressed::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(c: char) -> KeyEvent {
        KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)
    }

    #[test]
    fn no_key_has_two_actions() {
        let mut keys: Vec<_> = BINDINGS.iter().flat_map(|b| b.keys).collect();
        let all = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), all);
    }

    #[test]
    fn keys_and_pairs_find_their_action() {
        assert_eq!(press(None, key('n')), Pressed::Action(Action::Next));
        assert_eq!(press(None, key('g')), Pressed::Action(Action::Definition));
        assert_eq!(press(None, key('0')), Pressed::Action(Action::First));
        assert_eq!(press(Some('x'), key('g')), Pressed::Nothing);
        assert_eq!(
            press(None, KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)),
            Pressed::Action(Action::Quit)
        );
        assert_eq!(
            press(None, KeyEvent::new(KeyCode::BackTab, KeyModifiers::SHIFT)),
            Pressed::Action(Action::PreviousPane)
        );
        assert_eq!(press(None, key('Z')), Pressed::Nothing);
    }
}
