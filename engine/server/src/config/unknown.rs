//! Finds keys of a TOML text that the server does not read: those missing when the
//! parsed configuration is written again.
use toml::{Table, Value};

/// Returns the dotted paths of keys in `given` that are not in `known`, sorted.
pub fn paths(given: &Table, known: &Table) -> Vec<String> {
    let mut out = Vec::new();
    collect("", given, known, &mut out);
    out.sort();
    out
}

fn collect(prefix: &str, given: &Table, known: &Table, out: &mut Vec<String>) {
    for (key, value) in given {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match (value, known.get(key)) {
            (Value::Table(given), Some(Value::Table(known))) => collect(&path, given, known, out),
            (_, Some(_)) => {}
            (_, None) => out.push(path),
        }
    }
}
