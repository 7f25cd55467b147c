//! Tests the estimate of `tools/first_build.sh` on a workspace and a build folder of empty files.
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

/// A build that has 200 crates in `Cargo.lock`, of which one system builds 170: with RocksDB 500 shares.
struct Build {
    root: PathBuf,
}

impl Build {
    fn new(name: &str) -> Build {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("progress-{name}"));
        let _ = fs::remove_dir_all(&root);
        let build = Build { root };
        build.write("Cargo.lock", &"[[package]]\nname = \"a\"\n".repeat(200));
        build.write("Cargo.toml", "[workspace]\nmembers = [\n    \"one\",\n    \"engine/two\",\n]\n");
        for file in ["one/src/lib.rs", "one/src/main.rs", "one/src/state/lib.rs", "one/tests/common/mod.rs"] {
            build.write(file, "");
        }
        for file in
            ["one/tests/a.rs", "one/tests/b/main.rs", "one/tests/b/part.rs", "engine/two/src/bin/p.rs"]
        {
            build.write(file, "");
        }
        build.write("engine/two/src/lib.rs", "");
        build.write("target/first-build.began", "");
        build
    }

    fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Adds crates that Cargo began to compile, and objects of RocksDB.
    fn compile(&self, crates: usize, objects: usize) {
        self.write("target/first-build.log", &"   Compiling a v0.1.0\n".repeat(crates));
        for i in 0..objects {
            self.write(&format!("target/debug/build/rust-librocksdb-sys-1/out/{i}.o"), "");
        }
    }

    /// Adds files to the folder of executables; their time is relative to the start of the build.
    fn link(&self, names: &[&str], mode: &str, later: bool) {
        let minute = Duration::from_secs(60);
        let time = if later { SystemTime::now() + minute } else { SystemTime::now() - minute };
        for name in names {
            let path = self.write(&format!("target/debug/deps/{name}"), "");
            assert!(Command::new("chmod").arg(mode).arg(&path).status().unwrap().success());
            File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
        }
    }

    fn estimate(&self, seconds: u32, command: &[&str]) -> String {
        let script = std::path::absolute("../first_build.sh").unwrap();
        let output = Command::new("sh")
            .arg(script)
            .args(["--estimate", &seconds.to_string()])
            .args(command)
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", "target")
            .output()
            .unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

const BUILD: &[&str] = &["cargo", "build", "--workspace"];
const TEST: &[&str] = &["cargo", "test", "--workspace", "--no-run"];

#[test]
fn crates_and_rocksdb_are_the_whole_of_a_build() {
    let build = Build::new("build");
    build.compile(0, 0);
    assert_eq!(build.estimate(5, BUILD), "first build: 0 %, 0 min so far, estimating the time left");
    build.compile(85, 175);
    assert_eq!(build.estimate(300, BUILD), "first build: 50 %, 5 min so far, about 5 min left");
    build.compile(400, 360);
    assert_eq!(build.estimate(600, BUILD), "first build: 99 %, 10 min so far, less than a minute left");
}

#[test]
fn executables_are_ten_of_21_minutes_of_a_test() {
    let build = Build::new("test");
    build.compile(170, 350);
    assert_eq!(build.estimate(660, TEST), "first build: 52 %, 11 min so far, about 10 min left");
    // The workspace has eight: one's library, program twice and two files of tests; two's library, and its program
    // twice.
    build.link(&["a-1", "b-1", "one-1", "two-1"], "755", true);
    assert_eq!(build.estimate(960, TEST), "first build: 76 %, 16 min so far, about 5 min left");
    build.link(&["one-2", "one-3", "p-1", "p-2"], "755", true);
    assert_eq!(build.estimate(1260, TEST), "first build: 99 %, 21 min so far, less than a minute left");
}

#[test]
fn only_executables_of_this_build_count() {
    let build = Build::new("old");
    build.compile(170, 350);
    build.link(&["a-0", "one-0"], "755", false);
    build.link(&["libone-1.so", "one-1.d"], "755", true);
    build.link(&["data"], "644", true);
    assert_eq!(build.estimate(660, TEST), "first build: 52 %, 11 min so far, about 10 min left");
}
