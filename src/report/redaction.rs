//! What `meshdump redact` did, for people.

use std::fmt::Write as _;

use super::words::{clean, count};
use crate::findings::redaction::Redaction;

/// Renders the report.
pub fn text(r: &Redaction) -> String {
    let mut out = String::new();
    let mut secrets: Vec<String> = r.secrets.iter().map(|(class, n)| format!("{n} {class}")).collect();
    if r.secrets_inside > 0 {
        secrets.push(format!("{} with a secret inside", count(r.secrets_inside, "text", "texts")));
    }
    if secrets.is_empty() {
        secrets.push("no secrets".to_owned());
    }
    let _ = writeln!(out, "{}", clean(&r.out));
    let _ = writeln!(out, "replaced  {}", secrets.join(", "));
    let _ =
        writeln!(out, "          {}, {}", count(r.names, "name", "names"), count(r.addresses, "address", "addresses"));
    let _ =
        writeln!(out, "kept      every length, count, reference and order; Envoy's own words, ports, versions, times");
    for d in &r.left_out {
        let _ = writeln!(out, "left out  {}: {}", clean(&d.path), d.why);
    }
    if r.identical {
        let _ = writeln!(out, "numbers   the analysis of the result is identical ({} compared)", r.numbers);
    } else {
        let _ = writeln!(out, "numbers   the analysis of the result DIFFERS; do not rely on it:");
        for d in &r.differences {
            let _ = writeln!(out, "          {}", clean(d));
        }
    }
    if !r.suspects.is_empty() {
        let n = r.suspects.len() as u64 + r.suspects_omitted;
        let _ = writeln!(out, "review    {} like secrets and were kept:", count(n, "value looks", "values look"));
        for s in &r.suspects {
            let _ = writeln!(out, "          {} at byte {}, {} bytes", clean(&s.path), s.offset, s.bytes);
        }
    }
    let key = match r.key {
        "file" => "the key file decides the pseudonyms: keep it to yourself",
        _ => {
            "the input itself decides the pseudonyms: whoever could guess all of it could check the guess; --key FILE prevents that"
        }
    };
    let _ = writeln!(out, "key       {key}");
    out
}
