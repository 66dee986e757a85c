//! A disk that is full in the middle of a line, and has room again: in a child with a small file system of its own, which needs no root.
//! This binary starts itself again.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ropewalk_app::LogWriter;

/// The folder on the small file system; set, this is the child.
const WHERE: &str = "ROPEWALK_TEST_FULL_FOLDER";
const LONG: Duration = Duration::from_secs(20);

/// Not a test of its own: what the child does.
#[test]
fn the_child_fills_the_disk() {
    let Some(folder) = std::env::var_os(WHERE) else { return };
    let folder = Path::new(&folder);
    fs::write(folder.join("filler"), vec![0; 128 * 1024]).unwrap();
    let log = LogWriter::file(&folder.join("a.log")).unwrap();
    // No divisor of a page: the last line that is begun has no room for its end.
    let line = format!("{}\n", "x".repeat(1000));
    let mut written = 0;
    while log.statistics().failed < 3 {
        log.write(line.as_bytes());
        assert!(log.flush(LONG));
        written += 1;
    }
    fs::remove_file(folder.join("filler")).unwrap();
    log.write(b"room\n");
    assert!(log.flush(LONG));
    let text = fs::read_to_string(folder.join("a.log")).unwrap();
    let lost = log.statistics().lost;
    assert!(lost >= 3, "{lost}");
    let whole = text.lines().filter(|found| found.len() == 1000).count() as u64;
    assert_eq!(whole + lost, written);
    let rest: Vec<_> = text.lines().filter(|found| found.len() != 1000).collect();
    // The line that was begun, what is missing, and the new line, each on a line of its own.
    assert_eq!(rest.len(), 3, "{rest:?}");
    assert!(rest[0].bytes().all(|byte| byte == b'x'));
    assert_eq!(rest[1..], [format!("# {lost} lines are missing here"), "room".to_owned()]);
}

#[test]
fn a_disk_that_is_full_costs_lines_until_there_is_room_again() {
    let Some(unshare) = ropewalk_testkit::require("unshare") else { return };
    let alone = |script: &str| {
        let mut command = Command::new(&unshare);
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]);
        command
    };
    if !alone("true").status().unwrap().success() {
        // Not every system lets its users have name spaces.
        eprintln!("missing: a name space of one's own (skipped)");
        return;
    }
    let folder = std::env::temp_dir().join(format!("ropewalk-full-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let script = "mount -t tmpfs -o size=256k none \"$1\" && shift && exec \"$@\"";
    let output = alone(script)
        .arg(&folder)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "the_child_fills_the_disk", "--nocapture"])
        .env(WHERE, &folder)
        .output()
        .unwrap();
    let _ = fs::remove_dir_all(&folder);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}{stderr}");
}
