//! Tests of the debug adapter: transcripts of sessions, bad input, and clients that vanish.
#[path = "../common/mod.rs"]
mod common;

mod client;
#[cfg(feature = "embedded")]
mod cluster;
mod hostile;
mod transcript;

use std::path::Path;

use tempfile::TempDir;
use tikv_tui::print::json_lines;

/// Saves a made-up operation, whose stamps are in the lines where the engine has them.
fn saved(dir: &TempDir, mut steps: Vec<tracepoints::trace::Step>) -> std::path::PathBuf {
    let sites = client::sites();
    for step in &mut steps {
        let site = sites.iter().find(|site| site.stage == step.stage).expect("every stage has a line");
        (step.file, step.line) = (site.file.clone(), site.line);
        if let Some(frame) = step.stack.first_mut() {
            (frame.file, frame.line) = (site.file.clone(), site.line);
        }
    }
    let path = dir.path().join("saved.json");
    std::fs::write(&path, json_lines(&steps, Some(&common::summary(&steps))).unwrap()).unwrap();
    path
}

#[test]
fn a_saved_point_get_is_replayed() {
    let dir = TempDir::new().unwrap();
    saved(&dir, common::point_get());
    transcript::check("replay", dir.path());
}

#[test]
fn breakpoints_of_every_kind_stop_a_replay() {
    let dir = TempDir::new().unwrap();
    saved(&dir, common::prewrite());
    transcript::check("breakpoints", dir.path());
}

#[test]
fn messages_out_of_order_are_answered_with_an_error() {
    let dir = TempDir::new().unwrap();
    saved(&dir, common::point_get());
    transcript::check("order", dir.path());
}

#[test]
fn a_twin_of_each_frame_is_in_the_checkout() {
    let dir = TempDir::new().unwrap();
    saved(&dir, common::point_get());
    let reader = dir.path().join("tikv/src/storage/mvcc/reader");
    std::fs::create_dir_all(&reader).unwrap();
    let text = "impl<S> PointGetter<S> {\n    pub fn get(&mut self) {}\n    fn load_data(&mut self) {}\n}\n";
    std::fs::write(reader.join("point_getter.rs"), text).unwrap();
    transcript::check("twin", Path::new(dir.path()));
}
