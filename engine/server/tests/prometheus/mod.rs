//! Parses Prometheus' text format, and refuses anything that Prometheus or promtool would not accept.
use std::collections::{BTreeMap, HashMap, HashSet};

/// Parses samples by name and labels, as written.
pub fn parse(text: &str) -> Result<BTreeMap<String, f64>, String> {
    let (mut kinds, mut seen) = (HashMap::new(), HashSet::new());
    let (mut family, mut out) = (String::new(), BTreeMap::new());
    for line in text.lines() {
        let wrong = |what: &str| format!("{what}: {line}");
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or_else(|| wrong("no type"))?;
            if !["counter", "gauge", "histogram"].contains(&kind) || !is_name(name) {
                return Err(wrong("a type or name that does not exist"));
            }
            if !seen.insert(name.to_owned()) {
                return Err(wrong("a family comes twice"));
            }
            kinds.insert(name.to_owned(), kind.to_owned());
            family = name.to_owned();
        } else if !line.starts_with("# HELP ") {
            let (series, value) = line.rsplit_once(' ').ok_or_else(|| wrong("no value"))?;
            let value: f64 = value.parse().map_err(|_| wrong("the value is no number"))?;
            let name = series.split('{').next().unwrap_or(series);
            check_labels(series).map_err(|e| wrong(&e))?;
            let kind = kinds.get(&family).map(String::as_str);
            let of_family = match kind {
                Some("histogram") => {
                    ["_bucket", "_sum", "_count"].iter().any(|s| name.strip_suffix(s) == Some(&family))
                }
                _ => name == family,
            };
            if !of_family || !is_name(name) {
                return Err(wrong("a sample outside of its family"));
            }
            if out.insert(series.to_owned(), value).is_some() {
                return Err(wrong("a series comes twice"));
            }
        }
    }
    check_histograms(text, &kinds, &out)?;
    Ok(out)
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

fn check_labels(series: &str) -> Result<(), String> {
    let Some((_, rest)) = series.split_once('{') else { return Ok(()) };
    let mut rest = rest.strip_suffix('}').ok_or("labels are not closed")?;
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").ok_or("a label without a value")?;
        if !is_name(name) {
            return Err("a label's name".into());
        }
        let end = after.find('"').ok_or("a value is not closed")?;
        rest = &after[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    Ok(())
}

/// Checks that buckets grow and end with +Inf, and that this bucket equals the count.
fn check_histograms(
    text: &str,
    kinds: &HashMap<String, String>,
    samples: &BTreeMap<String, f64>,
) -> Result<(), String> {
    let mut last: HashMap<String, (f64, f64)> = HashMap::new();
    for line in text.lines().filter(|l| !l.starts_with('#') && l.contains("_bucket{")) {
        let (series, value) = line.rsplit_once(' ').unwrap_or((line, ""));
        let (head, le) = series.split_once("le=\"").ok_or_else(|| format!("no le: {line}"))?;
        let le = le.trim_end_matches("\"}");
        let bound =
            if le == "+Inf" { f64::INFINITY } else { le.parse().map_err(|_| format!("le: {line}"))? };
        let value: f64 = value.parse().map_err(|_| line.to_owned())?;
        let previous = last.entry(head.to_owned()).or_insert((f64::NEG_INFINITY, 0.0));
        if bound <= previous.0 || value < previous.1 {
            return Err(format!("buckets do not grow: {line}"));
        }
        *previous = (bound, value);
    }
    for (head, (bound, value)) in last {
        let (name, labels) = head.split_once("_bucket{").unwrap_or((&head, ""));
        let labels = labels.trim_end_matches(',');
        let count =
            if labels.is_empty() { format!("{name}_count") } else { format!("{name}_count{{{labels}}}") };
        let histogram = kinds.get(name).is_some_and(|k| k == "histogram");
        if !histogram || bound != f64::INFINITY || samples.get(&count) != Some(&value) {
            return Err(format!(
                "{head}: the last bucket is {bound}: {value}, the count {:?}",
                samples.get(&count)
            ));
        }
    }
    Ok(())
}
