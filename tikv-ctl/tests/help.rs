//! The help of every command equals the recorded one. `UPDATE_HELP=1 cargo test -p tikv-ctl --test help`
//! rewrites the record.
mod common;

use common::ctl;

/// Returns the words that name `command` and each visible command below it, in the order of the help.
fn names(command: &clap::Command, above: &[String], all: &mut Vec<Vec<String>>) {
    all.push(above.to_vec());
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help")
    {
        names(inner, &[above, &[inner.get_name().to_owned()]].concat(), all);
    }
}

#[test]
fn help_is_as_recorded() {
    let file = "tests/help/help.txt";
    let mut all = String::new();
    let mut commands = Vec::new();
    names(&tikv_ctl::command(), &[], &mut commands);
    for command in commands {
        let args: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
        let (code, out, err) = ctl(&args);
        assert_eq!((code, err.as_str()), (0, ""), "{command:?}");
        all.push_str(&format!("$ tikv-ctl {}\n{out}\n", args.join(" ")));
    }
    if std::env::var_os("UPDATE_HELP").is_some() {
        std::fs::write(file, &all).unwrap();
    }
    let recorded = std::fs::read_to_string(file).unwrap();
    assert!(all == recorded, "the help changed; look at it, then run with UPDATE_HELP=1:\n{all}");
}

#[test]
fn help_of_help_is_the_help() {
    let help = ctl(&["help"]);
    assert_eq!(help.0, 0, "{}", help.2);
    assert_eq!(ctl(&["help", "--help"]), help);
    assert_eq!(ctl(&["help", "raft", "-h"]), ctl(&["help", "raft"]));
    let of_raft = ctl(&["raft", "help"]);
    assert_eq!(of_raft.0, 0, "{}", of_raft.2);
    assert_eq!(ctl(&["raft", "help", "--help"]), of_raft);
}

#[test]
fn wrong_flags_fail_with_a_hint() {
    let (code, out, err) = ctl(&["raft", "log", "-r", "2"]);
    assert!(code == 2 && out.is_empty() && err.contains("Usage"), "{err}");
    let (code, _, err) = ctl(&["nonsense"]);
    assert!(code == 2 && err.contains("nonsense"), "{err}");
}
