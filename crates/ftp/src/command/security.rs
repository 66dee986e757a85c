//! AUTH, PBSZ, PROT and CCC (RFC 2228, RFC 4217): TLS on the control connection, and on data connections. What was said in the clear is
//! forgotten, and what came behind AUTH in the same bytes is TLS's (CVE-2011-0411).

use ropewalk_net::tls::TlsSide;
use ropewalk_wire::ftp::Reply;

use super::{Answer, text};
use crate::session::Core;

/// The session has stopped reading behind this line; whatever the answer is, it goes on when its flight lands.
pub(super) fn auth(core: &Core, argument: &[u8]) -> Answer {
    if core.server.options.tls.is_none() {
        return Err(Reply::new(502, "There is no TLS here"));
    }
    match text(argument)?.to_ascii_uppercase().as_str() {
        "TLS" | "TLS-C" => {}
        "" => return Err(Reply::new(501, "AUTH TLS")),
        _ => return Err(Reply::new(504, "Only TLS is spoken: AUTH TLS")),
    }
    if core.is_secure() {
        return Err(Reply::new(534, "It is encrypted already"));
    }
    let before = {
        let mut state = core.state.borrow_mut();
        let plan = state.plan.take();
        state.reset();
        plan
    };
    drop(before);
    Ok(Reply::new(BEGIN, "Begin"))
}

/// What AUTH is granted with (RFC 2228 section 5.4).
const BEGIN: u16 = 234;

/// Called when a reply is on its way: behind that of AUTH, which leaves in the clear, the handshake begins.
pub(crate) fn replied(core: &Core, code: u16) {
    if code != BEGIN {
        return;
    }
    let begun =
        core.server.options.tls.as_ref().map(|tls| core.transport.start_tls(TlsSide::Server(tls), b""));
    if let Some(Err(error)) = begun {
        tracing::error!("FTP: AUTH TLS: {error}");
        core.transport.abort_connection();
    }
}

pub(super) fn pbsz(core: &Core, argument: &[u8]) -> Answer {
    secure(core)?;
    if text(argument)?.parse::<u32>().is_err() {
        return Err(Reply::new(501, "PBSZ 0"));
    }
    core.state.borrow_mut().sized = true;
    // RFC 4217 section 9: a stream of TLS has no other.
    Ok(Reply::new(200, "PBSZ=0"))
}

pub(super) fn prot(core: &Core, argument: &[u8]) -> Answer {
    secure(core)?;
    if !core.state.borrow().sized {
        return Err(Reply::new(503, "First PBSZ 0"));
    }
    let private = match text(argument)?.to_ascii_uppercase().as_str() {
        "P" => true,
        "C" if core.server.options.tls_required => {
            return Err(Reply::new(534, "Data in the clear is not allowed here"));
        }
        "C" => false,
        "S" | "E" => return Err(Reply::new(536, "TLS has only the levels C and P")),
        _ => return Err(Reply::new(504, "PROT C or PROT P")),
    };
    core.state.borrow_mut().private = private;
    Ok(Reply::new(200, if private { "Data is encrypted from now on" } else { "Data goes in the clear" }))
}

pub(super) fn ccc(core: &Core) -> Answer {
    secure(core)?;
    Err(Reply::new(534, "A connection that is encrypted stays so"))
}

fn secure(core: &Core) -> Result<(), Reply> {
    if core.server.options.tls.is_none() {
        return Err(Reply::new(502, "There is no TLS here"));
    }
    if core.is_secure() { Ok(()) } else { Err(Reply::new(503, "First AUTH TLS")) }
}
