//! The numbers of a report without its names: what must be the same after names were replaced.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// Strings that are no names: they count as numbers do.
const WORDS: [&str; 9] = ["kind", "code", "severity", "state", "loss", "envoy_version", "type", "source", "direction"];
/// What tells of the files, not of what is in them.
const LEFT_OUT: [&str; 5] = ["inputs", "tool", "sha256", "problems", "path"];

/// Each number of the report with the number of times it occurs, by path. Elements of a list are told apart by their
/// numbers alone, since names decide their order where numbers do not.
pub fn numbers(report: &impl Serialize) -> BTreeMap<String, u64> {
    let mut out = BTreeMap::new();
    // the report holds strings, integers and lists only, so this cannot fail
    let value = serde_json::to_value(report).unwrap_or_default();
    let Value::Object(map) = value else { return out };
    for (key, v) in map.iter().filter(|(k, _)| !LEFT_OUT.contains(&k.as_str())) {
        match v {
            // proxies and findings one by one, in the order of their numbers
            Value::Array(list) => {
                let mut rows: Vec<(String, &Value)> = list.iter().map(|v| (row(v), v)).collect();
                rows.sort_by(|a, b| a.0.cmp(&b.0));
                for (i, (_, v)) in rows.into_iter().enumerate() {
                    collect(v, &mut format!("{key}[{i}]"), &mut out);
                }
            }
            v => collect(v, &mut key.clone(), &mut out),
        }
    }
    out
}

/// The numbers of one row of a table, which belong together.
fn row(value: &Value) -> String {
    let mut row = BTreeMap::new();
    collect(value, &mut String::new(), &mut row);
    let row: Vec<String> = row.into_iter().map(|(k, n)| if n == 1 { k } else { format!("{k} x{n}") }).collect();
    row.join(" ")
}

fn collect(value: &Value, path: &mut String, out: &mut BTreeMap<String, u64>) {
    let len = path.len();
    match value {
        Value::Object(map) => {
            for (key, v) in map.iter().filter(|(k, _)| !LEFT_OUT.contains(&k.as_str())) {
                let word = WORDS.contains(&key.as_str());
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
                match v {
                    Value::String(text) if word => *out.entry(format!("{path}={text}")).or_default() += 1,
                    _ => collect(v, path, out),
                }
                path.truncate(len);
            }
        }
        Value::Array(list) => {
            path.push_str("[]");
            *out.entry(format!("{path}.len={}", list.len())).or_default() += 1;
            for v in list {
                *out.entry(format!("{path}{{{}}}", row(v))).or_default() += 1;
            }
        }
        Value::String(_) => {}
        other => *out.entry(format!("{path}={other}")).or_default() += 1,
    }
    path.truncate(len);
}

/// What one report has and the other has not, up to `most` of each: `- before` and `+ after`.
pub fn differences(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>, most: usize) -> Vec<String> {
    let only = |a: &BTreeMap<String, u64>, b: &BTreeMap<String, u64>, mark: char| -> Vec<String> {
        let differs = a.iter().filter(|(k, n)| b.get(*k) != Some(n));
        differs.take(most).map(|(k, _)| format!("{mark} {}", k.chars().take(200).collect::<String>())).collect()
    };
    let mut out = only(before, after, '-');
    out.extend(only(after, before, '+'));
    out
}
