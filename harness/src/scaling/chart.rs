//! The curves as a picture: points with their intervals, and the law that was fitted.

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use textplots::{Chart, LabelBuilder as _, LabelFormat, Plot as _, Shape};

use super::model::{Axis, Scaling, Series, Stage};
use super::table::{number, title};
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

/// How many straight pieces a curve is drawn with.
const PIECES: u32 = 200;

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
    let (most_x, most_y) = (largest(&|mark| mark.x), largest(&|mark| mark.interval.map_or(mark.y, |i| i[1])));
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, ("sans-serif", 20))
        .margin(18)
        .x_label_area_size(54)
        .y_label_area_size(84)
        .build_cartesian_2d(0.0..most_x * 1.02, 0.0..most_y * 1.08)?;
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
    let (from, to) =
        (line.points.first().map_or(0.0, |mark| mark.x), line.points.last().map_or(0.0, |mark| mark.x));
    let legend = move |(x, y)| {
        let stroke = PathElement::new(vec![(x, y), (x + 22, y)], color.stroke_width(2));
        EmptyElement::at((0, 0)) + stroke + Circle::new((x + 11, y), 4, color.filled())
    };
    let curve = line.curve.into_iter().flat_map(|curve| {
        (0..=PIECES).map(move |piece| {
            let x = from + (to - from) * f64::from(piece) / f64::from(PIECES);
            (x, curve.at(x).clamp(0.0, most_y * 1.08))
        })
    });
    chart.draw_series(LineSeries::new(curve, color.stroke_width(2)))?.label(&line.label).legend(legend);
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
    let axis = scaling.settings.axis;
    let kernel = &scaling.environment.kernel;
    let latency = |pick: &dyn Fn(&Stage) -> (f64, Option<[f64; 2]>), metric: &'static str, name: &str| {
        let line = |series: &Series| line(scaling, series, metric, name, pick);
        scaling.series.iter().map(line).collect::<Vec<_>>()
    };
    let median = |stage: &Stage| (stage.latency_us.p50, stage.latency_us.p50_interval);
    match axis {
        Axis::Classes => vec![Panel {
            title: format!("Latency against the number of HTB classes (Linux {kernel})"),
            x: "classes in the kernel",
            y: "median latency, µs",
            lines: latency(&median, "latency_p50_us", ""),
        }],
        Axis::Workers => {
            let mut lines = latency(&median, "latency_p50_us", " p50");
            lines.extend(latency(&|stage| (stage.latency_us.p99, None), "latency_p99_us", " p99"));
            vec![
                Panel {
                    title: format!("Latency against the number of concurrent callers (Linux {kernel})"),
                    x: "workers, each with a socket of its own",
                    y: "latency, µs",
                    lines,
                },
                Panel {
                    title: "Throughput of all callers together".into(),
                    x: "workers, each with a socket of its own",
                    y: "operations a second",
                    lines: latency(&|stage| (stage.ops_per_s, None), "ops_per_s", ""),
                },
            ]
        }
    }
}

fn line(
    scaling: &Scaling,
    series: &Series,
    metric: &str,
    name: &str,
    pick: &dyn Fn(&Stage) -> (f64, Option<[f64; 2]>),
) -> Line {
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
        // What is not sure is not drawn as if it were.
        curve: judgement.filter(|judgement| judgement.law.is_some()).map(|judgement| judgement.curve),
    }
}

fn law(scaling: &Scaling, metric: &str, judgement: &Judgement) -> String {
    let unit = if metric == "ops_per_s" { "operations/s" } else { "ns" };
    let scale = if metric == "ops_per_s" { 1.0 } else { 1e3 };
    let curve = judgement.curve;
    match (judgement.law, curve.knee) {
        (None, _) => ": inconclusive".into(),
        (Some(Law::Linear), None) => {
            format!(": linear, {} {unit} a {}", signed(curve.slope * scale), scaling.settings.axis.one())
        }
        (Some(Law::Linear), Some(knee)) => format!(
            ": linear, {} {unit} a {}, {} beyond {}",
            signed(curve.slope * scale),
            scaling.settings.axis.one(),
            signed(knee.slope_beyond * scale),
            grouped(knee.at)
        ),
        (Some(law), _) => format!(": {law}"),
    }
}

fn signed(value: f64) -> String {
    format!("{}{}", if value < 0.0 { "−" } else { "+" }, number(value.abs()))
}

/// The series that rises most, in characters.
pub fn terminal(scaling: &Scaling) -> String {
    const METRIC: &str = "latency_p50_us";
    let rise = |series: &&Series| {
        let p50 = |stage: Option<&Stage>| stage.map_or(0.0, |stage| stage.latency_us.p50);
        p50(series.stages.last()) / p50(series.stages.first())
    };
    let drawn = scaling.series.iter().filter(|series| series.stages.len() > 1);
    let Some(series) = drawn.max_by(|a, b| rise(a).total_cmp(&rise(b))) else { return String::new() };
    let line = line(scaling, series, METRIC, "", &|stage| (stage.latency_us.p50, None));
    let (from, to) = (0.0, line.points.last().map_or(1.0, |mark| mark.x));
    let most = line.points.iter().map(|mark| mark.y).fold(0.0, f64::max);
    let points: Vec<(f32, f32)> = line.points.iter().map(|mark| (single(mark.x), single(mark.y))).collect();
    let least = line.points.first().map_or(0.0, |mark| mark.x);
    let fitted: Vec<(f32, f32)> = line
        .curve
        .iter()
        .flat_map(|curve| {
            (0..=PIECES).map(move |piece| {
                let x = least + (to - least) * f64::from(piece) / f64::from(PIECES);
                (single(x), single(curve.at(x).clamp(0.0, most * 1.05)))
            })
        })
        .collect();
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
    let legend = if line.curve.is_some() {
        "points: measured medians; line: what was fitted"
    } else {
        "points: measured medians"
    };
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
