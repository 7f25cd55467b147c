//! The scripts of the tools.
use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use super::places::{Probe, Probes};
use crate::cli::ScriptTool;

/// Settings of gdb: the names of symbols are quoted as in C, and a server ignores SIGPIPE.
const GDB: &str = "set pagination off
set print thread-events off
set language c
handle SIGPIPE nostop noprint pass
";

/// The script of a tool. With `trace`, a debugger prints each stage and continues; otherwise it stops there.
pub fn text(tool: ScriptTool, binary: &Path, found: &Probes, trace: bool) -> String {
    let mut out = head(tool, binary, found);
    let mut last = "";
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    for probe in &found.probes {
        if probe.stage != last {
            last = probe.stage;
            let instances = found.probes.iter().filter(|p| p.stage == last).count();
            let many = if instances > 1 { format!(", {instances} places") } else { String::new() };
            line(&mut out, tool, &format!("{last}: {}{many}", probe.function));
        }
        let number = numbers.entry(probe.stage).or_default();
        *number += 1;
        out.push_str(&place(tool, binary, probe, *number, trace));
    }
    if !found.missing.is_empty() {
        line(&mut out, tool, "Stages that are not in this binary:");
        found.missing.iter().for_each(|missing| line(&mut out, tool, &format!("  {missing}")));
    }
    out
}

fn line(out: &mut String, tool: ScriptTool, text: &str) {
    let mark = if tool == ScriptTool::Bpftrace { "//" } else { "#" };
    let _ = writeln!(out, "{mark} {text}");
}

fn head(tool: ScriptTool, binary: &Path, found: &Probes) -> String {
    let shown = binary.display();
    let whose = if found.ours { "this project" } else { "TiKV" };
    let use_it = match tool {
        ScriptTool::Gdb => format!("gdb -p PID -x SCRIPT, or gdb -x SCRIPT --args {shown} ..."),
        ScriptTool::Lldb => format!("lldb -s SCRIPT -p PID, or lldb -s SCRIPT {shown} -- ..."),
        ScriptTool::Bpftrace => "bpftrace SCRIPT, as root".into(),
        ScriptTool::Perf => "sh SCRIPT, as root; then perf record -e 'tikv_step:*' -p PID; perf probe -d 'tikv_step:*' removes them".into(),
    };
    let mut out = if tool == ScriptTool::Perf { "#!/bin/sh\n".to_owned() } else { String::new() };
    line(
        &mut out,
        tool,
        &format!("Stages in {shown}, a binary of {whose}. Written by tikv-tui scripts {}.", tool.name()),
    );
    line(&mut out, tool, &format!("Use: {use_it}"));
    match tool {
        ScriptTool::Gdb => out.push_str(GDB),
        ScriptTool::Perf => out.push_str("set -e\n"),
        ScriptTool::Bpftrace => {
            out.push_str("BEGIN { printf(\"%-20s %8s %s\\n\", \"stage\", \"tid\", \"thread\"); }\n")
        }
        ScriptTool::Lldb => {}
    }
    out
}

fn place(tool: ScriptTool, binary: &Path, probe: &Probe, number: usize, trace: bool) -> String {
    let Probe { stage, symbol, offset, address, .. } = probe;
    match tool {
        ScriptTool::Gdb => {
            let at = match offset {
                0 => format!("*(char *)&'{symbol}'"),
                offset => format!("*((char *)&'{symbol}' + {offset:#x})"),
            };
            let commands = match trace {
                true => {
                    format!("commands\nsilent\nprintf \"{stage} thread %d\\n\", $_thread\ncontinue\nend\n")
                }
                false => format!("commands\nprintf \"stage {stage}\\n\"\nend\n"),
            };
            format!("break {at}\n{commands}")
        }
        ScriptTool::Lldb => {
            let run = if trace { " --auto-continue true" } else { "" };
            let shown = binary.display();
            format!(
                "breakpoint set --shlib '{shown}' --address {address:#x} --breakpoint-name {stage}{run} --command 'script print(\"{stage}\")'\n"
            )
        }
        ScriptTool::Bpftrace => {
            let at = if *offset == 0 { String::new() } else { format!("+{offset}") };
            format!(
                "uprobe:{}:\"{symbol}\"{at} {{ printf(\"%-20s %8d %s\\n\", \"{stage}\", tid, comm); @hits[\"{stage}\"] = count(); }}\n",
                binary.display()
            )
        }
        ScriptTool::Perf => {
            let event = if number == 1 { (*stage).to_owned() } else { format!("{stage}_{number}") };
            format!("perf probe -q -x '{}' -a 'tikv_step:{event}={address:#x}'\n", binary.display())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripts::places::Missing;

    fn found() -> Probes {
        let probe = |offset, address| Probe {
            stage: "mvcc_get",
            function: "PointGetter::get".into(),
            symbol: "_ZN1a17h0E".into(),
            offset,
            address,
            line: None,
        };
        let missing =
            vec![Missing { stage: "client_send", why: "its function is in another program".into() }];
        Probes { probes: vec![probe(0, 0x10), probe(4, 0x24)], missing, ours: false }
    }

    #[test]
    fn each_tool_gets_its_own_form() {
        let script = |tool, trace| text(tool, Path::new("/bin/tikv-server"), &found(), trace);
        let gdb = script(ScriptTool::Gdb, true);
        assert!(
            gdb.contains("break *(char *)&'_ZN1a17h0E'\ncommands\nsilent\nprintf \"mvcc_get thread %d"),
            "{gdb}"
        );
        assert!(
            gdb.contains("break *((char *)&'_ZN1a17h0E' + 0x4)") && gdb.contains("continue\nend"),
            "{gdb}"
        );
        assert!(!script(ScriptTool::Gdb, false).contains("continue"), "without --trace it stops");
        let lldb = script(ScriptTool::Lldb, false);
        assert!(lldb.contains("breakpoint set --shlib '/bin/tikv-server' --address 0x24"), "{lldb}");
        let bpftrace = script(ScriptTool::Bpftrace, false);
        assert!(bpftrace.contains("uprobe:/bin/tikv-server:\"_ZN1a17h0E\"+4 {"), "{bpftrace}");
        let perf = script(ScriptTool::Perf, false);
        assert!(
            perf.contains("-a 'tikv_step:mvcc_get=0x10'") && perf.contains("'tikv_step:mvcc_get_2=0x24'"),
            "{perf}"
        );
        for (script, mark) in [(gdb, "# "), (lldb, "# "), (bpftrace, "// "), (perf, "# ")] {
            assert!(
                script.contains(&format!("{mark}  client_send: its function is in another program")),
                "{script}"
            );
            assert!(script.contains("mvcc_get: PointGetter::get, 2 places"), "{script}");
        }
    }
}
