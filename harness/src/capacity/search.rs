//! Bisection with confirmation. Pure.

/// What a try said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The budget held.
    Held,
    /// It did not, or could not be judged.
    Broke,
}

/// Looks for the highest rate that holds, between two bounds, and tries it again before it says so: near its capacity a system holds
/// now and then what it does not hold.
///
/// Rates are bisected on a logarithmic scale, so that the answer is right by a share and not by a number.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    least: f64,
    most: f64,
    /// The search ends where the bounds are this close: 1.05 is 5 %.
    precision: f64,
    /// How often a rate must hold, all together.
    confirmations: u32,
    held: Option<(f64, u32)>,
    /// The lowest that broke.
    broke: Option<f64>,
    confirming: bool,
}

impl Search {
    /// Between `least` and `most`, both positive; `precision` above 1.
    pub fn new(least: f64, most: f64, precision: f64, confirmations: u32) -> Self {
        Self { least, most, precision, confirmations, held: None, broke: None, confirming: false }
    }

    /// The next rate to try; `None`: it is over.
    pub fn next_rate(&mut self) -> Option<f64> {
        let Some((held, times)) = self.held else {
            return match self.broke {
                None => Some(self.least),
                // Not even the lowest holds.
                Some(_) => None,
            };
        };
        let ceiling = match self.broke {
            Some(broke) => broke,
            // Doubled until it breaks: the highest that is allowed may be a hundred times what holds, and a try there takes long.
            None if held < self.most => return Some((held * 2.0).min(self.most)),
            None => held,
        };
        self.confirming = ceiling / held <= self.precision;
        if !self.confirming {
            return Some((held * ceiling).sqrt());
        }
        (times < self.confirmations).then_some(held)
    }

    /// What came of it.
    pub fn told(&mut self, rate: f64, answer: Answer) {
        match answer {
            Answer::Held => {
                let times =
                    self.held.filter(|(held, _)| held.total_cmp(&rate).is_eq()).map_or(0, |(_, times)| times);
                self.held = Some((rate, times + 1));
            }
            Answer::Broke => {
                self.broke = Some(self.broke.map_or(rate, |broke| broke.min(rate)));
                if self.held.is_some_and(|(held, _)| held >= rate) {
                    // It held once, and not again: what is certain lies below. A step at a time, since it is near.
                    let below = rate / self.precision;
                    self.held = (below >= self.least).then_some((below, 0));
                }
            }
        }
    }

    /// The rate that held as often as it was to.
    pub fn found(&self) -> Option<f64> {
        self.held.filter(|(_, times)| *times >= self.confirmations).map(|(held, _)| held)
    }

    /// The lowest rate that broke.
    pub fn broke_at(&self) -> Option<f64> {
        self.broke
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(mut search: Search, holds: impl Fn(f64, usize) -> bool) -> (Search, Vec<f64>) {
        let mut tried = Vec::new();
        while let Some(rate) = search.next_rate() {
            assert!(tried.len() < 200, "it does not end: {tried:?}");
            let answer = if holds(rate, tried.len()) { Answer::Held } else { Answer::Broke };
            search.told(rate, answer);
            tried.push(rate);
        }
        (search, tried)
    }

    #[test]
    fn the_capacity_is_found_and_confirmed() {
        let (search, tried) = run(Search::new(100.0, 1e6, 1.05, 3), |rate, _| rate <= 7_300.0);
        let found = search.found().unwrap();
        assert!((7_300.0 / 1.05..=7_300.0).contains(&found), "{found}");
        let at_the_end = tried.iter().rev().take_while(|rate| rate.total_cmp(&found).is_eq()).count();
        assert!(at_the_end >= 2, "{tried:?}");
    }

    #[test]
    fn a_lucky_try_is_not_believed() {
        let (search, tried) =
            run(Search::new(100.0, 1e6, 1.05, 3), |rate, index| rate <= 5_000.0 || index == 6);
        let found = search.found().unwrap();
        assert!(found <= 5_000.0, "{found} {tried:?}");
    }

    #[test]
    fn the_ends_are_ends() {
        let (search, tried) = run(Search::new(100.0, 800.0, 1.05, 2), |_, _| true);
        assert_eq!((search.found(), search.broke_at()), (Some(800.0), None));
        assert_eq!(tried, [100.0, 200.0, 400.0, 800.0, 800.0]);
        let (search, tried) = run(Search::new(100.0, 800.0, 1.05, 2), |_, _| false);
        assert_eq!((search.found(), tried.len()), (None, 1));
    }

    proptest! {
        #[test]
        fn it_ends_whatever_it_is_told(answers in proptest::collection::vec(any::<bool>(), 200), confirmations in 1_u32..5) {
            let mut search = Search::new(10.0, 1e5, 1.1, confirmations);
            let mut steps = 0;
            while let Some(rate) = search.next_rate() {
                prop_assert!((10.0..=1e5).contains(&rate), "{rate}");
                let answer = if answers[steps] { Answer::Held } else { Answer::Broke };
                search.told(rate, answer);
                steps += 1;
                prop_assert!(steps < 200);
            }
        }
    }
}
