//! What is known of channels over all workers: the values of a survey.
//!
//! Not how they are gathered, which is in `workers/count`. Made by the registry, read by the faces.

use crate::batch::Statistics;

/// One channel, over all workers.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Overview {
    /// Its name.
    pub name: String,
    /// Its figures at home, with all who are present; none if only the journal has it.
    pub statistics: Option<Statistics>,
    /// Whether it survives a crash.
    pub durable: bool,
    /// Who is present on any worker, in order, and how often; empty unless it was asked for by
    /// [`Channels::attendance`](crate::Channels::attendance).
    pub names: Vec<(String, usize)>,
}

/// Channels, over all workers.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Survey {
    /// Those that were asked for, as far as there are such channels.
    pub channels: Vec<Overview>,
    /// Who is present on any channel, be it among them or not.
    pub present: usize,
}

/// What a survey is about.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) channels: Vec<String>,
    /// The names of those who are present, too.
    pub(crate) names: bool,
}

/// What one worker sees of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// For each channel of the question.
    pub(crate) channels: Vec<Present>,
    pub(crate) present: usize,
}

/// Who is present on one channel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Present {
    pub(crate) count: usize,
    pub(crate) names: Vec<(String, usize)>,
}

impl Survey {
    /// Adds what a worker sees. Both are of the same question, whose order the channels have.
    pub(crate) fn add(&mut self, question: &Question, seen: Seen) {
        self.present += seen.present;
        let mut known = self.channels.iter_mut().peekable();
        for (name, present) in question.channels.iter().zip(seen.channels) {
            let Some(overview) = known.next_if(|overview| overview.name == *name) else { continue };
            if let Some(statistics) = &mut overview.statistics {
                statistics.present += present.count;
            }
            for (name, times) in present.names {
                match overview.names.binary_search_by(|(known, _)| known.cmp(&name)) {
                    Ok(at) => overview.names[at].1 += times,
                    Err(at) => overview.names.insert(at, (name, times)),
                }
            }
        }
    }
}
