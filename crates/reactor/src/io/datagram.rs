//! Datagram sockets as a driver gives them: UDP of the system, or of the simulated network.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use socket2::SockRef;

use crate::driver::sim;

/// A bound UDP socket. Each receive and each send is one datagram.
#[derive(Debug)]
pub enum DatagramSocket {
    /// UDP of the system.
    Udp(mio::net::UdpSocket),
    /// UDP of the simulated network.
    Sim(sim::Mailhole),
}

impl DatagramSocket {
    /// Takes the next datagram; `WouldBlock` if there is none. What does not fit into `into` is cut off.
    pub fn receive(&self, into: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match self {
            DatagramSocket::Udp(socket) => socket.recv_from(into),
            DatagramSocket::Sim(hole) => hole.receive(into),
        }
    }

    /// Sends one datagram.
    pub fn send_to(&self, data: &[u8], to: SocketAddr) -> io::Result<usize> {
        match self {
            DatagramSocket::Udp(socket) => socket.send_to(data, to),
            DatagramSocket::Sim(hole) => hole.send(data, Some(to)),
        }
    }

    /// Sends one datagram to the peer that the socket is connected to.
    pub fn send(&self, data: &[u8]) -> io::Result<usize> {
        match self {
            DatagramSocket::Udp(socket) => socket.send(data),
            DatagramSocket::Sim(hole) => hole.send(data, None),
        }
    }

    /// From now on only this peer is heard, and `send` goes to it.
    pub fn connect(&self, to: SocketAddr) -> io::Result<()> {
        match self {
            DatagramSocket::Udp(socket) => socket.connect(to),
            DatagramSocket::Sim(hole) => {
                hole.connect(to);
                Ok(())
            }
        }
    }

    /// Where it is bound, with the real port.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        match self {
            DatagramSocket::Udp(socket) => socket.local_addr(),
            DatagramSocket::Sim(hole) => Ok(hole.local_address()),
        }
    }

    /// Joins a multicast group, or leaves it; `interface` is the address (IPv4) of the interface, unspecified for the
    /// system's choice.
    pub fn set_membership(&self, group: IpAddr, interface: Ipv4Addr, member: bool) -> io::Result<()> {
        match self {
            DatagramSocket::Udp(socket) => {
                let socket = SockRef::from(socket);
                match (group, member) {
                    (IpAddr::V4(group), true) => socket.join_multicast_v4(&group, &interface),
                    (IpAddr::V4(group), false) => socket.leave_multicast_v4(&group, &interface),
                    (IpAddr::V6(group), true) => socket.join_multicast_v6(&group, 0),
                    (IpAddr::V6(group), false) => socket.leave_multicast_v6(&group, 0),
                }
            }
            DatagramSocket::Sim(hole) => hole.set_membership(group, member),
        }
    }

    /// How far multicast goes: 0 this machine, 1 this network (the default), more through routers.
    pub fn set_multicast_ttl(&self, hops: u8) -> io::Result<()> {
        match self {
            DatagramSocket::Udp(socket) if is_ipv6(socket) => {
                SockRef::from(socket).set_multicast_hops_v6(u32::from(hops))
            }
            DatagramSocket::Udp(socket) => SockRef::from(socket).set_multicast_ttl_v4(u32::from(hops)),
            DatagramSocket::Sim(_) => Ok(()),
        }
    }

    /// Whether sockets of this machine hear what this one sends to a group they are in; on by default.
    pub fn set_multicast_loop(&self, on: bool) -> io::Result<()> {
        match self {
            DatagramSocket::Udp(socket) if is_ipv6(socket) => SockRef::from(socket).set_multicast_loop_v6(on),
            DatagramSocket::Udp(socket) => SockRef::from(socket).set_multicast_loop_v4(on),
            DatagramSocket::Sim(hole) => {
                hole.set_multicast_loop(on);
                Ok(())
            }
        }
    }

    /// The interface, by its address (IPv4), through which multicast leaves.
    pub fn set_multicast_interface(&self, interface: Ipv4Addr) -> io::Result<()> {
        match self {
            DatagramSocket::Udp(socket) => SockRef::from(socket).set_multicast_if_v4(&interface),
            DatagramSocket::Sim(_) => Ok(()),
        }
    }

    /// Whether it may send to a broadcast address; off by default.
    pub fn set_broadcast(&self, on: bool) -> io::Result<()> {
        match self {
            DatagramSocket::Udp(socket) => socket.set_broadcast(on),
            DatagramSocket::Sim(_) => Ok(()),
        }
    }
}

fn is_ipv6(socket: &mio::net::UdpSocket) -> bool {
    socket.local_addr().is_ok_and(|address| address.is_ipv6())
}
