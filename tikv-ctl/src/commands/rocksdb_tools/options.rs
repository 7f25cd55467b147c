//! Arguments in the form of RocksDB's tools: `--name=value` and `--flag` in any position, and words.
use std::collections::BTreeMap;

use crate::{Error, Result, key::hex, print::output::Output};

/// Whether an option has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    Nothing,
    Value,
}

/// A supported or refused option.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    pub name: &'static str,
    pub takes: Takes,
    /// Commands that honour it; empty: all.
    pub commands: &'static [&'static str],
    /// Reason for refusing it, if it is one of RocksDB's options that has no meaning here.
    pub refused: Option<&'static str>,
}

/// Defines a flag of all commands, or of some.
pub const fn flag(name: &'static str, commands: &'static [&'static str]) -> OptionSpec {
    OptionSpec { name, takes: Takes::Nothing, commands, refused: None }
}

/// Defines an option with a value.
pub const fn value(name: &'static str, commands: &'static [&'static str]) -> OptionSpec {
    OptionSpec { name, takes: Takes::Value, commands, refused: None }
}

/// Defines an option of RocksDB's tool that is refused.
pub const fn refused(name: &'static str, takes: Takes, why: &'static str) -> OptionSpec {
    OptionSpec { name, takes, commands: &[], refused: Some(why) }
}

/// Parsed arguments.
#[derive(Debug, Default)]
pub struct ParsedArgs {
    tool: &'static str,
    options: BTreeMap<&'static str, String>,
    /// Arguments that are not options.
    pub words: Vec<String>,
}

impl ParsedArgs {
    /// Parses `args` of `tool`, whose options are `known`.
    ///
    /// # Errors
    /// Fails if an option is unknown, refused, lacks its value or has a value it does not take.
    pub fn parse(tool: &'static str, known: &[OptionSpec], args: &[String]) -> Result<ParsedArgs> {
        let mut given = ParsedArgs { tool, ..ParsedArgs::default() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let Some(text) = arg.strip_prefix("--").filter(|text| !text.is_empty()) else {
                if arg.starts_with('-') && arg.len() > 1 {
                    return Err(given.fail(format!("unknown option {arg}")));
                }
                given.words.push(arg.clone());
                continue;
            };
            let (name, inline) =
                text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
            let name = name.replace('-', "_");
            let Some(option) = known.iter().find(|option| option.name == name) else {
                return Err(given.fail(format!("unknown option --{name}")));
            };
            if let Some(why) = option.refused {
                return Err(given.fail(format!("--{name}: {why}")));
            }
            let value = match (option.takes, inline) {
                (Takes::Nothing, None) => String::new(),
                (Takes::Nothing, Some(_)) => return Err(given.fail(format!("--{name} takes no value"))),
                (Takes::Value, Some(value)) => value.to_owned(),
                (Takes::Value, None) => {
                    let next = args.next();
                    next.cloned()
                        .ok_or_else(|| given.fail(format!("--{name} needs a value: --{name}=VALUE")))?
                }
            };
            if given.options.insert(option.name, value).is_some() {
                return Err(given.fail(format!("--{name} is given twice")));
            }
        }
        Ok(given)
    }

    /// Fails if an option was given that `command` does not honour.
    pub fn check(&self, known: &[OptionSpec], command: &str) -> Result<()> {
        for option in known.iter().filter(|option| self.options.contains_key(option.name)) {
            if !option.commands.is_empty() && !option.commands.contains(&command) {
                let (name, of) = (option.name, option.commands.join(", "));
                return Err(self.fail(format!("--{name} is not an option of {command}: it belongs to {of}")));
            }
        }
        Ok(())
    }

    /// Returns an error of the tool.
    pub fn fail(&self, what: impl std::fmt::Display) -> Error {
        Error::other(format!("{}: {what}; see tikv-ctl {} --help", self.tool, self.tool))
    }

    /// Whether a flag was given.
    pub fn has(&self, name: &str) -> bool {
        self.options.contains_key(name)
    }

    /// Returns the value of an option.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// Returns the value of an option as a number.
    pub fn number(&self, name: &str) -> Result<Option<u64>> {
        let parse = |text: &str| {
            text.parse().map_err(|e| self.fail(format!("--{name}={text}: expected a number: {e}")))
        };
        self.get(name).map(parse).transpose()
    }

    /// Returns the bytes of a key: the text itself, or decoded hexadecimal after `0x`.
    pub fn key(&self, text: &str, is_hex: bool) -> Result<Vec<u8>> {
        if is_hex { Ok(hex(text)?) } else { Ok(text.as_bytes().to_vec()) }
    }

    /// Returns the key in an option; empty if the option was not given.
    pub fn key_of(&self, name: &str, is_hex: bool) -> Result<Vec<u8>> {
        self.get(name).map_or(Ok(Vec::new()), |text| self.key(text, is_hex))
    }
}

/// Prints `help` if the arguments request it or are empty; returns whether it did.
pub fn help(args: &[String], help: &str, out: &mut Output<'_>) -> Result<bool> {
    if args.iter().any(|arg| arg == "--help" || arg == "-h" || arg == "help") || args.is_empty() {
        return out.bytes(help.as_bytes()).map(|()| true);
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[OptionSpec] = &[
        value("db", &[]),
        flag("hex", &["scan", "get"]),
        value("from", &["scan"]),
        refused("bloom_bits", Takes::Value, "nothing is written"),
    ];

    fn parse(args: &[&str]) -> std::result::Result<ParsedArgs, String> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        ParsedArgs::parse("ldb", KNOWN, &args).map_err(|e| e.to_string())
    }

    #[test]
    fn options_stand_anywhere_and_values_keep_their_equals_signs() {
        let given = parse(&["--db", "a=b", "scan", "--from=x=y", "--hex", "w"]).unwrap();
        assert_eq!((given.get("db"), given.get("from")), (Some("a=b"), Some("x=y")));
        assert!(given.has("hex") && given.words == ["scan", "w"]);
        assert!(given.check(KNOWN, "scan").is_ok());
        let error = given.check(KNOWN, "get").unwrap_err().to_string();
        assert!(error.contains("--from is not an option of get: it belongs to scan"), "{error}");
    }

    #[test]
    fn unsupported_options_are_refused() {
        for (args, what) in [
            (&["--nope"][..], "unknown option --nope"),
            (&["-x"], "unknown option -x"),
            (&["--hex=1"], "--hex takes no value"),
            (&["--from"], "--from needs a value"),
            (&["--db=a", "--db=b"], "--db is given twice"),
            (&["--bloom_bits=10"], "--bloom_bits: nothing is written"),
        ] {
            let error = parse(args).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }
}
