//! What one client may do, on which channels, and until when. Asked for once for each request, so that a connection with many
//! channels need not ask for each of its messages.
//!
//! Not who the client is, which [`PushOptions::admit`](super::PushOptions::admit) finds out, by a token or as the application likes.

use std::rc::Rc;
use std::time::SystemTime;

use ropewalk_reactor::{Deferred, Reactor, Time};

use crate::request::Request;
use crate::response::Response;

/// What a client wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Publish an event.
    Publish,
    /// Read a channel, in whatever form.
    Subscribe,
    /// See who is there.
    Presence,
    /// Say what a named client has.
    Acknowledge,
    /// Remove a channel.
    Remove,
    /// See which channels there are; the name is empty.
    List,
}

/// Finds out who asks, and what that client may do; or the answer, if it may nothing. It may take its time.
pub type Admit = Rc<dyn Fn(&Request) -> Deferred<Result<Grant, Response>>>;

/// What a client may do. Patterns are names of channels in which `*` stands for any run of letters within a segment, and `**` for any run at
/// all; the segments of a name are what `.` and `:` part.
///
/// ```
/// use ropewalk_web::push::{Action, Grant};
/// let grant = Grant { subscribe: vec!["room:*".to_owned()], publish: vec!["room:7".to_owned()], until: None };
/// assert!(grant.allows(Action::Subscribe, "room:42") && grant.allows(Action::Publish, "room:7"));
/// assert!(!grant.allows(Action::Subscribe, "room:42:secret") && !grant.allows(Action::Publish, "room:42"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Channels to which it may publish, and which it may remove where that is allowed at all.
    pub publish: Vec<String>,
    /// Channels that it may read, acknowledge, and see in the list and who is there.
    pub subscribe: Vec<String>,
    /// When that ends, by the wall clock; connections that last are closed then.
    pub until: Option<SystemTime>,
}

impl Grant {
    /// Everything, for ever.
    #[must_use]
    pub fn everything() -> Grant {
        let all = || vec!["**".to_owned()];
        Grant { publish: all(), subscribe: all(), until: None }
    }

    /// Whether it covers this. A list may be asked for by everybody who has a grant, and shows what it covers.
    #[must_use]
    pub fn allows(&self, action: Action, name: &str) -> bool {
        let patterns = match action {
            Action::List => return true,
            Action::Publish | Action::Remove => &self.publish,
            Action::Subscribe | Action::Presence | Action::Acknowledge => &self.subscribe,
        };
        patterns.iter().any(|pattern| covers(pattern, name))
    }

    /// When it ends, by the reactor's clock.
    pub(super) fn deadline(&self, reactor: &Reactor) -> Option<Time> {
        let left = self.until?.duration_since(reactor.wall_clock()).unwrap_or_default();
        Some(reactor.now() + left)
    }
}

#[derive(Clone, Copy)]
enum Step {
    Letter(char),
    /// Any run of letters within a segment.
    Segment,
    Any,
}

/// Every place of the pattern that can be reached is kept, letter by letter: no pattern makes this take long.
fn covers(pattern: &str, name: &str) -> bool {
    if pattern == "**" {
        return true;
    }
    let steps = steps(pattern);
    let mut reached = vec![false; steps.len() + 1];
    reached[0] = true;
    skip_empty(&steps, &mut reached);
    for letter in name.chars() {
        let mut next = vec![false; steps.len() + 1];
        for (place, step) in steps.iter().enumerate().filter(|(place, _)| reached[*place]) {
            match *step {
                Step::Letter(wanted) => next[place + 1] |= wanted == letter,
                Step::Segment => next[place] |= !matches!(letter, '.' | ':'),
                Step::Any => next[place] = true,
            }
        }
        skip_empty(&steps, &mut next);
        reached = next;
    }
    reached[steps.len()]
}

fn steps(pattern: &str) -> Vec<Step> {
    let mut letters = pattern.chars().peekable();
    let mut steps = Vec::new();
    while let Some(letter) = letters.next() {
        steps.push(match letter {
            '*' if letters.next_if_eq(&'*').is_some() => Step::Any,
            '*' => Step::Segment,
            letter => Step::Letter(letter),
        });
    }
    steps
}

/// A run of letters may have none.
fn skip_empty(steps: &[Step], reached: &mut [bool]) {
    for (place, step) in steps.iter().enumerate() {
        if reached[place] && !matches!(step, Step::Letter(_)) {
            reached[place + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_keep_to_segments_unless_they_say_otherwise() {
        for (pattern, name) in [
            ("a", "a"),
            ("*", "news"),
            ("**", "a.b:c"),
            ("room:*", "room:7"),
            ("room:*", "room:"),
            ("room:**", "room:7:log"),
            ("*.log", "web.log"),
            ("**.log", "a.web.log"),
            ("a*c*e", "abcde"),
            ("grüße*", "grüßen"),
        ] {
            assert!(covers(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("a", "b"),
            ("a", "ab"),
            ("", "a"),
            ("*", "a.b"),
            ("*", "room:7"),
            ("room:*", "room:7:log"),
            ("room:*", "rooms:7"),
            ("*.log", "a.web.log"),
            ("a*c*e", "abcd"),
        ] {
            assert!(!covers(pattern, name), "{pattern} {name}");
        }
        let slow = "*a".repeat(90);
        assert!(!covers(&slow, &"a".repeat(89)) && covers(&slow, &"a".repeat(200)));
    }
}
