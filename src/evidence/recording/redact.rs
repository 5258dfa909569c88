//! Bodies on one line, without what must stay secret.

use std::collections::HashMap;
use std::fmt::Write;

use foldhash::fast::FixedState;

use crate::evidence::json::outline::Outline;
use crate::evidence::json::skip::{skip_space, value_end};
use crate::evidence::json::tally::key_hash;

/// Fields whose strings are secret, all that is below them included (`envoy.extensions.transport_sockets.tls.v3`,
/// `envoy.extensions.filters.http.{oauth2,basic_auth,credential_injector}.v3`, …).
const SECRET: [u64; 12] = [
    key_hash(b"private_key"),
    key_hash(b"password"),
    key_hash(b"session_ticket_keys"),
    key_hash(b"generic_secret"),
    key_hash(b"hmac_secret"),
    key_hash(b"token_secret"),
    key_hash(b"auth_password"),
    key_hash(b"auth_aws_iam"),
    key_hash(b"client_secret"),
    key_hash(b"users"),
    key_hash(b"pkcs12"),
    key_hash(b"access_token"),
];

/// Names of what is secret and what is not in the text: references to SDS stay.
const PLAIN: [u64; 4] =
    [key_hash(b"name"), key_hash(b"filename"), key_hash(b"@type"), key_hash(b"resource_api_version")];

/// Deeper text is left out.
const MAX_NESTING: u32 = 256;

/// Writes bodies with each secret string replaced by a number of its own, as long as it was: equal secrets stay equal,
/// different ones different, and the size is what it was.
#[derive(Debug, Default)]
pub(super) struct Redactor {
    numbers: HashMap<String, usize, FixedState>,
}

impl Redactor {
    /// Writes the object in `text`.
    pub(super) fn object(&mut self, out: &mut String, text: &str) {
        self.value(out, text.as_bytes(), false, 0);
    }

    /// The same with an `@type` in front when it has none.
    pub(super) fn typed(&mut self, out: &mut String, text: &str, type_name: &str) {
        let from = out.len();
        self.object(out, text);
        if super::equality::type_of(&out.as_bytes()[from..]).is_none() && out[from..].starts_with('{') {
            let more = if out[from..].starts_with("{}") { "" } else { "," };
            out.insert_str(from + 1, &format!("\"@type\":\"type.googleapis.com/{type_name}\"{more}"));
        }
    }

    fn value(&mut self, out: &mut String, text: &[u8], secret: bool, nesting: u32) {
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
                    let mut inner = secret;
                    if object {
                        let _ = write!(out, "\"{}\":", String::from_utf8_lossy(item.key));
                        let key = key_hash(item.key);
                        inner = (secret || SECRET.contains(&key)) && !PLAIN.contains(&key);
                    }
                    self.value(out, item.value, inner, nesting + 1);
                }
                out.push(if object { '}' } else { ']' });
            }
            Some(b'{' | b'[') => out.push_str("null"),
            Some(b'"') if secret => self.secret(out, text),
            _ => {
                let end = value_end(text).unwrap_or(text.len());
                out.push_str(&String::from_utf8_lossy(&text[..end]));
            }
        }
    }

    fn secret(&mut self, out: &mut String, literal: &[u8]) {
        let text: String = serde_json::from_slice(literal).unwrap_or_default();
        if text.is_empty() || text == "[redacted]" {
            let _ = write!(out, "\"{text}\"");
            return;
        }
        let len = text.len();
        let next = self.numbers.len() + 1;
        let number = *self.numbers.entry(text).or_insert(next);
        // letters and digits only, so that it is base64 where it has to be
        let mark = format!("redacted{number}");
        let _ = write!(out, "\"{mark:A<len$}\"");
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
        redactor.object(&mut out, text);
        assert_eq!(
            out,
            r#"{"name":"l","common_tls_context":{"tls_certificates":[{"private_key":{"inline_string":"redacted1AAAAAAAAAAAAAA"},"certificate_chain":{"inline_string":"PUBLIC"},"password":{"filename":"/a"}}],"sds":{"name":"x"}},"privateKey":{"inlineBytes":"redacted2AAAAAAAAAAAAAAAAAAAAAAA"}}"#
        );
        let mut again = String::new();
        redactor.object(&mut again, text);
        assert_eq!(out, again);
    }
}
