//! The curves as a picture: points with their intervals, and the law that was fitted.

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use textplots::{Chart, LabelBuilder as _, LabelFormat, Plot as _, Shape};

use super::model::{Axis, Scaling, Series, Stage};
use super::table::{number, title, unit};
use crate::exit::Failure;
use crate::stats::growth::{Curve, Law};
use crate::stats::judgement::Judgement;

/// Of a picture with one panel; px.
const WIDTH: u32 = 960;
const PANEL_HEIGHT: u32 = 560;

/// Told apart with most kinds of colour blindness, too (Okabe and Ito, Color Universal Design, 2008).
const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(120, 94, 20),
];

/// Above the highest point, for the legend.
const HEADROOM: f64 = 1.3;

/// How many straight pieces a curve is drawn with.
const PIECES: u32 = 60;

struct Panel {
    title: String,
    x: &'static str,
    y: &'static str,
    lines: Vec<Line>,
}

struct Line {
    label: String,
    points: Vec<Mark>,
    curve: Option<Curve>,
}

struct Mark {
    x: f64,
    y: f64,
    interval: Option<[f64; 2]>,
}

impl Line {
    /// The fitted curve over the measured range, or from point to point. Pixels are whole: a straight line of many pieces
    /// would look like stairs.
    fn trace(&self, most_y: f64) -> Vec<(f64, f64)> {
        let Some(curve) = self.curve else {
            return self.points.iter().map(|mark| (mark.x, mark.y)).collect();
        };
        let ends = self.points.first().zip(self.points.last());
        let Some((from, to)) = ends.map(|(first, last)| (first.x, last.x)) else { return Vec::new() };
        let xs: Vec<f64> = match curve.law {
            Law::Constant | Law::Linear => {
                [Some(from), curve.knee.map(|knee| knee.at), Some(to)].into_iter().flatten().collect()
            }
            Law::Logarithmic | Law::Quadratic => {
                (0..=PIECES).map(|piece| from + (to - from) * f64::from(piece) / f64::from(PIECES)).collect()
            }
        };
        xs.into_iter().map(|x| (x, curve.at(x).clamp(0.0, most_y * HEADROOM))).collect()
    }
}

/// A figure of a stage, and its interval.
type Pick = fn(&Stage) -> (f64, Option<[f64; 2]>);

/// An SVG.
pub fn svg(scaling: &Scaling) -> Result<String, Failure> {
    let panels: Vec<Panel> = panels(scaling).into_iter().filter(|panel| !panel.lines.is_empty()).collect();
    let mut text = String::new();
    draw(&panels, &mut text).map_err(|error| Failure::internal(format!("draw the chart: {error}")))?;
    Ok(text)
}

type Drawing<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn draw<'a>(panels: &[Panel], text: &'a mut String) -> Drawn<'a> {
    let count = panels.len().max(1);
    let height = PANEL_HEIGHT * u32::try_from(count).unwrap_or(1);
    let root = SVGBackend::with_string(text, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    for (panel, area) in panels.iter().zip(root.split_evenly((count, 1))) {
        draw_panel(panel, &area)?;
    }
    root.present()
}

fn draw_panel<'a>(panel: &Panel, area: &Drawing<'a>) -> Drawn<'a> {
    let largest = |of: &dyn Fn(&Mark) -> f64| {
        panel.lines.iter().flat_map(|line| &line.points).map(of).fold(0.0, f64::max)
    };
    let (most_x, most_y) =
        (largest(&|mark| mark.x), largest(&|mark| mark.interval.map_or(mark.y, |interval| interval[1])));
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, ("sans-serif", 20))
        .margin(18)
        .x_label_area_size(54)
        .y_label_area_size(84)
        .build_cartesian_2d(0.0..most_x * 1.02, 0.0..most_y * HEADROOM)?;
    chart
        .configure_mesh()
        .x_desc(panel.x)
        .y_desc(panel.y)
        .axis_desc_style(("sans-serif", 17))
        .label_style(("sans-serif", 15))
        .x_label_formatter(&|value| grouped(*value))
        .y_label_formatter(&|value| grouped(*value))
        .bold_line_style(BLACK.mix(0.12))
        .light_line_style(WHITE)
        .draw()?;
    for (line, color) in panel.lines.iter().zip(COLORS.into_iter().cycle()) {
        draw_line(line, color, most_y, &mut chart)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.25))
        .label_font(("sans-serif", 16))
        .margin(10)
        .draw()
}

type Coordinates = Cartesian2d<RangedCoordf64, RangedCoordf64>;

fn draw_line<'a>(
    line: &Line,
    color: RGBColor,
    most_y: f64,
    chart: &mut ChartContext<'a, SVGBackend<'a>, Coordinates>,
) -> Drawn<'a> {
    let legend = move |(x, y)| {
        let stroke = PathElement::new(vec![(x, y), (x + 22, y)], color.stroke_width(2));
        EmptyElement::at((0, 0)) + stroke + Circle::new((x + 11, y), 4, color.filled())
    };
    let trace = line.trace(most_y);
    // What is not sure is not drawn as if it were: then only from point to point.
    let style = if line.curve.is_some() { color.stroke_width(2) } else { color.mix(0.35).stroke_width(1) };
    chart.draw_series(LineSeries::new(trace, style))?.label(&line.label).legend(legend);
    chart.draw_series(line.points.iter().filter_map(|mark| {
        let [least, most] = mark.interval?;
        Some(ErrorBar::new_vertical(mark.x, least, mark.y, most, color.stroke_width(1), 8))
    }))?;
    chart.draw_series(line.points.iter().map(|mark| Circle::new((mark.x, mark.y), 4, color.filled())))?;
    Ok(())
}

/// Thousands are set apart.
fn grouped(value: f64) -> String {
    if value.abs() < 10.0 && value.fract() != 0.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn panels(scaling: &Scaling) -> Vec<Panel> {
    let kernel = &scaling.environment.kernel;
    let lines = |metric: &str, name: &str, pick: Pick| -> Vec<Line> {
        scaling.series.iter().map(|series| line(scaling, series, metric, name, pick)).collect()
    };
    if scaling.settings.axis == Axis::Classes {
        return vec![Panel {
            title: format!("Latency against the number of HTB classes (Linux {kernel})"),
            x: "classes in the kernel (bars: the median's range over the rounds)",
            y: "median latency, µs",
            lines: lines("latency_p50_us", "", median),
        }];
    }
    let x = "workers, each with a socket of its own";
    let mut middle = lines("latency_p50_us", " median", median);
    middle.extend(lines("latency_mean_us", " mean", |stage| (stage.latency_us.mean, None)));
    // Adds and deletes take turns, so there are as many of both.
    let mut throughput = lines("ops_per_s", "", |stage| (stage.ops_per_s, None));
    throughput.truncate(1);
    if let (Some(line), true) = (throughput.first_mut(), scaling.series.len() > 1) {
        line.label.insert_str(0, "as many deletes as adds; ");
    }
    vec![
        Panel {
            title: format!("Latency against the number of concurrent callers (Linux {kernel})"),
            x: "workers, each with a socket of its own (bars: the median's range over the rounds)",
            y: "latency, µs",
            lines: middle,
        },
        Panel {
            title: "99th percentile".into(),
            x,
            y: "latency, µs",
            lines: lines("latency_p99_us", "", |stage| (stage.latency_us.p99, None)),
        },
        Panel {
            title: "Throughput of all callers together".into(),
            x,
            y: "operations a second",
            lines: throughput,
        },
    ]
}

/// The median with its range over the rounds; of a single one with its confidence interval.
fn median(stage: &Stage) -> (f64, Option<[f64; 2]>) {
    let rounds = &stage.rounds_p50_us;
    let range = rounds
        .iter()
        .fold([f64::INFINITY, 0.0], |[least, most]: [f64; 2], &p50| [least.min(p50), most.max(p50)]);
    let interval = if rounds.len() > 1 { Some(range) } else { stage.latency_us.p50_interval };
    (stage.latency_us.p50, interval)
}

fn line(scaling: &Scaling, series: &Series, metric: &str, name: &str, pick: Pick) -> Line {
    let judgement = series.growth.get(metric);
    let mark = |stage: &Stage| {
        let (y, interval) = pick(stage);
        Mark { x: stage.n, y, interval }
    };
    Line {
        label: format!(
            "{}{name}{}",
            title(scaling, series),
            judgement.map_or_else(String::new, |j| law(scaling, metric, j))
        ),
        points: series.stages.iter().map(mark).collect(),
        curve: judgement.filter(|judgement| judgement.law.is_some()).map(|judgement| judgement.curve),
    }
}

fn law(scaling: &Scaling, metric: &str, judgement: &Judgement) -> String {
    let curve = judgement.curve;
    let Some(law) = judgement.law else { return ": inconclusive".into() };
    if law != Law::Linear {
        return format!(": {law}");
    }
    let (scale, unit) = unit(metric, curve.slope);
    let beyond = curve.knee.map_or_else(String::new, |knee| {
        format!(", {} beyond {}", signed(knee.slope_beyond * scale), grouped(knee.at))
    });
    format!(": linear, {} {unit} a {}{beyond}", signed(curve.slope * scale), scaling.settings.axis.one())
}

fn signed(value: f64) -> String {
    format!("{}{}", if value < 0.0 { "−" } else { "+" }, number(value.abs()))
}

/// The series that comes highest, in characters: of classes the median, of workers the mean, which is what waiting shows in.
pub fn terminal(scaling: &Scaling) -> String {
    let (metric, name, pick): (_, _, Pick) = match scaling.settings.axis {
        Axis::Classes => ("latency_p50_us", " median", |stage| (stage.latency_us.p50, None)),
        Axis::Workers => ("latency_mean_us", " mean", |stage| (stage.latency_us.mean, None)),
    };
    let last = |series: &&Series| series.stages.last().map_or(0.0, |stage| pick(stage).0);
    let drawn = scaling.series.iter().filter(|series| series.stages.len() > 1);
    let Some(series) = drawn.max_by(|a, b| last(a).total_cmp(&last(b))) else { return String::new() };
    let line = line(scaling, series, metric, name, pick);
    let (from, to) = (0.0, line.points.last().map_or(1.0, |mark| mark.x));
    let most = line.points.iter().map(|mark| mark.y).fold(0.0, f64::max);
    let points: Vec<(f32, f32)> = line.points.iter().map(|mark| (single(mark.x), single(mark.y))).collect();
    let trace = if line.curve.is_some() { line.trace(most / HEADROOM * 1.05) } else { Vec::new() };
    let fitted: Vec<(f32, f32)> = trace.into_iter().map(|(x, y)| (single(x), single(y))).collect();
    // A cross is seen beside a line, a point is not.
    let crosses: Vec<(f32, f32)> =
        points.iter().flat_map(|&point| cross(point, single(to), single(most))).collect();
    let (measured, law) = (Shape::Points(&crosses), Shape::Lines(&fitted));
    let mut chart = Chart::new_with_y_range(130, 56, single(from), single(to), 0.0, single(most * 1.05));
    let chart = chart.x_label_format(LabelFormat::Custom(Box::new(|x| grouped(f64::from(x)))));
    let chart =
        chart.y_label_format(LabelFormat::Custom(Box::new(|y| format!("{} µs", grouped(f64::from(y))))));
    let chart = chart.lineplot(&measured);
    let chart = if fitted.is_empty() { chart } else { chart.lineplot(&law) };
    chart.borders();
    chart.figures();
    let legend = if line.curve.is_some() { "points: measured; line: fitted" } else { "points: measured" };
    format!("\n{}; against {} ({legend})\n{chart}\n", line.label, scaling.settings.axis.many())
}

/// The points of a cross, in a chart that reaches from 0 to `to` and `most`.
fn cross((x, y): (f32, f32), to: f32, most: f32) -> impl Iterator<Item = (f32, f32)> {
    let (dx, dy) = (to / 130.0, most * 1.05 / 56.0);
    let near = move |(i, j): (i8, i8)| {
        ((x + f32::from(i) * dx).clamp(0.0, to), (y + f32::from(j) * dy).clamp(0.0, most * 1.05))
    };
    [(0, 0), (1, 1), (-1, -1), (1, -1), (-1, 1)].into_iter().map(near)
}

#[expect(clippy::cast_possible_truncation, reason = "a terminal has some hundred dots")]
fn single(value: f64) -> f32 {
    value as f32
}
