//! One workload on several machines, side by side.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, presets::UTF8_HORIZONTAL_ONLY};
use serde_json::Value;

use super::{bench, error::Error};

/// A machine's run.
pub(super) struct Column {
    name: String,
    /// Whether its times say nothing about a real machine.
    pub(super) emulated: bool,
    probes: String,
    /// By workload, message and phase.
    cells: BTreeMap<(String, String, usize), Cell>,
}

/// Microseconds.
#[derive(Clone, Copy)]
struct Cell {
    median: f64,
    mean: f64,
}

/// As in result.json, and as shown. The first is what the others are a share of.
const PHASES: [(&str, &str); 4] =
    [("syscall", "system call"), ("rtnl_wait", "RTNL wait"), ("off_cpu", "off CPU"), ("on_cpu", "on CPU")];

impl Column {
    /// Reads a saved run.
    pub(super) fn read(name: String, path: &Path) -> Result<Self, Error> {
        let (probes, _) = bench::probes(path)?;
        Ok(Self { name, emulated: false, probes, cells: cells(&bench::read(path)?) })
    }
}

fn cells(run: &Value) -> BTreeMap<(String, String, usize), Cell> {
    let mut cells = BTreeMap::new();
    for workload in run["workloads"].as_array().into_iter().flatten() {
        let name = workload["name"].as_str().unwrap_or_default();
        let mode = workload["mode"].as_str().unwrap_or_default();
        for (message, phases) in workload["kernel_us"].as_object().into_iter().flatten() {
            for (index, (phase, _)) in PHASES.iter().enumerate() {
                // What was not measured is absent, and never zero.
                let figures = &phases[phase];
                if let (Some(median), Some(mean)) = (figures["p50"].as_f64(), figures["mean"].as_f64()) {
                    cells.insert((format!("{name} ({mode})"), message.clone(), index), Cell { median, mean });
                }
            }
        }
    }
    cells
}

/// Medians, and each phase's share of the system call's time.
pub(super) fn render(columns: &[Column]) -> String {
    let mut table = Table::new();
    table
        .load_style(UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()))
        .set_content_arrangement(ContentArrangement::Disabled);
    let heads = columns.iter().map(|column| {
        let note = if column.emulated { "\nnot comparable (TCG)" } else { "" };
        format!("{}\n{}{note}", column.name, column.probes)
    });
    table.set_header(["workload", "message", "phase"].map(str::to_owned).into_iter().chain(heads));
    let mut keys: Vec<_> = columns.iter().flat_map(|column| column.cells.keys()).collect();
    keys.sort();
    keys.dedup();
    let mut last = None;
    for key in keys {
        let (workload, message, phase) = key;
        let same = last.replace((workload, message)) == Some((workload, message));
        let head = if same { [""; 2] } else { [workload.as_str(), message.as_str()] };
        let figures = columns.iter().map(|column| column.shown(key));
        table.add_row(head.into_iter().chain([PHASES[*phase].1]).map(str::to_owned).chain(figures));
    }
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text =
        "In the kernel: median in µs, and the phase's share of the system call's time\n".to_owned();
    let _ = writeln!(text, "{table}");
    if columns.iter().any(|column| column.emulated) {
        text.push_str(
            "Under TCG times are those of an emulation: compare shares and probe kinds, not times.\n",
        );
    }
    text
}

impl Column {
    fn shown(&self, key: &(String, String, usize)) -> String {
        let Some(cell) = self.cells.get(key) else { return "–".to_owned() };
        let whole = self.cells.get(&(key.0.clone(), key.1.clone(), 0)).map(|whole| whole.mean);
        match whole {
            Some(whole) if key.2 > 0 && whole > 0.0 => {
                format!("{:.1} ({:3.0} %)", cell.median, 100.0 * cell.mean / whole)
            }
            _ => format!("{:.1}", cell.median),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn column(name: &str, scale: f64, emulated: bool) -> Column {
        let figures = |p50: f64, mean: f64| json!({"p50": p50 * scale, "mean": mean * scale});
        let phases =
            json!({"syscall": figures(80.0, 100.0), "rtnl_wait": figures(0.0, 25.0), "off_cpu": null});
        let run = json!({"workloads": [{"name": "lifecycle", "mode": "closed", "kernel_us": {"RTM_NEWTCLASS": phases}}]});
        Column { name: name.into(), emulated, probes: "fexit".into(), cells: cells(&run) }
    }

    #[test]
    fn machines_are_side_by_side_and_emulated_ones_marked() {
        let text = render(&[column("native", 1.0, false), column("6.1", 10.0, true)]);
        let line = |word: &str| text.lines().find(|line| line.contains(word)).unwrap().to_owned();
        assert!(line("system call").contains("80.0") && line("system call").contains("800.0"), "{text}");
        assert!(line("RTNL wait  ").matches("25 %").count() == 2, "{text}");
        assert!(text.contains("not comparable (TCG)") && !text.contains("off CPU"), "{text}");
        assert!(!render(&[column("native", 1.0, false)]).contains("TCG"));
    }
}
