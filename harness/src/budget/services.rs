//! Budgets as JSON: by service, with `response_time.p95.budget_ms`, `throughput.min_rps` and the like.
//!
//! A service's name that is also that of a workload, of an operation or of a phase restricts its budget to that; any other stands for the
//! whole run, for that is the service.

use serde::de::DeserializeOwned;
use serde_json::Value;

use clap::ValueEnum as _;

use super::file::{At, Budget, Fault, ParseError, RawAlert, RawTarget, SCHEMA_VERSION, checked, operation};
use super::near::{advice, near, with_advice};
use super::strict::Strict;
use super::{Factors, Limit, Metric, Quantity, Scope, Target};
use crate::attribution::Phase;
use crate::workload::{Kind, OperationKind};

/// The percentiles that the histograms of a run keep.
const PERCENTILES: [(&str, Metric); 6] = [
    ("p50", Metric::LatencyP50Us),
    ("p90", Metric::LatencyP90Us),
    ("p95", Metric::LatencyP95Us),
    ("p99", Metric::LatencyP99Us),
    ("p99_9", Metric::LatencyP999Us),
    ("max", Metric::LatencyMaxUs),
];

/// Other spellings of the 99.9th.
const P99_9: [&str; 2] = ["p999", "p99.9"];

/// Budgets with one limit: where they stand, the keys of their limit, and what they are of.
const SINGLE: [(&str, &[&str], Metric); 7] = [
    ("throughput", &["min_rps", "min_decisions_per_sec", "min_ops_per_sec"], Metric::ThroughputMeanOpsPerS),
    ("error_rate", &["max_percentage"], Metric::ErrorRatePercent),
    ("cluster_cpu", &["max_percentage"], Metric::MachineCpuPercent),
    ("cluster_memory", &["max_percentage"], Metric::MachineMemoryPercent),
    ("cache_hit_rate", &["min_percentage"], Metric::CacheHitRatePercent),
    ("node_availability", &["min_percentage"], Metric::NodeAvailabilityPercent),
    ("service_availability", &["min_percentage"], Metric::ServiceAvailabilityPercent),
];

/// The metric that JSON budgets know by another name, as `cluster_cpu`.
pub(crate) fn known_as(name: &str) -> Option<Metric> {
    let (group, percentile) = name.split_once('.').unwrap_or((name, ""));
    if group == "response_time" {
        return percentile_of(percentile);
    }
    SINGLE.iter().find(|(known, ..)| *known == name).map(|(.., metric)| *metric)
}

fn percentile_of(name: &str) -> Option<Metric> {
    if P99_9.contains(&name) {
        return Some(Metric::LatencyP999Us);
    }
    PERCENTILES.iter().find(|(known, _)| *known == name).map(|(_, metric)| *metric)
}

/// A value and where it stands.
struct Node<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> Node<'a> {
    fn fault(&self, message: impl Into<String>) -> ParseError {
        Fault::Syntax(message.into()).at(At::Path(self.path.clone()))
    }

    fn child(&self, key: &str, value: &'a Value) -> Self {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Self { path, value }
    }

    /// The fields of an object, remarks aside.
    fn fields(&self) -> Result<Vec<(&'a str, Self)>, ParseError> {
        let object = self.value.as_object().ok_or_else(|| self.fault("must be an object"))?;
        let fields: Vec<_> = object
            .iter()
            .filter(|(key, _)| *key != "_comment")
            .map(|(key, value)| (key.as_str(), self.child(key, value)))
            .collect();
        if fields.is_empty() { Err(self.fault("is empty")) } else { Ok(fields) }
    }

    fn number(&self) -> Result<f64, ParseError> {
        self.value.as_f64().ok_or_else(|| self.fault(format!("{} is no number", self.value)))
    }

    /// A list whose items are as in TOML.
    fn list<T: DeserializeOwned>(
        &self,
        target: impl Fn(T) -> Result<Target, Fault>,
    ) -> Result<Vec<Target>, ParseError> {
        let items = self.value.as_array().ok_or_else(|| self.fault("must be a list"))?;
        let item = |(number, value): (usize, &Value)| {
            let at = || At::Path(format!("{}[{number}]", self.path));
            let raw = serde_json::from_value(value.clone())
                .map_err(|error| Fault::Syntax(with_advice(&error.to_string())).at(at()))?;
            target(raw).map_err(|fault| fault.at(at()))
        };
        items.iter().enumerate().map(item).collect()
    }
}

/// Reads a JSON budget.
pub(super) fn parse(text: &str) -> Result<Budget, ParseError> {
    let Strict(root) =
        serde_json::from_str(text).map_err(|error| Fault::Syntax(error.to_string()).at(At::File))?;
    let root = Node { path: String::new(), value: &root };
    if !root.value.is_object() {
        return Err(Fault::Syntax("a JSON budget is an object".into()).at(At::File));
    }
    let (mut targets, mut foreign) = (Vec::new(), None);
    for (key, node) in root.fields().map_err(|_| Fault::Empty.at(At::File))? {
        match key {
            "$schema" => {}
            "schema_version" if *node.value == SCHEMA_VERSION => {}
            "schema_version" => return Err(Fault::Version(node.value.to_string()).at(At::File)),
            "foreign_rtnl_percent" => foreign = Some(node.number()?),
            "target" => targets.extend(node.list(RawTarget::target)?),
            "alert" => targets.extend(node.list(RawAlert::target)?),
            "operations" => {
                for (name, node) in node.fields()? {
                    let operation = super::file::named_operation(name)
                        .map_err(|fault| fault.at(At::Path(node.path.clone())))?;
                    let scope = Scope { operation: Some(operation), ..Scope::default() };
                    service(&node, &scope, None, &mut targets)?;
                }
            }
            "phases" => phases(&node, &Scope::default(), &mut targets)?,
            name => {
                let (scope, phase) = named(name);
                service(&node, &scope, phase, &mut targets)?;
            }
        }
    }
    Budget::new(targets, foreign)
}

/// What a service's name restricts its budget to.
fn named(name: &str) -> (Scope, Option<Phase>) {
    let workload = Kind::value_variants().iter().any(|kind| kind.name() == name);
    let scope =
        Scope { workload: workload.then(|| name.to_owned()), operation: operation(name), ..Scope::default() };
    (scope, Phase::ALL.into_iter().find(|phase| phase.name() == name))
}

/// The name of a workload, an operation or a phase that a service's name is nearly, but not quite.
pub(super) fn nearly(name: &str) -> Option<String> {
    let names = Kind::value_variants()
        .iter()
        .map(|kind| kind.name())
        .chain(OperationKind::ALL.map(OperationKind::name))
        .chain(Phase::ALL.map(Phase::name));
    near(name, names).filter(|near| near != name)
}

/// A service's budgets.
fn service(
    node: &Node<'_>,
    scope: &Scope,
    phase: Option<Phase>,
    targets: &mut Vec<Target>,
) -> Result<(), ParseError> {
    for (key, node) in node.fields()? {
        if key == "response_time" {
            percentiles(&node, scope, phase, targets)?;
        } else if let Some(phase) = phase {
            // As under `phases`, percentiles may stand there without `response_time`.
            percentile(key, &node, scope, Some(phase), targets)?;
        } else if key == "phases" {
            phases(&node, scope, targets)?;
        } else if let Some((_, limits, metric)) = SINGLE.iter().find(|(known, ..)| *known == key) {
            let limit = match metric.direction() {
                super::Direction::Higher => Limit::AtLeast,
                super::Direction::Lower => Limit::AtMost,
            };
            targets.push(target((*metric).into(), limit, &node, limits, 1.0, scope)?);
        } else {
            let known: Vec<&str> = ["response_time", "phases"]
                .into_iter()
                .chain(SINGLE.iter().map(|(known, ..)| *known))
                .collect();
            return Err(node.fault(format!("unknown metric `{key}`: {}", advice(key, &known))));
        }
    }
    Ok(())
}

fn phases(node: &Node<'_>, scope: &Scope, targets: &mut Vec<Target>) -> Result<(), ParseError> {
    for (name, node) in node.fields()? {
        let phase = Phase::ALL.into_iter().find(|phase| phase.name() == name).ok_or_else(|| {
            node.fault(format!("unknown phase `{name}`: {}", advice(name, &Phase::ALL.map(Phase::name))))
        })?;
        service(&node, scope, Some(phase), targets)?;
    }
    Ok(())
}

fn percentiles(
    node: &Node<'_>,
    scope: &Scope,
    phase: Option<Phase>,
    targets: &mut Vec<Target>,
) -> Result<(), ParseError> {
    for (key, node) in node.fields()? {
        percentile(key, &node, scope, phase, targets)?;
    }
    Ok(())
}

fn percentile(
    key: &str,
    node: &Node<'_>,
    scope: &Scope,
    phase: Option<Phase>,
    targets: &mut Vec<Target>,
) -> Result<(), ParseError> {
    let metric = percentile_of(key).ok_or_else(|| no_percentile(key, node))?;
    // Milliseconds there, microseconds here.
    targets.push(target(Quantity { metric, phase }, Limit::AtMost, node, &["budget_ms"], 1e3, scope)?);
    Ok(())
}

fn no_percentile(key: &str, node: &Node<'_>) -> ParseError {
    let kept = "a run keeps p50, p90, p95, p99, p99_9 and max";
    let number = key.strip_prefix('p').and_then(|number| number.replace('_', ".").parse::<f64>().ok());
    node.fault(match number {
        Some(number) if !(0.0..=100.0).contains(&number) => {
            format!("there is no percentile {number}: they go from 0 to 100, and {kept}")
        }
        Some(_) => format!("the percentile {key} is not kept: {kept}"),
        None => format!("unknown key `{key}`: {kept}"),
    })
}

/// A limit with its thresholds.
fn target(
    quantity: Quantity,
    limit: fn(f64) -> Limit,
    node: &Node<'_>,
    limits: &[&str],
    unit: f64,
    scope: &Scope,
) -> Result<Target, ParseError> {
    let mut bound: Option<(&str, f64)> = None;
    let mut factors = Factors::LIMIT;
    let mut regression_threshold = None;
    for (key, node) in node.fields()? {
        match key {
            "warning_threshold" => factors.warning = Some(node.number()?),
            "critical_threshold" => factors.critical = Some(node.number()?),
            "regression_threshold" => regression_threshold = Some(node.number()?),
            key if limits.contains(&key) => {
                if let Some((other, _)) = bound {
                    return Err(node.fault(format!("`{other}` says the same; give one of them")));
                }
                bound = Some((key, node.number()?));
            }
            key => {
                let known: Vec<&str> = limits
                    .iter()
                    .copied()
                    .chain(["warning_threshold", "critical_threshold", "regression_threshold"])
                    .collect();
                return Err(node.fault(format!("unknown key `{key}`: {}", advice(key, &known))));
            }
        }
    }
    let Some((_, bound)) = bound else {
        return Err(node.fault(format!("no limit: give `{}`", limits.join("` or `"))));
    };
    let target = Target {
        quantity,
        scope: scope.clone(),
        limit: limit(bound * unit),
        factors,
        regression_threshold,
        action: None,
        rule: Some(node.path.clone()),
    };
    checked(target).map_err(|fault| fault.at(At::Path(node.path.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Levels;

    /// The three budgets as they are printed.
    pub(in crate::budget) const SEEDS: [&str; 3] = [
        include_str!("testdata/auth-service.json"),
        include_str!("testdata/policy-service.json"),
        include_str!("testdata/infrastructure.json"),
    ];

    fn merged() -> String {
        let mut all = serde_json::Map::new();
        for text in SEEDS {
            let Value::Object(object) = serde_json::from_str(text).unwrap() else { panic!() };
            all.extend(object);
        }
        Value::Object(all).to_string()
    }

    #[test]
    fn the_seeds_load_as_they_are_printed_and_merged() {
        let of_each: Vec<Target> =
            SEEDS.iter().flat_map(|text| Budget::parse(text).unwrap().targets).collect();
        assert_eq!(of_each.len(), 5 + 3 + 3);
        let mut merged = Budget::parse(&merged()).unwrap().targets;
        let mut sorted = of_each.clone();
        for targets in [&mut merged, &mut sorted] {
            targets.sort_by(|one, other| one.rule.cmp(&other.rule));
        }
        assert_eq!(merged, sorted);
        let named = |path: &str| of_each.iter().find(|target| target.rule.as_deref() == Some(path)).unwrap();
        let p99 = named("auth-service.response_time.p99");
        assert_eq!(
            p99.levels(),
            Levels { warning: Some(Limit::AtMost(400_000.0)), critical: Some(Limit::AtMost(500_000.0)) }
        );
        assert_eq!(p99.regression_threshold, Some(0.2));
        let throughput = named("auth-service.throughput").levels();
        let expected = Levels { warning: Some(Limit::AtLeast(900.0)), critical: Some(Limit::AtLeast(800.0)) };
        assert_eq!(throughput, expected);
        assert_eq!(named("policy-service.throughput").limit, Limit::AtLeast(5_000.0));
        assert_eq!(named("infrastructure.cluster_cpu").quantity.metric, Metric::MachineCpuPercent);
        assert_eq!(named("policy-service.cache_hit_rate").quantity.metric, Metric::CacheHitRatePercent);
    }

    #[test]
    fn names_and_sections_restrict() {
        let budget = Budget::parse(
            r#"{ "lifecycle": { "response_time": { "p999": { "budget_ms": 1 } } },
                 "class-create": { "throughput": { "min_ops_per_sec": 5 } },
                 "rtnl_wait": { "p95": { "budget_ms": 2 } },
                 "operations": { "class-read": { "phases": { "on_cpu": { "max": { "budget_ms": 3 } } } } },
                 "phases": { "rtnl_wait": { "p50": { "budget_ms": 4 } } },
                 "anything": { "response_time": { "max": { "budget_ms": 5 } } } }"#,
        )
        .unwrap();
        let of = |target: &Target| format!("{}: {}", target.quantity.name(), target.scope.words());
        let mut said: Vec<String> = budget.targets.iter().map(of).collect();
        said.sort();
        assert_eq!(
            said,
            [
                "latency_max_us: all workloads",
                "latency_p99_9_us: lifecycle",
                "on_cpu_max_us: class-read in all workloads",
                "rtnl_wait_p50_us: all workloads",
                "rtnl_wait_p95_us: all workloads",
                "throughput_mean_ops_per_s: class-create in all workloads",
            ]
        );
    }

    #[test]
    fn bad_json_is_refused_in_one_line_with_its_path() {
        let p95 = |text: &str| format!(r#"{{"auth":{{"response_time":{{"p95":{text}}}}}}}"#);
        for (text, said) in [
            ("{}".into(), "no [[target]]"),
            ("{".into(), "line 1"),
            (r#"{"auth": {}}"#.into(), "auth: is empty"),
            (r#"{"auth": 3}"#.into(), "auth: must be an object"),
            (r#"{"auth": {"response_time": {"p101": {"budget_ms": 1}}}}"#.into(), "auth.response_time.p101: there is no percentile 101"),
            (r#"{"auth": {"response_time": {"p42": {"budget_ms": 1}}}}"#.into(), "p42 is not kept: a run keeps p50"),
            (r#"{"auth": {"response_time": {"median": {"budget_ms": 1}}}}"#.into(), "unknown key `median`"),
            (r#"{"auth": {"responce_time": {"p95": {"budget_ms": 1}}}}"#.into(), "auth.responce_time: unknown metric `responce_time`: did you mean `response_time`?"),
            (p95(r#"{"budget_ms": -1}"#), "auth.response_time.p95: latency_p95_us: the limit must be"),
            (p95(r#"{"budget_ms": NaN}"#), "line 1"),
            (p95(r#"{"budget_ms": 1e999}"#), "out of range"),
            (p95(r#"{"budget_ms": 1e308}"#), "finite"),
            (p95(r#"{"budget_ms": "fast"}"#), "p95.budget_ms: \"fast\" is no number"),
            (p95(r#"{"budget_ms": null}"#), "is no number"),
            (p95(r#"{"warning_threshold": 0.8}"#), "no limit: give `budget_ms`"),
            (p95(r#"{"budget_ms": 1, "warning_treshold": 0.8}"#), "did you mean `warning_threshold`?"),
            (p95(r#"{"budget_ms": 1, "warning_threshold": 0}"#), "warning = 0"),
            (p95(r#"{"budget_ms": 1, "critical_threshold": 11}"#), "critical = 11"),
            (p95(r#"{"budget_ms": 1, "warning_threshold": 1.1, "critical_threshold": 1.0}"#), "exchange them"),
            (p95(r#"{"budget_ms": 1, "budget_ms": 2}"#), "`budget_ms` comes twice"),
            (r#"{"a": {"throughput": {"min_rps": 1, "min_ops_per_sec": 1}}}"#.into(), "says the same"),
            (r#"{"a": {"throughput": {"min_rps": 1000, "warning_threshold": 0.8, "critical_threshold": 0.9}}}"#.into(), "exchange them"),
            (r#"{"class-create": {"error_rate": {"max_percentage": 1}}}"#.into(), "not kept by operation"),
            (r#"{"lifecycle": {"cluster_cpu": {"max_percentage": 1}}}"#.into(), "leave the workload out"),
            (r#"{"operations": {"class-craete": {"response_time": {"p95": {"budget_ms": 1}}}}}"#.into(), "operations.class-craete: unknown operation"),
            (r#"{"phases": {"rtnl": {"p95": {"budget_ms": 1}}}}"#.into(), "phases.rtnl: unknown phase"),
            (r#"{"schema_version": 2, "auth": {"response_time": {"p95": {"budget_ms": 1}}}}"#.into(), "schema_version 2"),
            (r#"{"target": [{"metric": "latency_p95_us", "belwo": 1}]}"#.into(), "target[0]: unknown field `belwo`: did you mean `below`?"),
            (r#"{"target": [{"metric": "latency_p95_us"}]}"#.into(), "target[0]: target latency_p95_us: give exactly one"),
            (r#"{"target": {}}"#.into(), "target: must be a list"),
        ] {
            let text: String = text;
            let error = Budget::parse(&text).expect_err(&text).to_string();
            assert!(error.contains(said) && !error.contains('\n'), "{text} → {error}, not {said}");
        }
    }
}
