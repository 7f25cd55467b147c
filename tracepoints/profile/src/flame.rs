//! Draws folded stacks as an SVG with its own zoom and search in a browser.
use std::borrow::Cow;

use inferno::flamegraph::{
    self, Direction, Options, TextTruncateDirection,
    color::{BackgroundColor, BasicPalette, Color, MultiPalette, Palette},
};

use crate::{
    Folded, ProfileError,
    folded::{self, show_in_xml},
    xml::escape,
};

mod layers;
mod prune;

/// Unit of the widths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Measure {
    /// Samples of the CPU: warm colours by function.
    #[default]
    Samples,
    /// Wall-clock ns of requests: colours by the layers of stages.
    Nanoseconds,
    /// Memory in use: cool colours by function.
    Bytes,
    /// CPU time in ns, shown in ms: warm colours by function.
    CpuTime,
}

/// The look of a picture.
#[derive(Clone, Debug, Default)]
pub struct FlameOptions {
    /// Unit of the widths.
    pub measure: Measure,
    /// Text below the title, e.g. how the profile was taken.
    pub subtitle: Option<String>,
    /// In pixels; `None`: as wide as the window.
    pub width: Option<usize>,
    /// Draws the root on top (icicles).
    pub inverted: bool,
    /// Keeps the lines in time order, from left to right.
    pub in_time: bool,
    /// Number of decimal digits in each count ([`Folded::decimals`]).
    pub decimals: u32,
}

/// Draws folded lines; without any, a small picture with a note.
///
/// # Errors
/// [`ProfileError::Draw`] if a line has no count.
pub fn svg<S: AsRef<str>>(
    lines: impl IntoIterator<Item = S>,
    title: &str,
    options: &FlameOptions,
) -> Result<String, ProfileError> {
    let lines: Vec<S> = lines.into_iter().collect();
    if lines.iter().all(|l| l.as_ref().trim().is_empty()) {
        return Ok(empty(title, options));
    }
    Ok(show_in_xml(&raw_svg(lines, title, options, true)?).into_owned())
}

/// Draws without restoring hidden characters of names; colours by layer if `by_layer`.
pub(crate) fn raw_svg<S: AsRef<str>>(
    lines: impl IntoIterator<Item = S>,
    title: &str,
    options: &FlameOptions,
    by_layer: bool,
) -> Result<String, ProfileError> {
    let lines: Vec<S> = lines.into_iter().collect();
    let mut lines: Vec<Cow<'_, str>> =
        lines.iter().map(|l| no_comment(l.as_ref().trim())).filter(|l| !l.is_empty()).collect();
    bound(&mut lines);
    if options.in_time {
        // inferno draws lines from the right.
        lines.reverse();
    }
    let (mut palette, layers) = match options.measure {
        Measure::Nanoseconds if by_layer => layers::palette(lines.iter().map(|l| &**l)),
        _ => Default::default(),
    };
    let mut settings = to_inferno(title, options);
    if !layers.is_empty() {
        settings.palette_map = Some(&mut palette);
    }
    let mut out = Vec::new();
    flamegraph::from_lines(&mut settings, lines.iter().map(|l| &**l), &mut out)
        .map_err(ProfileError::Draw)?;
    let svg = in_units(&String::from_utf8_lossy(&out), options);
    Ok(if layers.is_empty() { svg } else { layers::with_legend(&svg, &layers) })
}

/// Reduces counts that overflow in inferno: it adds up all last counts, and computes a colour from the difference of
/// the two counts of a line.
fn bound(lines: &mut [Cow<'_, str>]) {
    let mut room = u64::MAX;
    for line in lines {
        if let Some(smaller) = bounded(line, &mut room) {
            *line = Cow::Owned(smaller);
        }
    }
}

/// Maximum count in a line with two: inferno multiplies the difference by 150.
const MAX_COMPARED: u64 = i64::MAX as u64 / 150;

/// Returns the line with smaller counts, if it needs them, and takes its last count from `room`.
fn bounded(line: &str, room: &mut u64) -> Option<String> {
    let (rest, count) = split_count(line)?;
    let before = split_count(rest);
    let most = if before.is_some() { MAX_COMPARED } else { u64::MAX };
    let kept = count.min(most).min(*room);
    *room -= kept;
    match before {
        Some((stack, old)) if kept < count || old > most => Some(format!("{stack} {} {kept}", old.min(most))),
        None if kept < count => Some(format!("{rest} {kept}")),
        _ => None,
    }
}

/// Splits off the last count of a line, without its fraction.
fn split_count(line: &str) -> Option<(&str, u64)> {
    let (rest, count) = line.trim_end().rsplit_once(' ')?;
    let whole = count.split_once('.').map_or(count, |(whole, _)| whole);
    Some((rest, whole.parse().ok()?))
}

/// Protects a line that begins with `# `, which inferno would read as a comment.
fn no_comment(line: &str) -> Cow<'_, str> {
    match line.strip_prefix('#') {
        Some(rest) => Cow::Owned(format!("{}{rest}", folded::HIDDEN_HASH)),
        None => Cow::Borrowed(line),
    }
}

/// Formats the counts in the frames' titles: CPU time in ms, fractions with a decimal point.
fn in_units(svg: &str, options: &FlameOptions) -> String {
    let time = options.measure == Measure::CpuTime;
    if !time && options.decimals == 0 {
        return svg.to_owned();
    }
    let (unit, scale) = if time { (" ns, ", 1e6) } else { (" samples, ", 1.0) };
    let scale = scale * 10f64.powi(options.decimals as i32);
    let mut parts = svg.split("</title>");
    let mut out = parts.next().map_or_else(String::new, |part| one_title(part, unit, scale, time));
    for part in parts {
        out.push_str("</title>");
        out.push_str(&one_title(part, unit, scale, time));
    }
    out
}

/// Formats `... (10,101,010 ns, 12.50%)` at the end of a text.
fn one_title(text: &str, unit: &str, scale: f64, time: bool) -> String {
    let parts = || {
        let (name, rest) = text.rsplit_once(" (")?;
        let (count, share) = rest.split_once(unit)?;
        let value = count.replace(',', "").parse::<f64>().ok()? / scale;
        let value = if time { format!("{value:.3} ms, ") } else { format!("{value}{unit}") };
        Some(format!("{name} ({value}{share}"))
    };
    parts().unwrap_or_else(|| text.to_owned())
}

/// Draws the valid but empty profile of an idle process.
fn empty(title: &str, options: &FlameOptions) -> String {
    let width = options.width.unwrap_or(600);
    let lines = [
        title,
        options.subtitle.as_deref().unwrap_or_default(),
        "no samples: profile for longer, or under load",
    ];
    let mut svg = format!(
        "<?xml version=\"1.0\" standalone=\"no\"?>\n<svg version=\"1.1\" width=\"{width}\" height=\"80\" viewBox=\"0 0 {width} 80\" \
         xmlns=\"http://www.w3.org/2000/svg\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for (i, line) in lines.iter().enumerate() {
        let (y, line) = (24 + 22 * i, escape(line));
        svg.push_str(&format!(
            "<text x=\"10\" y=\"{y}\" font-family=\"sans-serif\" font-size=\"12\">{line}</text>\n"
        ));
    }
    svg + "</svg>\n"
}

/// Draws folded stacks. Removes invisibly narrow frames first, so use this function for many stacks.
///
/// # Errors
/// As [`svg`].
pub fn svg_of(folded: &Folded, title: &str, options: &FlameOptions) -> Result<String, ProfileError> {
    svg(prune::visible(folded), title, &FlameOptions { decimals: folded.decimals(), ..options.clone() })
}

pub(crate) fn to_inferno<'a>(title: &str, options: &FlameOptions) -> Options<'a> {
    let mut out = Options::default();
    title.clone_into(&mut out.title);
    out.subtitle.clone_from(&options.subtitle);
    out.image_width = options.width;
    out.bgcolors = Some(BackgroundColor::Flat(Color { r: 255, g: 255, b: 255 }));
    // Keeps a function's colour equal in all pictures.
    out.deterministic = true;
    out.text_truncate_direction = TextTruncateDirection::Right;
    out.font_type = "ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace".into();
    out.flame_chart = options.in_time;
    if options.inverted {
        out.direction = Direction::Inverted;
    }
    match options.measure {
        Measure::Samples | Measure::CpuTime => {
            out.colors = Palette::Multi(MultiPalette::Rust);
            out.count_name = if options.measure == Measure::Samples { "samples" } else { "ns" }.into();
        }
        Measure::Bytes => {
            out.colors = Palette::Basic(BasicPalette::Green);
            out.count_name = "bytes".into();
        }
        Measure::Nanoseconds => {
            out.colors = Palette::Basic(BasicPalette::Aqua);
            out.count_name = "ns".into();
            out.name_type = "Stage:".into();
        }
    }
    out
}

/// Checks that every tag is closed, all attributes are quoted, and `<` and `&` are escaped.
#[cfg(test)]
pub(crate) fn assert_well_formed(svg: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = svg;
    while let Some(at) = rest.find('<') {
        let text = &rest[..at];
        for (i, _) in text.match_indices('&') {
            let entity = text[i + 1..].split(';').next().unwrap_or_default();
            let known = ["lt", "gt", "amp", "quot", "apos"].contains(&entity) || entity.starts_with('#');
            assert!(known, "a bare & in {text:?}");
        }
        rest = &rest[at..];
        let skip = |end: &str| rest.find(end).map(|i| i + end.len());
        let len = if rest.starts_with("<?") {
            skip("?>")
        } else if rest.starts_with("<!--") {
            skip("-->")
        } else if rest.starts_with("<![CDATA[") {
            skip("]]>")
        } else {
            skip(">")
        };
        let len = len.expect("every tag ends");
        let tag = &rest[..len];
        rest = &rest[len..];
        if tag.starts_with("<?") || tag.starts_with("<!") {
            continue;
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "quotes in {tag}");
        let name = tag.trim_matches(['<', '>', '/']).split_whitespace().next().expect("a tag has a name");
        if tag.starts_with("</") {
            assert_eq!(open.pop(), Some(name), "closed by {tag}");
        } else if !tag.ends_with("/>") {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
    assert!(svg.contains("<svg "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_well_formed_and_has_every_frames_share() {
        let lines = ["main;run;<Vec<u8> as Get>::get 30", "main;run;\"b\" & c 70", "main;idle 100"];
        for measure in [Measure::Samples, Measure::Nanoseconds] {
            let options = FlameOptions {
                measure,
                subtitle: Some("99 Hz < 1 kHz".into()),
                width: Some(1200),
                inverted: measure == Measure::Samples,
                ..FlameOptions::default()
            };
            let svg = svg(lines, "point get & co", &options).unwrap();
            assert_well_formed(&svg);
            for text in
                ["main", "&lt;Vec&lt;u8&gt; as Get&gt;::get", "point get &amp; co", "99 Hz &lt; 1 kHz"]
            {
                assert!(svg.contains(text), "{text}");
            }
            assert!(svg.contains("50.00%") && svg.contains("15.00%") && svg.contains("35.00%"));
            let unit = if measure == Measure::Samples { "(30 samples" } else { "(30 ns" };
            assert!(svg.contains(unit));
        }
    }

    #[test]
    fn cpu_time_is_in_ms_and_names_are_restored() {
        let options = FlameOptions { measure: Measure::CpuTime, ..FlameOptions::default() };
        let svg = svg(["main;a 10101010", "main;b 30303030"], "t", &options).unwrap();
        assert!(svg.contains("a (10.101 ms, 25.00%)") && svg.contains("all (40.404 ms, 100%)"), "{svg}");
        let mut odd = Folded::parse("main;a 1.5\nmain;b 2.25\n").unwrap();
        odd.add(["# c", "x;y\n\x1bz 7"], 125);
        let svg = svg_of(&odd, "t", &FlameOptions::default()).unwrap();
        assert_well_formed(&svg);
        for name in
            ["a (1.5 samples, 30.00%)", "# c (1.25 samples, 25.00%)", "x;y&#10;\u{241b}z 7 (1.25 samples"]
        {
            assert!(svg.contains(name), "{name}: {svg}");
        }
    }

    #[test]
    fn time_goes_from_left_to_right() {
        let lines = ["kv_get;zz 60", "kv_get;mvcc_get 30", "kv_get;aa 10"];
        let options =
            FlameOptions { measure: Measure::Nanoseconds, in_time: true, ..FlameOptions::default() };
        let svg = svg(lines, "t", &options).unwrap();
        let left = |name: &str| {
            let rest = &svg[svg.find(&format!("<title>{name} (")).unwrap()..];
            let x = rest.split("fg:x=\"").nth(1).unwrap().split('"').next().unwrap();
            x.parse::<u64>().unwrap()
        };
        assert_eq!((left("zz"), left("mvcc_get"), left("aa")), (0, 60, 90));
    }

    #[test]
    fn counts_near_2_to_the_64_are_drawn() {
        let options =
            FlameOptions { measure: Measure::Nanoseconds, in_time: true, ..FlameOptions::default() };
        let lines = ["kv_get;aa 18446744073709551610", "kv_get;bb 7", "kv_get;cc 18446744073709551615"];
        let picture = svg(lines, "t", &options).unwrap();
        assert_well_formed(&picture);
        // inferno prints numbers that went through a double.
        assert!(picture.contains("aa (18,446,744,073,709,551,615 ns"), "{picture}");
        assert!(picture.contains("all (18,446,744,073,709,551,615 ns"), "{picture}");
        let compared = ["a 18446744073709551615 3", "b 9223372036854775808 9223372036854775807", "c 0 7"];
        assert_well_formed(&svg(compared, "t", &FlameOptions::default()).unwrap());
        let mut room = u64::MAX;
        assert_eq!(bounded("a b 3", &mut room), None);
        assert_eq!(bounded("a 1 2.5", &mut room), None);
        assert_eq!(room, u64::MAX - 5);
        assert_eq!(bounded("a 1 18446744073709551615", &mut room), Some(format!("a 1 {MAX_COMPARED}")));
    }

    #[test]
    fn an_empty_profile_is_a_small_picture_with_a_note() {
        for lines in [vec![], vec!["", "  "]] {
            let options = FlameOptions { subtitle: Some("1 s & <idle>".into()), ..FlameOptions::default() };
            let svg = svg(lines, "CPU", &options).unwrap();
            assert_well_formed(&svg);
            assert!(
                svg.contains("no samples") && svg.contains("1 s &amp; &lt;idle&gt;") && svg.len() < 1000,
                "{svg}"
            );
        }
        assert!(matches!(svg(["no count"], "t", &FlameOptions::default()), Err(ProfileError::Draw(_))));
    }
}
