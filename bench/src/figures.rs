//! One figure of a contestant over all rounds: the median, with the lowest and the highest. For scenarios whose figures are not CPU
//! time per thing done, which is what `report::Series` is for.

use serde_json::{Value, json};

use crate::report::{median, number};

/// A figure, round by round.
#[derive(Clone, Default)]
pub(crate) struct Figures(Vec<f64>);

impl Figures {
    pub(crate) fn add(&mut self, figure: f64) {
        self.0.push(figure);
    }

    pub(crate) fn median(&self) -> f64 {
        median(&self.0)
    }

    pub(crate) fn high(&self) -> f64 {
        self.0.iter().copied().fold(0.0, f64::max)
    }

    fn low(&self) -> f64 {
        self.0.iter().copied().reduce(f64::min).unwrap_or(0.0)
    }

    /// The median of the rounds' ratios to another's; none without rounds.
    pub(crate) fn ratio(&self, base: &Figures) -> Option<f64> {
        let ratios: Vec<f64> = self.0.iter().zip(&base.0).map(|(own, base)| own / base).collect();
        (!ratios.is_empty()).then(|| median(&ratios))
    }

    /// For a cell: the median, and the range in brackets; a dash without rounds.
    pub(crate) fn show(&self, decimals: usize) -> String {
        let show = |figure| number(figure, decimals);
        match self.0.as_slice() {
            [] => "–".to_owned(),
            [one] => show(*one),
            _ => format!("{} ({}–{})", show(self.median()), show(self.low()), show(self.high())),
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "median": self.median(), "min": self.low(), "max": self.high(), "rounds": self.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(list: &[f64]) -> Figures {
        Figures(list.to_vec())
    }

    #[test]
    fn a_figure_shows_its_range() {
        assert_eq!(figures(&[3.0, 1.0, 1200.0]).show(1), "3.0 (1.0–1,200.0)");
        assert_eq!((figures(&[2.0]).show(0), figures(&[]).show(0)), ("2".to_owned(), "–".to_owned()));
    }

    #[test]
    fn ratios_are_paired_by_round() {
        assert_eq!(figures(&[2.0, 8.0, 2.0]).ratio(&figures(&[1.0, 4.0, 1.0])), Some(2.0));
        assert_eq!(figures(&[]).ratio(&figures(&[1.0])), None);
    }
}
