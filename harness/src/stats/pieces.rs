//! A series cut into several pieces at once, so that what is left around their means is least. Pure.
//!
//! All ways to cut are tried, by dynamic programming (Bellman, On the Approximation of Curves by Line Segments Using Dynamic Programming, 1961;
//! Auger and Lawrence, Algorithms for the Optimal Identification of Segment Neighborhoods, 1989). Of a long series every so many values are
//! places to cut, and what is found is moved to the best place near.

use super::change_points::SHORTEST;

/// Cuts, at most: what has more is cut again inside its pieces.
const MOST_CUTS: usize = 16;
/// So many places are tried as cuts.
const MOST_PLACES: usize = 64;

/// All ways to cut series of one length.
pub(super) struct Pieces {
    count: usize,
    stride: usize,
    /// Where a cut may be, the ends included.
    places: Vec<usize>,
}

/// The best way to cut a series for one number of cuts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cuts {
    /// The first values of the pieces, but for the first.
    pub(super) places: Vec<usize>,
    /// The sum of the squares around the means of the pieces.
    pub(super) left: f64,
}

impl Pieces {
    /// `None`: the series is too short for three pieces.
    pub(super) fn new(count: usize) -> Option<Self> {
        let stride = count.div_ceil(MOST_PLACES).max(1);
        let places = (0..count).step_by(stride).chain([count]).collect();
        (count >= 3 * SHORTEST).then_some(Self { count, stride, places })
    }

    /// For each number of cuts from two on, what is left.
    pub(super) fn least(&self, scores: &[f64]) -> Vec<f64> {
        let layers = self.layers(&Sums::of(scores));
        layers
            .iter()
            .skip(1)
            .filter_map(|layer| layer.left.last().copied())
            .filter(|left| left.is_finite())
            .collect()
    }

    /// For each number of cuts from two on, the best ones.
    pub(super) fn best(&self, scores: &[f64]) -> Vec<Cuts> {
        let sums = Sums::of(scores);
        let layers = self.layers(&sums);
        (2..=layers.len())
            .filter(|&cuts| layers[cuts - 1].left.last().is_some_and(|left| left.is_finite()))
            .map(|cuts| self.moved(&sums, self.traced(&layers[..cuts])))
            .collect()
    }

    /// A layer for each number of cuts from one on.
    fn layers(&self, sums: &Sums) -> Vec<Layer> {
        let uncut = |&to: &usize| if to >= SHORTEST { sums.around_mean(0, to) } else { f64::INFINITY };
        let mut before: Vec<f64> = self.places.iter().map(uncut).collect();
        let mut layers: Vec<Layer> = Vec::with_capacity(MOST_CUTS);
        for _ in 0..MOST_CUTS {
            let layer = Layer::after(&before, &self.places, sums);
            before.clone_from(&layer.left);
            layers.push(layer);
        }
        layers
    }

    /// The cuts that led to the end of the last layer.
    fn traced(&self, layers: &[Layer]) -> Vec<usize> {
        let mut at = self.places.len() - 1;
        let mut cuts: Vec<usize> = layers
            .iter()
            .rev()
            .map(|layer| {
                at = layer.from[at];
                self.places[at]
            })
            .collect();
        cuts.reverse();
        cuts
    }

    /// Each cut at the best place near it, between those beside it.
    fn moved(&self, sums: &Sums, mut cuts: Vec<usize>) -> Cuts {
        let end = |cuts: &[usize], nth: usize| cuts.get(nth).copied().unwrap_or(self.count);
        for nth in 0..cuts.len() {
            let (before, after) = (nth.checked_sub(1).map_or(0, |nth| cuts[nth]), end(&cuts, nth + 1));
            let near = cuts[nth].saturating_sub(self.stride - 1)..cuts[nth] + self.stride;
            let allowed = before + SHORTEST..=after.saturating_sub(SHORTEST);
            let left = |&at: &usize| sums.around_mean(before, at) + sums.around_mean(at, after);
            let best =
                near.filter(|at| allowed.contains(at)).min_by(|one, other| left(one).total_cmp(&left(other)));
            cuts[nth] = best.unwrap_or(cuts[nth]);
        }
        let mut before = 0;
        let mut left = 0.0;
        for nth in 0..=cuts.len() {
            let to = end(&cuts, nth);
            left += sums.around_mean(before, to);
            before = to;
        }
        Cuts { places: cuts, left }
    }
}

/// What is left up to each place with one number of cuts, and where the last of those is.
struct Layer {
    left: Vec<f64>,
    from: Vec<usize>,
}

impl Layer {
    fn after(before: &[f64], places: &[usize], sums: &Sums) -> Self {
        let mut layer = Self { left: vec![f64::INFINITY; places.len()], from: vec![0; places.len()] };
        for to in 1..places.len() {
            for at in (1..to).filter(|&at| places[to] - places[at] >= SHORTEST) {
                let left = before[at] + sums.around_mean(places[at], places[to]);
                if left < layer.left[to] {
                    (layer.left[to], layer.from[to]) = (left, at);
                }
            }
        }
        layer
    }
}

/// Sums of the values before each place, and of their squares.
struct Sums {
    values: Vec<f64>,
    squares: Vec<f64>,
}

impl Sums {
    fn of(values: &[f64]) -> Self {
        let sums = |of: fn(f64) -> f64| {
            let mut sum = 0.0;
            let sums = values.iter().map(|&value| {
                sum += of(value);
                sum
            });
            [0.0].into_iter().chain(sums).collect()
        };
        Self { values: sums(|value| value), squares: sums(|value| value * value) }
    }

    /// The sum of the squares of a stretch around its mean.
    fn around_mean(&self, from: usize, to: usize) -> f64 {
        let sum = self.values[to] - self.values[from];
        self.squares[to] - self.squares[from] - sum * sum / (to - from) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(levels: &[(usize, f64)]) -> Vec<f64> {
        let saw = |at: usize| f64::from(u8::try_from(at * 7 % 5).unwrap()) / 100.0;
        levels.iter().flat_map(|&(count, level)| (0..count).map(move |at| level + saw(at))).collect()
    }

    #[test]
    fn the_best_cuts_are_between_the_levels() {
        let values = levels(&[(15, 0.0), (10, 3.0), (20, 1.0), (5, 2.0)]);
        let pieces = Pieces::new(values.len()).unwrap();
        let best = pieces.best(&values);
        // Each piece has three values at least.
        assert_eq!((best.len(), &best[1].places[..]), (values.len() / SHORTEST - 2, &[15, 25, 45][..]));
        assert!(best[0].left > 1.0 && best[1].left < 0.1, "{best:?}");
        // The same, without the places.
        let least = pieces.least(&values);
        assert!(least.iter().zip(&best).all(|(least, best)| (least - best.left).abs() < 1e-9), "{least:?}");
        // More cuts leave no more, as long as they are free to be anywhere.
        assert!(least[..8].windows(2).all(|pair| pair[1] <= pair[0]), "{least:?}");
    }

    #[test]
    fn a_long_series_is_cut_as_well() {
        let values = levels(&[(333, 0.0), (214, 3.0), (455, 1.0)]);
        let best = Pieces::new(values.len()).unwrap().best(&values);
        assert_eq!(best[0].places, [333, 547]);
    }

    #[test]
    fn no_piece_is_too_short() {
        assert!(Pieces::new(8).is_none());
        let values = levels(&[(4, 0.0), (1, 9.0), (5, 0.0)]);
        for cuts in Pieces::new(values.len()).unwrap().best(&values) {
            let ends: Vec<usize> = [0].into_iter().chain(cuts.places.iter().copied()).chain([10]).collect();
            assert!(ends.windows(2).all(|pair| pair[1] - pair[0] >= SHORTEST), "{cuts:?}");
        }
    }
}
