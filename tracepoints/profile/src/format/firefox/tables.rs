//! The tables as read, of all versions: columns (processed profiles), or rows with a schema (Gecko's own
//! profiles).
use std::collections::HashMap;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use crate::json::{Index, List, Number, Object, Text};

/// A profile, or in Gecko's form the part of one process.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct File {
    pub meta: Object<Meta>,
    pub libs: List<Object<Lib>>,
    pub threads: List<Object<Thread>>,
    /// Newer versions have tables shared by all threads.
    pub shared: Object<Thread>,
    /// Other processes, in Gecko's form.
    pub processes: List<Object<File>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Meta {
    /// In ms since 1970.
    pub start_time: Number,
    /// In ms.
    pub interval: Number,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Lib {
    pub name: Text,
    pub path: Text,
    pub code_id: Text,
}

/// A thread with its tables, or the tables shared by all threads.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Thread {
    pub frame_table: Object<FrameTable>,
    pub func_table: Object<FuncTable>,
    pub stack_table: Object<StackTable>,
    pub resource_table: Object<ResourceTable>,
    pub string_array: List<Text>,
    /// Gecko's name of the string table.
    pub string_table: List<Text>,
    pub sources: Object<Sources>,
    /// Libraries of each thread, before version 41.
    pub libs: List<Object<Lib>>,
    pub samples: Object<Samples>,
    pub native_allocations: Option<IgnoredAny>,
    pub js_allocations: Option<IgnoredAny>,
    pub name: Text,
    pub process_name: Text,
    /// A number, or text since version 47.
    pub pid: Text,
    pub tid: Text,
}

/// Rows whose cells are named by a schema.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Rows {
    pub schema: HashMap<String, Index>,
    pub data: List<List<Value>>,
}

impl Rows {
    /// The cells of one name, row by row; null where a row is too short.
    pub fn column<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Value> {
        let at = self.schema.get(name).and_then(|at| at.0).unwrap_or(usize::MAX);
        self.data.0.iter().map(move |row| row.0.get(at).unwrap_or(&Value::Null))
    }
}

/// Defines a table that reads columns, or rows of the same cells.
macro_rules! table {
    ($(#[$about:meta])* $name:ident { $($column:ident: $type:ty),* $(,)? }) => {
        $(#[$about])*
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub(super) struct $name {
            $(pub $column: $type,)*
            pub schema: Object<HashMap<String, Index>>,
            pub data: List<List<Value>>,
        }

        impl $name {
            /// Returns the table in Gecko's form, if it has that.
            pub fn rows(&mut self) -> Option<Rows> {
                let schema = self.schema.0.take()?;
                Some(Rows { schema, data: std::mem::take(&mut self.data) })
            }
        }
    };
}

table!(FrameTable {
    address: List<Number>,
    inline_depth: List<Index>,
    func: List<Index>,
    line: List<Index>,
    column: List<Index>,
});
table!(StackTable { prefix: List<Index>, frame: List<Index> });
table!(Samples {
    stack: List<Index>,
    time_deltas: List<Number>,
    time: List<Number>,
    weight: List<Number>,
    weight_type: Text,
});

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct FuncTable {
    pub name: List<Index>,
    pub resource: List<Index>,
    pub file_name: List<Index>,
    pub source: List<Index>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ResourceTable {
    pub lib: List<Index>,
}

/// Files of functions, since version 57.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Sources {
    pub filename: List<Index>,
}
