//! A stamp's place in the source: one static per `stamp!` call.
use crate::catalogue::StageId;

/// Where a stage is stamped. A stamp holds this static's address, so nothing needs registering.
#[derive(Debug)]
pub struct StampSite {
    pub stage: StageId,
    /// Path relative to the workspace root.
    pub file: &'static str,
    pub line: u32,
    /// Names of the stamp's fields, in order.
    pub fields: &'static [&'static str],
    function: fn() -> &'static str,
}

impl StampSite {
    pub const fn new(
        stage: StageId,
        file: &'static str,
        line: u32,
        fields: &'static [&'static str],
        function: fn() -> &'static str,
    ) -> Self {
        Self { stage, file, line, fields, function }
    }

    /// The function that holds the stamp, e.g. `storage::mvcc::reader::point_getter::PointGetter<S>::get`.
    pub fn function(&self) -> String {
        let full = (self.function)();
        full.trim_end_matches("::__here").replace("::{{closure}}", "")
    }
}
