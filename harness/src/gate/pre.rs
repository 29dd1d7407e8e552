//! Before a deployment: is this host fit to be measured, and does the kernel have what it is to have? Judging is pure; [`Rtnl::watch`] asks.

use std::time::{Duration, Instant};

use tc_adapter::tree::Plan;
use tc_adapter::{Connection, Error, Handle, Request};

use super::model::Check;
use crate::report::sheet::{Verdict, number};
use crate::report::words::duration;

const HOST: &str = "host";

/// Share of the CPUs that are wanted, from which the host is rather full: the seeds' budget of 80 % CPU.
const LOAD_WARNING: f64 = 0.8;

/// More steal than this says that the hypervisor's other guests decide; as the budget's verdict has it. Percent.
const NOISY_STEAL: f64 = 10.0;

/// A request that takes the kernel so long has waited: alone it takes a few microseconds.
const WAITED: Duration = Duration::from_millis(1);

/// A tenth of the requests: less is told apart from the machine's usual noise only with difficulty.
const RTNL_BUSY: f64 = 0.1;

/// The 1-minute load average.
pub fn load(average: Option<f64>, cores: usize) -> Check {
    let check = |verdict, detail: String| Check::new(HOST, "load average", verdict, detail);
    let Some(average) = average else {
        return check(Verdict::Inconclusive, "/proc/loadavg does not tell".into());
    };
    let share = average / cores.max(1) as f64;
    let detail = format!("{average:.2} on {cores} cores");
    if share > 1.0 {
        check(
            Verdict::Inconclusive,
            format!("{detail}: others want more CPU than there is; measure when they are done"),
        )
    } else if share > LOAD_WARNING {
        check(Verdict::Warning, format!("{detail}: hardly any is left to measure with"))
    } else {
        check(Verdict::Pass, detail)
    }
}

/// CPU time that the hypervisor gave to others, percent.
pub fn steal(percent: Option<f64>) -> Check {
    let check = |verdict, detail: String| Check::new(HOST, "steal", verdict, detail);
    match percent {
        None => check(Verdict::Inconclusive, "/proc/stat does not tell".into()),
        Some(percent) if percent > NOISY_STEAL => check(
            Verdict::Inconclusive,
            format!("the hypervisor gives {percent:.0} % of the CPU time to others: use a quiet machine"),
        ),
        Some(percent) => check(Verdict::Pass, format!("{percent:.1} %")),
    }
}

/// HTB classes in all network namespaces: they slow the creation of every class (`flow_indr_dev_setup_offload`).
pub fn foreign_classes(count: Option<u64>) -> Check {
    let check = |verdict, detail: String| Check::new(HOST, "HTB classes that are there", verdict, detail);
    match count {
        None => check(Verdict::Inconclusive, "cannot look into all network namespaces; run as root".into()),
        Some(0) => check(Verdict::Pass, "none".into()),
        Some(count) => {
            check(Verdict::Warning, format!("{count}: they slow the creation of every class on this host"))
        }
    }
}

/// How long requests wait for RTNL now.
#[derive(Debug, Clone, PartialEq)]
pub struct Rtnl {
    /// Each request's time, ascending.
    latencies: Vec<Duration>,
}

impl Rtnl {
    /// Asks again and again, for so long, for the deletion of a class of a device that cannot exist: it takes RTNL and changes nothing.
    ///
    /// # Errors
    ///
    /// What the kernel says where it does not let us ask.
    pub fn watch(time: Duration) -> Result<Self, Error> {
        const PAUSE: Duration = Duration::from_millis(5);
        /// Interface indices are positive numbers of 31 bits; the last is out of reach.
        const NO_DEVICE: u32 = i32::MAX.unsigned_abs();
        let mut connection = Connection::connect()?;
        let request = Request::DeleteClass { device: NO_DEVICE, classid: Handle::new(1, 1) };
        let (begun, mut latencies) = (Instant::now(), Vec::new());
        while begun.elapsed() < time {
            let start = Instant::now();
            match connection.request(&request) {
                Err(error) if error.errno() == Some(libc::ENODEV) => latencies.push(start.elapsed()),
                Err(error) => return Err(error),
                // There is such a device after all? Then nothing was measured.
                Ok(_) => break,
            }
            std::thread::sleep(PAUSE);
        }
        latencies.sort_unstable();
        Ok(Self { latencies })
    }
}

/// Contention for RTNL.
pub fn rtnl(watched: Result<&Rtnl, &Error>) -> Check {
    let check = |verdict, detail: String| Check::new(HOST, "RTNL", verdict, detail);
    let latencies = match watched {
        Ok(Rtnl { latencies }) if !latencies.is_empty() => latencies,
        Ok(_) => return check(Verdict::Inconclusive, "no request was answered".into()),
        Err(error) => return check(Verdict::Inconclusive, format!("cannot ask: {error}; run as root")),
    };
    let micros = |time: Duration| duration(time.as_secs_f64() * 1e6);
    let waited = latencies.iter().filter(|time| **time >= WAITED).count();
    let share = waited as f64 / latencies.len() as f64;
    let detail = format!(
        "{} requests, median {}, longest {}, {waited} of 1 ms or more",
        latencies.len(),
        micros(latencies[latencies.len() / 2]),
        micros(latencies[latencies.len() - 1]),
    );
    if share >= RTNL_BUSY {
        let hint = "somebody holds it much of the time; see who: qdiscope top";
        check(Verdict::Inconclusive, format!("{detail}: {hint}"))
    } else if share > 0.01 {
        check(Verdict::Warning, format!("{detail}: somebody uses it"))
    } else {
        check(Verdict::Pass, detail)
    }
}

/// Whether the kernel has what a tree says.
pub fn tree(plan: &Plan) -> Check {
    let check = |verdict, detail: String| Check::new("tree", "what stands", verdict, detail);
    match (plan.steps.len(), plan.to_string().lines().next()) {
        (0, _) => check(Verdict::Pass, "what is to be".into()),
        (count, first) => check(
            Verdict::Critical,
            format!(
                "{} from what is to be, the first: tc {}; see all: qdiscope tc diff",
                if count == 1 {
                    "1 difference".to_owned()
                } else {
                    format!("{} differences", number(count as f64))
                },
                first.unwrap_or("?"),
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_told_is_no_pass() {
        let nothing = Rtnl { latencies: Vec::new() };
        for check in [load(None, 2), steal(None), foreign_classes(None), rtnl(Ok(&nothing))] {
            assert_eq!(check.verdict, Verdict::Inconclusive, "{}", check.detail);
        }
    }

    #[test]
    fn a_busy_host_is_inconclusive() {
        use Verdict::{Inconclusive, Pass, Warning};
        for (average, verdict) in [(0.1, Pass), (1.7, Warning), (2.1, Inconclusive)] {
            assert_eq!(load(Some(average), 2).verdict, verdict, "{average}");
        }
        assert_eq!((steal(Some(1.0)).verdict, steal(Some(11.0)).verdict), (Pass, Inconclusive));
        assert_eq!((foreign_classes(Some(0)).verdict, foreign_classes(Some(1)).verdict), (Pass, Warning));
        for (slow, verdict) in [(0, Pass), (5, Warning), (10, Inconclusive)] {
            let mut latencies = vec![Duration::from_micros(3); 100 - slow];
            latencies.extend(vec![Duration::from_millis(2); slow]);
            assert_eq!(rtnl(Ok(&Rtnl { latencies })).verdict, verdict, "{slow}");
        }
    }
}
