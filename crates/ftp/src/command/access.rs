//! USER, PASS, REIN and QUIT (RFC 959 4.1.1): coming in and going. Passwords are looked at in a pool of their own; wrong ones cost time,
//! and too many of them the connection (RFC 2577 5).

use std::rc::Rc;
use std::time::Duration;

use ropewalk_wire::ftp::Reply;

use super::{Answer, text};
use crate::accounts::{Attempt, User};
use crate::server::UserSeat;
use crate::session::{Core, Login};

/// A longer name is nobody's.
const NAME_BYTES_MAX: usize = 256;
/// Doubling ends here.
const DELAY_MAX: Duration = Duration::from_secs(16);

pub(super) fn user(core: &Core, argument: &[u8]) -> Answer {
    let name = text(argument)?;
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(char::is_control) {
        return Err(Reply::new(501, "That is no name"));
    }
    let open = core.server.accounts.is_open(name);
    let mut state = core.state.borrow_mut();
    // Whoever gives a name anew is nobody until the password, but how files travel is as it was (RFC 959 section 4.1.1).
    let kept = (state.sized, state.private, state.kind, state.epsv_all, state.facts);
    state.reset();
    (state.sized, state.private, state.kind, state.epsv_all, state.facts) = kept;
    state.named = Some(name.to_owned());
    let asks = if open { "Anybody may come in; a password is for the record" } else { "Now the password" };
    Ok(Reply::new(331, asks))
}

pub(super) async fn pass(core: &Rc<Core>, argument: &[u8]) -> Answer {
    let named = core.state.borrow_mut().named.take();
    let Some(name) = named else { return Err(Reply::new(503, "First the name: USER")) };
    let peer = core.peer_ip();
    let now = core.reactor().now();
    if core.server.is_guessing(peer, now) {
        core.reactor().sleep(DELAY_MAX).await;
        core.quit();
        return Err(Reply::new(421, "Too many wrong passwords from your address"));
    }
    let attempt = Attempt { user: name.clone(), password: argument.to_vec(), peer, secure: core.is_secure() };
    let accounts = std::sync::Arc::clone(&core.server.accounts);
    // A guest's password is not hashed: a crowd of them does not wait in the short line of those whose is, nor is it refused there.
    let decided = if accounts.is_open(&name) {
        core.reactor().defer_to_thread(move || accounts.login(&attempt))
    } else {
        core.server.logins(core.reactor()).defer(move || accounts.login(&attempt))
    };
    match decided.await {
        Ok(Some(user)) => welcome(core, &name, user),
        Ok(None) => wrong(core).await,
        Err(failure) => {
            tracing::error!("FTP: a login could not be decided: {failure}");
            core.quit();
            Err(Reply::new(421, "Nobody can log in at the moment"))
        }
    }
}

fn welcome(core: &Core, name: &str, user: User) -> Answer {
    let Some(seat) = UserSeat::take(&core.server, &user.name, user.sessions_max) else {
        core.quit();
        return Err(Reply::new(421, "You have as many sessions as you may"));
    };
    core.server.figures.add(|figures| figures.logins += 1);
    let mut state = core.state.borrow_mut();
    state.folder = user.home.clone();
    state.failures = 0;
    let anonymous = core.server.accounts.is_open(name);
    state.login = Some(Login { user: Rc::new(user), anonymous, _seat: seat });
    drop(state);
    core.transport.set_deadline(None);
    Ok(Reply::new(230, "Logged in"))
}

async fn wrong(core: &Core) -> Answer {
    let limits = &core.server.options.limits;
    core.server.note_failure(core.peer_ip(), core.reactor().now());
    let failures = {
        let mut state = core.state.borrow_mut();
        state.failures += 1;
        state.failures
    };
    let delay = limits.failure_delay.saturating_mul(1 << (failures - 1).min(8)).min(DELAY_MAX);
    core.reactor().sleep(delay).await;
    if failures >= limits.failures_max {
        core.quit();
        return Err(Reply::new(421, "Too many wrong passwords"));
    }
    // The same words whether it was the name or the password.
    Err(Reply::new(530, "Not logged in"))
}

pub(super) fn rein(core: &Core) -> Answer {
    if core.is_secure() {
        // RFC 4217 section 11: TLS would have to end with it, and there is no way back out of it here.
        return Err(Reply::new(502, "Not on an encrypted connection; connect anew"));
    }
    core.state.borrow_mut().reset();
    Ok(Reply::new(220, "Ready for another user"))
}

pub(super) fn quit(core: &Core) -> Answer {
    core.quit();
    Ok(Reply::new(221, "Goodbye"))
}
