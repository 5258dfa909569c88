//! `/init_dump`.

use super::{Small, value};
use crate::evidence::json::message::{List, Text, message};
use crate::evidence::json::outline::Outline;
use crate::model::envoy::Name;
use crate::model::problem::{Loss, Problem};

message! {
    struct Targets {
        name: Text = "name",
        targets: List<Text> = "target_names" | "targetNames",
    }
}

/// Init managers, each with the targets it waits for.
pub type InitTargets = Vec<(Name, Vec<Name>)>;

/// Reads `/init_dump` (Envoy `init_dump.proto`): each init manager with the targets it still waits for.
///
/// `{}` is an answer: nothing is waited for. `None` for anything that is no object, or one with other keys only.
pub fn read(label: &str, text: &[u8]) -> (Option<InitTargets>, Vec<Problem>) {
    let mut problems = Vec::new();
    let Some(small) = Small::find(label, "/init_dump", text, &mut problems) else { return (None, problems) };
    let mut out = None;
    let mut other_keys = false;
    small.fields(label, &mut problems, |f| {
        let list = matches!(f.key, b"unready_targets_dumps" | b"unreadyTargetsDumps");
        let Some(walk) = Outline::new(f.value).filter(|_| list) else {
            other_keys = true;
            return;
        };
        let all: &mut Vec<_> = out.get_or_insert_default();
        for item in walk.filter(|i| i.whole) {
            let t: Targets = value(&item);
            all.push((t.name.0, t.targets.0.into_iter().map(|n| n.0).collect()));
        }
    });
    if out.is_none() && (other_keys || problems.iter().any(|p| p.loss > Loss::Nothing)) {
        problems.push(Problem::new(label, Loss::Whole, "not /init_dump: no list under `unready_targets_dumps`").at(0));
        return (None, problems);
    }
    (Some(out.unwrap_or_default()), problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let text = br#"{"unready_targets_dumps":[
            {"name":"init manager Server","target_names":["target CDS","target LDS"]},{"name":"init manager l"}]}"#;
        let (all, problems) = read("x", text);
        let all = all.unwrap();
        assert!(problems.is_empty());
        assert_eq!(&*all[0].0, "init manager Server");
        assert_eq!(all[0].1.iter().map(|n| &**n).collect::<Vec<_>>(), ["target CDS", "target LDS"]);
        assert!(all[1].1.is_empty());
        assert_eq!(read("x", b"{}"), (Some(Vec::new()), Vec::new()));
    }

    #[test]
    fn garbage() {
        for text in ["", "{", "{\"a\":1}", "[]"] {
            let (all, problems) = read("x", text.as_bytes());
            assert_eq!(all, None, "{text}");
            assert!(problems.iter().any(|p| p.loss == Loss::Whole), "{text}");
        }
    }
}
