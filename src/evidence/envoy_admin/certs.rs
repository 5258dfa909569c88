//! `/certs`.

use super::{Small, value};
use crate::evidence::json::message::{List, Text, message};
use crate::evidence::json::outline::Outline;
use crate::model::envoy::CertificateEntry;
use crate::model::problem::{Loss, Problem};

message! {
    struct Details { serial: Text = "serial_number" | "serialNumber" }
}

message! {
    struct Certificate {
        ca: List<Details> = "ca_cert" | "caCert",
        chain: List<Details> = "cert_chain" | "certChain",
    }
}

/// Reads `/certs` (Envoy `certs.proto`): one entry per TLS context, those that no dump shows included.
///
/// `None` when there is no list of certificates; an empty list is an answer. Only serial numbers are kept. Before 1.9
/// a certificate was a line of prose: such an entry counts, without serial numbers.
pub fn read(label: &str, text: &[u8]) -> (Option<Vec<CertificateEntry>>, Vec<Problem>) {
    let mut problems = Vec::new();
    let Some(small) = Small::find(label, "/certs", text, &mut problems) else { return (None, problems) };
    let mut out = None;
    small.fields(label, &mut problems, |f| {
        if f.key != b"certificates" {
            return;
        }
        let Some(walk) = Outline::new(f.value) else { return };
        let entries: &mut Vec<_> = out.get_or_insert_default();
        for item in walk.filter(|i| i.whole) {
            let c: Certificate = value(&item);
            let serials = |list: List<Details>| list.0.into_iter().map(|d| d.serial.0).filter(|s| !s.is_empty());
            entries.push(CertificateEntry {
                chain_serials: serials(c.chain).collect(),
                ca_serials: serials(c.ca).collect(),
            });
        }
    });
    if out.is_none() {
        problems.push(Problem::new(label, Loss::Whole, "not /certs: no list under `certificates`").at(0));
    }
    (out, problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"certificates": [
  {"ca_cert": [{"path": "<inline>", "serial_number": "b4"}],
   "cert_chain": [{"serial_number": "73", "days_until_expiration": "0"}, {"serial_number": "74"}]},
  {"caCert": [{"serialNumber": "b5"}], "certChain": null},
  {}
]}"#;

    fn own(list: &[crate::model::envoy::Name]) -> Vec<&str> {
        list.iter().map(|n| &**n).collect()
    }

    #[test]
    fn entries() {
        let (certs, problems) = read("certs", TEXT.as_bytes());
        let certs = certs.unwrap();
        assert!(problems.is_empty());
        assert_eq!(certs.len(), 3);
        assert_eq!((own(&certs[0].chain_serials), own(&certs[0].ca_serials)), (vec!["73", "74"], vec!["b4"]));
        assert_eq!((own(&certs[1].chain_serials), own(&certs[1].ca_serials)), (vec![], vec!["b5"]));
    }

    #[test]
    fn cut_and_garbage() {
        let (certs, problems) = read("certs", &TEXT.as_bytes()[..TEXT.find("null").unwrap()]);
        assert_eq!(certs.unwrap().len(), 1);
        assert_eq!(problems[0].loss, Loss::Part);
        assert_eq!(read("certs", br#"{"certificates":[]}"#).0, Some(Vec::new()));
        for text in ["{}", "x", r#"{"certificates":1}"#] {
            let (certs, problems) = read("certs", text.as_bytes());
            assert_eq!(certs, None, "{text}");
            assert!(problems.iter().any(|p| p.loss == Loss::Whole), "{text}");
        }
    }
}
