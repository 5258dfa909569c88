//! The small answers of Envoy's admin interface that stand beside a config dump.
//!
//! One file per endpoint, each with a `read` that never fails as a whole: it gives what it got, and the problems. All
//! of them accept numbers as strings and the reverse, both spellings of keys, a log line in front (`pilot-agent
//! request` writes one) and a copy that was cut. `/clusters?format=json` is read by [`super::config_dump`], which meets
//! the same elements in other places.
//!
//! Field names and formats: Envoy `api/envoy/admin/v3/*.proto` and `source/server/admin/*`, 1.40.

pub mod certs;
pub mod clusters;
pub mod init_dump;
pub mod listeners;
pub mod memory;
pub mod server_info;
pub mod stats;

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use super::json::outline::{End, Item, Outline};
use super::json::tally;
use crate::model::problem::{Loss, Problem};

/// A small JSON document, walked field by field.
struct Small<'a> {
    /// The object, as UTF-8.
    text: Cow<'a, [u8]>,
    /// Where it begins in the document.
    base: usize,
}

impl<'a> Small<'a> {
    /// Finds the JSON object; `endpoint` is its path, for problems.
    fn find(label: &str, endpoint: &str, bytes: &'a [u8], problems: &mut Vec<Problem>) -> Option<Self> {
        let text = utf8(bytes);
        let Some(base) = object_start(&text) else {
            let what = format!("not {endpoint}: expected a JSON object");
            let hint = format!("fetch {endpoint} again from the admin port");
            problems.push(Problem::new(label, Loss::Whole, what).at(0).hint(hint));
            return None;
        };
        let skipped = &text[..base];
        if skipped.iter().any(|b| !b.is_ascii_whitespace()) && skipped != "\u{feff}".as_bytes() {
            problems.push(
                Problem::new(label, Loss::Nothing, format!("{base} bytes in front of the JSON were skipped")).at(0),
            );
        }
        let text = match text {
            Cow::Borrowed(t) => Cow::Borrowed(&t[base..]),
            Cow::Owned(t) => Cow::Owned(t[base..].to_vec()),
        };
        Some(Self { text, base })
    }

    /// Walks the fields; a walk that ends early or breaks is a problem.
    fn fields(&self, label: &str, problems: &mut Vec<Problem>, mut each: impl FnMut(&Item<'_>)) {
        let Some(mut walk) = Outline::new(&self.text) else { return };
        for item in walk.by_ref() {
            each(&item);
        }
        problems.extend(end_problem(label, walk.end(), self.base));
    }
}

/// A walk that did not reach its closing bracket.
fn end_problem(label: &str, end: End, base: usize) -> Option<Problem> {
    match end {
        End::Closed(_) => None,
        End::Early(at) => Some(
            Problem::new(label, Loss::Part, "the file ends inside the JSON; what was whole before is used")
                .at((base + at) as u64)
                .hint("fetch it again"),
        ),
        End::Broken(at) => Some(
            Problem::new(label, Loss::Part, "not JSON from here on; what was whole before is used")
                .at((base + at) as u64)
                .hint("fetch it again"),
        ),
    }
}

/// The first `{` that begins a line, else the first one with a key or `}` behind it.
fn object_start(text: &[u8]) -> Option<usize> {
    let mut fallback = None;
    for at in memchr::memchr_iter(b'{', text) {
        let before = text[..at].iter().rev().find(|b| !matches!(b, b' ' | b'\t'));
        let after = text[at + 1..].iter().find(|b| !b.is_ascii_whitespace());
        if !matches!(after, Some(b'"' | b'}') | None) {
            continue;
        }
        // U+FEFF ends with BF
        if matches!(before, None | Some(b'\n' | b'\r' | 0xbf)) {
            return Some(at);
        }
        fallback = fallback.or(Some(at));
    }
    fallback
}

/// UTF-16 with a byte order mark, as PowerShell writes redirected output, becomes UTF-8; all else is left alone.
/// Characters without meaning become U+FFFD.
pub(super) fn utf8(bytes: &[u8]) -> Cow<'_, [u8]> {
    let from = match bytes {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return Cow::Borrowed(bytes),
    };
    let units = bytes[2..].chunks_exact(2).map(|c| from([c[0], c[1]]));
    let text: String = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    Cow::Owned(text.into_bytes())
}

/// One value, tolerantly; the default when it is not whole or no JSON. What it weighs is of no interest here.
fn value<T: DeserializeOwned + Default>(item: &Item<'_>) -> T {
    if !item.whole {
        return T::default();
    }
    tally::scoped(|| match std::str::from_utf8(item.value) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_str(&String::from_utf8_lossy(item.value)),
    })
    .0
    .unwrap_or_default()
}
