//! The appender under a clock of the test's own, in folders of its own. Whatever is waited for is written: `flush`, or the end of the log.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::*;

const LONG: Duration = Duration::from_secs(20);

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ropewalk-logfile-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn log(&self) -> PathBuf {
        self.0.join("a.log")
    }

    /// All files with their text, unpacked; what goes away meanwhile, or is being packed, is not among them.
    fn files(&self) -> BTreeMap<String, String> {
        let read = |name: String| {
            let bytes = fs::read(self.0.join(&name)).ok()?;
            let text = if name.ends_with(".gz") { unpack(&bytes) } else { String::from_utf8(bytes).unwrap() };
            Some((name, text))
        };
        self.names().into_iter().filter(|name| !name.ends_with(".part")).filter_map(read).collect()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn unpack(bytes: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    text
}

/// A clock that stands still until it is moved.
#[derive(Clone)]
struct Hands(Arc<AtomicI64>, Clock);

impl Hands {
    fn at(zone: &str, local: &str) -> Hands {
        let zone = TimeZone::posix(zone).unwrap();
        let local: DateTime = local.parse().unwrap();
        let seconds = Arc::new(AtomicI64::new(local.to_zoned(zone.clone()).unwrap().timestamp().as_second()));
        let shown = Arc::clone(&seconds);
        let clock = Clock::new(zone, move || Timestamp::from_second(shown.load(Ordering::Relaxed)).unwrap());
        Hands(seconds, clock)
    }

    fn forward(&self, minutes: i64) {
        self.0.fetch_add(minutes * 60, Ordering::Relaxed);
    }

    fn local(&self) -> String {
        self.1.zone().to_datetime(self.1.now()).to_string()
    }
}

fn open(folder: &Folder, rotation: Rotation, hands: &Hands) -> LogWriter {
    let options = LogOptions { rotation, clock: hands.1.clone(), ..LogOptions::default() };
    LogWriter::with(&folder.log(), options).unwrap()
}

fn utc() -> Hands {
    Hands::at("UTC0", "2026-11-21T12:00")
}

fn daily() -> Rotation {
    Rotation { at: At::Daily, ..Rotation::default() }
}

/// Writes a line with the local time every ten minutes for three days, and tells which file has how many.
fn three_days(zone: &str, from: &str) -> Vec<(String, usize)> {
    let (folder, hands) = (Folder::new(), Hands::at(zone, from));
    let log = open(&folder, daily(), &hands);
    let until = hands.1.now() + SignedDuration::from_hours(3 * 24);
    while hands.1.now() < until {
        log.write(format!("{}\n", hands.local()).as_bytes());
        hands.forward(10);
    }
    drop(log);
    let last = hands.local()[..10].to_owned();
    let mut found = Vec::new();
    for (name, text) in folder.files() {
        let date = name.strip_prefix("a.log.").unwrap_or(&last);
        assert!(text.lines().all(|line| line.starts_with(date)), "{name}: {text}");
        found.push((date.to_owned(), text.lines().count()));
    }
    found.sort();
    found
}

#[test]
fn days_end_at_local_midnight_through_both_changes_of_summer_time() {
    let counts = |zone, from| three_days(zone, from).into_iter().map(|(_, count)| count).collect::<Vec<_>>();
    let berlin = "CET-1CEST,M3.5.0,M10.5.0/3";
    // Six lines an hour: days of 24, 23 and 24 hours, and one hour more until three times 24 are over.
    assert_eq!(counts(berlin, "2026-03-28T00:00"), [144, 138, 144, 6]);
    assert_eq!(counts(berlin, "2026-10-24T00:00"), [144, 150, 138]);
    // Half an hour.
    let howe = "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0";
    assert_eq!(counts(howe, "2026-10-03T00:00"), [144, 141, 144, 3]);
    assert_eq!(counts(howe, "2026-04-04T00:00"), [144, 147, 141]);
    // Midnight does not exist on 6 September.
    let santiago = "<-04>4<-03>,M9.1.6/24,M4.1.6/24";
    let days = three_days(santiago, "2026-09-05T00:00");
    assert_eq!(
        days.iter().map(|(date, _)| &date[..]).collect::<Vec<_>>(),
        ["2026-09-05", "2026-09-06", "2026-09-07", "2026-09-08"]
    );
    assert_eq!(days.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [144, 138, 144, 6]);
}

#[test]
fn a_day_without_lines_leaves_no_file() {
    let (folder, hands) = (Folder::new(), utc());
    let log = open(&folder, daily(), &hands);
    log.write(b"saturday\n");
    hands.forward(3 * 24 * 60);
    log.write(b"tuesday\n");
    drop(log);
    assert_eq!(folder.names(), ["a.log", "a.log.2026-11-21"]);
}

#[test]
fn what_was_written_on_another_day_is_put_aside_when_the_log_is_opened() {
    let (folder, hands) = (Folder::new(), utc());
    fs::write(folder.log(), "old\n").unwrap();
    let yesterday = std::time::UNIX_EPOCH + Duration::from_secs(hands.1.now().as_second() as u64 - 24 * 3600);
    fs::File::options().append(true).open(folder.log()).unwrap().set_modified(yesterday).unwrap();
    let log = open(&folder, daily(), &hands);
    log.write(b"new\n");
    drop(log);
    assert_eq!(
        folder.files(),
        [("a.log", "new\n"), ("a.log.2026-11-20", "old\n")].map(|(a, b)| (a.into(), b.into())).into()
    );
}

#[test]
fn a_clock_that_is_put_back_over_midnight_splits_no_day() {
    let (folder, hands) = (Folder::new(), Hands::at("UTC0", "2026-11-21T23:59"));
    let log = open(&folder, daily(), &hands);
    for minutes in [1, -1, 1] {
        log.write(format!("{}\n", hands.local()).as_bytes());
        hands.forward(minutes);
    }
    drop(log);
    let files = folder.files();
    assert_eq!(files["a.log.2026-11-21"].lines().count(), 1);
    assert_eq!(files["a.log"].lines().count(), 2);
}

#[test]
fn a_size_begins_a_new_file_between_two_lines() {
    let (folder, hands) = (Folder::new(), utc());
    let log = open(&folder, Rotation { at: At::Size(100), ..Rotation::default() }, &hands);
    // 30 bytes each: three to a file, in whatever batches they come.
    for number in 0..10 {
        log.write(format!("{number:029}\n").as_bytes());
        if number % 4 == 0 {
            assert!(log.flush(LONG));
        }
    }
    log.write(format!("{}\n", "x".repeat(200)).as_bytes());
    log.write(b"end\n");
    drop(log);
    let sizes: BTreeMap<_, _> = folder.files().into_iter().map(|(name, text)| (name, text.len())).collect();
    let expected = [
        ("a.log", 4),
        ("a.log.2026-11-21", 90),
        ("a.log.2026-11-21-2", 90),
        ("a.log.2026-11-21-3", 90),
        ("a.log.2026-11-21-4", 30),
        ("a.log.2026-11-21-5", 201),
    ];
    assert_eq!(sizes, expected.map(|(name, size)| (name.to_owned(), size)).into());
}

#[test]
fn who_asks_gets_a_new_file_behind_the_lines_that_were_written() {
    let (folder, hands) = (Folder::new(), utc());
    let log = open(&folder, Rotation::default(), &hands);
    fs::set_permissions(folder.log(), fs::Permissions::from_mode(0o600)).unwrap();
    log.rotate();
    assert!(log.flush(LONG));
    assert_eq!(folder.names(), ["a.log"], "an empty file is not put aside");
    log.write(b"one\n");
    log.rotate();
    log.rotate();
    log.write(b"two\n");
    log.rotate();
    log.write(b"three\n");
    assert!(log.flush(LONG));
    assert_eq!(log.statistics().rotations, 2);
    let texts: Vec<_> = folder.files().into_values().collect();
    assert_eq!(texts, ["three\n", "one\n", "two\n"]);
    assert_eq!(fs::metadata(folder.log()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_file_that_was_moved_away_is_opened_again() {
    let (folder, hands) = (Folder::new(), utc());
    let log = open(&folder, Rotation::default(), &hands);
    log.write(b"one\n");
    assert!(log.flush(LONG));
    // As logrotate does it: moved, made anew, and then we are told, perhaps after we have seen it.
    fs::rename(folder.log(), folder.0.join("a.log.1")).unwrap();
    log.write(b"two\n");
    assert!(log.flush(LONG));
    log.rotate();
    log.write(b"three\n");
    assert!(log.flush(LONG));
    assert_eq!(folder.names(), ["a.log", "a.log.1"]);
    assert_eq!(fs::read_to_string(folder.log()).unwrap(), "two\nthree\n");
    // As `copytruncate` does it: the file is cut short under us.
    fs::File::options().write(true).open(folder.log()).unwrap().set_len(0).unwrap();
    log.write(b"four\n");
    drop(log);
    assert_eq!(fs::read_to_string(folder.log()).unwrap(), "four\n");
}

#[test]
fn a_link_stays_and_the_file_that_it_names_is_put_aside() {
    let (folder, other, hands) = (Folder::new(), Folder::new(), utc());
    symlink(other.0.join("real"), folder.log()).unwrap();
    let log = open(&folder, Rotation::default(), &hands);
    log.write(b"one\n");
    log.rotate();
    log.write(b"two\n");
    drop(log);
    assert_eq!(other.names(), ["real", "real.2026-11-21"]);
    assert!(fs::symlink_metadata(folder.log()).unwrap().is_symlink());
}

#[test]
fn so_many_are_kept_and_nothing_else_is_deleted() {
    let (folder, hands) = (Folder::new(), utc());
    let foreign = ["a.log.1", "a.log.2026-11-20.bak", "b.log.2026-11-01"];
    for name in foreign {
        fs::write(folder.0.join(name), "not ours\n").unwrap();
    }
    let log = open(&folder, Rotation { keep: Some(2), ..daily() }, &hands);
    for day in 0..6 {
        log.write(format!("day {day}\n").as_bytes());
        hands.forward(24 * 60);
    }
    assert!(log.flush(LONG));
    wait_until(|| folder.names().len() <= 6);
    let expected = [
        "a.log",
        "a.log.1",
        "a.log.2026-11-20.bak",
        "a.log.2026-11-24",
        "a.log.2026-11-25",
        "b.log.2026-11-01",
    ];
    assert_eq!(folder.names(), expected);
}

#[test]
fn all_of_them_together_have_so_many_bytes() {
    let (folder, hands) = (Folder::new(), utc());
    let rotation = Rotation { at: At::Size(1000), total_bytes: Some(5_000), ..Rotation::default() };
    let log = open(&folder, rotation, &hands);
    for number in 0..1000 {
        log.write(format!("{number:099}\n").as_bytes());
    }
    assert!(log.flush(LONG));
    let bytes = || folder.files().values().map(String::len).sum::<usize>();
    wait_until(|| bytes() <= 5_000);
    assert!(bytes() >= 4_000);
    assert!(folder.files()["a.log"].ends_with("999\n"));
}

/// What the writer does between the lines is done soon after them.
fn wait_until(is_so: impl Fn() -> bool) {
    let until = std::time::Instant::now() + LONG;
    while !is_so() {
        assert!(std::time::Instant::now() < until, "it never came");
        std::thread::yield_now();
    }
}

#[test]
fn what_was_put_aside_is_compressed_also_what_an_earlier_process_left() {
    let (folder, hands) = (Folder::new(), utc());
    fs::write(folder.0.join("a.log.2026-11-19"), "left\n").unwrap();
    fs::write(folder.0.join("a.log.2026-11-19.gz.part"), "half").unwrap();
    let log = open(&folder, Rotation { compress: true, ..daily() }, &hands);
    // More than a slice, of which there is little left.
    let line = format!("{}\n", "same ".repeat(200));
    for _ in 0..1000 {
        log.write(line.as_bytes());
    }
    hands.forward(24 * 60);
    log.write(b"new\n");
    wait_until(|| folder.0.join("a.log.2026-11-21.gz").exists() && folder.names().len() == 3);
    let packed = fs::metadata(folder.0.join("a.log.2026-11-21.gz")).unwrap().len();
    let files = folder.files();
    assert_eq!(files["a.log.2026-11-19.gz"], "left\n");
    assert_eq!(files["a.log.2026-11-21.gz"], line.repeat(1000));
    assert!(packed < 50_000, "{packed}");
    drop(log);
    assert_eq!(fs::read_to_string(folder.log()).unwrap(), "new\n");
}

#[test]
fn two_writers_of_one_file_lose_nothing() {
    let (folder, hands) = (Folder::new(), utc());
    let rotation = Rotation { at: At::Size(64 * 1024), compress: true, ..Rotation::default() };
    let logs = [open(&folder, rotation.clone(), &hands), open(&folder, rotation, &hands)];
    let writing = logs.into_iter().enumerate().map(|(number, log)| {
        std::thread::spawn(move || {
            for line in 0..20_000 {
                log.write(format!("{number} {line:06} and some more to fill it\n").as_bytes());
                if line % 500 == 0 {
                    assert!(log.flush(LONG));
                    log.rotate();
                }
            }
        })
    });
    writing.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
    let mut lines: Vec<String> = Vec::new();
    for text in folder.files().into_values() {
        lines.extend(text.lines().map(str::to_owned));
    }
    lines.sort();
    let expected: Vec<_> = (0..2)
        .flat_map(|number| {
            (0..20_000).map(move |line| format!("{number} {line:06} and some more to fill it"))
        })
        .collect();
    assert_eq!(lines.len(), expected.len());
    assert_eq!(lines, expected);
}

#[test]
fn a_line_that_was_never_finished_is_not_continued() {
    let (folder, hands) = (Folder::new(), utc());
    fs::write(folder.log(), "whole\ntor").unwrap();
    let log = open(&folder, Rotation::default(), &hands);
    log.write(b"new\n");
    drop(log);
    assert_eq!(fs::read_to_string(folder.log()).unwrap(), "whole\ntor\nnew\n");
}

#[test]
fn a_full_disk_is_told_of_once_counted_and_got_over() {
    let (folder, hands) = (Folder::new(), utc());
    symlink("/dev/full", folder.log()).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let ear = Arc::clone(&told);
    let trouble = Box::new(move |what: &str| ear.lock().unwrap().push(what.to_owned()));
    let options = LogOptions { clock: hands.1.clone(), trouble, ..LogOptions::default() };
    let log = LogWriter::with(&folder.log(), options).unwrap();
    for _ in 0..3 {
        log.write(b"lost\nlost, too\n");
        assert!(log.flush(LONG));
    }
    let statistics = log.statistics();
    assert_eq!((statistics.failed, statistics.lost), (3, 6));
    // There is room again.
    fs::remove_file(folder.log()).unwrap();
    log.write(b"kept\n");
    assert!(log.flush(LONG));
    assert_eq!(fs::read_to_string(folder.log()).unwrap(), "# 6 lines are missing here\nkept\n");
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("log lines are lost: ") && told[0].contains("No space left"), "{told:?}");
}

#[test]
fn a_file_that_cannot_be_put_aside_grows_and_is_put_aside_later() {
    let (folder, hands) = (Folder::new(), utc());
    let told = Arc::new(Mutex::new(0));
    let ear = Arc::clone(&told);
    let trouble = Box::new(move |_: &str| *ear.lock().unwrap() += 1);
    let options = LogOptions { rotation: daily(), clock: hands.1.clone(), trouble, ..LogOptions::default() };
    let path = folder.0.join("x".repeat(250));
    let log = LogWriter::with(&path, options).unwrap();
    // Its name is as long as a name may be: with a date behind it, it is too long.
    log.write(b"one\n");
    hands.forward(24 * 60);
    log.write(b"two\n");
    assert!(log.flush(LONG));
    assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    assert_eq!((log.statistics().failed, *told.lock().unwrap()), (0, 1));
}

#[test]
fn a_device_is_written_and_never_put_aside() {
    let (folder, hands) = (Folder::new(), utc());
    symlink("/dev/null", folder.log()).unwrap();
    let log =
        open(&folder, Rotation { at: At::DailyOrSize(10), compress: true, ..Rotation::default() }, &hands);
    log.write(b"more than ten bytes\nmore than ten bytes\n");
    log.rotate();
    hands.forward(24 * 60);
    log.write(b"more than ten bytes\n");
    assert!(log.flush(LONG));
    assert_eq!(log.statistics().rotations, 0);
    assert!(fs::metadata("/dev/null").unwrap().rdev() != 0);
}

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn every_line_is_there_in_order_when_the_log_is_dropped() {
    let page = Page::default();
    let log = LogWriter::new(Box::new(page.clone()), None).unwrap();
    let mut expected = Vec::new();
    for number in 0..10_000 {
        let line = format!("line {number}\n");
        log.write(line.as_bytes());
        expected.extend_from_slice(line.as_bytes());
    }
    assert_eq!(log.statistics().lines, 10_000);
    drop(log);
    assert_eq!(*page.0.lock().unwrap(), expected);
}

/// A pipe that nobody reads until the test lets go.
struct Stuck(mpsc::Receiver<()>, Page);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // It fails when the test has let go.
        let _ = self.0.recv();
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_stalls_costs_lines_not_memory_and_learns_how_many() {
    let (release, stuck) = mpsc::channel();
    let page = Page::default();
    let told = Arc::new(Mutex::new(Vec::new()));
    let ear = Arc::clone(&told);
    let trouble = Box::new(move |what: &str| ear.lock().unwrap().push(what.to_owned()));
    let options = LogOptions { trouble, ..LogOptions::default() };
    let log = LogWriter::stream(Box::new(Stuck(stuck, page.clone())), "a pipe", options).unwrap();
    let line = [&[b'x'; 1023][..], b"\n"].concat();
    for _ in 0..20 * 1024 {
        log.write(&line);
    }
    let statistics = log.statistics();
    assert!(statistics.dropped > 0, "{statistics:?}");
    assert!(statistics.waiting_bytes <= WAITING_BYTES_MAX);
    drop(release);
    assert!(log.flush(LONG));
    log.write(b"later\n");
    assert!(log.flush(LONG));
    let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
    assert!(text.ends_with("\nlater\n"));
    // Once, or twice if some were dropped before the writer had its first batch.
    let notices: Vec<u64> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# ")?.strip_suffix(" lines are missing here")?.parse().ok())
        .collect();
    assert_eq!(notices.iter().sum::<u64>(), statistics.dropped);
    assert!(!notices.is_empty());
    assert_eq!(*told.lock().unwrap(), ["a pipe: lines are dropped, more come than it takes"]);
    let taken = statistics.lines - statistics.dropped + 1;
    assert_eq!(text.lines().count() as u64, taken + notices.len() as u64);
}
