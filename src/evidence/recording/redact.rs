//! Bodies on one line, without what must stay secret.

use std::collections::HashMap;
use std::fmt::Write;

use foldhash::fast::FixedState;

use crate::evidence::api::fold;
use crate::evidence::json::outline::Outline;
use crate::evidence::json::skip::{skip_space, value_end};
use crate::evidence::redact::is_operator;
use crate::evidence::secrets::{self, Class};
use crate::model::stream::XdsType;

/// Deeper text is left out.
const MAX_NESTING: u32 = 256;

/// Writes bodies with each secret string replaced by a number of its own, as long as it was: equal secrets stay equal,
/// different ones different, and the size is what it was.
#[derive(Debug, Default)]
pub(super) struct Redactor {
    numbers: HashMap<String, u64, FixedState>,
    /// The last number, by the length of what it stands for.
    last: HashMap<usize, u64, FixedState>,
    /// Folded keys that lead to the value at hand.
    path: Vec<String>,
    /// Certificates are replaced too.
    certificates: bool,
}

impl Redactor {
    /// Writes the object in `text`, of that type. Of a secret nothing stays but its form.
    pub(super) fn object(&mut self, out: &mut String, text: &str, kind: XdsType) {
        self.certificates = kind == XdsType::Secret;
        self.path.clear();
        self.value(out, text.as_bytes(), 0);
    }

    /// The same with an `@type` in front when it has none.
    pub(super) fn typed(&mut self, out: &mut String, text: &str, type_name: &str, kind: XdsType) {
        let from = out.len();
        self.object(out, text, kind);
        if super::equality::type_of(&out.as_bytes()[from..]).is_none() && out[from..].starts_with('{') {
            let more = if out[from..].starts_with("{}") { "" } else { "," };
            out.insert_str(from + 1, &format!("\"@type\":\"type.googleapis.com/{type_name}\"{more}"));
        }
    }

    fn value(&mut self, out: &mut String, text: &[u8], nesting: u32) {
        let text = &text[skip_space(text)..];
        match text.first() {
            Some(b'{' | b'[') if nesting < MAX_NESTING => {
                let object = text[0] == b'{';
                out.push(if object { '{' } else { '[' });
                let mut first = true;
                for item in Outline::new(text).into_iter().flatten().filter(|i| i.whole) {
                    if !std::mem::take(&mut first) {
                        out.push(',');
                    }
                    if object {
                        let key = String::from_utf8_lossy(item.key);
                        let _ = write!(out, "\"{key}\":");
                        self.path.push(fold(&key).into_owned());
                    }
                    self.value(out, item.value, nesting + 1);
                    if object {
                        self.path.pop();
                    }
                }
                out.push(if object { '}' } else { ']' });
            }
            Some(b'{' | b'[') => out.push_str("null"),
            Some(b'"') => self.string(out, text),
            _ => {
                let end = value_end(text).unwrap_or(text.len());
                out.push_str(&String::from_utf8_lossy(&text[..end]));
            }
        }
    }

    /// Certificates of listeners and clusters are public, and tell their generations apart.
    fn is_secret(&self, text: &str) -> bool {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        (self.certificates || secrets::class(&path) != Some(Class::Certificate))
            && secrets::hides(&path, text)
            && !matches!(text, "" | "[redacted]" | "W3JlZGFjdGVkXQ==" | "true" | "false")
            && !is_operator(text)
    }

    fn string(&mut self, out: &mut String, literal: &[u8]) {
        let end = value_end(literal).unwrap_or(literal.len());
        let text: String = serde_json::from_slice(&literal[..end]).unwrap_or_default();
        if self.is_secret(&text) {
            let _ = write!(out, "\"{}\"", self.filler(text));
        } else {
            out.push_str(&String::from_utf8_lossy(&literal[..end]));
        }
    }

    /// A message for people, without what looks like a secret in it.
    pub(super) fn message(&mut self, text: &str) -> String {
        if text.contains("-----BEGIN") {
            return self.filler(text.to_owned());
        }
        let mut follows = false;
        let words = text.split(' ').map(|word| {
            let hide = follows || secrets::suspect(word);
            follows = ["bearer", "basic"]
                .iter()
                .any(|scheme| word.trim_start_matches(['"', '\'']).eq_ignore_ascii_case(scheme));
            if hide { self.filler(word.to_owned()) } else { word.to_owned() }
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// Letters and digits only, so that it is base64 where it has to be.
    fn filler(&mut self, text: String) -> String {
        const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let len = text.len();
        let last = self.last.entry(len).or_default();
        let mut number = *self.numbers.entry(text).or_insert_with(|| {
            *last += 1;
            *last
        });
        let mark = format!("redacted{number}");
        if mark.len() <= len {
            return format!("{mark:A<len$}");
        }
        let mut short = vec![b'A'; len];
        for digit in short.iter_mut().rev() {
            if number == 0 {
                break;
            }
            *digit = DIGITS[(number % 36) as usize];
            number /= 36;
        }
        String::from_utf8(short).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_sizes_stay() {
        let text = r#"{ "name" : "l", "common_tls_context": {"tls_certificates":[{"private_key":{"inline_string":"-----KEY-----aaaaaaaaaa"},
            "certificate_chain":{"inline_string":"PUBLIC"},"password":{"filename":"/a"}}], "sds":{"name":"x"}},
            "privateKey":{"inlineBytes":"LS0tLS1LRVktLS0tLWFhYWFhYWFhYWE="} }"#;
        let mut out = String::new();
        let mut redactor = Redactor::default();
        redactor.object(&mut out, text, XdsType::Listener);
        assert_eq!(
            out,
            r#"{"name":"l","common_tls_context":{"tls_certificates":[{"private_key":{"inline_string":"redacted1AAAAAAAAAAAAAA"},"certificate_chain":{"inline_string":"PUBLIC"},"password":{"filename":"/a"}}],"sds":{"name":"x"}},"privateKey":{"inlineBytes":"redacted1AAAAAAAAAAAAAAAAAAAAAAA"}}"#
        );
        let mut again = String::new();
        redactor.object(&mut again, text, XdsType::Listener);
        assert_eq!(out, again);
    }

    #[test]
    fn messages() {
        let mut redactor = Redactor::default();
        let text = "bad header 'Bearer abc': https://a?token=1 in x";
        let done = redactor.message(text);
        assert!(
            done.starts_with("bad header 'Bearer ") && done.ends_with(" in x") && done.len() == text.len(),
            "{done}"
        );
        assert!(!done.contains("abc") && !done.contains("token=1"), "{done}");
    }

    #[test]
    fn every_class_of_secret_goes() {
        let text = r#"{"name":"r","virtual_hosts":[{"name":"web","domains":["*"],"request_headers_to_add":[
            {"header":{"key":"authorization","value":"Bearer hush"}},{"header":{"key":"x","value":"1"}},
            {"header":{"key":"y","value":"2"}},{"header":{"key":"z","value":"%PROTOCOL%"}}],
            "routes":[{"match":{"prefix":"/","headers":[{"name":"x-key","string_match":{"exact":"hush"}}]},
            "route":{"cluster":"a"},"metadata":{"filter_metadata":{"com.acme":{"k":"hush"}}}},
            {"match":{"path":"/r"},"redirect":{"path_redirect":"https://u:hush@h/cb?t=hush"}}]}],
            "ads":{"initial_metadata":[{"key":"k","value":"hush"}]},"code":{"inline_string":"-- hush"}}"#;
        let mut out = String::new();
        Redactor::default().object(&mut out, text, XdsType::RouteConfig);
        assert!(!out.contains("hush"), "{out}");
        for kept in ["\"web\"", "authorization", "%PROTOCOL%", "\"cluster\":\"a\"", "\"prefix\":\"/\"", "\"x-key\""] {
            assert!(out.contains(kept), "{kept} in {out}");
        }
        assert!(out.contains(r#""key":"x","value":"1""#) && out.contains(r#""key":"y","value":"2""#), "{out}");
        let compact = serde_json::from_str::<serde_json::Value>(text).unwrap().to_string();
        assert_eq!(out.len(), compact.len());
    }
}
