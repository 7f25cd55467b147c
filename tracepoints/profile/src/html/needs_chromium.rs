//! Runs pages in a headless Chromium. Plain cargo ignores these tests; `./run test` runs them where Chromium
//! is found.
use std::{path::Path, process::Command};

use super::{
    tests::{pages, traced, write},
    *,
};

/// Returns the document of a page after a headless Chromium has loaded it and run `script` in it.
fn run(page: &str, script: &str) -> String {
    let chromium = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success()));
    let chromium = chromium.expect("this test needs chromium, chromium-browser or google-chrome on the PATH");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("page.html");
    // Draws frames at once, so that the result depends on no timer of the browser.
    let at_once = "<script>window.requestAnimationFrame = (draw) => (draw(performance.now()), 0);</script>";
    let steps = format!(
        "<script>addEventListener('load', () => {{ const key = (k) => dispatchEvent(new KeyboardEvent('keydown', {{ key: k }})); {script} }});</script></body>"
    );
    let page = page.replacen("<head>", &format!("<head>{at_once}"), 1).replace("</body>", &steps);
    std::fs::write(&path, page).unwrap();
    dump(chromium, dir.path(), &path)
}

fn dump(chromium: &str, dir: &Path, path: &Path) -> String {
    let output = Command::new("timeout")
        .args(["120", chromium, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1200,800"])
        .arg(format!("--user-data-dir={}", dir.join("profile").display()))
        .arg("--dump-dom")
        .arg(format!("file://{}", path.display()))
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn text_of<'a>(dom: &'a str, id: &str) -> &'a str {
    let from = dom.find(&format!("id=\"{id}\"")).unwrap_or_else(|| panic!("no {id} in {dom}"));
    dom[from..].split('>').nth(1).unwrap().split('<').next().unwrap()
}

#[test]
#[ignore = "needs Chromium"]
fn a_trace_page_runs_by_its_keys() {
    let [(_, page), ..] = pages();
    // The critical path's search finds it; the timeline moves to the next lane; the table is sorted.
    let dom = run(&page, "key('ArrowUp'); key('ArrowUp');");
    assert!(dom.contains("data-ready=\"1\"") && dom.contains("data-view=\"flame\""), "{dom}");
    assert!(text_of(&dom, "detail").contains("all › raw_put › raft_send"), "{}", text_of(&dom, "detail"));
    let dom = run(&page, "key('2'); key('ArrowDown'); key('ArrowRight');");
    assert!(dom.contains("data-view=\"timeline\""));
    assert!(text_of(&dom, "detail").contains("raftstore-1-0 — at"), "{}", text_of(&dom, "detail"));
    let dom = run(&page, "key('3'); key('ArrowDown');");
    let rows = dom.matches("<tr aria-selected").count();
    assert!(dom.contains("data-view=\"table\"") && rows > 10, "{rows} rows");
    assert!(dom.contains("on the critical path ▾"));
    let search = "document.getElementById('search').value='fsync'; setSearch('fsync');";
    let dom = run(&page, search);
    assert!(text_of(&dom, "hits").contains("1 found"), "{}", text_of(&dom, "hits"));
}

#[test]
#[ignore = "needs Chromium"]
fn a_comparison_runs_on_both_sides_and_on_each() {
    let [_, _, (_, page)] = pages();
    let dom = run(&page, "key('ArrowUp'); key('ArrowUp');");
    assert!(
        text_of(&dom, "detail").contains("p50") && text_of(&dom, "detail").contains("a request"),
        "{}",
        text_of(&dom, "detail")
    );
    let dom = run(&page, "key('d');");
    assert!(dom.contains("only p50"));
    let dom = run(&page, "key('3');");
    assert!(dom.contains("significant") && dom.contains("delta ▾"));
}

#[test]
#[ignore = "needs Chromium"]
fn fifty_thousand_spans_are_drawn() {
    let each = write(0, 0).steps.len() as u64;
    let many: Vec<Operation> = (0..50_000 / each + 1).map(|i| write(i, i * 130_000)).collect();
    let page = traced("many", &many).unwrap();
    let script = "key('2'); const a = performance.now(); views.timeline.draw(); \
                  document.body.dataset.took = String(performance.now() - a);";
    let dom = run(&page, script);
    let drawn: u64 = dom.split("data-drawn=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
    assert!(drawn > 1_000, "{drawn} spans drawn");
    assert!(dom.contains("data-took="));
}
