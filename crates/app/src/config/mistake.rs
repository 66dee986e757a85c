//! What is wrong in a configuration: each mistake with the place it is at, and the nearest right word.

use std::fmt;

/// One mistake, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// `ropewalk.toml:7`, or the variable or option that has it.
    pub place: String,
    /// What is wrong, and what to do.
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// Everything that is wrong in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The mistakes, in the order of the file; at least one.
    pub mistakes: Vec<Mistake>,
}

impl fmt::Display for ConfigError {
    /// One line: the first mistake, and how many more there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.mistakes.first() else { return Ok(()) };
        write!(f, "{first}")?;
        match self.mistakes.len() - 1 {
            0 => Ok(()),
            1 => f.write_str(" (and 1 more mistake: see check)"),
            more => write!(f, " (and {more} more mistakes: see check)"),
        }
    }
}

impl std::error::Error for ConfigError {}

/// `; write X` for a word that is nearly X, else what there is.
pub(crate) fn advice(word: &str, known: &[String]) -> String {
    let near = |other: &&String| distance(word, other) <= 1 + word.chars().count() / 4;
    match known.iter().filter(near).min_by_key(|other| distance(word, other)) {
        Some(nearest) => format!("write {nearest:?}"),
        None if known.is_empty() => "there are none".to_owned(),
        None => format!("there are {}", known.join(", ")),
    }
}

/// How many letters have to be changed, put in, left out or swapped with their neighbour.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut rows = vec![(0..=other.len()).collect::<Vec<usize>>()];
    for (i, &a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &b) in other.iter().enumerate() {
            let mut least = (rows[i][j] + usize::from(a != b)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a == other[j - 1] && one[i - 1] == b {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found() {
        let known = ["listen", "listing", "path"].map(str::to_owned);
        for (word, said) in [("lisen", "\"listen\""), ("listne", "\"listen\""), ("pth", "\"path\"")] {
            assert!(advice(word, &known).contains(said), "{word}: {}", advice(word, &known));
        }
        assert_eq!(advice("colour", &known), "there are listen, listing, path");
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
