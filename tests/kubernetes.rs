//! Exports of a cluster as evidence, end to end.

mod common;

use common::Bench;
use serde_json::{Value, json};

fn section(bench: &Bench, args: &[&str]) -> (common::Run, Value) {
    let mut all = vec!["analyze"];
    all.extend(args);
    all.extend(["-o", "json"]);
    let run = bench.run(&all);
    let report = if run.stdout.is_empty() { Value::Null } else { run.json() };
    (run, report)
}

const YAML: &str = "apiVersion: v1
items:
- apiVersion: v1
  kind: Service
  metadata:
    name: web
    namespace: shop
  spec:
    clusterIP: 10.0.0.1
    ports:
    - name: http
      port: 80
      targetPort: 8080
    - name: tcp-db
      port: 5432
- apiVersion: v1
  kind: Pod
  metadata:
    name: web-1
    namespace: shop
  spec:
    containers:
    - name: app
    - name: istio-proxy
      args: [proxy, sidecar]
      resources:
        limits:
          memory: 256Mi
  status:
    phase: Running
- apiVersion: example.com/v1
  kind: Thing
  metadata:
    name: x
kind: List
";

#[test]
fn a_lone_export_is_evidence() {
    let bench = Bench::new();
    bench.put("export.yaml", YAML);
    let (run, report) = section(&bench, &["export.yaml"]);
    run.ends(0, "");
    let k = &report["kubernetes"];
    assert_eq!(
        (k["services"].clone(), k["service_ports"].clone(), k["pods"].clone(), k["sidecar_pods"].clone()),
        (json!(1), json!(2), json!(1), json!(1))
    );
    assert!(k["kinds"].as_array().unwrap().contains(&json!({"kind": "Thing.example.com", "count": 1})), "{k}");
    // the same objects as JSON, as a watch, and one by one
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"ports": [{"port": 80}, {"port": 5432}]}});
    let event = |t: &str| format!("{}\n", json!({"type": t, "object": service}));
    for (name, text, services) in [
        ("list.json", json!({"kind": "List", "apiVersion": "v1", "items": [service]}).to_string(), 1),
        (
            "bare.json",
            json!({"kind": "ServiceList", "apiVersion": "v1",
            "items": [{"metadata": service["metadata"], "spec": service["spec"]}]})
            .to_string(),
            1,
        ),
        ("watch.jsonl", event("ADDED") + &event("MODIFIED"), 1),
        ("gone.jsonl", event("ADDED") + &event("DELETED"), 0),
        ("stamped.jsonl", format!("{}\n", json!({"t": 1.5, "e": {"type": "ADDED", "object": service}})), 1),
        ("two.yaml", format!("{service}\n---\nkind: Namespace\napiVersion: v1\nmetadata:\n  name: shop\n"), 1),
    ] {
        bench.put(name, text);
        let (run, report) = section(&bench, &[name]);
        run.ends(0, "");
        assert_eq!(report["kubernetes"]["services"], json!(services), "{name}");
    }
}

#[test]
fn broken_objects_cost_themselves_only() {
    let bench = Bench::new();
    // line 11: a mapping where a list item began
    let broken = YAML.replace("    - name: tcp-db\n", "    - name: [tcp-db\n");
    bench.put("broken.yaml", &broken);
    let (run, report) = section(&bench, &["broken.yaml"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!((&report["kubernetes"]["pods"], &report["kubernetes"]["services"]), (&json!(1), &json!(0)));
    let p = &report["problems"][0];
    assert!(p["message"].as_str().unwrap().starts_with("Service shop/web: "), "{p}");
    assert!((14..=16).contains(&p["line"].as_u64().unwrap()), "{p}");
    assert_eq!(report["kubernetes"]["incomplete"], json!(true));

    let text = json!({"kind": "List", "apiVersion": "v1", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "b", "labels": {"x": "y"}}}]})
    .to_string();
    for cut in 0..text.len() {
        bench.put("cut.json", &text[..cut]);
        let (run, _) = section(&bench, &["cut.json"]);
        assert!(matches!(run.code, 0 | 3), "cut at {cut}: {}", run.stderr);
    }
    bench.put("cut.json", &text[..text.len() - 17]);
    let (_, report) = section(&bench, &["cut.json"]);
    assert!(report["problems"][0]["message"].as_str().unwrap().starts_with("Namespace b: the file ends"), "{report}");
}

#[test]
fn contradicting_exports_name_the_object() {
    let bench = Bench::new();
    let pod = |version: &str, phase: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "n", "resourceVersion": version},
            "status": {"phase": phase}})
        .to_string()
    };
    bench.put("1.json", pod("20", "Running")).put("2.json", pod("10", "Pending"));
    let (run, report) = section(&bench, &["1.json", "2.json"]);
    assert_eq!(run.code, 0);
    assert_eq!(report["kubernetes"]["pods"], json!(1));
    let message = report["problems"][0]["message"].as_str().unwrap();
    assert!(message.starts_with("Pod n/a also stands at line 1 of an earlier file"), "{message}");
    assert!(message.ends_with("the earlier one (newer resourceVersion) is taken"), "{message}");
}

#[test]
fn hostile_yaml_ends_quietly() {
    let bench = Bench::new();
    let mut bomb =
        String::from("apiVersion: v1\nkind: Service\nmetadata:\n  name: a\nspec:\n  a: &a [x,x,x,x,x,x,x,x,x]\n");
    for i in 0..12 {
        let before = if i == 0 { "a".to_owned() } else { format!("a{}", i - 1) };
        bomb.push_str(&format!("  b{i}: &a{i} [{}]\n", vec![format!("*{before}"); 9].join(",")));
    }
    bench.put("bomb.yaml", &bomb);
    let (run, _) = section(&bench, &["bomb.yaml"]);
    assert!(matches!(run.code, 0 | 3), "{}", run.stderr);
    let deep = format!("apiVersion: v1\nkind: Service\nmetadata:\n  name: a\nspec: {}\n", "[".repeat(100_000));
    bench.put("deep.yaml", deep);
    let (run, _) = section(&bench, &["deep.yaml"]);
    assert!(matches!(run.code, 0 | 3), "{}", run.stderr);
}

#[test]
fn the_limit_of_the_pod_is_the_limit_of_its_proxy() {
    let bench = Bench::new();
    let dump = json!({"configs": [{"@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump",
        "bootstrap": {"node": {"id": "sidecar~10.0.0.9~web-1.shop~shop.svc.cluster.local"}}}]});
    bench.put("export.yaml", YAML).put("dump.json", dump.to_string());
    let (run, report) = section(&bench, &["dump.json", "export.yaml"]);
    run.ends(0, "");
    let memory = &report["proxies"][0]["memory"];
    assert_eq!(memory["limit_bytes"], json!(256 << 20));
    assert_eq!(memory["limit_of"], json!("container istio-proxy of pod shop/web-1; the agent in it shares the limit"));
    let (_, report) = section(&bench, &["dump.json", "export.yaml", "--limit", "1Gi"]);
    assert_eq!(report["proxies"][0]["memory"]["limit_bytes"], json!(1 << 30));
}

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says why")]
fn every_export_of_the_corpus_reads() {
    let Ok(corpus) = std::env::var("MESHDUMP_CORPUS") else {
        eprintln!("skipped: MESHDUMP_CORPUS is not set");
        return;
    };
    let bench = Bench::new();
    for (path, key, count) in [
        ("kubectl/np-guard/all_services.yaml", "services", 24),
        ("kubectl/np-guard/sidecars.yaml", "sidecars", 11),
        ("kubectl/np-guard/bookinfo_pods_list.json", "sidecar_pods", 6),
        ("kubectl/hotsos-sunbeam/services.json", "services", 62),
        ("kubectl/hotsos-sunbeam/endpoints.json", "endpoint_sets", 62),
        ("kubectl/insights-core/oc_get_pod_-o_yaml_--all-namespaces.yaml", "pods", 2),
        ("kubectl/troubleshoot/baseline-supportbundle.tar.gz", "pods", 7),
        ("kubectl/troubleshoot/baseline-supportbundle_services_kube-system.json", "services", 3),
        ("must_gather/redhatqe", "pods", 2),
        ("sysdump/cilium-2022-11-10", "services", 4),
        ("bug_report/istio-2023-09_1.20-dev/bug-report/cluster", "services", 38),
        ("bug_report/istio-2023-11_1.20.0-rc.0/bug-report/cluster", "gateways", 4),
    ] {
        let (run, report) = section(&bench, &[&format!("{corpus}/{path}")]);
        assert_eq!(run.code, 0, "{path}: {}", run.stderr);
        assert_eq!(report["kubernetes"][key], json!(count), "{path}: {key}");
    }
}

/// Every field that is read, with a value of another type: the object and the line are named, the rest is read.
#[test]
fn values_of_another_type_are_named_with_their_line() {
    let bench = Bench::new();
    let yaml = YAML.replace("    - name: tcp-db\n      port: 5432\n", "    - name: tcp-db\n      port: 70000\n");
    let yaml = yaml.replace("          memory: 256Mi\n", "          memory: lots\n");
    bench.put("wrong.yaml", &yaml);
    let (run, report) = section(&bench, &["wrong.yaml"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let said = |report: &Value| -> Vec<(u64, String)> {
        let all = report["problems"].as_array().unwrap().iter();
        all.map(|p| (p["line"].as_u64().unwrap_or(0), p["message"].as_str().unwrap().to_owned())).collect()
    };
    let line = |text: &str, what: &str| text.lines().position(|l| l.contains(what)).unwrap() as u64 + 1;
    assert_eq!(
        said(&report),
        [
            (
                line(&yaml, "70000"),
                "Service shop/web: spec.ports[1].port expected a port (1 to 65535), found `70000`; taken as absent"
                    .to_owned()
            ),
            (
                line(&yaml, "lots"),
                "Pod shop/web-1: spec.containers[1].resources.limits.memory expected a quantity (as in 256Mi or 500m), \
                 found `lots`; taken as absent"
                    .to_owned()
            ),
        ]
    );
    assert_eq!((&report["kubernetes"]["services"], &report["kubernetes"]["incomplete"]), (&json!(1), &json!(true)));
    // the same in JSON, pretty and on one line; a list where an object belongs, a key that stands twice
    let service = |ports: &str| {
        format!(
            "{{\"apiVersion\": \"v1\", \"kind\": \"Service\",\n\"metadata\": {{\"name\": \"a\", \"namespace\": \"n\"}},\n\"spec\": {{\n{ports}\n}}}}"
        )
    };
    for (ports, line, message) in [
        (
            "\"clusterIP\": \"1.2.3.4\",\n\"ports\": {\"a\": 1,\n\"b\": 2}",
            5,
            "spec.ports expected a list, found an object; taken as absent",
        ),
        ("\"ports\": \"x\"", 4, "spec.ports expected a list, found a string; taken as absent"),
        ("\"ports\": [\n{\"port\": true}]", 5, "spec.ports[0].port expected a number, found true; taken as absent"),
        ("\"ports\": [],\n\"ports\": [{\"port\": 1}]", 5, "spec.ports stands twice; the last one is taken"),
        (
            "\"ports\": [{\"port\": 80.5}]",
            4,
            "spec.ports[0].port expected a port (1 to 65535), found `80.5`; taken as absent",
        ),
    ] {
        bench.put("wrong.json", service(ports));
        let (run, report) = section(&bench, &["wrong.json"]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!(said(&report), [(line, format!("Service n/a: {message}"))], "{ports}");
        assert_eq!(report["kubernetes"]["services"], json!(1));
    }
    // YAML in a string of an object
    let mesh = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: istio\n  namespace: istio-system\ndata:\n  mesh: |-\n    \
                rootNamespace: istio-system\n    discoverySelectors: all\n    defaultConfig:\n      concurrency: 2\n";
    bench.put("mesh.yaml", mesh);
    let (_, report) = section(&bench, &["mesh.yaml"]);
    let all = said(&report);
    assert_eq!((all.len(), all[0].0), (1, 9), "{all:?}");
    assert!(all[0].1.contains("discoverySelectors") && all[0].1.contains("expected a list, found a string"), "{all:?}");
    bench.put("mesh.yaml", mesh.replace("discoverySelectors: all", "discoverySelectors: [all"));
    let (_, report) = section(&bench, &["mesh.yaml"]);
    let all = said(&report);
    assert!(all.len() == 1 && all[0].1.starts_with("ConfigMap istio-system/istio: ") && all[0].0 >= 9, "{all:?}");
}

/// Every value of generated exports, one after the other, replaced: the run ends as it should, names the object and says
/// where, and never panics.
#[test]
fn every_field_of_generated_exports_may_be_anything() {
    let bench = Bench::new();
    for (i, case) in [
        &["istio", "--services", "4"][..],
        &["knative", "--revisions", "2"],
        &["osm", "--services", "2"],
        &["contour", "--ingresses", "2"],
    ]
    .iter()
    .enumerate()
    {
        let out = format!("made{i}");
        let mut args = vec!["generate"];
        args.extend(*case);
        args.extend(["--out", &out]);
        assert_eq!(bench.run(&args).code, 0, "{case:?}");
        let text = std::fs::read_to_string(bench.path(&format!("{out}/kubernetes.json"))).unwrap();
        let whole: Value = serde_json::from_str(&text).unwrap();
        let mut paths = Vec::new();
        pointers(&whole["items"], "/items", &mut paths);
        // kinds repeat: one object of each is enough
        let mut seen = std::collections::BTreeSet::new();
        paths.retain(|p| {
            let object = whole.pointer(&p.split('/').take(3).collect::<Vec<_>>().join("/")).unwrap();
            let field: String = p.split('/').skip(3).map(|s| if s.parse::<u32>().is_ok() { "#" } else { s }).collect();
            seen.insert(format!("{}{field}", object["kind"]))
        });
        assert!(paths.len() > 20, "{case:?}: {}", paths.len());
        for path in paths {
            let others = [
                json!(null),
                json!("x\u{1b}[31m"),
                json!(-1),
                json!(1e300),
                json!([[]]),
                json!({"a": {}}),
                json!(true),
            ];
            for wrong in others {
                let mut export = whole.clone();
                *export.pointer_mut(&path).unwrap() = wrong.clone();
                let objects = export.to_string();
                let (objects, problems) = meshdump::evidence::kubernetes::read(
                    "export",
                    meshdump::model::source::InputId(0),
                    objects.as_bytes(),
                );
                for p in &problems {
                    assert!(p.line.is_some() && !p.what.is_empty(), "{path} = {wrong}: {p:?}");
                }
                let (cluster, _) = meshdump::evidence::kubernetes::assemble(vec![objects]);
                let cluster = cluster.unwrap();
                let mesh = meshdump::sim::scope::mesh::Mesh::of(&cluster);
                for w in meshdump::sim::scope::workloads::workloads(&cluster) {
                    let _ = mesh.seen(&w.namespace, &[]);
                }
            }
        }
    }
}

/// JSON pointers of everything in a value.
fn pointers(v: &Value, at: &str, out: &mut Vec<String>) {
    let mut inner = |key: String, v: &Value| {
        let path = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        out.push(path.clone());
        pointers(v, &path, out);
    };
    match v {
        Value::Array(all) => all.iter().enumerate().for_each(|(i, v)| inner(i.to_string(), v)),
        Value::Object(all) => all.iter().for_each(|(k, v)| inner(k.clone(), v)),
        _ => {}
    }
}

/// Block style, as `kubectl -o yaml` writes it.
fn yaml(v: &Value, indent: usize, out: &mut String) {
    let pad = " ".repeat(indent);
    match v {
        Value::Object(all) => {
            for (k, v) in all {
                out.push_str(&format!("{pad}{k}:"));
                after_key(v, indent, out);
            }
        }
        Value::Array(all) => {
            for v in all {
                let mut inner = String::new();
                yaml(v, indent + 2, &mut inner);
                out.push_str(&format!("{pad}- {}", inner.trim_start()));
            }
        }
        scalar => out.push_str(&format!("{pad}{scalar}\n")),
    }
}

fn after_key(v: &Value, indent: usize, out: &mut String) {
    match v {
        Value::Object(all) if !all.is_empty() => {
            out.push('\n');
            yaml(v, indent + 2, out);
        }
        // a list stands at the indentation of its key
        Value::Array(all) if !all.is_empty() => {
            out.push('\n');
            yaml(v, indent, out);
        }
        scalar => out.push_str(&format!(" {scalar}\n")),
    }
}

/// The same objects in every form in which they are taken give the same answer.
#[test]
fn every_form_of_the_evidence_says_the_same() {
    let bench = Bench::new();
    assert_eq!(bench.run(&["generate", "knative", "--revisions", "3", "--out", "made"]).code, 0);
    let text = std::fs::read_to_string(bench.path("made/kubernetes.json")).unwrap();
    let export: Value = serde_json::from_str(&text).unwrap();
    let items = export["items"].as_array().unwrap();
    let as_yaml = |v: &Value| {
        let mut out = String::new();
        yaml(v, 0, &mut out);
        out
    };
    let of = |kind: &str, group: &str| -> Value {
        let all: Vec<&Value> = items
            .iter()
            .filter(|o| o["kind"] == kind && o["apiVersion"].as_str().unwrap().starts_with(group))
            .collect();
        json!({"apiVersion": all[0]["apiVersion"], "kind": format!("{kind}List"), "items": all})
    };
    let mut kinds: Vec<(&str, &str)> = items
        .iter()
        .map(|o| (o["kind"].as_str().unwrap(), o["apiVersion"].as_str().unwrap().split('/').next().unwrap()))
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert!(kinds.len() > 4, "{kinds:?}");
    bench.put("list/export.json", &text);
    bench.put("list.yaml/export.yaml", as_yaml(&export));
    bench.put("documents/all.yaml", items.iter().map(as_yaml).collect::<Vec<_>>().join("---\n"));
    // `kubectl get -w --output-watch-events`, in both forms, with changes and bookmarks between
    let event = |kind: &str, o: &Value| json!({"type": kind, "object": o});
    let mut events: Vec<Value> = items.iter().map(|o| event("ADDED", o)).collect();
    events
        .push(event("BOOKMARK", &json!({"kind": "Service", "apiVersion": "v1", "metadata": {"resourceVersion": "9"}})));
    let mut gone = items[0].clone();
    gone["metadata"]["name"] = "short-lived".into();
    events.extend([event("ADDED", &gone), event("DELETED", &gone), event("MODIFIED", &items[0])]);
    bench.put("watch/w.jsonl", events.iter().map(|e| format!("{e}\n")).collect::<String>());
    bench.put("watch.yaml/w.yaml", events.iter().map(as_yaml).collect::<Vec<_>>().join("---\n"));
    // one file per object, as `oc adm inspect` and velero write them; lists per namespace and kind, as must-gather does
    for (i, o) in items.iter().enumerate() {
        let namespace = o["metadata"]["namespace"].as_str().unwrap_or("_");
        let path = format!("{namespace}/{}-{i}.yaml", o["kind"].as_str().unwrap().to_lowercase());
        bench.put(&format!("inspect/namespaces/{path}"), format!("---\n{}", as_yaml(o)));
    }
    let mut stdout = String::new();
    for (kind, group) in &kinds {
        let list = of(kind, group);
        let lower = kind.to_lowercase();
        bench.put(&format!("must-gather/quay-io-img-sha256-1/{group}/{lower}s.yaml"), as_yaml(&list));
        bench.put(&format!("sysdump/cilium-sysdump-2/k8s-{group}-{lower}-2.yaml"), as_yaml(&list));
        bench.put(&format!("dump/default/{group}-{lower}s.json"), serde_json::to_string_pretty(&list).unwrap());
        stdout.push_str(&format!("{}\n", serde_json::to_string_pretty(&list).unwrap()));
        stdout.push_str("==== START logs for container a of pod b/c ====\n{\"kind\": \"Service\"}\n==== END logs for container a of pod b/c ====\n");
    }
    bench.put("dump/default/web-1/logs.txt", "==== START logs for container a ====\nx\n==== END logs ====\n");
    bench.put("info/cluster-info.txt", stdout);
    let answer = |folder: &str| {
        let run = bench.run(&["whatif", "scope", folder, "-o", "json"]);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{folder}");
        let mut report = run.json();
        for key in ["inputs", "findings"] {
            report[key] = Value::Null;
        }
        assert_eq!(report["problems"], json!([]), "{folder}");
        report
    };
    let first = answer("list");
    assert_eq!(first["knative"]["revisions"], json!(3));
    for folder in ["list.yaml", "documents", "watch", "watch.yaml", "inspect", "must-gather", "sysdump", "dump", "info"]
    {
        assert_eq!(answer(folder), first, "{folder}");
    }
}

/// What is merely counted, `ls` says.
#[test]
fn what_is_counted_only_is_said_by_ls() {
    let bench = Bench::new();
    bench.put("export.yaml", YAML);
    let run = bench.run(&["ls", "export.yaml"]);
    run.ends(0, "");
    assert!(run.stdout.contains("counted only: 1 Thing.example.com"), "{}", run.stdout);
    // and it is no complaint about a file that was named
    bench.run(&["analyze", "export.yaml"]).ends(0, "");
}

/// A number of workers from nowhere costs neither time nor memory.
#[test]
fn workers_that_cannot_be_are_not_believed() {
    let bench = Bench::new();
    let pod =
        |n: &str| YAML.replace("args: [proxy, sidecar]", &format!("args: [proxy, sidecar, --concurrency, '{n}']"));
    let workers = |text: &str| {
        bench.put("export.yaml", text);
        let run = bench.run(&["whatif", "scope", "export.yaml", "-o", "json"]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        run.json()["workloads"][0]["concurrency"].clone()
    };
    assert_eq!((workers(&pod("8")), workers(&pod("4294967295"))), (json!(8), json!(2)));
    let mesh = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: istio\n  namespace: istio-system\ndata:\n  mesh: |-\n    \
                defaultConfig:\n      concurrency: 2147483647\n";
    bench.put("mesh.yaml", mesh);
    let (_, report) = section(&bench, &["mesh.yaml"]);
    let said = report["problems"][0]["message"].as_str().unwrap();
    assert!(said.contains("expected a number of workers (up to 1024), found `2147483647`"), "{said}");
    let run = bench.run(&["whatif", "scope", "export.yaml", "--concurrency", "4294967295"]);
    assert_eq!(run.code, 2);
}

/// Name, text, services read, line and words of the only problem.
type Damage<'a> = (&'a str, String, u64, Option<(u64, &'a str)>);

/// Damage of every kind: the object and the line are said, and what stands around it is read.
#[test]
fn damage_is_named_and_what_is_around_it_is_read() {
    let bench = Bench::new();
    let service = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: n\nspec:\n  clusterIP: 10.0.0.1\n  \
             ports:\n  - name: http\n    port: 80\n"
        )
    };
    let between = |middle: &str| format!("{}---\n{middle}---\n{}", service("a"), service("c"));
    let item = |name: &str| format!("- {}", service(name).replace('\n', "\n  ").trim_end()) + "\n";
    let list = format!("apiVersion: v1\nitems:\n{}{}", item("a"), item("b"));
    let head = |name: &str| format!("apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: n\n");
    let json = |middle: &str| {
        let one =
            |n: &str| format!("{{\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {{\"name\": \"{n}\"}}}}");
        format!("{{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [\n{},\n{middle},\n{}]}}", one("a"), one("b"))
    };
    let cases: [Damage<'_>; 16] = [
        ("tab", between(&format!("{}spec:\n\tports: []\n", head("tab"))), 2, Some((18, "Service n/tab: tabs"))),
        (
            "anchor",
            between("apiVersion: v1\nkind: Service\nmetadata: &m\n  name: x\nspec:\n  ports: &p []\n  z: *p\n"),
            3,
            None,
        ),
        ("alias", between("apiVersion: v1\nkind: Service\nmetadata: *m\n"), 2, Some((14, "unknown anchor"))),
        (
            "flow",
            "apiVersion: v1\nkind: Service\nmetadata: {name: f, namespace: n}\nspec: {ports: x}\n".to_owned(),
            1,
            Some((4, "Service n/f: spec.ports expected a list, found a string")),
        ),
        (
            "twice",
            format!("{}  clusterIP: 10.0.0.9\n", service("a")),
            1,
            Some((11, "Service n/a: spec.clusterIP stands twice")),
        ),
        (
            "list twice",
            format!("{}  ports:\n  - port: 1\n", service("a")),
            1,
            Some((11, "Service n/a: spec.ports stands twice")),
        ),
        ("cut", list.clone(), 2, Some((23, "the list has no `kind`, so its end may be missing; 2 objects were whole"))),
        ("whole", format!("{list}kind: List\n"), 2, None),
        ("returns", service("a").replace('\n', "\r\n"), 1, None),
        ("directive", format!("%YAML 1.2\n---\n{}", service("a")), 1, None),
        ("no apiVersion", service("a").replace("apiVersion: v1\n", ""), 1, None),
        (
            "json between",
            between("{\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {\"name\": \"j\"\n"),
            2,
            Some((12, "Service j: the file ends inside this object")),
        ),
        ("number", json("7"), 2, Some((3, "object: has no kind"))),
        (
            "nameless",
            json("{\"apiVersion\": \"v1\", \"kind\": \"Service\"}"),
            2,
            Some((3, "Service: has no metadata.name")),
        ),
        (
            "no list",
            "{\"kind\": \"List\", \"apiVersion\": \"v1\",\n\"items\": {}}".to_owned(),
            0,
            Some((2, "the items of the List are no list")),
        ),
        ("nothing", "{\"kind\": \"List\", \"apiVersion\": \"v1\", \"items\": null}".to_owned(), 0, None),
    ];
    for (name, text, services, problem) in cases {
        bench.put("export", &text);
        let (run, report) = section(&bench, &["export"]);
        assert_eq!(run.code, 0, "{name}: {}", run.stderr);
        assert_eq!(report["kubernetes"]["services"], json!(services), "{name}");
        let said = report["problems"].as_array().unwrap();
        assert_eq!(said.len(), usize::from(problem.is_some()), "{name}: {said:?}");
        if let Some((line, words)) = problem {
            assert_eq!(said[0]["line"], json!(line), "{name}: {said:?}\n{text}");
            assert!(said[0]["message"].as_str().unwrap().contains(words), "{name}: {said:?}");
        }
    }
    // a name that is none: what was found, and that there is none
    bench.put("export", "apiVersion: v1\nkind: Service\nmetadata:\n  name: [a]\n");
    let (_, report) = section(&bench, &["export"]);
    let said: Vec<&str> =
        report["problems"].as_array().unwrap().iter().map(|p| p["message"].as_str().unwrap()).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].ends_with("metadata.name expected a string, found a list; taken as absent"), "{said:?}");
}
