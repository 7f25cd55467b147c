//! Finds the commands in a page of the guide.

/// A command of a page.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// 1-based line in the page.
    pub line: usize,
    /// The command for the shell, in one line.
    pub text: String,
    /// The output that the page shows; none in a block of kind `sh`, where only the exit code counts.
    pub expected: Option<String>,
}

/// The kinds of blocks whose commands run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Console,
    Shell,
    Other,
}

/// Every command of the `console` blocks, and of the `sh` blocks below a heading "Try it".
pub fn commands(page: &str) -> Vec<Command> {
    let mut found: Vec<Command> = Vec::new();
    let (mut section, mut open): (bool, Option<(String, Kind)>) = (false, None);
    for (n, line) in page.lines().enumerate() {
        match &open {
            None if line.starts_with("```") => {
                let fence: String = line.chars().take_while(|c| *c == '`').collect();
                let kind = match &line[fence.len()..] {
                    "console" => Kind::Console,
                    "sh" if section => Kind::Shell,
                    _ => Kind::Other,
                };
                open = Some((fence, kind));
            }
            None if line.starts_with("## ") => section = line == "## Try it",
            None => {}
            Some((fence, _)) if line == fence => open = None,
            Some((_, Kind::Console)) => add_console(&mut found, n + 1, line),
            Some((_, Kind::Shell)) => add_shell(&mut found, n + 1, line),
            Some((_, Kind::Other)) => {}
        }
    }
    found
}

/// A line after `$ ` is a command; other lines are the output of the last one.
fn add_console(found: &mut Vec<Command>, line: usize, text: &str) {
    if let Some(command) = text.strip_prefix("$ ") {
        found.push(Command { line, text: command.to_owned(), expected: Some(String::new()) });
    } else if let Some(Command { expected: Some(expected), .. }) = found.last_mut() {
        expected.push_str(text);
        expected.push('\n');
    }
}

/// Each line is a command; one that follows a `\` belongs to the line before.
fn add_shell(found: &mut Vec<Command>, line: usize, text: &str) {
    if let Some(last) = found.last_mut().filter(|c| c.expected.is_none() && c.text.ends_with('\\')) {
        last.text.pop();
        last.text.push_str(text.trim_start());
    } else if !text.trim().is_empty() && !text.starts_with('#') {
        found.push(Command { line, text: text.to_owned(), expected: None });
    }
}

#[test]
fn only_blocks_that_run_are_found() {
    let page = "```sh\nno\n```\n```console\n$ a\nout\n\n$ b\n```\n## Try it\n```text\nno\n```\n```sh\nc \\\n  d\n# no\ne\n```\n## In\n\
        ```sh\nno\n```\n````text\n```console\n$ no\n```\n````\n";
    let command = |line, text: &str, expected: Option<&str>| Command {
        line,
        text: text.to_owned(),
        expected: expected.map(str::to_owned),
    };
    let expected = [
        command(5, "a", Some("out\n\n")),
        command(8, "b", Some("")),
        command(15, "c d", None),
        command(18, "e", None),
    ];
    assert_eq!(commands(page), expected);
}
