//! Attributes whose names collide with ours: writing adds a prefix, reading removes it.
use super::RESERVED;

const PREFIX: &str = "attribute.";

/// Whether a name is ours, or looks like an escaped name of ours.
fn is_ours(name: &str) -> bool {
    let mut bare = name;
    while let Some(rest) = bare.strip_prefix(PREFIX) {
        bare = rest;
    }
    RESERVED.contains(&bare)
}

pub(super) fn name(name: &str) -> String {
    if is_ours(name) { format!("{PREFIX}{name}") } else { name.to_owned() }
}

pub(super) fn undo(name: String) -> String {
    match name.strip_prefix(PREFIX) {
        Some(rest) if is_ours(rest) => rest.to_owned(),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names_are_restored() {
        for text in
            ["", "x", "request", "attribute.request", "attribute.attribute.lane", "attribute.x", "stage"]
        {
            let out = name(text);
            assert!(!RESERVED.contains(&out.as_str()));
            assert_eq!(undo(out), text);
        }
    }
}
