//! FTP beside vsftpd, proftpd and pyftpdlib: one large file in both directions, many logins at once, and what a session costs in
//! memory that is logged in and silent.
//!
//! The accounts are of the process with all that it has started, since two of the peers make processes per session. What is moved is
//! in the system's memory and lies among the temporary files, on a file system as servers have it: `TMPDIR=/dev/shm` has it in one that
//! is nothing but memory. vsftpd is as it comes: each of its sessions has two processes and a network of its own.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::progress;
use crate::SuiteArgs;
use crate::figures::Figures;
use crate::foreign::ftp::{FTPDS, Ftpd, GUEST};
use crate::foreign::{Scratch, tree};
use crate::ftp::{Crowd, Session};
use crate::report::{Section, number};

const MIB: u64 = 1024 * 1024;

/// Of the file that is moved.
const FILE_BYTES: u64 = 256 * MIB;

/// Of the one whose every byte is compared.
const SAMPLE_BYTES: u64 = MIB + 7;

/// Sessions that come at once.
const LOGINS: u32 = 300;

/// Those that are there before memory is looked at.
const EARLY: u32 = 50;

/// Bytes of memory that a session of ours may have.
const SESSION_BYTES_MAX: f64 = 2048.0;

/// Enough for a server to finish what it does behind the last answer.
const QUIET: Duration = Duration::from_millis(300);

/// For processes whose sessions are over to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// What one direction has shown.
#[derive(Default)]
struct Way {
    mb_per_second: Figures,
    cpu_ms_per_gib: Figures,
}

struct Contestant {
    name: &'static str,
    ftpd: Ftpd,
    download: Way,
    upload: Way,
    login_ms: Figures,
    login_cpu_us: Figures,
    session_bytes: f64,
}

/// All that are there, interleaved.
pub(super) fn run(arguments: &SuiteArgs) -> io::Result<Option<Section>> {
    let scratch = Scratch::temporary("ftp")?;
    let named = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == name);
    let mut contestants = Vec::new();
    for (name, start) in FTPDS.iter().filter(|(name, _)| named(name)) {
        if let Some(ftpd) = start(arguments.server_core)? {
            let contestant = Contestant::new(name, ftpd, &scratch);
            contestants.push(contestant.map_err(|error| io::Error::other(format!("{name}: {error}")))?);
        }
    }
    for round in 1..=arguments.rounds {
        for contestant in &mut contestants {
            contestant
                .slice(&scratch)
                .map_err(|error| io::Error::other(format!("{}: {error}", contestant.name)))?;
        }
        progress(&format!("round {round} of {}", arguments.rounds));
    }
    Ok((!contestants.is_empty()).then(|| section(&contestants)))
}

impl Contestant {
    /// What it serves is put there, and looked at from both sides: who moves something else is not measured.
    fn new(name: &'static str, ftpd: Ftpd, scratch: &Scratch) -> io::Result<Contestant> {
        let (sample, large) = (scratch.path("sample"), scratch.path("large"));
        if !large.exists() {
            fill(&mut File::create(&sample)?, SAMPLE_BYTES)?;
            fill(&mut File::create(&large)?, FILE_BYTES)?;
        }
        std::fs::copy(&sample, ftpd.scratch.path("root/sample"))?;
        // All of them serve the same pages of memory.
        std::fs::hard_link(&large, ftpd.scratch.path("root/large"))?;
        // Memory comes first: what a transfer or the hash of a password leaves in a heap is nobody's session.
        let session_bytes = session_bytes(&ftpd)?;
        let mut session = Session::connect(ftpd.address, ftpd.user)?;
        session.send("incoming/sample", &mut File::open(&sample)?)?;
        let (wanted, sent) =
            (std::fs::read(&sample)?, std::fs::read(ftpd.scratch.path("root/incoming/sample"))?);
        if session.read("sample")? != wanted || sent != wanted {
            return Err(io::Error::other(format!("{name} has moved something else")));
        }
        drop(session);
        settle(&ftpd)?;
        Ok(Contestant {
            name,
            ftpd,
            download: Way::default(),
            upload: Way::default(),
            login_ms: Figures::default(),
            login_cpu_us: Figures::default(),
            session_bytes,
        })
    }

    fn id(&self) -> u32 {
        self.ftpd.program.id()
    }

    fn slice(&mut self, scratch: &Scratch) -> io::Result<()> {
        let mut session = Session::connect(self.ftpd.address, self.ftpd.user)?;
        let id = self.id();
        let mut file = File::open(scratch.path("large"))?;
        // What nobody has read for some seconds is slower to give: that must be nobody's turn.
        io::copy(&mut file, &mut io::sink())?;
        file.rewind()?;
        // The account is read while the session stands: the processes that served it still live, and are counted exactly.
        let before = tree::cpu_us(id)?;
        let (count, took) = session.fetch("large")?;
        self.download.add(count, took, tree::cpu_us(id)? - before)?;
        warm(&self.ftpd.scratch.path("root/incoming/warm"))?;
        let before = tree::cpu_us(id)?;
        let (count, took) = session.send("incoming/large", &mut file)?;
        self.upload.add(count, took, tree::cpu_us(id)? - before)?;
        drop(session);
        std::fs::remove_file(self.ftpd.scratch.path("root/incoming/large"))?;
        settle(&self.ftpd)?;

        let before = tree::cpu_us(id)?;
        let crowd = Crowd::log_in(self.ftpd.address, 0..LOGINS, GUEST)?;
        thread::sleep(QUIET);
        self.login_cpu_us.add((tree::cpu_us(id)? - before) / f64::from(LOGINS));
        self.login_ms.add(crowd.took.as_secs_f64() * 1e3);
        drop(crowd);
        settle(&self.ftpd)
    }
}

/// Writes as much as an upload does, and removes it: what the system has just got back is what it gives next. A virtual machine may have
/// to ask its host for memory that was free for some seconds, which takes longer than the upload, and would be whose turn it is.
fn warm(path: &Path) -> io::Result<()> {
    fill(&mut File::create(path)?, FILE_BYTES)?;
    std::fs::remove_file(path)
}

/// Of each of many silent sessions that came one after the other: what a crowd at the door takes for a moment is not theirs. Some
/// came before and stay: they have had threads started, and whatever else a server makes once.
fn session_bytes(ftpd: &Ftpd) -> io::Result<f64> {
    let come = |number| Crowd::log_in(ftpd.address, number..number + 1, GUEST);
    let early = (0..EARLY).map(come).collect::<io::Result<Vec<Crowd>>>()?;
    thread::sleep(QUIET);
    let before = tree::memory(ftpd.program.id())?;
    let guests = (EARLY..EARLY + LOGINS).map(come).collect::<io::Result<Vec<Crowd>>>()?;
    thread::sleep(QUIET);
    let bytes = tree::memory(ftpd.program.id())?.saturating_sub(before) as f64;
    drop((guests, early));
    settle(ftpd)?;
    Ok(bytes / f64::from(LOGINS))
}

/// Waits until the processes of those who have gone have ended.
fn settle(ftpd: &Ftpd) -> io::Result<()> {
    let start = Instant::now();
    while tree::members(ftpd.program.id())?.len() > 1 {
        if start.elapsed() > PATIENCE {
            return Err(io::Error::other("processes of sessions that are over stay"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

impl Way {
    fn add(&mut self, count: u64, took: Duration, cpu_us: f64) -> io::Result<()> {
        if count != FILE_BYTES {
            return Err(io::Error::other(format!("{count} bytes were moved instead of {FILE_BYTES}")));
        }
        self.mb_per_second.add(count as f64 / 1e6 / took.as_secs_f64());
        self.cpu_ms_per_gib.add(cpu_us / 1e3 / (count as f64 / (1024 * MIB) as f64));
        Ok(())
    }
}

/// No two pieces alike, so that none can be taken for another.
fn fill(file: &mut File, bytes: u64) -> io::Result<()> {
    let mut piece = Vec::new();
    for number in 0..bytes.div_ceil(MIB) {
        piece.clear();
        piece.extend((0..MIB / 8).flat_map(|word| (number * MIB + word).to_le_bytes()));
        let count = MIB.min(bytes - number * MIB) as usize;
        file.write_all(&piece[..count])?;
    }
    Ok(())
}

fn section(contestants: &[Contestant]) -> Section {
    let mut section = Section::new(
        "ftp",
        format!("ftp: a file of {} MiB there and back, {LOGINS} logins at once", FILE_BYTES / MIB),
        "MB/s of wall time; CPU time of the server with all its processes; logins are anonymous, from 100 addresses, the time is until \
         the last is in; memory is the proportional share (PSS) of all its processes per silent session, come one after the other before anything \
         else was done. Medians, with the lowest and \
         the highest. The client throws away what it gets without copying it, and sends from a file.",
        &[
            "server",
            "download MB/s",
            "CPU ms/GiB",
            "upload MB/s",
            "CPU ms/GiB",
            "all in, ms",
            "CPU us/login",
            "bytes/session",
        ],
    );
    for one in contestants {
        let Contestant { name, download, upload, login_ms, login_cpu_us, session_bytes, .. } = one;
        let cells = [
            (*name).to_owned(),
            download.mb_per_second.show(0),
            download.cpu_ms_per_gib.show(0),
            upload.mb_per_second.show(0),
            upload.cpu_ms_per_gib.show(0),
            login_ms.show(1),
            login_cpu_us.show(0),
            number(*session_bytes, 0),
        ];
        let value = json!({
            "server": name,
            "download": { "mb_per_second": download.mb_per_second.json(), "cpu_ms_per_gib": download.cpu_ms_per_gib.json() },
            "upload": { "mb_per_second": upload.mb_per_second.json(), "cpu_ms_per_gib": upload.cpu_ms_per_gib.json() },
            "login_ms": login_ms.json(), "login_cpu_us": login_cpu_us.json(), "session_bytes": session_bytes,
        });
        section.row(cells.to_vec(), value);
    }
    bounds(&mut section, contestants);
    section
}

/// At or ahead of the best in bytes, of pyftpdlib in logins.
fn bounds(section: &mut Section, contestants: &[Contestant]) {
    let (Some(ours), peers): (Option<&Contestant>, Vec<&Contestant>) = (
        contestants.iter().find(|one| one.name == "ropewalk"),
        contestants.iter().filter(|one| one.name != "ropewalk").collect(),
    ) else {
        return;
    };
    let best = |of: fn(&Contestant) -> &Figures| {
        let ratios = peers.iter().filter_map(|peer| of(peer).ratio(of(ours)));
        ratios.reduce(f64::max)
    };
    section.bound(
        "the best peer's MB/s over ropewalk's, download",
        best(|one| &one.download.mb_per_second),
        1.0,
    );
    section.bound("the best peer's MB/s over ropewalk's, upload", best(|one| &one.upload.mb_per_second), 1.0);
    if let Some(python) = peers.iter().find(|peer| peer.name == "pyftpdlib") {
        section.bound(
            "ropewalk's time for all logins over pyftpdlib's",
            ours.login_ms.ratio(&python.login_ms),
            1.0,
        );
        let cpu = ours.login_cpu_us.ratio(&python.login_cpu_us);
        section.bound("ropewalk's CPU time per login over pyftpdlib's", cpu, 1.0);
    }
    section.bound("ropewalk's bytes per silent session", Some(ours.session_bytes), SESSION_BYTES_MAX);
}
