//! A metric, or a percentile of one phase.

use serde::Deserialize;

use super::Metric;
use super::near::near;
use crate::attribution::Phase;

/// A metric, or a percentile of one phase of the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Quantity {
    /// The metric. With a phase, the percentile.
    pub metric: Metric,
    /// The phase; `None`: the whole request, or what is no time at all.
    pub phase: Option<Phase>,
}

impl From<Metric> for Quantity {
    fn from(metric: Metric) -> Self {
        Self { metric, phase: None }
    }
}

/// A name that is none of a metric.
#[derive(Debug, thiserror::Error)]
#[error("unknown metric `{name}`: {}", self.advice())]
pub struct UnknownQuantity {
    name: String,
    near: Option<String>,
}

impl UnknownQuantity {
    fn advice(&self) -> String {
        match &self.near {
            Some(near) => format!("did you mean `{near}`? (`qdiscope budget explain` lists them)"),
            None => "`qdiscope budget explain` lists them; those of a phase are `<phase>_<p50|p90|p95|p99|p99_9|max>_us`, such as `rtnl_wait_p95_us`".into(),
        }
    }
}

impl TryFrom<String> for Quantity {
    type Error = UnknownQuantity;

    fn try_from(name: String) -> Result<Self, UnknownQuantity> {
        let metric = |name: &str| serde_json::from_value::<Metric>(name.into()).ok();
        if let Some(metric) = metric(&name) {
            return Ok(metric.into());
        }
        Phase::ALL
            .into_iter()
            .find_map(|phase| {
                let percentile = name.strip_prefix(phase.name())?.strip_prefix('_')?;
                let metric = metric(&format!("latency_{percentile}")).filter(|metric| metric.is_latency())?;
                Some(Self { metric, phase: Some(phase) })
            })
            .ok_or_else(|| {
                let near = near(&name, Self::all().map(Self::name));
                UnknownQuantity { name, near }
            })
    }
}

impl Quantity {
    /// Each metric, and each percentile of each phase.
    pub fn all() -> impl Iterator<Item = Self> {
        let metrics = || Metric::all().iter().copied();
        let of_phase = move |phase| {
            let percentiles = metrics().filter(|metric| metric.is_latency());
            percentiles.map(move |metric| Self { metric, phase: Some(phase) })
        };
        metrics().map(Self::from).chain(Phase::ALL.into_iter().flat_map(of_phase))
    }

    /// The name used in budget files and results.
    pub fn name(self) -> String {
        let name = self.metric.name();
        match (self.phase, name.strip_prefix("latency_")) {
            (Some(phase), Some(percentile)) => format!("{}_{percentile}", phase.name()),
            _ => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_reads_back() {
        for quantity in Quantity::all() {
            assert_eq!(Quantity::try_from(quantity.name()).unwrap(), quantity);
        }
        assert_eq!(Quantity::all().count(), Metric::all().len() + 8 * 6);
    }

    #[test]
    fn a_slip_of_the_pen_is_met_with_the_right_name() {
        let said = |name: &str| Quantity::try_from(name.to_owned()).unwrap_err().to_string();
        assert!(said("latency_p95_ms").contains("did you mean `latency_p95_us`?"));
        assert!(said("rtnl_wiat_p95_us").contains("did you mean `rtnl_wait_p95_us`?"));
        assert!(said("x").contains("<phase>_"));
    }
}
