//! Formats the legend of the flame's colours.
use ratatui::{
    style::Modifier,
    text::{Line, Span},
};
use tracepoints::Class;

use super::{text, theme::Theme};
use crate::state::flame::Colours;

/// Layers that share a colour.
const LAYERS: [&str; 6] =
    ["client, pd", "grpc", "storage, scheduler", "mvcc", "raftkv, raftstore", "apply, rocksdb"];

/// Formats the legend in lines of at most `width` columns.
pub fn lines(colours: Colours, theme: Theme, width: usize) -> Vec<Line<'static>> {
    let block = |style: ratatui::style::Style| Span::styled("  ", style.add_modifier(Modifier::REVERSED));
    let entries: Vec<(Span<'static>, String)> = match colours {
        Colours::Layer => LAYERS
            .iter()
            .map(|names| {
                let layer = names.split(',').next().unwrap_or_default();
                (block(theme.layer(layer)), (*names).to_owned())
            })
            .collect(),
        Colours::Class => {
            // Classes of one colour share an entry.
            let mut out: Vec<(Span<'static>, String)> = Vec::new();
            for class in Class::ALL {
                let sign = block(theme.class(Some(class)));
                match out.iter_mut().find(|(known, _)| known.style == sign.style) {
                    Some((_, names)) => names.push_str(&format!(", {}", class.name())),
                    None => out.push((sign, class.name().to_owned())),
                }
            }
            out
        }
        Colours::Diff => vec![
            (Span::styled("▲", theme.grew()), "more time than before".into()),
            (Span::styled("▼", theme.shrank()), "less time than before".into()),
        ],
    };
    let title = match colours {
        Colours::Layer => " Colours: layer of the code",
        Colours::Class => " Colours: class of the time",
        Colours::Diff => " Colours: compared with the operation before",
    };
    let mut out = vec![vec![Span::styled(title, theme.strong())]];
    for (sign, names) in entries {
        let columns = sign.width() + text::width(&names) + 3;
        let used: usize = out.last().map_or(0, |line| line.iter().map(Span::width).sum());
        if used + columns > width {
            out.push(vec![Span::raw(" ")]);
        }
        if let Some(line) = out.last_mut() {
            line.extend([Span::raw("  "), sign, Span::raw(format!(" {names}"))]);
        }
    }
    out.into_iter().map(Line::from).collect()
}
