//! Opens the user's editor at a line.
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

/// Placeholders for file and line in the editor's arguments.
const FILE: &str = "{file}";
const LINE: &str = "{line}";

/// Arguments that open a line, by the editors' program names. All others take `+LINE FILE`, as vi does.
const FORMS: &[(&[&str], Form)] = &[
    (
        &["code", "code-insiders", "codium", "vscodium", "code-oss", "cursor", "windsurf", "positron"],
        &["--goto", "{file}:{line}"],
    ),
    (
        &["hx", "helix", "subl", "sublime_text", "zed", "zeditor", "zed-editor", "lapce", "atom", "pulsar"],
        &["{file}:{line}"],
    ),
    (JETBRAINS, &["--line", LINE, FILE]),
    (&["kate", "kwrite", "xed", "mate"], &["--line", LINE, FILE]),
    (&["notepad++"], &["-n{line}", FILE]),
    (&["notepad"], &[FILE]),
];

/// Arguments that open a file at a line.
type Form = &'static [&'static str];

const JETBRAINS: &[&str] = &[
    "idea",
    "clion",
    "rustrover",
    "goland",
    "pycharm",
    "webstorm",
    "phpstorm",
    "rubymine",
    "rider",
    "datagrip",
    "studio",
    "appcode",
];

/// The value of $VISUAL or $EDITOR, else vi.
pub fn wanted() -> String {
    let named = |name| std::env::var(name).ok().filter(|v| !v.trim().is_empty());
    named("VISUAL").or_else(|| named("EDITOR")).unwrap_or_else(|| "vi".into())
}

/// Builds the command that opens `path` at `line`. `editor` is a program and arguments, quoted as in a shell;
/// it may name the positions of the file and the line by `{file}` and `{line}`.
///
/// # Errors
/// If a quote is not closed, or there is no program.
pub fn command(editor: &str, path: &Path, line: u32) -> Result<Command, String> {
    let words = words(editor)?;
    let (program, arguments) = words.split_first().ok_or("expected a program in EDITOR, found none")?;
    let mut command = Command::new(program);
    if arguments.iter().any(|word| word.contains(FILE) || word.contains(LINE)) {
        command.args(arguments.iter().map(|word| fill(word, path, line)));
        // Without `{file}` the path is the last argument.
        if !arguments.iter().any(|word| word.contains(FILE)) {
            command.arg(path);
        }
        return Ok(command);
    }
    command.args(arguments);
    command.args(form(program).iter().map(|word| fill(word, path, line)));
    Ok(command)
}

/// Splits `editor` as a shell does. The unquoted path of an existing file is one word, as in
/// `/Applications/My Editor`.
fn words(editor: &str) -> Result<Vec<String>, String> {
    let editor = editor.trim();
    if editor.contains(' ') && PathBuf::from(editor).is_file() {
        return Ok(vec![editor.to_owned()]);
    }
    shlex::split(editor).ok_or_else(|| {
        format!("expected EDITOR quoted as in a shell, found a quote that is not closed: {editor}")
    })
}

fn form(program: &str) -> Form {
    let name = Path::new(program).file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let name = [".exe", ".cmd", ".bat", ".sh"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    // JetBrains' programs are named like idea, idea64, pycharm-community.
    let base = name.split('-').next().unwrap_or(name);
    let is = |known: &&str| {
        name == *known
            || name.strip_suffix("64") == Some(*known)
            || base == *known && JETBRAINS.contains(known)
    };
    let known = FORMS.iter().find(|(names, _)| names.iter().any(is));
    let as_vi: Form = &["+{line}", FILE];
    known.map_or(as_vi, |(_, form)| *form)
}

/// Replaces the placeholders. The path is inserted as bytes, because it may not be UTF-8.
fn fill(word: &str, path: &Path, line: u32) -> OsString {
    let mut out = OsString::new();
    for (i, part) in word.split(FILE).enumerate() {
        if i > 0 {
            out.push(path);
        }
        out.push(part.replace(LINE, &line.to_string()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(editor: &str) -> String {
        format!("{:?}", command(editor, Path::new("/a b.rs"), 7).unwrap())
    }

    #[test]
    fn editors_get_the_line_in_their_own_form() {
        for (editor, says) in [
            ("vim", r#""vim" "+7" "/a b.rs""#),
            ("emacsclient -nw", r#""emacsclient" "-nw" "+7" "/a b.rs""#),
            ("code --wait", r#""code" "--wait" "--goto" "/a b.rs:7""#),
            ("/usr/bin/hx", r#""/usr/bin/hx" "/a b.rs:7""#),
            ("idea", r#""idea" "--line" "7" "/a b.rs""#),
            ("idea64.exe --wait", r#""idea64.exe" "--wait" "--line" "7" "/a b.rs""#),
            ("/opt/idea/bin/idea.sh", r#""/opt/idea/bin/idea.sh" "--line" "7" "/a b.rs""#),
            ("pycharm-community", r#""pycharm-community" "--line" "7" "/a b.rs""#),
            ("rustrover", r#""rustrover" "--line" "7" "/a b.rs""#),
            ("kate -b", r#""kate" "-b" "--line" "7" "/a b.rs""#),
        ] {
            assert_eq!(shown(editor), says);
        }
    }

    #[test]
    fn a_template_says_where_file_and_line_go() {
        for (editor, says) in [
            ("ed {file}:{line}", r#""ed" "/a b.rs:7""#),
            ("ed --at={line} {file} --wait", r#""ed" "--at=7" "/a b.rs" "--wait""#),
            ("code --goto {file}:{line}:1", r#""code" "--goto" "/a b.rs:7:1""#),
            ("vim +{line}", r#""vim" "+7" "/a b.rs""#),
            ("sh -c 'vi +{line} \"$1\"' sh {file}", r#""sh" "-c" "vi +7 \"$1\"" "sh" "/a b.rs""#),
        ] {
            assert_eq!(shown(editor), says);
        }
    }

    #[test]
    fn words_are_quoted_as_in_a_shell() {
        assert_eq!(shown("'/opt/My Editor/ed' --wait"), r#""/opt/My Editor/ed" "--wait" "+7" "/a b.rs""#);
        assert_eq!(shown(r"/opt/My\ Editor/ed"), r#""/opt/My Editor/ed" "+7" "/a b.rs""#);
        let error = command("vim 'x", Path::new("/a"), 1).unwrap_err();
        assert!(error.contains("quote that is not closed"), "{error}");
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("my ed");
        std::fs::write(&program, "").unwrap();
        let command = command(program.to_str().unwrap(), Path::new("/a"), 1).unwrap();
        assert_eq!(command.get_program(), program.as_os_str());
    }
}
