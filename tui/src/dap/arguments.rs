//! Arguments of the client's requests.
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{message::Request, types::Source};

/// Reads the arguments of a request.
///
/// # Errors
/// A sentence that names the request and the argument.
pub fn parse<T: DeserializeOwned>(request: &Request) -> Result<T, String> {
    let given = match &request.arguments {
        Value::Null => Value::Object(serde_json::Map::new()),
        given => given.clone(),
    };
    serde_json::from_value(given).map_err(|e| {
        format!("{}: expected the arguments that the protocol defines, found others: {e}", request.command)
    })
}

/// Arguments of `initialize`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Initialize {
    /// Lines begin at 1 for the client.
    pub lines_start_at1: bool,
    /// Columns begin at 1 for the client.
    pub columns_start_at1: bool,
    /// The client shows the progress of long starts.
    pub supports_progress_reporting: bool,
}

impl Default for Initialize {
    fn default() -> Self {
        Self { lines_start_at1: true, columns_start_at1: true, supports_progress_reporting: false }
    }
}

/// One breakpoint of `setBreakpoints`, `setFunctionBreakpoints` or `setDataBreakpoints`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WantedBreakpoint {
    /// The line of a source breakpoint.
    pub line: u32,
    /// The name of a function breakpoint.
    pub name: String,
    /// The value that a data breakpoint watches.
    pub data_id: String,
    /// Stops only if it is true.
    pub condition: Option<String>,
    /// Stops only at these hits.
    pub hit_condition: Option<String>,
    /// Writes this text instead of stopping.
    pub log_message: Option<String>,
}

/// Arguments of `setBreakpoints`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SetBreakpoints {
    /// The file.
    pub source: Source,
    /// All breakpoints of the file; earlier ones go.
    pub breakpoints: Vec<WantedBreakpoint>,
}

/// Arguments of `setFunctionBreakpoints` and `setDataBreakpoints`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SetOthers {
    /// All breakpoints of this kind; earlier ones go.
    pub breakpoints: Vec<WantedBreakpoint>,
}

/// Arguments of `setExceptionBreakpoints`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SetExceptions {
    /// The chosen filters.
    pub filters: Vec<String>,
}

/// Arguments of `next`, `stepIn`, `stepOut`, `stepBack` and similar requests.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Stepping {
    /// The thread of the button.
    pub thread_id: i64,
    /// Only this thread continues.
    pub single_thread: bool,
    /// `statement`, `line` or `instruction`.
    pub granularity: Option<String>,
    /// The target of `goto`.
    pub target_id: i64,
}

/// Arguments of `stackTrace`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StackTrace {
    /// The thread.
    pub thread_id: i64,
    /// The first frame to return.
    pub start_frame: usize,
    /// Maximum number of frames; 0: all.
    pub levels: usize,
}

/// Arguments of `scopes` and `exceptionInfo`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Scopes {
    /// The frame.
    pub frame_id: i64,
}

/// Arguments of `variables` and `dataBreakpointInfo`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Variables {
    /// The parent's number.
    pub variables_reference: i64,
    /// The child's name.
    pub name: String,
    /// The first child to return.
    pub start: usize,
    /// Maximum number of children; 0: all.
    pub count: usize,
}

/// Arguments of `evaluate` and `completions`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Evaluate {
    /// The text to evaluate.
    pub expression: String,
    /// The text before and after the cursor.
    pub text: String,
    /// The frame; none: the current step.
    pub frame_id: Option<i64>,
    /// `watch`, `repl`, `hover`, `clipboard`.
    pub context: String,
}

/// Arguments of `source`, `gotoTargets` and `breakpointLocations`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InSource {
    /// The file.
    pub source: Source,
    /// The number of a source without a path.
    pub source_reference: i64,
    /// The line.
    pub line: u32,
    /// The last line of a range.
    pub end_line: Option<u32>,
}

/// Arguments of `tikv/goTo` and `tikv/check`, which the extension for VS Code sends.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Own {
    /// The number of a step, from 0.
    pub step: usize,
    /// The text of a scenario file.
    pub text: String,
    /// The path, for messages.
    pub path: String,
}
