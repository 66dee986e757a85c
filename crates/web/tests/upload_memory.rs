//! A large upload in a real process: what is on its way is not in memory, whether it is taken as it comes or lies on the disk.
//!
//! It sends 192 MiB; `ROPEWALK_UPLOAD_MIB=1024 cargo test -p ropewalk-web --test upload_memory --release -- --nocapture` sends a GiB. One test in
//! its process, because what is measured is the process.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ropewalk_net::{Address, listen};
use ropewalk_reactor::{Reactor, react};
use ropewalk_web::extract::typed;
use ropewalk_web::{FormData, Multipart, MultipartLimits, Rejection, Router, Site};

/// What a process of this size may grow by: some buffers, some threads, and what the allocator keeps.
const GROWTH_KIB_MAX: u64 = 24 * 1024;

fn site() -> Site {
    let limits = MultipartLimits { form_bytes_max: Some(u64::MAX), ..MultipartLimits::default() };
    let router = Router::new()
        .state(limits)
        .post(
            "/disk",
            typed(|form: FormData| async move {
                let file = form.file("f").ok_or_else(|| Rejection::new(400, "which file?"))?;
                let on_disk =
                    file.path().and_then(|path| path.metadata().ok()).map_or(0, |metadata| metadata.len());
                Ok::<_, Rejection>(format!("{} bytes, {on_disk} on the disk", file.len()))
            }),
        )
        .post(
            "/stream",
            typed(|mut form: Multipart| async move {
                let mut bytes = 0;
                while let Some(mut part) = form.next().await? {
                    while let Some(piece) = part.piece().await? {
                        bytes += piece.len();
                    }
                }
                Ok::<_, Rejection>(format!("{bytes} bytes"))
            }),
        );
    Site::new(router)
}

/// Sends a file of so many MiB, and answers the body of what comes back.
fn upload(address: SocketAddr, path: &str, mib: usize) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let head = "--rope\r\nContent-Disposition: form-data; name=\"f\"; filename=\"large\"\r\n\r\n";
    let tail = "\r\n--rope--\r\n";
    let length = head.len() + tail.len() + mib * 1024 * 1024;
    let fields = "Host: h\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=rope";
    write!(stream, "POST {path} HTTP/1.1\r\n{fields}\r\nContent-Length: {length}\r\n\r\n{head}").unwrap();
    let block = vec![b'x'; 1024 * 1024];
    for _ in 0..mib {
        stream.write_all(&block).unwrap();
    }
    stream.write_all(tail.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// The most that this process has had in memory, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

async fn measured(reactor: &Reactor, address: SocketAddr, path: &'static str, mib: usize) -> (String, u64) {
    // Once small, so that threads and buffers are there.
    reactor.defer_to_thread(move || upload(address, path, 4)).await.unwrap();
    let before = peak_kib();
    let said = reactor.defer_to_thread(move || upload(address, path, mib)).await.unwrap();
    (said, peak_kib() - before)
}

#[test]
#[allow(clippy::print_stdout, reason = "the figure is what one runs it for")]
fn a_large_upload_is_not_in_memory() {
    let mib = std::env::var("ROPEWALK_UPLOAD_MIB").map_or(192, |text| text.parse().unwrap());
    let bytes = mib * 1024 * 1024;
    react(move |reactor| async move {
        let port = listen(&reactor, &"tcp:0:interface=127.0.0.1".parse()?, site())?;
        let Address::Inet(address) = *port.address() else { unreachable!("it listens on TCP") };
        for (path, expected) in
            [("/stream", format!("{bytes} bytes")), ("/disk", format!("{bytes} bytes, {bytes} on the disk"))]
        {
            let (said, growth) = measured(&reactor, address, path, mib).await;
            println!("{path}: {mib} MiB, the peak of memory has grown by {growth} KiB");
            assert_eq!(said, expected);
            assert!(growth < GROWTH_KIB_MAX, "{path}: {growth} KiB for {mib} MiB");
        }
        Ok(())
    })
    .unwrap();
}
