//! What a registry tells of its channels when somebody asks for all workers: names, figures, and who is present.
//!
//! Home asks the others, which is in `workers/count`; the others ask home. Called by the faces, and by the doors.

use ropewalk_reactor::{Deferred, deferred};

use super::Channels;
use crate::batch::Statistics;
use crate::channel::Channel;
use crate::survey::{Overview, Present, Question, Seen, Survey};

impl Channels {
    /// The names of all channels, in order, also on a worker that only follows them.
    ///
    /// It fails with [`ChannelError::Busy`](crate::ChannelError::Busy) when home does not hear.
    pub fn all_names(&self) -> Deferred<Vec<String>> {
        match &self.0.follows {
            Some(way) => way.all_names(),
            None => deferred::succeed(&self.0.reactor, self.names()),
        }
    }

    /// What is known of these channels over all workers, with a count of who is present. One that is not in memory is not loaded.
    /// A worker that does not answer within a second is not counted.
    ///
    /// It fails with [`ChannelError::Busy`](crate::ChannelError::Busy) when home does not hear.
    ///
    /// ```
    /// use ropewalk_channel::{Channels, ChannelsOptions};
    /// use ropewalk_reactor::react;
    ///
    /// react(|reactor| async move {
    ///     let channels = Channels::in_memory(&reactor, ChannelsOptions::default());
    ///     let _here = channels.channel("news").await?.enter(Some("ann"));
    ///     let survey = channels.survey(vec!["news".to_owned(), "none".to_owned()]).await?;
    ///     assert_eq!((survey.present, survey.channels.len()), (1, 1));
    ///     assert_eq!(channels.attendance("news").await?.map(|news| news.names), Some(vec![("ann".to_owned(), 1)]));
    ///     Ok(())
    /// })?;
    /// # Ok::<(), ropewalk_reactor::Failure>(())
    /// ```
    pub fn survey(&self, channels: Vec<String>) -> Deferred<Survey> {
        self.survey_of(Question { channels, names: false })
    }

    /// What is known of a channel over all workers, with the names of those who are present; none if there is no such channel. As
    /// [`Channels::survey`].
    pub fn attendance(&self, channel: &str) -> Deferred<Option<Overview>> {
        let question = Question { channels: vec![channel.to_owned()], names: true };
        self.survey_of(question).add_callback(|survey: Survey| survey.channels.into_iter().next())
    }

    pub(crate) fn survey_of(&self, question: Question) -> Deferred<Survey> {
        if let Some(way) = &self.0.follows {
            return way.survey(question);
        }
        let mut here = Survey::default();
        here.channels.extend(question.channels.iter().filter_map(|name| self.overview(name)));
        here.add(&question, self.seen(&question));
        match &*self.0.door.borrow() {
            Some(door) => door.survey(&self.0.reactor, question, here),
            None => deferred::succeed(&self.0.reactor, here),
        }
    }

    /// What home knows of a channel; nobody is counted yet.
    fn overview(&self, name: &str) -> Option<Overview> {
        let channel = self.peek(name);
        if channel.is_none() && !self.knows(name) {
            return None;
        }
        let statistics = channel.map(|channel| Statistics { present: 0, ..channel.statistics() });
        Some(Overview { name: name.to_owned(), statistics, durable: self.is_durable(), names: Vec::new() })
    }

    /// Who is present on this worker.
    pub(crate) fn seen(&self, question: &Question) -> Seen {
        let present = |name: &String| match self.peek(name) {
            None => Present::default(),
            Some(channel) => {
                let mut names = Vec::new();
                if question.names {
                    names.extend(channel.names().into_iter().map(|(name, times)| (name.to_string(), times)));
                }
                Present { count: channel.present(), names }
            }
        };
        let present_at_all = self.0.channels().iter().map(Channel::present).sum();
        Seen { channels: question.channels.iter().map(present).collect(), present: present_at_all }
    }
}
