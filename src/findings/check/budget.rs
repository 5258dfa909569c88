//! Budgets as people write them: `allocated <= 384Mi`, `resident.p99 <= 1Gi`, `limit.pct: p(95) < 80%`.

use super::measure::{Metric, Unit};
use crate::model::size;

/// How the numbers of several proxies become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    /// Not at all: each proxy must keep the limit.
    Each,
    Max,
    Min,
    Sum,
    Mean,
    /// Nearest rank.
    Percentile(u8),
}

impl Function {
    /// `max`, `avg`, `p99`, `p(99)`.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "max" => Self::Max,
            "min" => Self::Min,
            "sum" => Self::Sum,
            "avg" => Self::Mean,
            "med" => Self::Percentile(50),
            _ => {
                let digits = name.strip_prefix('p')?;
                let inner = digits.strip_prefix('(').and_then(|d| d.strip_suffix(')')).unwrap_or(digits);
                Self::Percentile(inner.parse().ok().filter(|n| (1..=100).contains(n))?)
            }
        })
    }

    /// One number of many; none of none.
    pub(super) fn of(self, mut values: Vec<f64>) -> Option<f64> {
        values.sort_by(f64::total_cmp);
        let n = values.len();
        let sum: f64 = values.iter().sum();
        match self {
            _ if n == 0 => None,
            Self::Each | Self::Max => values.last().copied(),
            Self::Min => values.first().copied(),
            Self::Sum => Some(sum),
            Self::Mean => Some(sum / n as f64),
            Self::Percentile(p) => values.get((usize::from(p) * n).div_ceil(100).max(1) - 1).copied(),
        }
    }

    fn suffix(self) -> String {
        match self {
            Self::Each => String::new(),
            Self::Max => ".max".to_owned(),
            Self::Min => ".min".to_owned(),
            Self::Sum => ".sum".to_owned(),
            Self::Mean => ".avg".to_owned(),
            Self::Percentile(p) => format!(".p{p}"),
        }
    }
}

/// A comparison with a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Limit {
    pub(super) operator: &'static str,
    pub(super) number: f64,
}

impl Limit {
    pub(super) fn holds(self, value: f64) -> bool {
        match self.operator {
            "<" => value < self.number,
            "<=" => value <= self.number,
            ">" => value > self.number,
            ">=" => value >= self.number,
            "!=" => value != self.number,
            _ => value == self.number,
        }
    }
}

/// A limit for a number, or two.
#[derive(Debug, Clone)]
pub struct Budget {
    /// The name with the function behind it: `resident.p99`.
    pub(super) name: String,
    pub(super) metric: Metric,
    pub(super) function: Function,
    pub(super) error: Option<Limit>,
    pub(super) warn: Option<Limit>,
    /// Pattern for proxies; empty for those that no group with the same budget has.
    pub(super) group: String,
}

/// Why a budget cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BudgetError {
    /// No number has this name.
    Name(String),
    /// Anything else, in one line.
    Text(String),
}

impl Budget {
    /// Reads the budget of `name` from its limits: `error` fails the check, `warn` only says so. `group` is a pattern
    /// for proxies, empty for all.
    ///
    /// # Errors
    /// When the name means no number, or a limit is none.
    pub fn new(name: &str, error: Option<&str>, warn: Option<&str>, group: &str) -> Result<Self, BudgetError> {
        let name = name.trim();
        let wrong = |what: String| BudgetError::Text(format!("budget of `{name}`: {what}"));
        let known = Metric::named(name).map(|m| (name, m, Function::Each));
        let found = known.or_else(|| {
            let (head, tail) = name.rsplit_once('.')?;
            Some((head, Metric::named(head)?, Function::named(tail)?))
        });
        let (head, metric, mut function) = found.ok_or_else(|| BudgetError::Name(name.to_owned()))?;
        let mut limits = [None, None];
        for (text, limit) in [error, warn].into_iter().zip(&mut limits) {
            let Some(text) = text else { continue };
            let (given, read) = limit_of(text, metric.unit()).map_err(wrong)?;
            if let Some(given) = given {
                if function != Function::Each && function != given {
                    return Err(wrong(format!("`{text}` asks for another function than its name or its other limit")));
                }
                function = given;
            }
            *limit = Some(read);
        }
        if metric.of_the_run() && function != Function::Each {
            return Err(wrong("it is one number for the whole run and takes no function".to_owned()));
        }
        let [error, warn] = limits;
        Ok(Self {
            name: format!("{head}{}", function.suffix()),
            metric,
            function,
            error,
            warn,
            group: group.to_owned(),
        })
    }

    /// What is checked when nothing says what: no finding is an error.
    pub fn nothing_is_wrong() -> Self {
        Self {
            name: "findings.error".to_owned(),
            metric: Metric::Findings("error".to_owned()),
            function: Function::Each,
            error: Some(Limit { operator: "==", number: 0.0 }),
            warn: None,
            group: String::new(),
        }
    }

    /// Reads `allocated <= 384Mi`.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn parse(text: &str) -> Result<Self, BudgetError> {
        let at = text.find(['<', '>', '=', '!']).ok_or_else(|| {
            BudgetError::Text(format!("budget `{text}`: no comparison; write it as `allocated <= 384Mi`"))
        })?;
        Self::new(&text[..at], Some(&text[at..]), None, "")
    }
}

/// `p(99) <= 384Mi`: the function if one is named, and the limit.
fn limit_of(text: &str, unit: Unit) -> Result<(Option<Function>, Limit), String> {
    let example = match unit {
        Unit::Bytes => "<= 384Mi",
        Unit::Count => "<= 50",
        Unit::Percent => "<= 80%",
        Unit::Seconds => ">= 30m",
    };
    let expected = || format!("`{text}` is no limit; write it as `{example}`");
    let at = text.find(['<', '>', '=', '!']).ok_or_else(expected)?;
    let (left, right) = (text[..at].trim(), &text[at..]);
    let function = match left {
        "" => None,
        name => Some(Function::named(name).ok_or_else(|| {
            format!("unknown function `{name}`; known: max, min, sum, avg, med, p(50), p(95), p(99)")
        })?),
    };
    let operator =
        ["<=", ">=", "==", "!=", "<", ">"].into_iter().find(|o| right.starts_with(o)).ok_or_else(expected)?;
    let number = right[operator.len()..].trim();
    let number = match (unit, number.strip_suffix('%')) {
        (Unit::Percent, stripped) => {
            stripped.unwrap_or(number).trim().parse().ok().filter(|n: &f64| n.is_finite()).ok_or_else(expected)?
        }
        (Unit::Seconds, None) => seconds(number).ok_or_else(expected)?,
        (_, Some(_)) => return Err(format!("`{text}` is a share, but this is not; write it as `{example}`")),
        (_, None) => size::parse(number).map_err(|e| format!("`{text}`: {e}"))? as f64,
    };
    Ok((function, Limit { operator, number }))
}

/// `90s`, `30m`, `2h`, or plain seconds.
fn seconds(text: &str) -> Option<f64> {
    let (number, factor) = match text.chars().last()? {
        's' => (&text[..text.len() - 1], 1.0),
        'm' => (&text[..text.len() - 1], 60.0),
        'h' => (&text[..text.len() - 1], 3600.0),
        _ => (text, 1.0),
    };
    number.trim().parse().ok().map(|n: f64| n * factor).filter(|n| n.is_finite() && *n >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(name: &str, limit: &str) -> Result<Budget, BudgetError> {
        Budget::new(name, Some(limit), None, "")
    }

    #[test]
    fn read() {
        for (name, limit, expected) in [
            ("allocated", "<= 384Mi", ("allocated", Function::Each, "<=", 384.0 * 1_048_576.0)),
            ("resident.p99", "<1Gi", ("resident.p99", Function::Percentile(99), "<", 1_073_741_824.0)),
            ("resident", "p(99)<1Gi", ("resident.p99", Function::Percentile(99), "<", 1_073_741_824.0)),
            ("draining.listeners", "max <= 50", ("draining.listeners.max", Function::Max, "<=", 50.0)),
            ("clusters.active", ">= 1", ("clusters.active", Function::Each, ">=", 1.0)),
            ("limit.pct", "<= 80%", ("limit.pct", Function::Each, "<=", 80.0)),
            ("replay.time_to_limit", ">= 30m", ("replay.time_to_limit", Function::Each, ">=", 1800.0)),
            ("findings.MD302", "== 0", ("findings.MD302", Function::Each, "==", 0.0)),
            ("namespace.shop.sum", "< 10Mi", ("namespace.shop.sum", Function::Sum, "<", 10_485_760.0)),
        ] {
            let b = budget(name, limit).unwrap();
            let l = b.error.unwrap();
            assert_eq!((b.name.as_str(), b.function, l.operator, l.number), expected);
        }
        assert_eq!(Budget::parse("config <= 3Ki").unwrap().error.unwrap().number, 3072.0);
    }

    #[test]
    fn refused() {
        assert_eq!(budget("heaap", "< 1").unwrap_err(), BudgetError::Name("heaap".to_owned()));
        for (name, limit) in [
            ("allocated", "384Mi"),
            ("allocated", "<= many"),
            ("allocated", "p(0) <= 1"),
            ("allocated.p99", "max <= 1"),
            ("clusters", "<= 5%"),
            ("limit.pct", "<= 5Mi"),
            ("findings", "max == 0"),
        ] {
            assert!(matches!(budget(name, limit), Err(BudgetError::Text(_))), "{name} {limit}");
        }
    }

    #[test]
    fn percentiles() {
        let values: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(Function::Percentile(95).of(values.clone()), Some(19.0));
        assert_eq!(Function::Percentile(1).of(values.clone()), Some(1.0));
        assert_eq!(Function::Mean.of(values.clone()), Some(10.5));
        assert_eq!(Function::Sum.of(values), Some(210.0));
        assert_eq!(Function::Max.of(vec![]), None);
    }
}
