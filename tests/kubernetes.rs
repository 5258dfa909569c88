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
