//! The dialogue, and files over a plain connection: what one says is answered in its turn, however it arrives.

use std::fs;
use std::path::Path;
use std::rc::Rc;

use crate::support::{Ground, SECOND, SOON, Said, pattern};
use crate::{dialogue, send_file};

#[test]
fn a_dialogue_takes_a_mail_and_then_another() {
    let said = Said::default();
    let ground = Ground::new(1, dialogue::post(Rc::new(said.sink())));
    let peer = ground.connect();
    assert_eq!(peer.take(), b"220 a post office\r\n");
    assert_eq!(ground.ask(&peer, b"MAIL FROM:<me>\r\n"), "503 not now\r\n", "first things first");
    assert_eq!(ground.ask(&peer, b"helo me\r\n"), "250 good day\r\n");
    assert_eq!(ground.ask(&peer, b"MAIL FROM:<ann@a>\r\nDATA\r\n"), "250 ok\r\n503 not now\r\n", "to whom?");
    assert_eq!(ground.ask(&peer, b"RCPT TO:<bob@b>\r\nRCPT TO:<eve@b>\r\n"), "250 ok\r\n250 ok\r\n");
    assert_eq!(ground.ask(&peer, b"MAIL\r\n"), "503 not now\r\n", "and nothing is lost by it");
    // All of it at once, and then bytewise.
    let rest = b"DATA\r\nTea at five?\r\n..\r\nQUIT\r\n.\r\n";
    let answer = "354 go on, and end with a dot\r\n250 it is on its way\r\n";
    let mail = "from <ann@a>\nto <bob@b>\nto <eve@b>\nTea at five?\n.\nQUIT\n";
    assert_eq!(ground.ask(&peer, rest), answer);
    assert_eq!(said.take(), [mail]);
    ground.ask(&peer, b"MAIL FROM:<ann@a>\r\nRCPT TO:<bob@b>\r\nRCPT TO:<eve@b>\r\n");
    let answers: String = rest.iter().map(|byte| ground.ask(&peer, &[*byte])).collect();
    assert_eq!((answers.as_str(), said.take()), (answer, vec![mail.to_owned()]));
    assert_eq!(ground.ask(&peer, b"quit\r\nHELO me\r\n"), "221 goodbye\r\n");
    assert!(peer.is_ended());
}

#[test]
fn a_dialogue_refuses_a_parcel() {
    let said = Said::default();
    let ground = Ground::new(1, dialogue::post(Rc::new(said.sink())));
    let peer = ground.connect();
    ground.ask(&peer, b"HELO me\r\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n");
    let line = [&[b'x'; 1000][..], b"\r\n"].concat();
    let mut heard = String::new();
    for _ in 0..70 {
        heard += &ground.ask(&peer, &line);
        if peer.is_ended() {
            break;
        }
    }
    assert_eq!(heard, "552 that is a parcel\r\n");
    assert!(peer.is_ended() && said.take().is_empty());
}

/// A folder with one large file in it, gone at the end.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(content: &[u8]) -> Folder {
        let path = std::env::temp_dir().join(format!("ropewalk-example-files-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("large"), content).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn files_come_in_the_order_in_which_they_were_asked_for() {
    let content = pattern(300_000);
    let folder = Folder::new(&content);
    fs::write(folder.0.join("small"), "hemp").unwrap();
    let ground = Ground::new(1, send_file::shelf(&folder.0));
    let peer = ground.connect();
    peer.write(b"small\nlarge\r\nlarge 299990\nsmall 4\nsmall 5\n../small\nnone\n");
    let mut got = Vec::new();
    for _ in 0..200 {
        ground.advance(SOON);
        got.extend(peer.take());
    }
    let mut expected = b"4\r\nhemp300000\r\n".to_vec();
    expected.extend_from_slice(&content);
    expected.extend_from_slice(b"10\r\n");
    expected.extend_from_slice(&content[299_990..]);
    expected
        .extend_from_slice(b"0\r\nno: invalid input parameter\r\nno: permission denied\r\nno: No such file");
    assert!(got.starts_with(&expected), "{} bytes", got.len());

    // Whoever asks and does not read is broken off.
    peer.write(b"large\nlarge\nlarge\n");
    ground.advance(61 * SECOND);
    assert!(peer.is_reset());
}

#[test]
fn the_shelf_has_what_is_beside_the_examples() {
    let ground = Ground::new(1, send_file::shelf(Path::new(send_file::FOLDER)));
    let peer = ground.connect();
    peer.write(b"style.css\n");
    ground.advance(SECOND);
    let style = include_str!("../../examples/public/style.css");
    assert_eq!(peer.text(), format!("{}\r\n{style}", style.len()));
}
