//! `qdiscope overhead`. What the ratio is, is for a quiet machine to say; here, that it is said.

use libtest_mimic::Failed;

use crate::qdiscope::{Finished, qdiscope};

pub(crate) fn a_ratio_is_printed() -> Result<(), Failed> {
    let arguments = "overhead --rounds 1 --classes 500";
    let finished = Finished::of(&mut qdiscope(arguments)?)?.expect(0)?;
    let line = finished.stdout.lines().last().ok_or("nothing on stdout")?;
    let ratio = line
        .split_once("throughput with probes is ")
        .and_then(|(_, rest)| rest.split_once(' '))
        .ok_or_else(|| format!("no ratio: {line}"))?
        .0;
    let ratio: f64 = ratio.parse().map_err(|error| format!("{line}: {error}"))?;
    assert!(ratio > 0.0 && ratio < 10.0, "{line}");
    // A limit that no probe can hold.
    let violated = Finished::of(&mut qdiscope(&format!("{arguments} --min-ratio 100"))?)?;
    violated.expect(4).map(drop)
}
