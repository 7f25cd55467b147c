//! Texts in SVG and HTML.
const ENTITIES: [(&str, &str); 5] =
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];

/// Restores an escaped text.
pub(crate) fn unescape(text: &str) -> String {
    ENTITIES.iter().fold(text.to_owned(), |t, (entity, c)| t.replace(entity, c))
}

/// Escapes the characters that have a meaning in XML.
pub(crate) fn escape(text: &str) -> String {
    ENTITIES.iter().rev().fold(text.to_owned(), |t, (entity, c)| t.replace(c, entity))
}
