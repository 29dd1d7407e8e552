//! Successful operations in each second, drawn.

use plotters::prelude::*;

/// A picture of so many points or more; fewer say nothing that a number does not.
const LEAST: usize = 3;

/// An SVG, or `None` where there is too little to draw or it cannot be drawn.
pub(super) fn timeline(operations: &[u64]) -> Option<String> {
    if operations.len() < LEAST {
        return None;
    }
    let mut svg = String::new();
    draw(operations, &mut svg).inspect_err(|error| tracing::warn!("the timeline: {error}")).ok()?;
    Some(svg)
}

fn draw(operations: &[u64], svg: &mut String) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let most = operations.iter().max().copied().unwrap_or(0).max(1) as f64;
    let area = SVGBackend::with_string(svg, (720, 180)).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin(6)
        .x_label_area_size(34)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..operations.len() as f64, 0.0..most * 1.1)
        .map_err(|error| error.to_string())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("second")
        .y_desc("operations")
        .y_labels(4)
        .x_label_formatter(&|second| if second.fract() == 0.0 { format!("{second}") } else { String::new() })
        .y_label_formatter(&|count| format!("{count:.0}"))
        .draw()
        .map_err(|error| error.to_string())?;
    // A second's count stands for the whole second.
    let steps = operations
        .iter()
        .enumerate()
        .flat_map(|(second, &count)| [(second as f64, count as f64), ((second + 1) as f64, count as f64)]);
    chart
        .draw_series(LineSeries::new(steps, RGBColor(0x1f, 0x5f, 0xa8).stroke_width(2)))
        .map_err(|error| error.to_string())?;
    area.present().map_err(|error| error.to_string())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_picture_with_axes_or_nothing() {
        let svg = timeline(&[5_000, 1_500, 800, 0]).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("second") && svg.contains("\n4000\n"), "{svg}");
        assert_eq!(timeline(&[1, 2]), None);
    }
}
