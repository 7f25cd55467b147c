//! Runs the commands of the guide, those of each "Try it" section and of each `console` block, and compares their
//! output.
//!
//! `docs/src/contribute/documents.md` describes the blocks. All blocks of a page share one folder and run in order.
//! With `TRY_IT=TEXT` in the environment, only pages whose path contains TEXT run.
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
};

mod block;
mod pattern;
#[path = "../common/programs.rs"]
mod programs;
mod sandbox;

use block::{Command, commands};
use sandbox::Sandbox;

/// Pages that run at the same time: their recipes wait for disks more than they compute.
const WORKERS: usize = 2;

/// The address of the store that a page may use without starting it, as in the quick start.
const STORE: &str = "127.0.0.1:20160";
const START_STORE: &str = "./run server --addr 127.0.0.1:20160 --status-addr 127.0.0.1:20180 --data-dir /tmp/s1 \
    --embedded-pd 127.0.0.1:2379 &";

/// Every page of the guide with its path.
fn pages(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(pages(&path));
        } else if path.extension().is_some_and(|e| e == "md") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found.sort();
    found
}

/// Runs the commands of a page in a folder of its own; returns the mistakes, each with its place.
fn run_page(page: &Path, commands: &[Command]) -> Vec<String> {
    let mut sandbox = Sandbox::new();
    let mut mistakes = Vec::new();
    let starts_its_own = commands.iter().any(|c| c.text.starts_with("./run server"));
    if !starts_its_own && commands.iter().any(|c| c.text.contains(STORE)) {
        mistakes.extend(sandbox.run(START_STORE).err());
    }
    for command in commands {
        let place = format!("{}:{}: `{}`", page.display(), command.line, command.text);
        match sandbox.run(&command.text) {
            Err(problem) => mistakes.push(format!("{place}: {problem}")),
            Ok(output) => {
                let differs = command.expected.as_deref().is_some_and(|e| !pattern::matches(e, &output));
                if differs {
                    let expected = command.expected.as_deref().unwrap_or_default();
                    mistakes.push(format!("{place}\nexpected:\n{expected}\nfound:\n{output}"));
                }
            }
        }
    }
    mistakes
}

#[test]
fn every_command_of_the_guide_prints_what_the_guide_shows() {
    let guide = Path::new("../docs/src").canonicalize().unwrap();
    let pages: Vec<_> = pages(&guide).into_iter().map(|(path, text)| (path, commands(&text))).collect();
    let count: usize = pages.iter().map(|(_, commands)| commands.len()).sum();
    assert!(count > 30, "expected the commands of a dozen pages, found {count}");

    let chosen = std::env::var("TRY_IT").unwrap_or_default();
    let runs = |(page, commands): &&(PathBuf, Vec<Command>)| {
        !commands.is_empty() && page.to_string_lossy().contains(&chosen)
    };
    assert!(
        pages.iter().any(|page| runs(&page)),
        "expected a page with commands for TRY_IT={chosen}, found none"
    );
    let queue = Mutex::new(pages.iter().filter(runs));
    let mistakes = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let Some((page, commands)) = queue.lock().unwrap().next() else { break };
                    let found = run_page(page, commands);
                    mistakes.lock().unwrap().extend(found);
                }
            });
        }
    });
    let mistakes = mistakes.into_inner().unwrap();
    assert!(mistakes.is_empty(), "{} of {count} commands:\n\n{}", mistakes.len(), mistakes.join("\n\n"));
}
