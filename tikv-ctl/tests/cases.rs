//! Compares the output of tikv-ctl with text files: `tests/cases/*.txt`.
//!
//! A case file names a data directory: one of `tests/golden`, which a real TiKV wrote, or `raw-v1ttl` or `raw-v2`,
//! which `common/raw.rs` writes. Each block is a command, `----`, and its output. `DATA_DIR` stands for a copy of the
//! directory, `TIKV_TOML` for its configuration. `flip FILE OFFSET`, `cut FILE SIZE` and `remove FILE` damage the copy.
//! `UPDATE_CASES=1` rewrites the outputs, except those of the real tikv-ctl (`from: tikv-ctl`).
//! A line that begins with `## ` is a comment of the next command.
mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use api_version::KvFormat;
use common::{copy_dir, shorten};

struct Case {
    head: String,
    data: String,
    /// The real tikv-ctl printed the outputs.
    real: bool,
    blocks: Vec<Block>,
}

struct Block {
    comments: String,
    command: String,
    expected: String,
}

impl Case {
    fn parse(text: &str) -> Case {
        let (head, rest) = text.split_once("\n\n").expect("a case file has a head, an empty line, blocks");
        let value = |name: &str| head.lines().find_map(|l| l.strip_prefix(name)).map(|v| v.trim().to_owned());
        let data = value("data:").expect("the head names its data");
        let mut blocks: Vec<Block> = Vec::new();
        let (mut comments, mut in_output) = (String::new(), false);
        for line in rest.lines() {
            match line {
                "----" if !in_output => in_output = true,
                _ if line.starts_with("$ ") => {
                    let comments = std::mem::take(&mut comments);
                    blocks.push(Block { comments, command: line[2..].to_owned(), expected: String::new() });
                    in_output = false;
                }
                _ if line.starts_with("## ") => comments += &format!("{line}\n"),
                _ if in_output => blocks.last_mut().expect("a command").expected += &format!("{line}\n"),
                _ => {}
            }
        }
        for block in &mut blocks {
            let lines = block.expected.trim_end_matches('\n').len();
            block.expected.truncate(lines);
        }
        Case { head: head.to_owned(), data, real: value("from:").as_deref() == Some("tikv-ctl"), blocks }
    }

    fn render(&self, outputs: &[String]) -> String {
        let mut text = format!("{}\n", self.head);
        for (block, output) in self.blocks.iter().zip(outputs) {
            let end = if output.is_empty() { "" } else { "\n" };
            text += &format!("\n{}$ {}\n----\n{output}{end}", block.comments, block.command);
        }
        text
    }
}

struct Run {
    dir: tempfile::TempDir,
    toml: PathBuf,
    real: bool,
}

impl Run {
    fn new(case: &Case) -> Run {
        let golden = std::path::absolute("tests/golden").unwrap();
        let dir = tempfile::tempdir().unwrap();
        match case.data.as_str() {
            "raw-v1ttl" => common::raw::fill(dir.path(), KvFormat::V1ttl),
            "raw-v2" => common::raw::fill(dir.path(), KvFormat::V2),
            written_by_tikv => copy_dir(&golden.join(written_by_tikv), dir.path()),
        }
        Run { dir, toml: golden.join(format!("{}.toml", case.data)), real: case.real }
    }

    fn run(&self, command: &str) -> String {
        let words = shlex::split(command).expect("quotes are closed");
        match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["tikv-ctl", args @ ..] => self.tikv_ctl(args),
            ["flip", file, offset] => {
                self.change(file, |bytes| bytes[offset.parse::<usize>().unwrap()] ^= 0xff)
            }
            ["cut", file, size] => self.change(file, |bytes| bytes.truncate(size.parse().unwrap())),
            ["remove", file] => fs::remove_file(self.dir.path().join(file)).map(|()| String::new()).unwrap(),
            _ => panic!("unknown directive: {command}"),
        }
    }

    fn change(&self, file: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
        let path = self.dir.path().join(file);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(path, bytes).unwrap();
        String::new()
    }

    fn tikv_ctl(&self, args: &[&str]) -> String {
        let (dir, toml) = (self.dir.path().to_str().unwrap(), self.toml.to_str().unwrap());
        let args = args.iter().map(|a| a.replace("DATA_DIR", dir).replace("TIKV_TOML", toml));
        let output =
            Command::new(env!("CARGO_BIN_EXE_tikv-ctl")).args(args).stdin(Stdio::null()).output().unwrap();
        let (stdout, stderr) = (&output.stdout, String::from_utf8_lossy(&output.stderr));
        let mut text = String::from_utf8_lossy(stdout).into_owned();
        // The real tool's errors and warnings are in other words.
        if !self.real {
            text += &stderr;
        }
        assert!(!stderr.contains("panicked"), "{stderr}");
        let text = text.replace(dir, "DATA_DIR").replace(toml, "TIKV_TOML");
        // Where the real raft-engine stops at the preallocated end of a file, it prints an error of its own.
        let lines =
            text.trim_end_matches('\n').lines().filter(|l| !(self.real && l.starts_with("Err(Corruption(")));
        let mut lines: Vec<String> = lines.map(shorten).collect();
        match output.status.code() {
            Some(0) => {}
            _ if self.real => lines.push("(failed)".into()),
            code => lines.push(format!("(exit {})", code.unwrap_or(-1))),
        }
        lines.join("\n").trim_end_matches('\n').to_owned()
    }
}

fn check(name: &str) {
    let file = Path::new("tests/cases").join(format!("{name}.txt"));
    let case = Case::parse(&fs::read_to_string(&file).unwrap());
    assert!(!case.blocks.is_empty(), "{name} has commands");
    let run = Run::new(&case);
    let outputs: Vec<String> = case.blocks.iter().map(|block| run.run(&block.command)).collect();
    if std::env::var_os("UPDATE_CASES").is_some() && !case.real {
        return fs::write(&file, case.render(&outputs)).unwrap();
    }
    let differs = case.blocks.iter().zip(&outputs).filter(|(block, output)| block.expected != **output);
    let differs: Vec<String> = differs
        .map(|(block, output)| {
            format!("$ {}\nexpected:\n{}\nfound:\n{output}", block.command, block.expected)
        })
        .collect();
    let n = case.blocks.len();
    assert!(differs.is_empty(), "{name}: {} of {n} differ\n{}", differs.len(), differs.join("\n\n"));
}

#[test]
fn a_directory_of_a_real_tikv_prints_as_by_the_real_tikv_ctl() {
    check("real_plain");
}

#[test]
fn a_titan_directory_of_tikv_prints_as_by_its_tikv_ctl() {
    check("real_titan");
}

#[test]
fn damaged_files_are_reported() {
    check("damage");
}

#[test]
fn wrong_arguments_are_refused() {
    check("refusals");
}

#[test]
fn commands_of_our_own_print_what_they_find() {
    check("own");
}

#[test]
fn raw_rows_of_v1ttl_lose_their_time_of_expiry() {
    check("raw_v1ttl");
}

#[test]
fn raw_rows_of_v2_lose_timestamp_and_flags() {
    check("raw_v2");
}

#[test]
fn every_case_file_has_its_test() {
    let source = fs::read_to_string("tests/cases.rs").unwrap();
    for entry in fs::read_dir("tests/cases").unwrap() {
        let name = entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(source.contains(&format!("check(\"{name}\")")), "no test runs cases/{name}.txt");
    }
}
