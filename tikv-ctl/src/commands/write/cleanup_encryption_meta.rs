//! `cleanup-encryption-meta`: removes the entries of `file.dict` whose files are gone.
use serde_json::json;

use super::stopped::refuse_host;
use crate::{
    Error, Result,
    cli::Global,
    commands::{
        apply::{WriteOptions, show_or_apply},
        encryption::cleanup_plan,
    },
    encryption::FILE_DICT,
    print::output::Output,
};

/// Runs `cleanup-encryption-meta`.
pub fn run(how: &WriteOptions, global: &Global, out: &mut Output<'_>) -> Result<()> {
    refuse_host(global)?;
    let Some(dir) = &global.data_dir else {
        return Err(Error::other("cleanup-encryption-meta changes a directory: give --data-dir DIR"));
    };
    if !dir.join(FILE_DICT).is_file() {
        return out.either(|| "Encryption is disabled".to_owned(), || json!({ "encrypted": false }));
    }
    show_or_apply("cleanup-encryption-meta", how, &cleanup_plan(dir)?, "", global, out)
}
