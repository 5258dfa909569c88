//! The house rules of `docs/architecture.md`: imports go one way, files are touched in one room, one room prints.

use std::fs;
use std::path::{Path, PathBuf};

/// Each room with the rooms it must not know.
const FORBIDDEN: [(&str, &[&str]); 8] = [
    ("model", &["input", "evidence", "cost", "sim", "findings", "report", "cli", "lab", "generate"]),
    ("cost", &["input", "evidence", "sim", "findings", "report", "cli", "generate"]),
    ("sim", &["input", "evidence", "findings", "report", "cli", "generate"]),
    ("evidence", &["cost", "sim", "findings", "report", "cli", "generate"]),
    ("findings", &["input", "evidence", "report", "cli", "generate"]),
    ("report", &["input", "evidence", "sim", "cli", "generate"]),
    ("generate", &["input", "evidence", "cost", "findings", "report", "cli"]),
    ("lab", &["generate", "cli"]),
];

/// The file that writes requested outputs, and the only one outside `input/` and `lab/` that may touch files.
const WRITES_OUTPUT: &str = "cli/output.rs";

/// A source file without comments, strings and tests: what the compiler sees of it in a release.
struct Source {
    /// Below `src/`, with `/`.
    name: String,
    code: String,
}

impl Source {
    /// `model` for `model/envoy.rs`, `main.rs` for `main.rs`.
    fn room(&self) -> &str {
        self.name.split('/').next().unwrap_or("")
    }

    fn line_of(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }
}

fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&root, &mut all);
    all.sort();
    all.iter()
        .map(|path| {
            let name = path.strip_prefix(&root).expect("below src").to_string_lossy().replace('\\', "/");
            Source { name, code: bare(&fs::read_to_string(path).expect("a source file")) }
        })
        .collect()
}

/// `text` with comments, literals and `#[cfg(test)]` items blanked out; lines stay where they are.
fn bare(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    let blank = |out: &mut String, part: &str| out.extend(part.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
    while i < bytes.len() {
        let rest = &text[i..];
        let before = bytes.get(i.wrapping_sub(1)).copied().unwrap_or(b' ');
        let word = before.is_ascii_alphanumeric() || before == b'_';
        let len = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |n| n + 2)
        } else if let Some(body) = rest.strip_prefix('"') {
            let mut escaped = false;
            let end = body.find(|c| {
                let closes = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                closes
            });
            end.map_or(rest.len(), |n| n + 2)
        } else if !word && let Some(hashes) = raw_string(rest) {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = rest.find('"').unwrap_or(0) + 1;
            rest[open..].find(&close).map_or(rest.len(), |n| open + n + close.len())
        } else if let Some(len) = char_literal(rest) {
            len
        } else {
            let c = rest.chars().next().unwrap_or(' ');
            out.push(c);
            i += c.len_utf8();
            continue;
        };
        blank(&mut out, &rest[..len]);
        i += len;
    }
    without_tests(&out)
}

/// Hashes of a raw string that begins here.
fn raw_string(text: &str) -> Option<usize> {
    let rest = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    rest[hashes..].starts_with('"').then_some(hashes)
}

/// Length of a character literal that begins here; lifetimes are none.
fn char_literal(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('\'')?;
    if inner.starts_with('\\') {
        return inner[2..].find('\'').map(|n| n + 4);
    }
    let c = inner.chars().next()?;
    inner[c.len_utf8()..].starts_with('\'').then_some(c.len_utf8() + 2)
}

fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    while let Some(at) = out.find("#[cfg(test)]") {
        let open = out[at..].find(['{', ';']).map_or(out.len() - 1, |n| at + n);
        let mut depth = 0_usize;
        let end = if out.as_bytes()[open] == b';' {
            open + 1
        } else {
            let close = out[open..].char_indices().find(|(_, c)| {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                depth == 0
            });
            close.map_or(out.len(), |(n, _)| open + n + 1)
        };
        let gone: String = out[at..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(at..end, &gone);
    }
    out
}

/// Every room that this code names, with the place: `crate::room`, `super::…::room` that leaves its own room, and each
/// branch of `crate::{a, b}`.
fn rooms_named(source: &Source) -> Vec<(String, usize)> {
    let code = &source.code;
    let ident = |t: &str| -> String { t.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let mut out = Vec::new();
    // modules above this file within its room: `a/b.rs` is one down, `a/mod.rs` none
    let depth = source.name.matches('/').count() - usize::from(source.name.ends_with("/mod.rs"));
    let mut prefixes = vec!["crate::".to_owned(), "meshdump::".to_owned()];
    prefixes.push("super::".repeat(depth + 1));
    for prefix in prefixes {
        for (at, _) in code.match_indices(&prefix) {
            let rest = &code[at + prefix.len()..];
            if prefix.starts_with("super") && code[..at].ends_with("super::") {
                continue;
            }
            if let Some(list) = rest.strip_prefix('{') {
                let mut nested = 0_usize;
                let mut start = true;
                for (n, c) in list.char_indices() {
                    match c {
                        '{' => nested += 1,
                        '}' if nested == 0 => break,
                        '}' => nested -= 1,
                        ',' if nested == 0 => start = true,
                        c if c.is_whitespace() => {}
                        _ if start => {
                            start = false;
                            out.push((ident(&list[n..]), at));
                        }
                        _ => {}
                    }
                }
            } else {
                out.push((ident(rest), at));
            }
        }
    }
    out
}

#[test]
fn imports_go_one_way() {
    let mut wrong = Vec::new();
    let mut rooms_seen = Vec::new();
    for source in sources() {
        let Some((room, forbidden)) = FORBIDDEN.iter().find(|(room, _)| *room == source.room()) else { continue };
        rooms_seen.push(*room);
        for (named, at) in rooms_named(&source) {
            if forbidden.contains(&named.as_str()) {
                wrong.push(format!("src/{}:{}: {room} must not know {named}", source.name, source.line_of(at)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for room in ["model", "cost", "evidence", "findings", "report"] {
        assert!(rooms_seen.contains(&room), "no sources of {room} were found: the test looks in the wrong place");
    }
}

#[test]
fn files_are_touched_in_one_room() {
    let mut wrong = Vec::new();
    for source in sources() {
        if matches!(source.room(), "input" | "lab") || source.name == WRITES_OUTPUT {
            continue;
        }
        for what in ["std::fs", "fs::", "File::", "OpenOptions", "memmap2", "std::net", "TcpStream", "UdpSocket"] {
            for (at, _) in source.code.match_indices(what) {
                let before = source.code[..at].chars().next_back().unwrap_or(' ');
                if !before.is_alphanumeric() && before != '_' {
                    wrong.push(format!("src/{}:{}: {what}", source.name, source.line_of(at)));
                }
            }
        }
        // `use std::{fs, io}`
        for (at, _) in source.code.match_indices("use std::{") {
            let list = source.code[at..].split(';').next().unwrap_or("");
            if list.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == "fs" || w == "net") {
                wrong.push(format!("src/{}:{}: {list}", source.name, source.line_of(at)));
            }
        }
    }
    assert!(wrong.is_empty(), "only input/, lab/ and {WRITES_OUTPUT} touch files:\n{}", wrong.join("\n"));
}

#[test]
fn only_cli_prints() {
    let mut wrong = Vec::new();
    for source in sources() {
        if source.room() == "cli" {
            continue;
        }
        for what in ["println!", "print!", "eprintln!", "eprint!", "dbg!", "io::stdout", "io::stderr"] {
            for (at, _) in source.code.match_indices(what) {
                let before = source.code[..at].chars().next_back().unwrap_or(' ');
                if !before.is_alphanumeric() && before != '_' {
                    wrong.push(format!("src/{}:{}: {what}", source.name, source.line_of(at)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "only cli/ prints:\n{}", wrong.join("\n"));
}

/// The reader of sources finds what it is there to find.
#[test]
fn the_test_itself() {
    let source = |name: &str, text: &str| Source { name: name.to_owned(), code: bare(text) };
    let named = |name: &str, text: &str| -> Vec<String> {
        rooms_named(&source(name, text)).into_iter().map(|(room, _)| room).collect()
    };
    assert_eq!(
        named("model/a.rs", "use crate::input::X;\nuse crate::{cost::Y, sim::{A, B}, cli};"),
        ["input", "cost", "sim", "cli"]
    );
    assert_eq!(named("model/a.rs", "use super::super::report::X; use super::envoy::Y;"), ["report"]);
    assert_eq!(named("model/mod.rs", "use super::report::X;"), ["report"]);
    assert_eq!(named("model/a.rs", "fn f() { crate::input::g() }"), ["input"]);
    for hidden in [
        "// use crate::input::X;",
        "/// [`crate::input`]",
        "const A: &str = \"crate::input\\\"crate::input\";",
        "const A: &str = r#\"crate::\"input\"#;",
        "#[cfg(test)]\nmod tests { use crate::input::X; fn f() { {} } }",
        "#[cfg(test)]\nuse crate::input::X;",
    ] {
        assert_eq!(named("model/a.rs", hidden), [""; 0], "{hidden}");
    }
    assert_eq!(named("model/a.rs", "const Q: char = '\"'; use crate::input::X; const R: char = '\"';"), ["input"]);
    assert_eq!(named("model/a.rs", "fn f<'a>(x: &'a str) {} use crate::input::X;"), ["input"]);
    assert_eq!(source("a.rs", "// x\n\"\n\" crate::x").line_of(11), 3);
}
