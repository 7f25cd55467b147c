//! Tests the checks before a build, with library folders and compilers of their own.
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const MULTIARCH: &str = "usr/lib/x86_64-linux-gnu";
const HEADER: &str = "usr/lib/llvm-14/lib/clang/14.0.6/include/stddef.h";

fn script(name: &str) -> PathBuf {
    std::path::absolute("..").unwrap().join(name)
}

/// Creates an empty system.
fn system(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&root);
    fs::create_dir_all(root.join(MULTIARCH)).unwrap();
    root
}

fn add(root: &Path, file: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, b"").unwrap();
}

/// Runs the script on a system; returns its exit code and its report.
fn run(root: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let mut command = Command::new("sh");
    command.arg(script("prerequisites.sh")).args(arguments);
    for variable in ["LIBCLANG_PATH", "LD_LIBRARY_PATH", "LIBRARY_PATH", "CXX", "GROUPED_CXX"] {
        command.env_remove(variable);
    }
    command
        .env("SYSTEM_ROOT", root)
        .env("SYSTEM_NAME", "Linux")
        .env("LLVM_CONFIG_PATH", "false")
        .env("CLANG_PATH", "false");
    let output = command.envs(variables.iter().copied()).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn finds_libclang(root: &Path) -> bool {
    run(root, &["libclang"], &[]).0 == 0
}

#[test]
fn libclang_is_found_under_each_name_of_bindgen() {
    for (i, file) in [
        "usr/lib/x86_64-linux-gnu/libclang.so",
        "usr/lib/x86_64-linux-gnu/libclang-14.so",
        "usr/lib/x86_64-linux-gnu/libclang.so.14",
        "usr/lib/x86_64-linux-gnu/libclang-14.so.14.0.6",
        "usr/lib/llvm-14/lib/libclang.so.1",
        "usr/lib64/libclang.so",
        "usr/local/lib/libclang.so",
        "usr/local/llvm15/lib/libclang.so",
    ]
    .into_iter()
    .enumerate()
    {
        let root = system(&format!("found-{i}"));
        assert!(!finds_libclang(&root), "an empty system has no libclang");
        add(&root, file);
        let (code, report) = run(&root, &["libclang"], &[]);
        assert!(
            code == 1 && report.contains("its stddef.h is not"),
            "{file} is libclang without headers: {report}"
        );
        add(&root, HEADER);
        assert!(finds_libclang(&root), "{file} is libclang");
    }
}

#[test]
fn libclang_cpp_is_no_libclang() {
    let root = system("cpp");
    add(&root, HEADER);
    for file in ["libclang-cpp.so.14", "libclang-cpp.so", "libclang-cpp.so.14.0", "libclangBasic.a"] {
        add(&root, &format!("{MULTIARCH}/{file}"));
    }
    add(&root, "usr/lib/llvm-14/lib/libclang-cpp.so.14");
    let (code, report) = run(&root, &["libclang"], &[]);
    assert_eq!(code, 1);
    assert_eq!(report.lines().count(), 1, "one line: {report}");
    assert!(report.starts_with("missing: libclang") && report.contains("LIBCLANG_PATH"), "{report}");
}

#[cfg(unix)]
#[test]
fn a_dangling_link_is_no_libclang() {
    let root = system("dangling");
    add(&root, HEADER);
    std::os::unix::fs::symlink("nowhere.so.1", root.join(MULTIARCH).join("libclang.so")).unwrap();
    assert!(!finds_libclang(&root));
}

#[test]
fn libclang_path_replaces_the_search() {
    let root = system("variable");
    add(&root, &format!("{MULTIARCH}/libclang.so"));
    add(&root, "elsewhere/libclang.so.15");
    add(&root, HEADER);
    let at = |path: &str| run(&root, &["libclang"], &[("LIBCLANG_PATH", root.join(path).to_str().unwrap())]);
    assert_eq!(at("elsewhere").0, 0);
    let (code, report) = at("nowhere");
    assert_eq!(code, 1);
    assert!(report.contains("LIBCLANG_PATH is") && report.contains("nowhere"), "{report}");
}

#[test]
fn homebrew_and_xcode_folders_are_searched_on_macos() {
    for (i, folder) in
        ["usr/local/opt/llvm@18/lib", "Library/Developer/CommandLineTools/usr/lib"].into_iter().enumerate()
    {
        let root = system(&format!("macos-{i}"));
        assert_eq!(run(&root, &["libclang"], &[("SYSTEM_NAME", "Darwin")]).0, 1);
        add(&root, &format!("{folder}/libclang.dylib"));
        assert_eq!(run(&root, &["libclang"], &[("SYSTEM_NAME", "Darwin")]).0, 0, "{folder}");
    }
}

#[test]
fn a_compiler_must_compile_a_line() {
    let root = system("compiler");
    assert_eq!(run(&root, &["compiler"], &[]).0, 0, "the tests were built with one");
    let (code, report) = run(&root, &["compiler"], &[("CXX", "false")]);
    assert_eq!((code, report.lines().count()), (1, 1), "{report}");
    assert!(report.contains("C++20"), "{report}");
    let (code, report) = run(&root, &["compiler"], &[("CXX", "no-such-compiler")]);
    assert_eq!(code, 1);
    assert!(report.contains("no-such-compiler was not found"), "{report}");
}

#[test]
fn a_full_disk_is_reported_before_the_build() {
    let root = system("disk");
    let target = root.join("target/not/there/yet");
    let target = target.to_str().unwrap();
    assert_eq!(run(&root, &["disk"], &[("CARGO_TARGET_DIR", target), ("DISK_GIB", "0")]).0, 0);
    let (code, report) = run(&root, &["disk"], &[("CARGO_TARGET_DIR", target), ("DISK_GIB", "99999999")]);
    assert_eq!((code, report.lines().count()), (1, 1), "{report}");
    assert!(report.contains("99999999 GiB") && report.contains("CARGO_TARGET_DIR"), "{report}");
}

#[test]
fn an_old_rust_is_reported_with_both_versions() {
    let root = system("rust");
    let cargo = |version: &str| {
        let folder = root.join("bin");
        add(&root, "bin/cargo");
        fs::write(folder.join("cargo"), format!("#!/bin/sh\necho 'cargo {version} (0000 2020-01-01)'\n"))
            .unwrap();
        assert!(Command::new("chmod").arg("+x").arg(folder.join("cargo")).status().unwrap().success());
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
        run(&root, &["rust"], &[("PATH", &path)])
    };
    assert_eq!(cargo("1.200.0").0, 0);
    assert_eq!(cargo("2.0.0").0, 0);
    let (code, report) = cargo("1.9.0");
    assert_eq!(code, 1);
    assert!(report.contains("found 1.9"), "{report}");
}

#[test]
fn an_unknown_check_is_refused() {
    let (code, report) = run(&system("unknown"), &["clang"], &[]);
    assert_eq!(code, 2);
    assert!(report.contains("expected rust, compiler, libclang or disk, found clang"), "{report}");
}

/// Returns the line of totals for a log.
fn totals(log: &str, options: &[&str]) -> String {
    let path = system(&format!("totals-{}-{}", log.len(), options.len())).join("log");
    fs::write(&path, log).unwrap();
    let output = Command::new("awk")
        .arg("-f")
        .arg(script("test_totals.awk"))
        .args(options)
        .arg(&path)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn totals_add_up_all_results() {
    let log = "running 3 tests\ntest a::needs_chromium::b ... ignored, needs Chromium\n\
               test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
               test result: FAILED. 4 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
    assert_eq!(totals(log, &[]), "total: 6 passed, 1 failed, 1 ignored, 1 skipped: no Chromium\n");
    assert_eq!(totals(log, &["-v", "chromium=1"]), "total: 6 passed, 1 failed, 1 ignored\n");
    assert_eq!(
        totals("error[E0425]: cannot find value\n", &[]),
        "total: 0 passed, 0 failed; some tests did not compile\n"
    );
}
