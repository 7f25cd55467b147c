//! Attributes whose names are ours: they get a prefix on their way out and lose it on their way in.
use super::RESERVED;

const PREFIX: &str = "attribute.";

/// Whether a name is ours, or would be taken for one of ours that was escaped.
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
    fn names_come_out_as_they_went_in() {
        for text in
            ["", "x", "request", "attribute.request", "attribute.attribute.lane", "attribute.x", "stage"]
        {
            let out = name(text);
            assert!(!RESERVED.contains(&out.as_str()));
            assert_eq!(undo(out), text);
        }
    }
}
