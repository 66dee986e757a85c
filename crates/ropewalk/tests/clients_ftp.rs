//! Foreign programs against `ropewalk ftp`: curl, lftp, Python's ftplib and npm's basic-ftp, in the clear and over TLS, both ways.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod support;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use support::*;

/// A served folder with users, a certificate and something large, and the program that serves it.
struct Ground {
    folder: Folder,
    program: Program,
    content: Vec<u8>,
}

impl Ground {
    fn new(arguments: &[&str]) -> Ground {
        let folder = Folder::new();
        fs::create_dir_all(folder.path().join("root/up")).unwrap();
        let content: Vec<u8> = (0..3_000_000u64).map(|index| (index * 7919 % 251) as u8).collect();
        folder.write("root/big", &content);
        folder.write("root/hello.txt", "hello\nworld\n");
        let (cert, key) = (folder.name("cert.pem"), folder.name("key.pem"));
        assert_eq!(run(&["cert", "--cert", &cert, "--key", &key]).code, Some(0));
        let users = folder.name("users");
        passwd(&[&users, "ada", "--permissions", "rwdlm", "--stdin"], "secret\n");
        let (root, log) = (folder.name("root"), folder.name("xferlog"));
        let mut all = vec!["ftp", &root, "--users", &users, "--anonymous", "--xferlog", &log];
        let listen = format!("ssl:0:privateKey={key}:certKey={cert}");
        if arguments.contains(&"implicit") {
            all.extend(["--listen", &listen]);
        } else {
            all.extend(["--listen", "tcp:0", "--cert", &cert, "--key", &key]);
            all.extend(arguments);
        }
        let program = Program::start(&all, 1);
        Ground { folder, program, content }
    }

    fn port(&self) -> u16 {
        self.program.port("ftp")
    }

    fn file(&self, path: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(path)).unwrap_or_default()
    }

    /// A file `huge`, too large to be through before it is broken off, and all of it a hole.
    fn dig(&self) {
        fs::File::create(self.folder.path().join("root/huge")).unwrap().set_len(1 << 30).unwrap();
    }

    /// Nothing of an upload is left beside its place.
    fn is_tidy(&self) -> bool {
        let mut names = fs::read_dir(self.folder.path().join("root/up")).unwrap();
        names.all(|name| !name.unwrap().file_name().to_string_lossy().starts_with('.'))
    }
}

/// Runs `ropewalk passwd` with a password on its standard input.
fn passwd(arguments: &[&str], password: &str) {
    let mut command = ropewalk(&[&["passwd"], arguments].concat());
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn ended_well(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{status}: {said}");
    said
}

fn curl(program: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program)
        .args(["--silent", "--show-error", "--max-time", "60", "--noproxy", "*"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn curl_in_every_way() {
    let Some(program) = ropewalk_testkit::require("curl") else { return };
    let ground = Ground::new(&[]);
    let (port, ca) = (ground.port(), ground.folder.name("cert.pem"));
    let at = |who: &str, path: &str| format!("ftp://{who}localhost:{port}/{path}");
    let big = ground.folder.name("root/big");
    let tls = ["--ssl-reqd", "--cacert", &ca];
    for ways in [&[][..], &tls, &["--disable-epsv"], &["--ftp-port", "-"], &["--ftp-method", "singlecwd"]] {
        let get = |url: &str, more: &[&str]| curl(&program, &[ways, more, &[url]].concat());
        assert!(get(&at("", "big"), &[]) == ground.content, "{ways:?}");
        assert!(get(&at("", "big"), &["--range", "2999990-"]) == ground.content[2_999_990..]);
        assert_eq!(get(&at("", ""), &["--list-only"]), b"big\nhello.txt\nup\n");
        assert_eq!(get(&at("", "hello.txt"), &["--use-ascii"]), b"hello\nworld\n");
        let head = get(&at("", "hello.txt"), &["--head"]);
        assert!(String::from_utf8_lossy(&head).contains("Content-Length: 12\r\n"));
        get(&at("ada:secret@", "up/there"), &["--upload-file", &big]);
        assert!(ground.file("root/up/there") == ground.content, "{ways:?}");
    }
    get_nothing(&program, &at("ada:wrong@", "big"), 67);
    get_nothing(&program, &at("", "nothing"), 78);
    get_nothing(&program, &at("ada:secret@", "../../cert.pem"), 78);
    assert!(ground.is_tidy());
    let log = String::from_utf8(ground.file("xferlog")).unwrap();
    assert!(log.contains(" 3000000 /up/there b _ i r ada ftp 0 * c\n"), "{log}");
}

fn get_nothing(program: &Path, url: &str, code: i32) {
    let arguments = ["--silent", "--path-as-is", "--max-time", "60", "--noproxy", "*", url];
    let output = Command::new(program).args(arguments).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(code), 0), "{url}: {output:?}");
}

#[test]
fn curl_where_tls_is_required_and_where_it_is_implicit() {
    let Some(program) = ropewalk_testkit::require("curl") else { return };
    let ground = Ground::new(&["--require-tls"]);
    let ca = ground.folder.name("cert.pem");
    let url = format!("ftp://localhost:{}/hello.txt", ground.port());
    get_nothing(&program, &url, 67);
    assert_eq!(curl(&program, &["--ssl-reqd", "--cacert", &ca, &url]), b"hello\nworld\n");
    let refused = Command::new(&program)
        .args(["--silent", "--max-time", "60", "--noproxy", "*", "--ftp-ssl-control", "--cacert", &ca, &url])
        .output()
        .unwrap();
    assert!(!refused.status.success() && refused.stdout.is_empty(), "data in the clear: {refused:?}");
    let ground = Ground::new(&["implicit"]);
    let ca = ground.folder.name("cert.pem");
    let url = format!("ftps://ada:secret@localhost:{}/big", ground.port());
    assert!(curl(&program, &["--cacert", &ca, &url]) == ground.content);
}

const FTPLIB: &str = r#"
import ftplib, io, ssl, sys
port, ca, big = int(sys.argv[1]), sys.argv[2], open(sys.argv[3], 'rb').read()
def check(ftp):
    ftp.connect('localhost', port, timeout=20)
    ftp.login('ada', 'secret')
    if isinstance(ftp, ftplib.FTP_TLS): ftp.prot_p()
    got = io.BytesIO(); ftp.retrbinary('RETR big', got.write); assert got.getvalue() == big
    ftp.storbinary('STOR up/python', io.BytesIO(big)); assert ftp.size('up/python') == len(big)
    ftp.storbinary('STOR up/empty', io.BytesIO(b'')); assert ftp.size('up/empty') == 0
    ftp.storlines('STOR up/lines', io.BytesIO(b'a\nb\n'))
    lines = []; ftp.retrlines('RETR up/lines', lines.append); assert lines == ['a', 'b'], lines
    assert sorted(name for name, _ in ftp.mlsd('up', ['type', 'size'])) == ['empty', 'lines', 'python']
    assert ftp.nlst('up') == ['empty', 'lines', 'python']
    ftp.voidcmd('TYPE I')
    data = ftp.transfercmd('RETR huge'); data.recv(1000)
    # It sends ABOR as urgent data and reads one of the two replies.
    assert ftp.abort()[:3] == '426'; data.close(); assert ftp.getmultiline()[:3] == '226'
    data = ftp.transfercmd('STOR up/half'); data.sendall(b'x' * 10000)
    assert ftp.abort()[:3] == '426'; data.close(); assert ftp.getmultiline()[:3] == '226'
    assert 'half' not in ftp.nlst('up')
    got = io.BytesIO(); ftp.retrbinary('RETR big', got.write, rest=len(big) - 5); assert got.getvalue() == big[-5:]
    ftp.set_pasv(False)
    got = io.BytesIO(); ftp.retrbinary('RETR hello.txt', got.write); assert got.getvalue() == b'hello\nworld\n'
    ftp.mkd('up/x y'); ftp.rename('up/x y', 'up/ü'); assert 'ü' in ftp.nlst('up'); ftp.rmd('up/ü')
    for name in ftp.nlst('up'): ftp.delete('up/' + name)
    for bad in ['RETR nothing', 'CWD big']:
        try: ftp.voidcmd(bad); assert False
        except ftplib.error_reply: assert False
        except (ftplib.error_perm, ftplib.error_temp): pass
    ftp.quit()
check(ftplib.FTP(encoding='utf-8'))
check(ftplib.FTP_TLS(context=ssl.create_default_context(cafile=ca), encoding='utf-8'))
print('good')
"#;

#[test]
fn python_with_and_without_tls() {
    let Some(program) = ropewalk_testkit::require("python3") else { return };
    let ground = Ground::new(&[]);
    ground.dig();
    let port = ground.port().to_string();
    let arguments = ["-c", FTPLIB, &port, &ground.folder.name("cert.pem"), &ground.folder.name("root/big")];
    let said = ended_well(Command::new(program).args(arguments));
    assert!(said.ends_with("good\n"), "{said}");
    assert!(ground.is_tidy());
}

#[test]
fn lftp_mirrors_both_ways_and_aborts() {
    let Some(program) = ropewalk_testkit::require("lftp") else { return };
    let ground = Ground::new(&[]);
    let folder = &ground.folder;
    fs::create_dir_all(folder.path().join("tree/a/b")).unwrap();
    for (name, size) in [("a/empty", 0), ("a/small", 10), ("a/b/with space ü", 100_000), ("top", 1)] {
        folder.write(&format!("tree/{name}"), vec![b'x'; size]);
    }
    ground.dig();
    let (ca, tree, port) = (folder.name("cert.pem"), folder.name("tree"), ground.port());
    let settings = "set net:timeout 20; set net:max-retries 1; set net:reconnect-interval-base 1; set cmd:fail-exit true";
    let ways = [
        ("plain", "set ftp:ssl-allow false".to_owned()),
        ("tls", format!("set ssl:ca-file {ca}; set ftp:ssl-force true; set ftp:ssl-protect-data true")),
    ];
    for (name, way) in ways {
        let back = folder.name(&format!("back-{name}"));
        let script = format!(
            "{settings}; {way}; open -u ada,secret ftp://localhost:{port}; mirror -R {tree} /up/{name}; mirror /up/{name} {back}; \
             cat huge | head -c 10; ls hello.txt; put -c {tree}/top -o /up/{name}/top; rm -r /up/{name}"
        );
        let said = ended_well(Command::new(&program).args(["--norc", "-d", "-c", &script]));
        // Over TLS it closes the data connection along with its ABOR, and either may come first: then there is nothing to abort.
        let is_aborted =
            said.contains("226 ABOR done") || name == "tls" && said.contains("226 There is nothing to abort");
        assert!(said.contains("---> ABOR") && is_aborted, "{said}");
        assert!(said.contains(" hello.txt"), "{said}");
        let differences = Command::new("diff").args(["-r", &tree, &back]).output().unwrap();
        assert!(differences.status.success(), "{differences:?}");
    }
    assert!(ground.is_tidy());
}

const BASIC_FTP: &str = r#"
const ftp = require('basic-ftp'), fs = require('fs'), assert = require('assert');
const [port, ca, root, out] = process.argv.slice(1);
(async () => {
    for (const secure of [false, true]) {
        const client = new ftp.Client(20000);
        const secureOptions = { ca: fs.readFileSync(ca) };
        await client.access({ host: 'localhost', port: +port, user: 'ada', password: 'secret', secure, secureOptions });
        await client.uploadFrom(root + '/big', 'up/node');
        assert.equal(await client.size('up/node'), 3000000);
        await client.downloadTo(out, 'up/node');
        assert.equal(Buffer.compare(fs.readFileSync(out), fs.readFileSync(root + '/big')), 0);
        assert.deepEqual((await client.list('up')).map(file => [file.name, file.isFile]), [['node', true]]);
        await client.ensureDir('/up/x/y');
        await client.uploadFrom(root + '/hello.txt', 'there.txt');
        await client.cd('/');
        await client.removeDir('/up/x');
        await client.remove('/up/node');
        client.close();
    }
    console.log('good');
})().catch(error => { console.error(error); process.exit(1); });
"#;

#[test]
fn node_with_and_without_tls() {
    let (Some(program), Some(packages)) =
        (ropewalk_testkit::require("node"), ropewalk_testkit::node("basic-ftp"))
    else {
        return;
    };
    let ground = Ground::new(&[]);
    let folder = &ground.folder;
    let port = ground.port().to_string();
    let mut command = Command::new(program);
    command.env("NODE_PATH", packages.join("node_modules"));
    command.args([
        "-e",
        BASIC_FTP,
        &port,
        &folder.name("cert.pem"),
        &folder.name("root"),
        &folder.name("out"),
    ]);
    let said = ended_well(&mut command);
    assert!(said.ends_with("good\n"), "{said}");
    assert!(ground.is_tidy());
}

const TERMINAL: &str = r#"
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], [sys.argv[1], 'passwd', sys.argv[2], 'bob'])
shown = b''
for answer in sys.argv[3:]:
    while not shown.endswith(b': '): shown += os.read(terminal, 1000)
    shown += b'|'
    os.write(terminal, answer.encode() + b'\n')
try:
    while more := os.read(terminal, 1000): shown += more
except OSError: pass
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown)
"#;

#[test]
fn a_password_is_asked_for_at_the_terminal_and_not_shown() {
    let Some(program) = ropewalk_testkit::require("python3") else { return };
    let folder = Folder::new();
    let users = folder.name("users");
    let ask = |answers: &[&str]| {
        let known = ["-c", TERMINAL, env!("CARGO_BIN_EXE_ropewalk"), &users];
        ended_well(Command::new(&program).args([&known, answers].concat()))
    };
    let said = ask(&["geheim", "geheim"]);
    assert_eq!(said, "0 b'Password for bob: |\\r\\nOnce more: |\\r\\n'\n");
    assert!(fs::read_to_string(&users).unwrap().starts_with("bob:$argon2id$"));
    let said = ask(&["one", "two"]);
    assert!(said.starts_with("2 ") && said.contains("two different passwords"), "{said}");
}
