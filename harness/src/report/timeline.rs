//! A load profile over its time, as a picture: load and throughput, latencies, the harness's own lag.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::model::RunResult;
use crate::exit::Failure;
use crate::session::Second;

/// px.
const WIDTH: u32 = 1_100;
const PANEL_HEIGHT: u32 = 330;

/// Told apart with most kinds of colour blindness, too (Okabe and Ito, Color Universal Design, 2008).
const COLORS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];

/// Above the highest point, for the legend.
const HEADROOM: f64 = 1.35;

struct Panel {
    title: String,
    unit: &'static str,
    lines: Vec<Line>,
}

struct Line {
    label: &'static str,
    /// A second without a value leaves a gap.
    values: Vec<Option<f64>>,
}

/// An SVG.
///
/// # Errors
///
/// Where the picture cannot be drawn.
pub fn svg(timeline: &[Second], run: &RunResult) -> Result<String, Failure> {
    let line = |label: &'static str, pick: &dyn Fn(&Second) -> Option<f64>| Line {
        label,
        values: timeline.iter().map(pick).collect(),
    };
    let name = run.profile.as_ref().map_or("", |profile| &profile.name);
    let panels = [
        Panel {
            title: format!("{name} (Linux {}): load", run.environment.kernel),
            unit: "a second",
            lines: vec![
                line("operations", &|second| {
                    whole(second).then(|| second.operations as f64 / second.seconds)
                }),
                line("errors", &|second| whole(second).then(|| second.errors as f64 / second.seconds)),
                line("virtual users (count)", &|second| Some(second.users)),
            ],
        },
        Panel {
            title: "Latency".into(),
            unit: "ms",
            lines: vec![
                line("p50", &|second| Some(second.latency_us?.p50 / 1e3)),
                line("p95", &|second| Some(second.latency_us?.p95 / 1e3)),
                line("p99", &|second| Some(second.latency_us?.p99 / 1e3)),
            ],
        },
        Panel {
            title: "What the harness adds: how late its workers began, 99th percentile".into(),
            unit: "ms",
            lines: vec![line("schedule lag p99", &|second| Some(second.schedule_lag_us?.p99 / 1e3))],
        },
        Panel {
            title: "Memory of the harness".into(),
            unit: "MB",
            lines: vec![line("resident", &|second| Some(second.rss_bytes? as f64 / 1e6))],
        },
    ];
    let mut text = String::new();
    draw(&panels, timeline, &mut text)
        .map_err(|error| Failure::internal(format!("draw the time line: {error}")))?;
    Ok(text)
}

/// Not what is left of a stage after its last whole second: a rate over milliseconds says nothing.
fn whole(second: &Second) -> bool {
    second.seconds >= 0.5
}

type Drawing<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn draw<'a>(panels: &[Panel], timeline: &[Second], text: &'a mut String) -> Drawn<'a> {
    let height = PANEL_HEIGHT * u32::try_from(panels.len()).unwrap_or(1);
    let root = SVGBackend::with_string(text, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    for (panel, area) in panels.iter().zip(root.split_evenly((panels.len(), 1))) {
        draw_panel(panel, timeline, &area)?;
    }
    root.present()
}

fn draw_panel<'a>(panel: &Panel, timeline: &[Second], area: &Drawing<'a>) -> Drawn<'a> {
    let end = timeline.last().map_or(1.0, |second| second.at_seconds).max(1.0);
    let most =
        panel.lines.iter().flat_map(|line| line.values.iter().flatten()).fold(0.0, |a: f64, b| a.max(*b));
    let most = if most > 0.0 { most * HEADROOM } else { 1.0 };
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, ("sans-serif", 18))
        .margin(14)
        .x_label_area_size(44)
        .y_label_area_size(80)
        .build_cartesian_2d(0.0..end, 0.0..most)?;
    chart
        .configure_mesh()
        .x_desc("seconds since the profile's beginning (grey: a stage begins)")
        .y_desc(panel.unit)
        .axis_desc_style(("sans-serif", 14))
        .label_style(("sans-serif", 13))
        .bold_line_style(BLACK.mix(0.12))
        .light_line_style(WHITE)
        .draw()?;
    for pair in timeline.windows(2).filter(|pair| pair[0].stage != pair[1].stage) {
        let at = pair[0].at_seconds;
        chart.draw_series([PathElement::new(vec![(at, 0.0), (at, most)], BLACK.mix(0.35))])?;
    }
    for (line, color) in panel.lines.iter().zip(COLORS.into_iter().cycle()) {
        let mut points: Vec<Vec<(f64, f64)>> = vec![Vec::new()];
        for (second, value) in timeline.iter().zip(&line.values) {
            match (value, points.last_mut()) {
                (Some(value), Some(part)) => part.push((second.at_seconds, *value)),
                _ => points.push(Vec::new()),
            }
        }
        let legend = move |(x, y)| PathElement::new(vec![(x, y), (x + 20, y)], color.stroke_width(2));
        let mut parts = points.into_iter().filter(|part| !part.is_empty());
        let first = LineSeries::new(parts.next().unwrap_or_default(), color.stroke_width(2));
        chart.draw_series(first)?.label(line.label).legend(legend);
        for part in parts {
            chart.draw_series(LineSeries::new(part, color.stroke_width(2)))?;
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.25))
        .label_font(("sans-serif", 14))
        .draw()
}
