//! Draws a list of places in the code: definitions or callers.
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::{help::popup, panel::centre, text, theme::Theme};
use crate::state::overlay::Places;

/// Draws the list with its selected entry.
pub fn draw(frame: &mut Frame<'_>, area: Rect, theme: Theme, places: &Places) {
    let height = (places.entries.len() as u16 + 2).min(area.height);
    let inner = popup(frame, area, area.width.min(110), height, &places.title, theme);
    let (width, height) = (usize::from(inner.width), usize::from(inner.height));
    let offset = centre(places.selected, height, places.entries.len());
    let notes = places.entries.iter().map(|e| text::width(&e.note)).max().unwrap_or(0);
    let names = places.entries.iter().map(|e| text::width(&e.name)).max().unwrap_or(0).min(width / 2);
    let mut lines = Vec::new();
    for (i, entry) in places.entries.iter().enumerate().skip(offset).take(height) {
        let (sign, style) =
            if i == places.selected { ("▶", theme.current()) } else { (" ", theme.plain()) };
        let place = format!("{}:{}", entry.spot.file, entry.spot.line);
        lines.push(Line::from(vec![
            Span::styled(format!(" {sign} "), theme.here()),
            Span::styled(text::pad(&entry.name, names), style),
            Span::styled(format!("  {}", text::pad(&entry.note, notes)), theme.key()),
            Span::styled(
                format!("  {}", text::fit_end(&place, width.saturating_sub(names + notes + 8))),
                theme.dim(),
            ),
        ]));
    }
    frame.render_widget(text::paragraph(lines), inner);
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;
    use crate::state::{cursor::Spot, overlay::PlaceEntry};

    #[test]
    fn the_list_of_places_at_four_widths() {
        let entry = |name: &str, note: &str, file: &str, line| {
            let spot = Spot { file: file.into(), line };
            PlaceEntry { name: name.into(), note: note.into(), spot }
        };
        let entries = vec![
            entry("PointGetter::get_entry", "step 12", "engine/storage/src/mvcc/reader/point_getter.rs", 214),
            entry("SnapshotStore::get", "may call it", "engine/storage/src/store.rs", 98),
            entry("Storage::raw_batch_get_command_of_several_keys", "", "engine/storage/src/raw/batch.rs", 7),
        ];
        let places = Places { title: "Callers of PointGetter::load_data".into(), entries, selected: 1 };
        for width in [60, 80, 120, 160] {
            let mut terminal = Terminal::new(TestBackend::new(width, 7)).unwrap();
            let size = Rect { x: 0, y: 0, width, height: 7 };
            terminal.draw(|frame| draw(frame, size, Theme::new(true), &places)).unwrap();
            let (name, text) = (format!("places_{width}"), terminal.backend().to_string());
            for row in ["▶ SnapshotStore::get", "step 12", "rs:98"] {
                assert!(text.contains(row), "{row}: {text}");
            }
            insta::assert_snapshot!(name.as_str(), text.as_str());
        }
    }
}
