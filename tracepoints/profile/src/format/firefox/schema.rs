//! The tables of a processed profile as written, version 55. A table is a list of columns; rows refer to rows
//! of other tables.
use serde::Serialize;
use serde_json::Value;

/// The version that is written; the viewer upgrades older versions to its own.
pub const VERSION: u32 = 55;

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lib {
    pub arch: Option<String>,
    pub name: String,
    pub path: String,
    pub debug_name: String,
    pub debug_path: String,
    pub breakpad_id: String,
    pub code_id: Option<String>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tables {
    pub frame_table: Option<FrameTable>,
    pub func_table: Option<FuncTable>,
    pub stack_table: Option<StackTable>,
    pub resource_table: Option<ResourceTable>,
    pub string_array: Option<Vec<String>>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Thread {
    #[serde(flatten)]
    pub tables: Tables,
    pub samples: Samples,
    pub name: String,
    pub process_name: Option<String>,
    /// A number, or a text since version 42.
    pub pid: Value,
    pub tid: Value,
    #[serde(flatten)]
    pub fixed: Option<Value>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FrameTable {
    pub length: usize,
    /// Offsets within the library; -1 if unknown.
    pub address: Vec<i64>,
    pub inline_depth: Vec<u32>,
    pub category: Vec<Option<usize>>,
    pub subcategory: Vec<Option<usize>>,
    pub func: Vec<usize>,
    pub native_symbol: Vec<Option<usize>>,
    #[serde(rename = "innerWindowID")]
    pub inner_window_id: Vec<Option<u64>>,
    pub line: Vec<Option<u32>>,
    pub column: Vec<Option<u32>>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FuncTable {
    pub length: usize,
    pub name: Vec<usize>,
    #[serde(rename = "isJS")]
    pub is_js: Vec<bool>,
    #[serde(rename = "relevantForJS")]
    pub relevant_for_js: Vec<bool>,
    /// -1 if there is none.
    pub resource: Vec<i64>,
    pub file_name: Vec<Option<usize>>,
    pub line_number: Vec<Option<u32>>,
    pub column_number: Vec<Option<u32>>,
}

#[derive(Default, Serialize)]
pub struct StackTable {
    pub length: usize,
    pub prefix: Vec<Option<usize>>,
    pub frame: Vec<usize>,
}

#[derive(Default, Serialize)]
pub struct ResourceTable {
    pub length: usize,
    pub lib: Vec<Option<usize>>,
    pub name: Vec<usize>,
    pub host: Vec<Option<usize>>,
    #[serde(rename = "type")]
    pub kind: Vec<u32>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Samples {
    pub length: usize,
    pub stack: Vec<Option<usize>>,
    /// Difference in ms to the previous sample.
    pub time_deltas: Option<Vec<f64>>,
    pub weight: Option<Vec<f64>>,
    pub weight_type: Option<String>,
}
