//! What systemd is told (`man 3 sd_notify`), and the unit file that starts a program under it. Its sockets are net's business.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Tells systemd, or whoever set NOTIFY_SOCKET; nothing happens where nobody did.
pub(crate) fn notify(lines: &str) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&name, lines) {
        tracing::debug!("NOTIFY_SOCKET {}: {error}", name.display());
    }
}

fn send(name: &OsStr, lines: &str) -> std::io::Result<()> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.send_to_addr(lines.as_bytes(), &address).map(drop)
}

/// The microseconds of the system's clock, which systemd wants beside RELOADING=1.
pub(crate) fn reloading() -> String {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    let now = now.unwrap_or(nix::sys::time::TimeSpec::new(0, 0));
    let micros = now.tv_sec().saturating_mul(1_000_000) + now.tv_nsec() / 1000;
    format!("RELOADING=1\nMONOTONIC_USEC={micros}")
}

/// How often the watchdog of systemd wants to hear from us: half of what it allows.
pub(crate) fn watchdog() -> Option<Duration> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    if number("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id())) {
        return None;
    }
    let micros = number("WATCHDOG_USEC").filter(|micros| *micros > 0)?;
    Some(Duration::from_micros(micros / 2))
}

/// A unit file for this command line.
pub(crate) fn unit(name: &str, program: &str, folder: &str, arguments: &[String]) -> String {
    let mut command = quoted(program);
    for argument in arguments {
        let _ = write!(command, " {}", quoted(argument));
    }
    // Who says whom to become starts as root.
    let user = if arguments.iter().any(|word| word.starts_with("--user")) { "" } else { "DynamicUser=yes\n" };
    format!(
        "# Write it to /etc/systemd/system/{name}.service, then: systemctl enable --now {name}\n\
         [Unit]\n\
         Description={name}\n\
         After=network.target\n\
         \n\
         [Service]\n\
         Type=notify\n\
         WorkingDirectory={folder}\n\
         ExecStart={command} --rundir %S/{name}\n\
         ExecReload={program} reload --rundir %S/{name}\n\
         StateDirectory={name}\n\
         {user}\
         NotifyAccess=all\n\
         WatchdogSec=30\n\
         Restart=on-failure\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n",
        program = quoted(program),
        // One path, to the end of the line.
        folder = folder.replace('%', "%%"),
    )
}

/// One word of a unit file's command line.
fn quoted(word: &str) -> String {
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    let plain = |character: char| character.is_ascii_alphanumeric() || "/._-=:@%+,".contains(character);
    if !escaped.is_empty() && escaped.chars().all(plain) { escaped } else { format!("\"{escaped}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_names_are_reached() {
        let name = format!("ropewalk-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let path = std::env::temp_dir().join(&name);
        for (socket, told) in [
            (UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}").into()),
            (UnixDatagram::bind(&path).unwrap(), path.clone().into_os_string()),
        ] {
            send(&told, "READY=1").unwrap();
            let mut heard = [0; 20];
            let count = socket.recv(&mut heard).unwrap();
            assert_eq!(&heard[..count], b"READY=1");
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_unit_says_the_command_line() {
        let unit =
            unit("shop", "/usr/bin/shop", "/srv", &["--listen".to_owned(), "unix:/run/a b%".to_owned()]);
        assert!(
            unit.contains("ExecStart=/usr/bin/shop --listen \"unix:/run/a b%%\" --rundir %S/shop\n"),
            "{unit}"
        );
        assert!(unit.contains("Type=notify\nWorkingDirectory=/srv\n"), "{unit}");
    }
}
