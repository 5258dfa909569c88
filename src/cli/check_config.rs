//! `.meshdump.toml`: what `meshdump check` gates on.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::Deserialize;

use super::output::unknown;
use crate::findings::check::{Budget, BudgetError, Gates, Suppression, is_known, names};

/// The name of the file, looked for from the working folder upward.
pub(super) const NAME: &str = ".meshdump.toml";

/// How far numbers may exceed their baseline, in hundredths, when nothing says.
const TOLERANCE: f64 = 5.0;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    baseline: Option<String>,
    tolerance: Option<String>,
    tolerances: BTreeMap<String, String>,
    budgets: toml::Table,
    groups: Vec<Group>,
    suppress: Vec<Suppress>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    #[serde(rename = "match")]
    proxies: String,
    budgets: toml::Table,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Suppress {
    rule: String,
    #[serde(rename = "match", default)]
    proxies: String,
    reason: String,
    until: Option<toml::Value>,
}

/// A configuration, read.
#[derive(Debug, Default)]
pub(super) struct Config {
    pub(super) gates: Gates,
    /// As written, from the folder of the file.
    pub(super) baseline: Option<String>,
}

/// Reads the text of a configuration.
///
/// # Errors
/// One line that says where, what and what was expected.
pub(super) fn read(text: &str) -> Result<Config, String> {
    let file: File = toml::from_str(text).map_err(|e| {
        let line = e.span().map(|s| text[..s.start.min(text.len())].matches('\n').count() + 1);
        let line = line.map(|l| format!("line {l}: ")).unwrap_or_default();
        format!("{line}{}", e.message().replace('\n', "; "))
    })?;
    let mut gates = Gates { tolerance: TOLERANCE, ..Gates::default() };
    if let Some(text) = &file.tolerance {
        gates.tolerance = percent(text)?;
    }
    for (name, text) in &file.tolerances {
        if !is_known(name) {
            return Err(no_number(name));
        }
        gates.tolerances.insert(name.clone(), percent(text)?);
    }
    budgets(&file.budgets, "", "", &mut gates.budgets)?;
    for group in &file.groups {
        if group.proxies.is_empty() {
            return Err("a group needs a pattern for proxies: match = \"*.gateways\"".to_owned());
        }
        budgets(&group.budgets, "", &group.proxies, &mut gates.budgets)?;
    }
    for s in file.suppress {
        if s.reason.trim().is_empty() {
            return Err(format!("the suppression of `{}` needs a reason", s.rule));
        }
        let until = s.until.as_ref().map(|v| until(&s.rule, v)).transpose()?;
        gates.suppressions.push(Suppression { rule: s.rule, proxies: s.proxies, reason: s.reason, until });
    }
    Ok(Config { gates, baseline: file.baseline })
}

/// `5%` in hundredths.
pub(super) fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim().strip_suffix('%').and_then(|n| n.trim().parse::<f64>().ok());
    number.filter(|n| n.is_finite() && *n >= 0.0).ok_or_else(|| format!("`{text}` is no tolerance; write it as 5%"))
}

/// A day, as TOML has it or in quotes.
fn until(rule: &str, value: &toml::Value) -> Result<Date, String> {
    let text = match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Datetime(date) => date.to_string(),
        other => other.type_str().to_owned(),
    };
    text.parse()
        .map_err(|_| format!("the suppression of `{rule}` holds until `{text}`; expected a day, as in 2027-03-01"))
}

/// Budgets of a table. A name with dots may stand in quotes or not, and then its parts are tables within each other.
fn budgets(table: &toml::Table, prefix: &str, group: &str, out: &mut Vec<Budget>) -> Result<(), String> {
    for (key, value) in table {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            toml::Value::String(limit) => out.push(budget(&name, Some(limit), None, group)?),
            toml::Value::Table(inner) if is_limits(&name, inner) => {
                let text = |key: &str| inner.get(key).and_then(toml::Value::as_str);
                out.push(budget(&name, text("error"), text("warn"), group)?);
            }
            toml::Value::Table(inner) => budgets(inner, &name, group, out)?,
            other => {
                return Err(format!(
                    "budget of `{name}`: expected a limit as in \"<= 384Mi\", or {{ warn = \"…\", error = \"…\" }}, found {}",
                    other.type_str()
                ));
            }
        }
    }
    Ok(())
}

/// `{ warn = "…", error = "…" }`, unless all of it names numbers, as `findings.warn` does.
fn is_limits(name: &str, table: &toml::Table) -> bool {
    let limit = |(key, value): (&String, &toml::Value)| matches!(key.as_str(), "warn" | "error") && value.is_str();
    table.iter().all(limit) && !table.keys().all(|key| is_known(&format!("{name}.{key}")))
}

fn budget(name: &str, error: Option<&str>, warn: Option<&str>, group: &str) -> Result<Budget, String> {
    Budget::new(name, error, warn, group).map_err(budget_error)
}

/// Why a budget cannot be read, in one line.
pub(super) fn budget_error(e: BudgetError) -> String {
    match e {
        BudgetError::Name(name) => no_number(&name),
        BudgetError::Text(text) => text,
    }
}

fn no_number(name: &str) -> String {
    unknown("number", name, names().iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything() {
        let config = read(
            "baseline = 'b.json'\ntolerance = '7.5%'\n[tolerances]\nclusters = '10%'\n\
             [budgets]\nallocated = '<= 384Mi'\n'resident.p99' = { warn = '<= 1Gi', error = '<= 2Gi' }\n\
             draining.listeners = '<= 50'\nfindings.warn = '<= 3'\n\
             [[groups]]\nmatch = '*.gateways'\nbudgets = { allocated = '<= 1Gi' }\n\
             [[suppress]]\nrule = 'MD305'\nmatch = 'legacy-*'\nreason = 'INFRA-1'\nuntil = 2027-03-01\n\
             [[suppress]]\nrule = 'MD302'\nreason = 'x'\nuntil = '2027-03-02'\n",
        )
        .unwrap();
        assert_eq!((config.baseline.as_deref(), config.gates.tolerance), (Some("b.json"), 7.5));
        assert_eq!(config.gates.budgets.len(), 5);
        let days: Vec<String> =
            config.gates.suppressions.iter().filter_map(|s| s.until).map(|d| d.to_string()).collect();
        assert_eq!(days, ["2027-03-01", "2027-03-02"]);
    }

    #[test]
    fn refused_in_one_line() {
        for (text, expected) in [
            ("budget = 1", "unknown field `budget`"),
            ("\n\ntolerance = 5", "line 3"),
            ("tolerance = '5'", "write it as 5%"),
            ("[budgets]\nalocated = '<= 1Mi'", "did you mean `allocated`?"),
            ("[budgets]\nallocated = 5", "expected a limit"),
            ("[tolerances]\nx = '5%'", "unknown number `x`"),
            ("[[suppress]]\nrule = 'MD305'\nreason = ' '", "needs a reason"),
            ("[[suppress]]\nrule = 'MD305'", "missing field `reason`"),
            ("[[suppress]]\nrule = 'MD305'\nreason = 'x'\nuntil = 'soon'", "expected a day"),
            ("[[groups]]\nmatch = ''\nbudgets = {}", "needs a pattern"),
            ("a = [", "line 1"),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }
}
