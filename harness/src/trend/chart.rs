//! A trend as a picture: its values, the levels between its steps, and its drift.

use plotters::prelude::*;
use textplots::{Chart, LabelBuilder as _, LabelFormat, Plot as _, Shape};

use super::Trend;
use crate::report::sheet::number;

/// px
const SIZE: (u32, u32) = (960, 480);

/// Told apart with most kinds of colour blindness, too (Okabe and Ito, Color Universal Design, 2008).
const VALUES: RGBColor = RGBColor(0, 114, 178);
const LEVELS: RGBColor = RGBColor(120, 94, 20);
const WORSE: RGBColor = RGBColor(213, 94, 0);
const BETTER: RGBColor = RGBColor(0, 158, 115);

/// A defect of the drawing.
#[derive(Debug, thiserror::Error)]
#[error("draw the trend: {0}")]
pub struct ChartError(String);

/// What lies below and above all values: some room around them, and never nothing.
fn range(trend: &Trend) -> Option<[f64; 2]> {
    let values = || trend.values.iter().map(|value| value.value);
    let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    if !least.is_finite() || !most.is_finite() {
        return None;
    }
    let room = ((most - least) * 0.15).max(most.abs() * 0.02).max(f64::MIN_POSITIVE * 1e10);
    Some([least - room, most + room])
}

/// The straight pieces of what explains the series: level after level, sloped where it drifts. Each passes through the level that it has at a step;
/// where there is none, through its middle.
fn pieces(trend: &Trend) -> Vec<[(f64, f64); 2]> {
    let count = trend.values.len();
    let all = count.saturating_sub(1).max(1) as f64;
    let slope = |level: f64| match &trend.drift {
        None => 0.0,
        Some(drift) if drift.relative => level * drift.change.ln_1p() / all,
        Some(drift) => drift.change / all,
    };
    let values: Vec<f64> = trend.values.iter().map(|value| value.value).collect();
    let Some(middle) = crate::stats::order::median(&values) else { return Vec::new() };
    let begins = [None].into_iter().chain(trend.steps.iter().map(Some));
    let ends = trend.steps.iter().map(Some).chain([None]);
    begins
        .zip(ends)
        .map(|(begin, end)| {
            let (from, to) = (begin.map_or(0, |step| step.at), end.map_or(count, |step| step.at));
            let (place, level) = match (begin, end) {
                (_, Some(step)) => (step.at as f64 - 0.5, step.from),
                (Some(step), None) => (step.at as f64 - 0.5, step.to),
                (None, None) => (all / 2.0, middle),
            };
            let at = |x: f64| (x, level + slope(level) * (x - place));
            [at(from as f64), at(to.saturating_sub(1) as f64)]
        })
        .collect()
}

/// An SVG.
///
/// # Errors
///
/// [`ChartError`]: a defect.
pub fn svg(trend: &Trend) -> Result<String, ChartError> {
    let mut text = String::new();
    draw(trend, &mut text)?;
    Ok(text)
}

fn draw(trend: &Trend, text: &mut String) -> Result<(), ChartError> {
    let failed = |error: &dyn std::fmt::Display| ChartError(error.to_string());
    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    root.fill(&WHITE).map_err(|error| failed(&error))?;
    let series = &trend.series;
    let [least, most] = range(trend).unwrap_or([0.0, 1.0]);
    let end = (trend.values.len().max(2) - 1) as f64;
    let mut chart = ChartBuilder::on(&root)
        .caption(format!("{} of {}", series.metric, series.place()), ("sans-serif", 20))
        .margin(18)
        .x_label_area_size(54)
        .y_label_area_size(84)
        .build_cartesian_2d(-0.5..end + 0.5, least..most)
        .map_err(|error| failed(&error))?;
    chart
        .configure_mesh()
        .x_desc("run, the oldest first")
        .y_desc(format!("{} ({} is better)", series.unit, series.better).trim_start())
        .axis_desc_style(("sans-serif", 17))
        .label_style(("sans-serif", 15))
        .x_label_formatter(&|value| format!("{:.0}", value + 1.0))
        .y_label_formatter(&|value| number(*value))
        .bold_line_style(BLACK.mix(0.12))
        .light_line_style(WHITE)
        .draw()
        .map_err(|error| failed(&error))?;
    for step in &trend.steps {
        let color = if step.worse { WORSE } else { BETTER };
        let x = step.at as f64 - 0.5;
        chart
            .draw_series(LineSeries::new([(x, least), (x, most)], color.stroke_width(2)))
            .map_err(|error| failed(&error))?;
        let by = step.change.map_or_else(|| "step".to_owned(), |change| format!("{:+.1} %", change * 100.0));
        let label = format!("{by}: {}", step.first_after.name());
        let place = (x + 0.2, most - (most - least) * 0.03);
        chart
            .draw_series([Text::new(label, place, ("sans-serif", 14).into_font().color(&color))])
            .map_err(|error| failed(&error))?;
    }
    for piece in pieces(trend) {
        chart.draw_series(LineSeries::new(piece, LEVELS.stroke_width(2))).map_err(|error| failed(&error))?;
    }
    let points = trend.values.iter().enumerate().map(|(at, value)| (at as f64, value.value));
    chart
        .draw_series(points.map(|place| Circle::new(place, 3, VALUES.filled())))
        .map_err(|error| failed(&error))?;
    root.present().map_err(|error| failed(&error))
}

/// A chart of dots for a terminal; empty of fewer than two values.
#[expect(clippy::cast_possible_truncation, reason = "dots of a terminal")]
pub fn terminal(trend: &Trend) -> String {
    /// Dots of a chart, of which a character has two by four.
    const DOTS: (u32, u32) = (140, 56);
    let Some([least, most]) = range(trend).filter(|_| trend.values.len() > 1) else { return String::new() };
    let points: Vec<(f32, f32)> =
        trend.values.iter().enumerate().map(|(at, value)| (at as f32 + 1.0, value.value as f32)).collect();
    let lines: Vec<Vec<(f32, f32)>> = pieces(trend)
        .into_iter()
        .map(|piece| piece.map(|(x, y)| (x as f32 + 1.0, y as f32)).to_vec())
        .collect();
    let end = trend.values.len() as f32;
    let mut chart = Chart::new_with_y_range(DOTS.0, DOTS.1, 1.0, end, least as f32, most as f32);
    let shapes: Vec<Shape<'_>> =
        [Shape::Points(&points)].into_iter().chain(lines.iter().map(|line| Shape::Lines(line))).collect();
    let labelled = shapes.iter().fold(&mut chart, |chart, shape| chart.lineplot(shape));
    let labelled = labelled
        .x_label_format(LabelFormat::Custom(Box::new(|value| format!("{value:.0}"))))
        .y_label_format(LabelFormat::Custom(Box::new(|value| number(f64::from(value)))));
    labelled.axis();
    labelled.figures();
    labelled.to_string()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{around, points, series};
    use super::super::trend;
    use super::*;

    #[test]
    fn steps_and_levels_are_in_the_picture() {
        let slower = trend(series("lower"), &points(&[around(100.0, 15), around(120.0, 15)].concat()));
        let svg = svg(&slower).unwrap();
        assert!(svg.contains("latency_p95_us of lifecycle (closed)") && svg.contains("Change 15"), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 30);
        let pieces = pieces(&slower);
        assert_eq!(pieces.len(), 2);
        assert!((pieces[0][0].1 - 101.0).abs() < 1.0 && (pieces[1][1].1 - 121.0).abs() < 1.5, "{pieces:?}");
        assert!(terminal(&slower).lines().count() > 10);
    }

    #[test]
    fn little_or_nothing_is_drawn_all_the_same() {
        for values in [vec![], vec![1.0], vec![0.0; 9], vec![5.0; 9]] {
            let trend = trend(series("lower"), &points(&values));
            assert!(svg(&trend).unwrap().starts_with("<svg"), "{values:?}");
            assert_eq!(terminal(&trend).is_empty(), values.len() < 2, "{values:?}");
        }
    }
}
