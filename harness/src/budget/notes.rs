//! What of a budget is sound and may still surprise.

use super::metric::Place;
use super::services::nearly;
use super::{Budget, Direction, Target};

/// Remarks on a budget's targets, each a sentence.
pub fn notes(budget: &Budget) -> Vec<String> {
    let mut notes = Vec::new();
    for target in &budget.targets {
        let name = target.rule.clone().unwrap_or_else(|| target.quantity.name());
        let mut say = |text: String| {
            let note = format!("{name}: {text}.");
            if !notes.contains(&note) {
                notes.push(note);
            }
        };
        // An alert is what it says.
        if target.action.is_none() {
            levels(target).into_iter().for_each(&mut say);
        }
        match target.quantity.metric.place() {
            Place::Nowhere => say(
                "traffic control has nothing like it; it is always inconclusive, and so is a run that is held against this file".into(),
            ),
            _ if target.quantity.metric.is_growth() && target.scope.min_duration.is_none() => say(
                "growth is estimated only in runs that are long enough; in others it is inconclusive. `min_duration` leaves those out".into(),
            ),
            _ => {}
        }
        if target.quantity.metric.unit() == "%"
            && target.limit.direction() == Direction::Lower
            && target.quantity.metric != super::Metric::CpuPercentOfOneCore
            && target.levels().critical.is_some_and(|level| level.bound() >= 100.0)
        {
            say("it is critical beyond 100 %, which it never is".into());
        }
        if let Some(near) = target.rule.as_deref().and_then(|rule| nearly(rule.split('.').next()?)) {
            say(format!(
                "its name is none of a workload, an operation or a phase, so that it stands for the whole run; did you mean `{near}`?"
            ));
        }
    }
    notes
}

fn levels(target: &Target) -> Option<String> {
    let (limit, levels) = (target.limit.bound(), target.levels());
    let unit = target.quantity.metric.unit();
    let critical = levels.critical?.bound();
    let factor = target.factors.critical?;
    let percent = factor * 100.0;
    let at_the_limit = (percent - 100.0).abs() < 1e-9;
    if limit <= 0.0 && (target.factors.warning.is_some() || !at_the_limit) {
        return Some("factors of 0 are 0: it has one level".into());
    }
    if let Some(warning) = levels.warning
        && warning.bound().total_cmp(&critical).is_eq()
    {
        return Some(format!("both levels lie at {critical} {unit}, so that it never warns"));
    }
    match target.limit.direction() {
        _ if at_the_limit => None,
        Direction::Higher if percent < 100.0 => {
            let tolerated = levels.warning.map_or(critical, super::Limit::bound);
            let passes = if tolerated < limit {
                format!(
                    "from {tolerated} to {limit} {unit} misses the limit and is tolerated by the factors; "
                )
            } else {
                String::new()
            };
            Some(format!("{passes}critical only below {critical} {unit}, {percent:.0} % of the limit"))
        }
        Direction::Lower if percent < 100.0 => Some(format!(
            "it is critical at {percent:.0} % of its limit already: above {critical} {unit}, although {limit} {unit} are allowed"
        )),
        Direction::Lower => Some(format!(
            "it is critical only at {percent:.0} % of its limit: above {critical} {unit}; from {limit} to there the limit is missed and tolerated"
        )),
        Direction::Higher => Some(format!(
            "it is critical below {critical} {unit} already, {percent:.0} % of the limit, although {limit} {unit} are enough"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        notes(&Budget::parse(text).unwrap()).join("\n")
    }

    #[test]
    fn the_seeds_contradictions_are_explained() {
        let auth = said(include_str!("testdata/auth-service.json"));
        assert_eq!(
            auth.lines().collect::<Vec<_>>(),
            [
                "auth-service.throughput: from 900 to 1000 ops/s misses the limit and is tolerated by the factors; critical only below 800 ops/s, 80 % of the limit.",
                "auth-service.error_rate: it is critical at 80 % of its limit already: above 0.8 %, although 1 % are allowed.",
            ]
        );
        assert!(
            said(include_str!("testdata/policy-service.json"))
                .contains("cache_hit_rate: traffic control has nothing like it")
        );
    }

    #[test]
    fn what_can_never_happen_is_said() {
        let budget = |target: &str| format!("schema_version = 1\n[[target]]\n{target}");
        assert!(
            said(&budget("metric = \"leaked_fds\"\nat_most = 0\nwarning = 0.5")).contains("factors of 0")
        );
        assert!(said(&budget("metric = \"error_rate_percent\"\nat_most = 100")).contains("never"));
        assert!(said(&budget("metric = \"latency_p95_us\"\nbelow = 5\nwarning = 1")).contains("both levels"));
        assert!(
            said(r#"{"lifecylce": {"response_time": {"p95": {"budget_ms": 1}}}}"#)
                .contains("did you mean `lifecycle`?")
        );
        assert_eq!(said(&budget("metric = \"latency_p95_us\"\nbelow = 5")), "");
    }
}
