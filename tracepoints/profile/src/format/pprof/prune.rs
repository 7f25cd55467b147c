//! Leaves out the frames that a profile asks to drop: functions that match its `drop_frames`, but not its
//! `keep_frames`, and all that they call. The same as in `go tool pprof`.
use regex::Regex;

/// The functions to leave out.
pub struct Pruning {
    drop: Regex,
    keep: Option<Regex>,
}

/// The part of a location to leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pruned {
    /// The location, and all that it calls.
    Whole,
    /// The inlined functions from this place on, and all that they call.
    From(usize),
}

impl Pruning {
    /// Compiles the expressions; `None` if the profile drops nothing.
    ///
    /// # Errors
    /// If one of the texts is not a regular expression.
    pub fn new(drop: &str, keep: &str) -> Result<Option<Self>, regex::Error> {
        if drop.is_empty() {
            return Ok(None);
        }
        let whole = |text: &str| Regex::new(&format!("^(?:{text})$"));
        let keep = if keep.is_empty() { None } else { Some(whole(keep)?) };
        Ok(Some(Self { drop: whole(drop)?, keep }))
    }

    /// Returns the part of a location to leave out; `names` are its functions, outermost first.
    pub fn of_location<'a>(&self, names: impl Iterator<Item = &'a str>) -> Option<Pruned> {
        match names.enumerate().find(|(_, name)| self.drops(without_arguments(name)))? {
            (0, _) => Some(Pruned::Whole),
            (place, _) => Some(Pruned::From(place)),
        }
    }

    fn drops(&self, name: &str) -> bool {
        self.drop.is_match(name) && self.keep.as_ref().is_none_or(|keep| !keep.is_match(name))
    }
}

/// Returns a name without a function's arguments: expressions are written for the short names.
fn without_arguments(name: &str) -> &str {
    const PARTS: [&str; 2] = ["(anonymous namespace)", "operator()"];
    let in_name = |at: usize| {
        PARTS.iter().any(|part| {
            let open = part.find('(').unwrap_or(0);
            at.checked_sub(open)
                .and_then(|start| name.get(start..))
                .is_some_and(|name| name.starts_with(part))
        })
    };
    let end = name.match_indices('(').map(|(at, _)| at).find(|at| !in_name(*at));
    end.map_or(name, |end| &name[..end])
}

/// Returns the locations to keep of a stack that begins with the innermost one. The outermost frames are
/// always kept, so that a stack is not empty.
pub fn kept(stack: &[u64], pruned: impl Fn(u64) -> Option<Pruned>) -> &[u64] {
    let mut found_other = false;
    for (i, id) in stack.iter().enumerate().rev() {
        match pruned(*id) {
            None => found_other = true,
            Some(_) if !found_other => {}
            Some(Pruned::Whole) => return &stack[i + 1..],
            Some(Pruned::From(_)) => return &stack[i..],
        }
    }
    stack
}
