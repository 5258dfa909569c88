//! The JSON contract: the report value as it is.

use serde::Serialize;

/// Pretty-printed JSON with a final newline. Control characters in names are escaped as JSON does.
pub fn render<T: Serialize>(report: &T) -> String {
    // the report value holds strings, integers and lists only, so this cannot fail
    let mut text = serde_json::to_string_pretty(report).unwrap_or_default();
    text.push('\n');
    text
}
