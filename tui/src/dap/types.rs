//! Objects of the protocol that replies contain; fields that this adapter never sets are left out.
use serde::{Deserialize, Serialize};

/// A source file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// The name to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The path on this disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The number by which the client asks for the text; 0 or none: the client reads the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_reference: Option<i64>,
    /// `normal` or `deemphasize`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presentation_hint: Option<String>,
    /// The origin, such as `packed into tikv-tui`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

/// A frame of a call stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StackFrame {
    /// The number by which scopes are asked.
    pub id: i64,
    /// The function.
    pub name: String,
    /// The file; none if it is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The line, from 1; 0: unknown.
    pub line: u32,
    /// The column, from 1; 0: unknown.
    pub column: u32,
    /// `normal`, `subtle` or `label`.
    pub presentation_hint: &'static str,
    /// The crate of the function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module_id: Option<String>,
}

/// A variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Variable {
    /// The name.
    pub name: String,
    /// The value as text.
    pub value: String,
    /// The kind of the value.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The expression that gives it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub evaluate_name: String,
    /// The number by which its parts are asked; 0: it has none.
    pub variables_reference: i64,
    /// The number of its parts.
    #[serde(skip_serializing_if = "is_zero")]
    pub named_variables: usize,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// A breakpoint as the client shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Breakpoint {
    /// Number of the breakpoint.
    pub id: i64,
    /// Whether it can stop a request.
    pub verified: bool,
    /// The stage, or the reason for which it is not verified.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The source file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The line to which it moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}
