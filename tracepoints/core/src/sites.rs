//! All stamps of this program: the stage, the line and the fields of each.
//!
//! The linker collects the addresses of the sites, so the list costs nothing while the program runs.
use std::{ops::RangeInclusive, path::Path};

use crate::{
    catalogue::{STAGES, Stage, StageId},
    field::{FROM, FROM_COUNT_PARTS, VOTERS},
    site::{FROM_COUNT, StampSite},
};

/// The linker's list. [`stamp!`](crate::stamp) adds to it.
#[doc(hidden)]
#[linkme::distributed_slice]
pub static SITES: [&'static StampSite];

/// Returns every site of this program, in no order.
pub fn all() -> &'static [&'static StampSite] {
    &SITES
}

/// Returns the names of a stage's fields, sorted; empty if this program does not stamp the stage.
pub fn fields_of(stage: StageId) -> Vec<&'static str> {
    let of_site = |site: &&'static StampSite| site.fields.iter().flat_map(|field| parts(field));
    let mut fields: Vec<&str> =
        all().iter().filter(|s| s.stage == stage).flat_map(of_site).copied().collect();
    fields.sort_unstable();
    fields.dedup();
    fields
}

/// The names under which [`Stamp::named_fields`](crate::Stamp::named_fields) shows a field.
fn parts(field: &'static &'static str) -> &'static [&'static str] {
    match *field {
        FROM_COUNT => FROM_COUNT_PARTS,
        "from" => FROM,
        "voters" => VOTERS,
        _ => std::slice::from_ref(field),
    }
}

/// Returns the sites of a file whose path ends with `file`, by line.
pub fn in_file(file: &str) -> Vec<&'static StampSite> {
    let mut found: Vec<&StampSite> =
        all().iter().copied().filter(|site| Path::new(site.file).ends_with(file)).collect();
    found.sort_by_key(|site| (site.file, site.line));
    found
}

/// Finds the stamp of a line: the one there, or the nearest one of the same function.
///
/// `source` is the text of the file. Without it, only the stamps show where functions are.
pub fn at_line(file: &str, line: u32, source: Option<&str>) -> Option<&'static StampSite> {
    let sites = in_file(file);
    let function = match source {
        Some(text) => function_around(text, line),
        None => lines_of_function(&sites, line),
    };
    let function = function.map(|(from, to)| from..=to);
    nearest(sites.into_iter().map(|site| (site.line, site)), line, function.as_ref())
}

/// Chooses the stamp of a line of code: the one there, or the nearest one in the lines of its function. `sites`: each
/// stamp with its line.
pub fn nearest<T>(
    sites: impl IntoIterator<Item = (u32, T)>,
    line: u32,
    function: Option<&RangeInclusive<u32>>,
) -> Option<T> {
    let inside = |(at, _): &(u32, T)| *at == line || function.is_some_and(|lines| lines.contains(at));
    // A stamp after the line comes first: a request that passes the line then reaches that stamp.
    let nearest = sites.into_iter().filter(inside).min_by_key(|(at, _)| (*at < line, at.abs_diff(line)));
    nearest.map(|(_, site)| site)
}

/// Returns the first and the last line of the function around a line, in a file that rustfmt has formatted: a
/// function ends at the first `}` in the column of its first line.
fn function_around(text: &str, line: u32) -> Option<(u32, u32)> {
    let lines: Vec<&str> = text.lines().collect();
    let indent = |l: &str| l.len() - l.trim_start().len();
    let at = (line.checked_sub(1)? as usize).min(lines.len().checked_sub(1)?);
    (0..=at).rev().filter(|i| is_function(lines[*i])).find_map(|first| {
        let end = (first + 1..lines.len())
            .find(|i| lines[*i].trim_start().starts_with('}') && indent(lines[*i]) == indent(lines[first]))?;
        (end >= at).then_some((first as u32 + 1, end as u32 + 1))
    })
}

fn is_function(line: &str) -> bool {
    let words = line.trim_start().split([' ', '(', '<']);
    words
        .take_while(|w| matches!(*w, "pub" | "crate)" | "super)" | "async" | "const" | "unsafe" | "fn"))
        .any(|w| w == "fn")
}

/// Returns the lines of the first and the last stamp of the function around a line. Guesses the function: it is that of
/// the last stamp before the line; without one, that of the first stamp after it.
fn lines_of_function(sites: &[&'static StampSite], line: u32) -> Option<(u32, u32)> {
    let before = sites.iter().rev().find(|s| s.line < line);
    let after = sites.iter().find(|s| s.line > line);
    let name = before.or(after)?.function();
    let lines = || sites.iter().filter(|s| s.function() == name).map(|s| s.line);
    Some((lines().min()?, lines().max()?))
}

/// Returns the stages of a function, given by the end of its path: ours or TiKV's, such as
/// `PointGetter::load_data`.
pub fn of_function(path: &str) -> Vec<StageId> {
    let own = all().iter().filter(|site| is_end(&site.function(), path)).map(|site| site.stage);
    outer(of_tikv_function(path).chain(own))
}

/// Returns the stages that stand for a function of TiKV, given by the end of its path.
pub fn of_tikv_function(path: &str) -> impl Iterator<Item = StageId> {
    let named = move |s: &&Stage| {
        is_end(s.tikv, path) || s.tikv_of.iter().any(|(_, function)| is_end(function, path))
    };
    STAGES.iter().filter(named).map(|s| s.id)
}

/// Whether the path of a function ends with `end`, at the boundary of a name.
pub fn is_end(path: &str, end: &str) -> bool {
    path.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with("::") || rest.ends_with(' '))
}

/// Sorts the stages of a function. Leaves out those inside of other ones, unless it has only these.
pub fn outer(stages: impl Iterator<Item = StageId>) -> Vec<StageId> {
    let mut found: Vec<StageId> = stages.collect();
    found.sort_unstable();
    found.dedup();
    let outer: Vec<StageId> = found.iter().copied().filter(|id| !id.stage().inside).collect();
    if outer.is_empty() { found } else { outer }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Req, stage};

    fn stamped(req: Req) -> u32 {
        crate::stamp!(WRITE_CF_FOUND, req, commit_ts = 7_u64, write_type = 80_u8);
        line!() - 1
    }

    #[test]
    fn stamps_of_the_program_are_found_by_stage_line_and_function() {
        let line = stamped(Req::NONE);
        let fields = fields_of(stage::WRITE_CF_FOUND);
        assert!(fields.contains(&"commit_ts") && fields.contains(&"write_type"), "{fields:?}");
        let at = |line, text| at_line("core/src/sites.rs", line, text).map(|s| (s.stage, s.line));
        assert_eq!(at(line, None), Some((stage::WRITE_CF_FOUND, line)));
        let own = include_str!("sites.rs");
        assert_eq!(at(line + 1, Some(own)), Some((stage::WRITE_CF_FOUND, line)), "the same function");
        assert_eq!(at(1, Some(own)), None, "no function");
        assert_eq!(of_function("sites::tests::stamped"), [stage::WRITE_CF_FOUND]);
        assert!(of_function("PointGetter::load_data").len() <= 2 && of_function("load").is_empty());
    }

    #[test]
    fn a_function_ends_at_the_bracket_in_its_column() {
        let text = "impl A {\n    pub(super) async fn a(&self) {\n        if b {\n            c();\n        }\n    }\n\n    fn d() {\n    }\n}\n";
        assert_eq!(function_around(text, 4), Some((2, 6)));
        assert_eq!(function_around(text, 8), Some((8, 9)));
        assert_eq!(function_around(text, 7), None);
        assert_eq!(function_around("", 3), None);
    }
}
