//! The example in the README is what the tool prints.

use std::process::Command;

#[test]
fn the_example_is_real() {
    let readme = include_str!("../README.md");
    let example = readme.split("```text\n").nth(1).and_then(|r| r.split("```").next()).expect("an example");
    let out = Command::new(env!("CARGO_BIN_EXE_meshdump"))
        .args(["analyze", "testdata/envoy/gateway"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("runs");
    assert!(out.status.success());
    let printed = String::from_utf8(out.stdout).expect("UTF-8");
    let mut lines = printed.lines();
    for wanted in example.lines().filter(|l| !l.trim().is_empty() && l.trim() != "…") {
        assert!(
            lines.any(|l| l == wanted),
            "not printed, or not in this order: {wanted}\nrun the command and copy its output"
        );
    }
}
