//! A Kubernetes watch as changes in time: lines of `{"t": seconds, "e": {"type", "object"}}`, or of
//! `kubectl --output-watch-events` itself, which has no times.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_64;

use crate::model::ingress::{Backend, Change, Object, Site};
use crate::model::problem::{Loss, Problem};
use crate::model::stream::Us;

/// A watch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watch {
    /// Changes, sorted by time.
    pub changes: Vec<Change>,
    /// Some lines had no time and follow the line before by one second.
    pub times_assumed: bool,
    /// Events left out as they show what was known: a watch that is started again lists everything once more, under the
    /// same `resourceVersion`.
    pub repeated: usize,
}

impl Watch {
    /// Takes in what another watch saw of the same cluster: `kubectl` watches one kind of object per process.
    pub fn join(&mut self, other: Self) {
        self.changes.extend(other.changes);
        self.changes.sort_by_key(|c| c.t);
        self.times_assumed |= other.times_assumed;
        self.repeated += other.repeated;
    }
}

#[derive(Deserialize)]
struct Line<'a> {
    t: Option<f64>,
    #[serde(borrow)]
    e: Option<Event<'a>>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a str>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Body<'a> {
    kind: &'a str,
    metadata: Option<Metadata>,
    #[serde(borrow)]
    spec: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    /// `Endpoints`.
    subsets: Option<Vec<Subset>>,
    /// `EndpointSlice`.
    endpoints: Option<Vec<serde::de::IgnoredAny>>,
}

#[derive(Deserialize, Default)]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    #[serde(rename = "resourceVersion")]
    resource_version: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Subset {
    addresses: Option<Vec<serde::de::IgnoredAny>>,
}

#[derive(Deserialize)]
struct Spec {
    tls: Option<Vec<Tls>>,
    rules: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tls {
    hosts: Option<Vec<String>>,
    secret_name: Option<String>,
}

#[derive(Deserialize)]
struct Rule {
    host: Option<String>,
    http: Option<Http>,
}

#[derive(Deserialize)]
struct Http {
    paths: Option<Vec<Path>>,
}

#[derive(Deserialize)]
struct Path {
    path: Option<String>,
    backend: PathBackend,
}

/// `networking.k8s.io/v1`, and the flat form of v1beta1 and of `extensions`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PathBackend {
    service: Option<Service>,
    service_name: Option<String>,
    service_port: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Service {
    name: String,
    port: Option<Port>,
}

#[derive(Deserialize)]
struct Port {
    name: Option<String>,
    number: Option<u32>,
}

/// Whether a document begins like a watch.
pub fn looks_like(head: &[u8]) -> bool {
    let line = head.split(|b| *b == b'\n').find(|l| !l.iter().all(u8::is_ascii_whitespace)).unwrap_or_default();
    serde_json::from_slice::<Line<'_>>(line).is_ok_and(|l| l.e.is_some() || (l.kind.is_some() && l.object.is_some()))
}

/// Reads a watch; lines that are no event of one are problems, the others are kept.
pub fn read(label: &str, bytes: &[u8]) -> (Watch, Vec<Problem>) {
    let mut watch = Watch::default();
    let mut problems = Vec::new();
    let mut known = HashMap::new();
    // addresses of each slice of a Service, which together are its endpoints
    let mut slices: HashMap<String, BTreeMap<String, u32>> = HashMap::new();
    let mut t = -1_000_000;
    let mut at = 0_u64;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let here = at;
        at += line.len() as u64;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match event(line, &mut t, &mut watch.times_assumed) {
            Ok(Said::Change(mut change, Seen { version, slice })) => {
                let key = (std::mem::discriminant(&change.object), key(&change.object).to_owned(), slice.clone());
                let before = if change.gone { known.remove(&key) } else { known.insert(key, version.clone()) };
                if !change.gone && version.is_some() && before == Some(version) {
                    watch.repeated += 1;
                    continue;
                }
                if let (Object::Endpoints(service, count), Some(slice)) = (&mut change.object, slice) {
                    let all = slices.entry(service.clone()).or_default();
                    if change.gone {
                        all.remove(&slice)
                    } else {
                        all.insert(slice, *count)
                    };
                    *count = all.values().fold(0, |sum, n| sum.saturating_add(*n));
                    change.gone = all.is_empty();
                }
                watch.changes.push(change);
            }
            Ok(Said::Nothing) => {}
            Ok(Said::Broken(why)) => problems.push(
                Problem::new(label, Loss::Part, format!("the watch broke off here: {why}"))
                    .at(here)
                    .hint("what changed before it was started again is missing, and what was deleted then stays"),
            ),
            Err(why) => problems.push(
                Problem::new(label, Loss::Part, format!("a line that is no event of a watch: {why}"))
                    .at(here)
                    .hint("expected {\"t\": seconds, \"e\": {\"type\": \"ADDED\", \"object\": {…}}}"),
            ),
        }
    }
    watch.changes.sort_by_key(|c| c.t);
    (watch, problems)
}

/// What tells whether an object was seen before.
struct Seen {
    /// `resourceVersion`, where the object is one that matters.
    version: Option<String>,
    /// The name of an EndpointSlice.
    slice: Option<String>,
}

/// What a line of a watch says.
enum Said {
    /// A change.
    Change(Change, Seen),
    /// `BOOKMARK`: how far the server is.
    Nothing,
    /// `ERROR`, with the server's message.
    Broken(String),
}

fn event(line: &[u8], t: &mut i64, assumed: &mut bool) -> Result<Said, serde_json::Error> {
    use serde::de::Error as _;
    let line: Line<'_> = serde_json::from_slice(line)?;
    let (kind, object) = match (line.e, line.kind, line.object) {
        (Some(e), ..) => (e.kind, e.object),
        (None, Some(kind), Some(object)) => (kind, object),
        _ => return Err(serde_json::Error::missing_field("object")),
    };
    *t = match line.t {
        // a million years: sums of such times are still in range
        Some(seconds) if seconds.abs() < 3e12 => (seconds * 1e6).round() as i64,
        Some(seconds) => return Err(serde_json::Error::custom(format!("{seconds} is no time in seconds"))),
        None => {
            *assumed = true;
            *t + 1_000_000
        }
    };
    match kind {
        "ADDED" | "MODIFIED" | "DELETED" => {
            let (object, seen) = object_of(object)?;
            Ok(Said::Change(Change { t: Us(*t), object, gone: kind == "DELETED" }, seen))
        }
        "BOOKMARK" => Ok(Said::Nothing),
        "ERROR" => {
            let status: Status = serde_json::from_str(object.get()).unwrap_or_default();
            Ok(Said::Broken(status.message.or(status.reason).unwrap_or_else(|| "no reason given".to_owned())))
        }
        other => Err(serde_json::Error::unknown_variant(other, &["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"])),
    }
}

/// `v1.Status`, the object of an `ERROR`.
#[derive(Deserialize, Default)]
struct Status {
    message: Option<String>,
    reason: Option<String>,
}

fn key(object: &Object) -> &str {
    match object {
        Object::Ingress(key, _) | Object::Secret(key, _) | Object::Service(key) | Object::Endpoints(key, _) => key,
        Object::Other => "",
    }
}

/// The object; of an EndpointSlice its own part of the endpoints.
fn object_of(object: &RawValue) -> Result<(Object, Seen), serde_json::Error> {
    let body: Body<'_> = serde_json::from_str(object.get())?;
    let metadata = body.metadata.unwrap_or_default();
    let mut seen = Seen { version: metadata.resource_version, slice: None };
    let namespace = metadata.namespace.unwrap_or_else(|| "default".to_owned());
    let name = metadata.name.unwrap_or_default();
    let key = format!("{namespace}/{name}");
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let object = match body.kind {
        "Ingress" => {
            let spec: Spec = match body.spec {
                Some(spec) => serde_json::from_str(spec.get())?,
                None => return Ok((Object::Ingress(key, Vec::new()), seen)),
            };
            let secret_of = |host: &str| {
                let mut all = spec.tls.iter().flatten();
                let tls = all.find(|t| t.hosts.iter().flatten().any(|h| h == host))?;
                Some(format!("{namespace}/{}", tls.secret_name.as_deref()?))
            };
            let sites = spec.rules.iter().flatten().map(|rule| {
                let fqdn = rule.host.clone().unwrap_or_else(|| "*".to_owned());
                let paths = rule.http.iter().flat_map(|h| &h.paths).flatten();
                let backends = paths.map(|p| backend(p, &namespace)).collect();
                Site { secret: secret_of(&fqdn), fqdn, backends }
            });
            Object::Ingress(key, sites.collect())
        }
        "Secret" => {
            // a generated one has no bytes: what its annotations say stands for them
            let annotations = format!("{:?}", metadata.annotations);
            let content = annotations + body.data.map_or("", RawValue::get);
            Object::Secret(key, xxh3_64(content.as_bytes()))
        }
        "Service" => Object::Service(key),
        "Endpoints" => {
            let addresses = body.subsets.iter().flatten().map(|s| s.addresses.as_ref().map_or(0, Vec::len));
            Object::Endpoints(key, count(addresses.sum()))
        }
        "EndpointSlice" => {
            let service = metadata.labels.as_ref().and_then(|l| l.get("kubernetes.io/service-name"));
            match service {
                Some(service) => {
                    seen.slice = Some(name);
                    Object::Endpoints(format!("{namespace}/{service}"), count(body.endpoints.map_or(0, |e| e.len())))
                }
                None => Object::Other,
            }
        }
        _ => Object::Other,
    };
    if object == Object::Other {
        seen.version = None;
    }
    Ok((object, seen))
}

fn backend(path: &Path, namespace: &str) -> Backend {
    let b = &path.backend;
    let (name, port) = match &b.service {
        Some(s) => {
            let port = s.port.as_ref();
            (s.name.clone(), port.and_then(|p| p.number.map(|n| n.to_string()).or_else(|| p.name.clone())))
        }
        None => {
            let port = b.service_port.as_ref().map(|p| p.get().trim_matches('"').to_owned());
            (b.service_name.clone().unwrap_or_default(), port)
        }
    };
    Backend {
        path: path.path.clone().unwrap_or_else(|| "/".to_owned()),
        service: format!("{namespace}/{name}"),
        port: port.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_and_what_is_no_event() {
        let text = concat!(
            r#"{"t":1.5,"e":{"type":"ADDED","object":{"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{"name":"a","namespace":"n"},"spec":{"tls":[{"hosts":["x.io"],"secretName":"s"}],"rules":[{"host":"x.io","http":{"paths":[{"path":"/","backend":{"service":{"name":"b","port":{"number":80}}}}]}}]}}}}"#,
            "\n",
            r#"{"type":"MODIFIED","object":{"kind":"Secret","metadata":{"name":"s","namespace":"n"},"data":{"tls.crt":"QQ=="}}}"#,
            "\nnonsense\n",
            r#"{"t":9,"e":{"type":"DELETED","object":{"kind":"Service","metadata":{"name":"b"}}}}"#,
            "\n",
            r#"{"t":10,"e":{"type":"BOOKMARK","object":{"kind":"Service","metadata":{}}}}"#,
        );
        let (watch, problems) = read("w", text.as_bytes());
        assert!(looks_like(text.as_bytes()) && !looks_like(b"{\"t\": 1, \"type_url\": \"x\"}"));
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].offset_bytes, text.find("nonsense").map(|n| n as u64));
        assert!(watch.times_assumed);
        let site = Site {
            fqdn: "x.io".into(),
            secret: Some("n/s".into()),
            backends: vec![Backend { path: "/".into(), service: "n/b".into(), port: "80".into() }],
        };
        assert_eq!(watch.changes.len(), 3);
        assert_eq!(
            watch.changes[0],
            Change { t: Us(1_500_000), object: Object::Ingress("n/a".into(), vec![site]), gone: false }
        );
        assert!(
            matches!(&watch.changes[1], Change { t: Us(2_500_000), object: Object::Secret(key, _), .. } if key == "n/s")
        );
        assert_eq!(
            watch.changes[2],
            Change { t: Us(9_000_000), object: Object::Service("default/b".into()), gone: true }
        );
    }

    #[test]
    fn null_is_nothing_and_slices_add_up() {
        let line =
            |t: u32, kind: &str, object: &str| format!(r#"{{"t":{t},"e":{{"type":"{kind}","object":{object}}}}}"#);
        let slice = |name: &str, version: u32, n: usize| {
            let addresses = vec![r#"{"addresses":["10.0.0.1"]}"#; n].join(",");
            format!(
                r#"{{"kind":"EndpointSlice","metadata":{{"name":"{name}","namespace":"n","resourceVersion":"{version}","labels":{{"kubernetes.io/service-name":"b"}}}},"endpoints":[{addresses}]}}"#
            )
        };
        let ingress = r#"{"kind":"Ingress","metadata":{"name":"a","annotations":null,"labels":null},"spec":{"tls":null,"rules":[{"host":"x","http":null},{"host":"y","http":{"paths":null}}]}}"#;
        let lines = [
            line(1, "ADDED", ingress),
            line(2, "ADDED", r#"{"kind":"Endpoints","metadata":{"name":"e"},"subsets":null}"#),
            line(3, "ADDED", &slice("b-1", 7, 2)),
            line(4, "ADDED", &slice("b-2", 8, 3)),
            line(5, "ADDED", &slice("b-2", 8, 3)),
            line(6, "DELETED", &slice("b-1", 9, 2)),
            line(7, "DELETED", &slice("b-2", 10, 3)),
        ];
        let (watch, problems) = read("w", lines.join("\n").as_bytes());
        assert_eq!((problems.len(), watch.repeated), (0, 1), "{problems:?}");
        let said: Vec<(Object, bool)> = watch.changes.into_iter().map(|c| (c.object, c.gone)).collect();
        let site = |fqdn: &str| Site { fqdn: fqdn.into(), secret: None, backends: vec![] };
        let endpoints = |n| Object::Endpoints("n/b".into(), n);
        assert_eq!(said[0], (Object::Ingress("default/a".into(), vec![site("x"), site("y")]), false));
        assert_eq!(said[1], (Object::Endpoints("default/e".into(), 0), false));
        assert_eq!(
            said[2..],
            [(endpoints(2), false), (endpoints(5), false), (endpoints(3), false), (endpoints(0), true)]
        );
    }

    #[test]
    fn a_watch_that_broke_off_and_was_started_again() {
        let service = |t: u32, kind: &str, version: u32| {
            format!(
                r#"{{"t":{t},"e":{{"type":"{kind}","object":{{"kind":"Service","metadata":{{"name":"b","resourceVersion":"{version}"}}}}}}}}"#
            )
        };
        let error = r#"{"t":3,"e":{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version: 7 (9)","reason":"Expired","code":410}}}"#;
        let lines = [
            service(1, "ADDED", 7),
            service(2, "MODIFIED", 8),
            error.to_owned(),
            // listed again as it was, then changed, deleted, and made anew
            service(4, "ADDED", 8),
            service(5, "MODIFIED", 9),
            service(6, "DELETED", 9),
            service(7, "ADDED", 9),
            service(8, "PATCHED", 10),
            service(9, "ADDED", 11).replace(":9,", ":1e300,"),
        ];
        let (watch, problems) = read("w", lines.join("\n").as_bytes());
        let times: Vec<i64> = watch.changes.iter().map(|c| c.t.0 / 1_000_000).collect();
        assert_eq!((times, watch.repeated), (vec![1, 2, 5, 6, 7], 1));
        let said: Vec<&str> = problems.iter().map(|p| &*p.what).collect();
        assert_eq!(said[0], "the watch broke off here: too old resource version: 7 (9)");
        assert!(said[1].contains("unknown variant `PATCHED`") && said[2].contains("no time in seconds"), "{said:?}");
        assert_eq!(said.len(), 3);
    }
}
