//! Replays a transcript: requests, and the messages that they bring, with symbols for lines and directories.
//!
//! A block is a request (its name, its arguments, and `until EVENT` if an event follows), `----`, and the
//! messages. `@stage` is the line of a stage, `$DIR` the directory of the test, `$ROOT` the checkout.
//! `UPDATE_TRANSCRIPTS=1` writes the found messages.
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::client::{Client, Site, sites};

struct Symbols {
    sites: Vec<Site>,
    dir: String,
    root: String,
}

pub fn check(name: &str, dir: &Path) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/dap/transcripts/{name}.txt"));
    let text = std::fs::read_to_string(&path).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_string_lossy().into_owned();
    let symbols = Symbols { sites: sites(), dir: dir.to_string_lossy().into_owned(), root };
    let mut client = Client::start();
    let mut found = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.is_empty() || line.starts_with('#') {
            found.push_str(&format!("{line}\n"));
            continue;
        }
        assert_eq!(lines.next(), Some("----"), "{name}: expected ---- after {line}");
        while lines.peek().is_some_and(|l| !l.is_empty()) {
            lines.next();
        }
        found.push_str(&format!("{line}\n----\n"));
        for message in exchange(&mut client, line, &symbols) {
            found.push_str(&format!("{}\n", symbols.shown(message)));
        }
    }
    if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    for (n, (expected, found)) in text.lines().zip(found.lines()).enumerate() {
        assert_eq!(expected, found, "{}:{}", path.display(), n + 1);
    }
    assert_eq!(text.lines().count(), found.lines().count(), "{}", path.display());
}

/// Sends the request of a line; returns the messages up to its response, and up to the awaited event.
fn exchange(client: &mut Client, line: &str, symbols: &Symbols) -> Vec<Value> {
    let (line, event) = match line.rsplit_once(" until ") {
        Some((request, event)) => (request, Some(event)),
        None => (line, None),
    };
    let (command, arguments) = line.split_once(' ').unwrap_or((line, "null"));
    let arguments = symbols.real(arguments);
    let seq =
        client.send(command, serde_json::from_str(&arguments).unwrap_or_else(|e| panic!("{arguments}: {e}")));
    // These are answered once the source has started.
    let (mut answered, mut came) = (event == Some("initialized"), event.is_none());
    let mut out = Vec::new();
    while !(answered && came) {
        let message = client.next().expect("the adapter stays");
        answered |= message["request_seq"] == seq;
        came |= event.is_some_and(|event| message["event"] == event);
        out.push(message);
    }
    out
}

impl Symbols {
    /// The arguments with real lines and paths.
    fn real(&self, text: &str) -> String {
        let mut text = text.replace("$DIR", &self.dir).replace("$ROOT", &self.root);
        // Longer names first, because one may begin with another.
        let mut sites: Vec<&Site> = self.sites.iter().collect();
        sites.sort_by_key(|site| std::cmp::Reverse(site.stage.len()));
        for site in sites {
            text = text.replace(&format!("\"@{}\"", site.stage), &site.line.to_string());
            text = text.replace(&format!("@file:{}", site.stage), &site.file);
        }
        text
    }

    /// A message as the transcript has it.
    fn shown(&self, message: Value) -> String {
        let kind = match (message["event"].as_str(), message["success"].as_bool()) {
            (Some(event), _) => format!("event {event}"),
            (None, Some(true)) => format!("response {}", message["command"].as_str().unwrap_or_default()),
            _ => {
                let why = message["message"].as_str().unwrap_or_default();
                return self
                    .plain(&format!("error {}: {why}", message["command"].as_str().unwrap_or_default()));
            }
        };
        let mut body = message["body"].clone();
        if body.is_null() {
            return kind;
        }
        self.name_lines(&mut body);
        self.plain(&format!("{kind} {body}"))
    }

    fn plain(&self, text: &str) -> String {
        text.replace(&self.dir, "$DIR").replace(&self.root, "$ROOT")
    }

    /// Names the lines that are stages.
    fn name_lines(&self, value: &mut Value) {
        match value {
            Value::Array(all) => all.iter_mut().for_each(|v| self.name_lines(v)),
            Value::Object(all) => {
                all.values_mut().for_each(|v| self.name_lines(v));
                let file = all.get("source").and_then(|s| s["path"].as_str()).unwrap_or_default().to_owned();
                let line = all.get("line").and_then(Value::as_u64);
                let site =
                    self.sites.iter().find(|s| Some(u64::from(s.line)) == line && file.ends_with(&s.file));
                // A line without its file moves with every change of the source.
                if all.contains_key("line") && !all.contains_key("source") {
                    all.insert("line".into(), "LINE".into());
                } else if let Some(site) = site {
                    all.insert("line".into(), format!("@{}", site.stage).into());
                }
            }
            _ => {}
        }
    }
}
