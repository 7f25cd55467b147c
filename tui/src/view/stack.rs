//! Draws the stack pane: the frames, innermost first.
use ratatui::text::{Line, Span};
use tracepoints::symbolize::Frame;

use super::{
    panel::{Content, centre},
    text,
    theme::Theme,
};
use crate::state::Screen;

/// Formats the frames of the step.
pub fn content(screen: &Screen, theme: Theme, width: usize, height: usize) -> Content {
    let frames = screen.step().map(|s| s.stack.as_slice()).unwrap_or_default();
    if frames.is_empty() {
        let why = "no stack was captured at this step";
        return Content { fixed: vec![Line::styled(format!(" {why}"), theme.dim())], ..Content::default() };
    }
    let at = screen.panes().frame().unwrap_or(0);
    let lines: Vec<_> = frames
        .iter()
        .enumerate()
        .map(|(i, f)| line(f, i, screen.panes().frame() == Some(i), width, theme))
        .collect();
    let offset = centre(at, height, lines.len());
    Content { title: format!("{} frames", frames.len()), lines, offset, ..Content::default() }
}

/// Formats a frame: function and path if there is room, otherwise type and function, and the file's name.
fn line(frame: &Frame, i: usize, selected: bool, width: usize, theme: Theme) -> Line<'static> {
    let wide = width >= 76;
    let mark = match (frame.inlined, wide) {
        (true, true) => " inlined ",
        (true, false) => "i ",
        (false, true) => "         ",
        (false, false) => "  ",
    };
    let place = place(frame, wide);
    let room = width.saturating_sub(3 + mark.len());
    let name = short(&frame.function);
    let name = if wide { name.as_str() } else { tail(&name) };
    // In a narrow pane the function's name gets the room first.
    let name_width = if wide { room / 2 } else { text::width(name).min(room.saturating_sub(9)) };
    let place_width = room.saturating_sub(name_width + 1);
    let place = text::fit_end(&place, place_width);
    let place = if wide { place } else { text::pad_left(&place, place_width) };
    let style = match (selected, is_ours(&frame.file)) {
        (true, _) => theme.current(),
        (false, true) => theme.plain(),
        (false, false) => theme.dim(),
    };
    Line::from(vec![
        Span::styled(if selected { "▶" } else { " " }, theme.here()),
        Span::styled(format!("{i:>2}{mark}"), theme.dim()),
        Span::styled(text::pad(&text::fit_end(name, name_width), name_width), style),
        Span::styled(format!(" {place}"), theme.dim()),
    ])
}

fn place(frame: &Frame, wide: bool) -> String {
    if frame.file.is_empty() {
        return String::new();
    }
    let path = match crate::state::code::packed(&frame.file) {
        Some((name, _)) => name,
        None => frame.file.rsplit_once("/registry/src/").map_or(frame.file.as_str(), |(_, rest)| rest),
    };
    let path = if wide { path } else { path.rsplit('/').next().unwrap_or(path) };
    format!("{path}:{}", frame.line)
}

/// Shortens a function's path to `Type::function`.
fn tail(function: &str) -> &str {
    let closures = function.trim_end_matches("::{closure}");
    let end = closures.rfind("::").and_then(|i| closures[..i].rfind("::")).map_or(0, |i| i + 2);
    &function[end..]
}

fn is_ours(file: &str) -> bool {
    crate::state::code::packed(file).is_some()
}

/// Removes generic arguments from a function's name, and the double braces of closures.
fn short(function: &str) -> String {
    let (mut out, mut depth) = (String::new(), 0usize);
    for c in function.replace("{{closure}}", "{closure}").chars() {
        match c {
            '<' => depth += 1,
            '>' if depth > 0 => depth -= 1,
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    let out = out.replace("::::", "::");
    if out.trim_matches(':').is_empty() {
        function.to_owned()
    } else {
        out.trim_start_matches("::").to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_lose_generics_but_keep_their_name() {
        assert_eq!(short("storage::PointGetter<S>::get"), "storage::PointGetter::get");
        assert_eq!(short("core::ops::function::FnOnce::call_once"), "core::ops::function::FnOnce::call_once");
        assert_eq!(short("<alloc::boxed::Box<F> as FnOnce<A>>::call_once"), "call_once");
        assert_eq!(short("a::b::{{closure}}"), "a::b::{closure}");
        assert_eq!(tail("a::B::c::{closure}::{closure}"), "B::c::{closure}::{closure}");
        assert_eq!((tail("c"), tail("b::c"), tail("a::b::c")), ("c", "b::c", "b::c"));
    }
}
