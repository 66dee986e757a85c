//! PORT and PASV (RFC 959 4.1.2), EPRT and EPSV (RFC 2428): where the next data connection comes from. Only to and from the peer of the
//! control connection, and not to ports of services (RFC 2577): a server must not be made to talk to others.

use std::net::{IpAddr, SocketAddr};

use ropewalk_wire::ftp::{AddressError, Reply, extended_passive, parse_eprt, parse_port, passive};

use super::{Answer, text};
use crate::data::{Passive, Plan};
use crate::session::Core;

/// Ports below belong to services.
const PORT_MIN: u16 = 1024;

pub(super) fn port(core: &Core, argument: &[u8]) -> Answer {
    allowed_beside_epsv(core)?;
    let address = parse_port(argument).map_err(|_| Reply::new(501, "PORT wants six numbers"))?;
    active(core, SocketAddr::V4(address))
}

pub(super) fn eprt(core: &Core, argument: &[u8]) -> Answer {
    allowed_beside_epsv(core)?;
    let address = parse_eprt(argument.trim_ascii()).map_err(|error| match error {
        AddressError::Syntax => Reply::new(501, "EPRT wants |protocol|address|port|"),
        AddressError::Protocol => other_protocol(core),
    })?;
    active(core, address)
}

fn active(core: &Core, address: SocketAddr) -> Answer {
    let to = SocketAddr::new(address.ip().to_canonical(), address.port());
    if Some(to.ip()) != core.peer_ip() || to.port() < PORT_MIN {
        core.server.figures.add(|figures| figures.bounces += 1);
        return Err(Reply::new(504, "Data goes to your own address only, and to no port below 1024"));
    }
    give(core, Plan::Active(to));
    Ok(Reply::new(200, "The next data connection goes there"))
}

pub(super) fn pasv(core: &Core) -> Answer {
    allowed_beside_epsv(core)?;
    let (host, peer) = ends(core)?;
    let IpAddr::V4(own) = host.to_canonical() else {
        return Err(Reply::new(425, "PASV cannot name an address of IPv6: EPSV can"));
    };
    let told = core.server.options.masquerade.unwrap_or(own);
    let door = listen(core, host, peer)?;
    let reply = Reply::new(227, passive(std::net::SocketAddrV4::new(told, door.number())));
    give(core, Plan::Passive(door));
    Ok(reply)
}

pub(super) fn epsv(core: &Core, argument: &[u8]) -> Answer {
    let (host, peer) = ends(core)?;
    match text(argument)?.to_ascii_uppercase().as_str() {
        "ALL" => {
            core.state.borrow_mut().epsv_all = true;
            return Ok(Reply::new(200, "From now on by EPSV only"));
        }
        "" => {}
        "1" if host.to_canonical().is_ipv4() => {}
        "2" if host.to_canonical().is_ipv6() => {}
        protocol if protocol.bytes().all(|byte| byte.is_ascii_digit()) => return Err(other_protocol(core)),
        _ => return Err(Reply::new(501, "EPSV, EPSV 1, EPSV 2 or EPSV ALL")),
    }
    let door = listen(core, host, peer)?;
    let reply = Reply::new(229, extended_passive(door.number()));
    give(core, Plan::Passive(door));
    Ok(reply)
}

/// RFC 2428 section 4: who has said EPSV ALL must not be sent elsewhere by a router that rewrites the others.
fn allowed_beside_epsv(core: &Core) -> Result<(), Reply> {
    if core.state.borrow().epsv_all {
        return Err(Reply::new(501, "After EPSV ALL there is only EPSV"));
    }
    Ok(())
}

fn other_protocol(core: &Core) -> Reply {
    let served = match core.peer_ip() {
        Some(IpAddr::V6(_)) => 2,
        _ => 1,
    };
    Reply::new(522, format!("Network protocol not supported, use ({served})"))
}

/// The addresses of the control connection.
fn ends(core: &Core) -> Result<(IpAddr, IpAddr), Reply> {
    let host = core.transport.host().and_then(|host| host.ip());
    host.zip(core.peer_ip()).ok_or_else(|| Reply::new(425, "This connection has no address for data"))
}

fn listen(core: &Core, host: IpAddr, peer: IpAddr) -> Result<Passive, Reply> {
    // The port of before is free again, and may be the one that is needed.
    let before = core.state.borrow_mut().plan.take();
    drop(before);
    Passive::listen(&core.server, core.reactor(), host, peer).map_err(|error| {
        tracing::warn!("FTP: no passive port: {error}");
        Reply::new(425, "No port is free for data; try again later")
    })
}

fn give(core: &Core, plan: Plan) {
    let before = core.state.borrow_mut().plan.replace(plan);
    drop(before);
}
