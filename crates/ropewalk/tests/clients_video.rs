//! A recording in Chromium: the element asks for ranges, jumps to the end without loading what is between, and plays on.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

#[allow(dead_code, reason = "another test uses all of it")]
#[path = "articles/browser.rs"]
mod browser;
mod support;

use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use browser::Browser;
use ropewalk::net::Address;
use ropewalk::web::{Files, Handler, Next, Request, Response, Router, Site, middleware};
use ropewalk::{Reactor, Remote, listen};
use support::{Folder, PATIENCE};

/// Eight bits, one channel, so many samples a second: bytes and seconds are easily told from each other.
const RATE: u32 = 44_100;
/// Twenty minutes, 53 MB: far more than a browser loads ahead.
const SECONDS: u32 = 20 * 60;

/// Silence, as a WAV file.
fn recording() -> Vec<u8> {
    let length = RATE * SECONDS;
    let mut wav = Vec::new();
    wav.extend(b"RIFF");
    wav.extend((length + 36).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16_u32.to_le_bytes());
    // Samples as they are, one channel; samples and bytes in a second; bytes and bits of one.
    wav.extend([1_u16, 1].map(u16::to_le_bytes).concat());
    wav.extend([RATE, RATE].map(u32::to_le_bytes).concat());
    wav.extend([1_u16, 8].map(u16::to_le_bytes).concat());
    wav.extend(b"data");
    wav.extend(length.to_le_bytes());
    wav.resize(wav.len() + length as usize, 0x80);
    wav
}

/// The site on a thread of its own, and the ranges that it was asked for, with the status of the answer.
fn serve(folder: &Path) -> (u16, Remote, Receiver<(String, u16)>) {
    let (tell, told) = channel();
    let (asked, asks) = channel();
    let folder = folder.to_owned();
    std::thread::spawn(move || {
        let reactor = Reactor::new().unwrap();
        let noted = middleware(move |request: Request, next: Next| {
            let (range, asked) = (request.header("range").unwrap_or("none").to_owned(), asked.clone());
            next.handle(request).map(move |response| {
                // The test may be over.
                let _ = asked.send((range, response.code()));
                response
            })
        });
        let page = "<!DOCTYPE html><video src=/recording.wav preload=metadata muted></video>";
        let router = Router::new()
            .get("/", move |_| Response::html(page))
            .fallback(Files::new(&folder).unwrap().with(noted));
        let port =
            listen(&reactor, &"tcp:0:interface=127.0.0.1".parse().unwrap(), Site::new(router)).unwrap();
        let Address::Inet(address) = *port.address() else { unreachable!("it listens on TCP") };
        tell.send((address.port(), reactor.remote())).unwrap();
        reactor.run().unwrap();
    });
    let (port, remote) = told.recv_timeout(PATIENCE).unwrap();
    (port, remote, asks)
}

/// Where a range begins.
fn start(range: &str) -> Option<u32> {
    range.strip_prefix("bytes=")?.split('-').next()?.parse().ok()
}

#[test]
fn a_jump_to_the_end_loads_the_end_alone() {
    let Some(program) = ropewalk_testkit::require("chromium") else { return };
    let folder = Folder::new();
    folder.write("recording.wav", recording());
    let (port, remote, asks) = serve(folder.path());
    let mut browser = Browser::start(&program);
    browser.open(&format!("http://127.0.0.1:{port}/"));
    let length = "new Promise((done, fail) => { const it = document.querySelector('video');
        it.onerror = () => fail(it.error.message); it.readyState ? done(it.duration) : it.onloadedmetadata = () => done(it.duration) })";
    assert_eq!(browser.value(length), SECONDS);
    let jump = "new Promise((done, fail) => { const it = document.querySelector('video'); it.onerror = () => fail(it.error.message);
        it.onseeked = async () => { await it.play(); it.ontimeupdate = () => it.currentTime > 1190 && done(it.currentTime) };
        it.currentTime = 1190 })";
    assert!(browser.value(jump).as_f64().unwrap() > 1190.0, "it plays on from there");
    let asked: Vec<(String, u16)> = asks.try_iter().collect();
    // 304 where it asks whether what it has is still good, which goes before the range (RFC 9110 section 13.2.2).
    assert!(asked.iter().all(|(range, status)| matches!(status, 206 | 304) || range == "none"), "{asked:?}");
    assert_eq!(asked.first().and_then(|(range, _)| start(range)), Some(0), "{asked:?}");
    assert!(asked.iter().filter_map(|(range, _)| start(range)).any(|at| at > 1100 * RATE), "{asked:?}");
    drop(browser);
    remote.call_from_thread(Reactor::stop).unwrap();
}
