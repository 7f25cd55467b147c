//! Generates the table of kvproto's messages, as the build of `tikv-ctl` does.

use std::path::Path;

#[allow(dead_code)] // its `main` uses another path
#[path = "../build.rs"]
mod schema;

fn main() {
    schema::make(Path::new("../../engine/kvproto/proto")).expect("the .proto files compile");
}
