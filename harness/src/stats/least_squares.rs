//! Weighted least squares with up to three columns, by the normal equations.

/// Most columns of a fit.
pub(super) const COLUMNS: usize = 3;

/// One observation: what each column is there, what was observed, and its weight.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) columns: [f64; COLUMNS],
    pub(super) observed: f64,
    pub(super) weight: f64,
}

/// The coefficients of the first `used` columns, the others zero. `None` where the rows do not determine them.
///
/// Columns are scaled to 1 at their largest, without which squares of class counts would drown the constant.
pub(super) fn solve(rows: &[Row], used: usize) -> Option<[f64; COLUMNS]> {
    let mut scale = [0.0_f64; COLUMNS];
    for row in rows {
        for (scale, column) in scale.iter_mut().zip(row.columns) {
            *scale = scale.max(column.abs());
        }
    }
    if scale[..used].iter().any(|&scale| scale <= 0.0 || !scale.is_finite()) {
        return None;
    }
    // The last column is the right-hand side.
    let mut matrix = [[0.0; COLUMNS + 1]; COLUMNS];
    for row in rows {
        for i in 0..used {
            let left = row.weight * row.columns[i] / scale[i];
            for j in 0..used {
                matrix[i][j] += left * row.columns[j] / scale[j];
            }
            matrix[i][COLUMNS] += left * row.observed;
        }
    }
    let solution = eliminate(&mut matrix, used)?;
    let mut coefficients = [0.0; COLUMNS];
    for i in 0..used {
        coefficients[i] = solution[i] / scale[i];
    }
    Some(coefficients)
}

/// Gauss's elimination with partial pivoting.
fn eliminate(matrix: &mut [[f64; COLUMNS + 1]; COLUMNS], used: usize) -> Option<[f64; COLUMNS]> {
    for column in 0..used {
        let pivot =
            (column..used).max_by(|&a, &b| matrix[a][column].abs().total_cmp(&matrix[b][column].abs()))?;
        let largest = matrix[column..used].iter().map(|row| row[column].abs()).fold(0.0, f64::max);
        let magnitude = matrix[..used].iter().map(|row| row[column].abs()).fold(0.0, f64::max);
        if largest <= magnitude * 1e-12 {
            return None;
        }
        matrix.swap(column, pivot);
        for below in column + 1..used {
            let factor = matrix[below][column] / matrix[column][column];
            let upper = matrix[column];
            for (value, upper) in matrix[below].iter_mut().zip(upper) {
                *value -= factor * upper;
            }
        }
    }
    let mut solution = [0.0; COLUMNS];
    for row in (0..used).rev() {
        let known: f64 = (row + 1..used).map(|column| matrix[row][column] * solution[column]).sum();
        solution[row] = (matrix[row][COLUMNS] - known) / matrix[row][row];
    }
    solution.iter().all(|value| value.is_finite()).then_some(solution)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_observations_give_their_coefficients_back() {
        let rows: Vec<Row> = [100.0, 2_000.0, 9_000.0, 20_000.0]
            .map(|n: f64| {
                let columns = [1.0, n, (n - 5_000.0).max(0.0)];
                Row { columns, observed: 80.0 + 0.1 * n + 0.2 * columns[2], weight: 1.0 / n }
            })
            .to_vec();
        let [constant, slope, beyond] = solve(&rows, 3).unwrap();
        assert!((constant - 80.0).abs() < 1e-6 && (slope - 0.1).abs() < 1e-9 && (beyond - 0.2).abs() < 1e-9);
    }

    #[test]
    fn what_is_not_determined_has_no_answer() {
        let row = Row { columns: [1.0, 5.0, 0.0], observed: 1.0, weight: 1.0 };
        assert!(solve(&[row, row], 2).is_none());
        assert!(solve(&[], 1).is_none());
        assert!(solve(&[row], 1).is_some());
    }
}
