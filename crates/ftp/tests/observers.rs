//! What observers hear, and that one that breaks costs nobody anything.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::RefCell;
use std::rc::Rc;

use common::Ground;
use ropewalk_ftp::{Answered, CommonLog, FtpOptions, Observer, Transferred, Xferlog};

struct Broken;

impl Observer for Broken {
    fn transferred(&self, _: &Transferred<'_>) {
        panic!("an observer that breaks");
    }
    fn answered(&self, _: &Answered<'_>) {
        panic!("an observer that breaks");
    }
}

#[test]
fn every_answer_and_every_transfer_is_told_of() {
    let lines: Rc<RefCell<Vec<u8>>> = Rc::default();
    let (one, two) = (Rc::clone(&lines), Rc::clone(&lines));
    let observers: Vec<Rc<dyn Observer>> = vec![
        Rc::new(Broken),
        Rc::new(Xferlog::new(move |line: &[u8]| one.borrow_mut().extend_from_slice(line))),
        Rc::new(CommonLog::new(move |line: &[u8]| two.borrow_mut().extend_from_slice(line))),
    ];
    let ground = Ground::with(1, FtpOptions { observers, ..FtpOptions::default() });
    let client = ground.ada();
    assert_eq!(client.fetch("RETR hello.txt").0.len(), 12);
    let data = client.data();
    client.expect("STOR half", "1");
    data.write(b"12345");
    ground.advance(100);
    client.expect("STAT", "211");
    client.send("ABOR");
    assert_eq!((client.code(), client.code()), ("426".to_owned(), "226".to_owned()));
    let lines = String::from_utf8(lines.take()).unwrap();
    let short: Vec<String> = lines
        .lines()
        .map(|line| match line.split_once("+0000] ") {
            Some((_, answered)) => answered.to_owned(),
            None => line.split_once(" 127.0.0.1 ").unwrap().1.to_owned(),
        })
        .filter(|line| !line.starts_with("\"PASV"))
        .collect();
    assert_eq!(
        short,
        [
            "\"USER ada\" 331 0",
            "\"PASS ****\" 230 0",
            "\"TYPE I\" 200 0",
            "12 /hello.txt b _ o r ada ftp 0 * c",
            "\"RETR hello.txt\" 226 12",
            "\"STAT\" 211 0",
            "5 /half b _ i r ada ftp 0 * i",
            "\"STOR half\" 426 5",
            "\"ABOR\" 226 0",
        ]
    );
}
