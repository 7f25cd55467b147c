//! Tests what `./run interop` compares, without a cluster: its list, its expected results, its scripts.
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Programs that the script needs before it looks for a client.
const PROGRAMS: &[&str] = &[
    "bash", "dirname", "mkdir", "mktemp", "rm", "awk", "grep", "tr", "wc", "seq", "sort", "sleep", "timeout",
];

fn interop(name: &str) -> PathBuf {
    std::path::absolute("../../recipes/interop").unwrap().join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(interop(name)).unwrap()
}

fn temporary(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn awk(arguments: &[&str]) -> Output {
    Command::new("awk").args(arguments).output().unwrap()
}

/// The lines of a file in all sections but those of `without`.
fn sections(file: &str, without: &str) -> Vec<String> {
    let (script, file) = (interop("sections.awk"), interop(file));
    let option = format!("without= {without} ");
    let output = awk(&["-v", &option, "-f", script.to_str().unwrap(), file.to_str().unwrap()]);
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn headers(file: &str) -> Vec<String> {
    text(file).lines().filter(|line| line.starts_with('[')).map(str::to_owned).collect()
}

#[test]
fn each_operation_has_an_expected_result() {
    let (operations, expected) = (sections("operations.txt", ""), sections("expected.txt", ""));
    assert!(operations.len() > 100, "{} operations", operations.len());
    for (operation, result) in operations.iter().zip(&expected) {
        let found = result.strip_prefix(operation.as_str()).and_then(|rest| rest.strip_prefix(" => "));
        let found = found.unwrap_or_else(|| panic!("expected a result of {operation}, found {result}"));
        let known = ["error: write conflict", "error: locked"];
        assert!(!found.starts_with("error") || known.contains(&found), "{result}");
    }
    assert_eq!(operations.len(), expected.len());
    assert_eq!(headers("operations.txt"), headers("expected.txt"));
}

#[test]
fn a_client_lacks_only_sections_that_exist() {
    let known: BTreeSet<_> = headers("operations.txt").into_iter().collect();
    let list = text("operations.txt");
    let clients: Vec<_> = list.lines().filter_map(|line| line.strip_prefix("client ")).collect();
    assert_eq!(clients.len(), 3);
    for client in clients {
        for section in client.split(' ').skip(2) {
            assert!(known.contains(&format!("[{section}]")), "{client}: no section {section}");
        }
    }
    assert!(list.contains("\nclient go\n"), "REWRITE takes the results of go, so go lacks nothing");
}

#[test]
fn sections_without_a_call_are_left_out() {
    let all = sections("operations.txt", "");
    let some = sections("operations.txt", "raw_cas one_pc");
    assert!(all.iter().any(|line| line.starts_with("raw_cas ")));
    assert!(!some.iter().any(|line| line.starts_with("raw_cas ") || line.contains("one_pc")));
    assert!(some.iter().all(|line| all.contains(line)));
}

/// Returns whether the results are equal, the report, and the totals.
fn compare(name: &str, expected: &str, found: &str) -> (bool, String, String) {
    let dir = temporary(name);
    let path = |file: &str| dir.join(file).to_str().unwrap().to_owned();
    fs::write(path("expected"), expected).unwrap();
    fs::write(path("found"), found).unwrap();
    let (script, totals) = (interop("compare.awk"), format!("totals={}", path("totals")));
    let script = script.to_str().unwrap();
    let output = awk(&["-v", "name=c", "-v", &totals, "-f", script, &path("expected"), &path("found")]);
    let totals = fs::read_to_string(path("totals")).unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap(), totals)
}

#[test]
fn differences_and_missing_results_are_counted() {
    assert_eq!(
        compare("equal", "a => 1\nb => 2\n", "a => 1\nb => 2\n"),
        (true, String::new(), "2 0\n".into())
    );
    let (equal, report, totals) = compare("other", "a => 1\nb => 2\n", "a => 1\nb => 3\n");
    assert!(!equal);
    assert_eq!(report, "c: expected b => 2\nc: found    b => 3\n");
    assert_eq!(totals, "1 1\n");
    let (equal, report, totals) = compare("ended", "a => 1\nb => 2\n", "a => 1\n");
    assert!(!equal && report.contains("no result: the program ended"), "{report}");
    assert_eq!(totals, "1 1\n");
    let (equal, report, totals) = compare("longer", "a => 1\n", "a => 1\nb => 2\n");
    assert!(!equal && report.contains("expected no more results"), "{report}");
    assert_eq!(totals, "1 1\n");
}

/// Runs the script where the PATH has only the programs of the script itself.
fn run_without_toolchains(name: &str, clients: &[&str]) -> (i32, String) {
    let dir = temporary(name);
    let path = std::env::var_os("PATH").unwrap();
    for program in PROGRAMS {
        let found = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.exists());
        let found = found.unwrap_or_else(|| panic!("no {program} in the PATH"));
        std::os::unix::fs::symlink(found, dir.join(program)).unwrap();
    }
    let output = Command::new("bash")
        .arg(interop("run.sh"))
        .arg(&dir)
        .arg(dir.join("work"))
        .args(clients)
        .env("PATH", &dir)
        .output()
        .unwrap();
    let report = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(report).unwrap())
}

#[test]
fn missing_toolchains_are_named_and_nothing_passes() {
    let (code, report) = run_without_toolchains("none", &[]);
    assert_eq!(code, 77, "{report}");
    for line in
        ["go: skipped: no Go", "python: skipped: no Python 3", "java: skipped: no JDK", "no client can run"]
    {
        assert!(report.contains(line), "{report}");
    }
}

#[test]
fn an_unknown_client_is_refused() {
    let (code, report) = run_without_toolchains("unknown", &["perl"]);
    assert_eq!(code, 1);
    assert!(report.contains("expected one of go python java, found perl"), "{report}");
}
