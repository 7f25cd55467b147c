//! TiDB's keys and values in TiKV: tables, rows, indexes, datums (TiDB `pkg/tablecodec`, `pkg/util/codec`,
//! `pkg/util/rowcodec`). Without the table's schema, a value's type is not always known: every type that fits
//! is shown.
pub mod datum;
mod decimal;
mod json;
pub mod row;
pub mod table;

pub use datum::Datum;
pub use table::{TableKey, TableKeyKind};
