//! The processed profile of Firefox's profiler (profiler.firefox.com), JSON or JSON in gzip, both ways.
mod read;
mod schema;
mod write;

pub use read::read;
pub use write::write;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FoldOptions, model::sample_profile};

    #[test]
    fn stacks_threads_lines_and_times_are_read_again() {
        let mut profile = sample_profile();
        for value in [0, 1] {
            let again = read(write(&profile, value, "tikv-server").as_bytes()).unwrap();
            let options = FoldOptions { value, ..FoldOptions::default() };
            assert_eq!(again.fold(&FoldOptions::default()), profile.fold(&options));
            let seek = again.frames().find(|f| again.text(f.function) == "seek").unwrap();
            assert_eq!((again.text(seek.file), seek.line, seek.inlined), ("src/get.rs", 41, true));
            let module = again.module_of(seek.module.unwrap()).unwrap();
            assert_eq!(again.text(module.build_id), "c0ffee00");
            assert_eq!(again.time_ns, profile.time_ns);
        }
        let first = profile.samples().next().unwrap();
        let (stack, labels) = (first.stack, first.labels);
        profile.add_at(1_500_000_000, stack, labels, &[9, 9]);
        let again = read(write(&profile, 0, "tikv-server").as_bytes()).unwrap();
        let timed = again.samples().find(|s| s.values == [9]).unwrap();
        assert_eq!(timed.time_ns, Some(1_500_000_000));
    }

    #[test]
    fn a_stage_is_a_category() {
        let json: serde_json::Value = serde_json::from_str(&write(&sample_profile(), 0, "t")).unwrap();
        let names: Vec<_> =
            json["meta"]["categories"].as_array().unwrap().iter().map(|c| &c["name"]).collect();
        assert_eq!(names, ["Other", "MVCC_GET"]);
        let thread =
            json["threads"].as_array().unwrap().iter().find(|t| t["name"] == "unified-read-po").unwrap();
        assert_eq!(thread["frameTable"]["category"], serde_json::json!([1, 1, 1]));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let error = read(b"{\"meta\": {},\n\"threads\": 3}").unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        let good = write(&sample_profile(), 0, "t");
        for (from, to, says) in [
            ("\"prefix\":[null,0", "\"prefix\":[null,7", "stack"),
            ("\"frame\":[0,", "\"frame\":[99,", "frame 99"),
            ("\"func\":[0,", "\"func\":[88,", "function 88"),
        ] {
            let error = read(good.replacen(from, to, 1).as_bytes()).unwrap_err().to_string();
            assert!(error.contains("thread 0") && error.contains(says), "{error}");
        }
    }
}
