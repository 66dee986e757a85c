//! Python's own HTTP server, which others wrote: the client asks it, and likes what it gets.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ropewalk_reactor::react;
use ropewalk_web::Body;
use ropewalk_web::client::{Agent, ClientError, Cookies, get_page};

const SCRIPT: &str = r#"
import gzip, http.server, sys, threading, zlib

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *args): pass
    def answer(self, body, status=200, **fields):
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace('_', '-'), value)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)
    def do_GET(self):
        path = self.path
        if path == '/gzip':
            self.answer(gzip.compress(b'packed ' * 10000), Content_Encoding='gzip')
        elif path == '/deflate':
            self.answer(zlib.compress(b'packed ' * 10000), Content_Encoding='deflate')
        elif path == '/in':
            self.answer(b'', 302, Location='/me', Set_Cookie='id=7; Path=/; HttpOnly')
        elif path == '/me':
            self.answer(self.headers.get('Cookie', 'nobody').encode())
        elif path == '/place':
            self.answer(str(self.client_address[1]).encode())
        elif path == '/chunked':
            self.send_response(200)
            self.send_header('Transfer-Encoding', 'chunked')
            self.end_headers()
            for n in range(100):
                piece = b'x' * n + b'y'
                self.wfile.write(b'%x\r\n%s\r\n' % (len(piece), piece))
            self.wfile.write(b'0\r\n\r\n')
        elif path == '/until-close':
            self.send_response(200)
            self.send_header('Connection', 'close')
            self.end_headers()
            self.wfile.write(b'z' * 100000)
            self.close_connection = True
        else:
            self.answer(b'nothing here', 404)
    do_HEAD = do_GET
    def do_POST(self):
        if 'chunked' in self.headers.get('Transfer-Encoding', ''):
            body = b''
            while True:
                size = int(self.rfile.readline(), 16)
                body += self.rfile.read(size)
                self.rfile.readline()
                if size == 0:
                    break
        else:
            body = self.rfile.read(int(self.headers['Content-Length']))
        self.answer(body, Content_Type=self.headers.get('Content-Type', 'text/plain'))

server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
print(server.server_address[1], flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
"#;

/// The server, until it is dropped.
struct Python(Child, String);

impl Python {
    fn start() -> Option<Python> {
        let program = ropewalk_testkit::require("python3")?;
        let mut child = Command::new(program)
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Some(Python(child, format!("http://127.0.0.1:{}", line.trim())))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.1)
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // Its input ends, and so does it.
        let _ = self.0.stdin.take().map(|mut input| input.flush());
        let _ = self.0.wait();
    }
}

#[test]
fn python_is_asked_in_every_way() {
    let Some(python) = Python::start() else { return };
    react(move |reactor| async move {
        let agent = Agent::new(&reactor).with_cookies(Cookies::new());
        let ask = |path: &str| {
            let request = agent.get(&python.url(path)).timeout(Duration::from_secs(20));
            async move { request.send().await?.text().await }
        };
        for path in ["/gzip", "/deflate"] {
            assert_eq!(ask(path).await?, "packed ".repeat(10_000));
        }
        assert_eq!(ask("/in").await?, "id=7", "a cookie over a redirect");
        let place = ask("/place").await?;
        let chunked: String = (0..100).map(|count| "x".repeat(count) + "y").collect();
        assert_eq!(ask("/chunked").await?, chunked);
        let head = agent.head(&python.url("/gzip")).send().await?;
        assert!(head.status() == 200 && head.bytes().await?.is_empty());
        let missing = agent.get(&python.url("/missing")).send().await?;
        assert_eq!((missing.status(), missing.text().await?.as_str()), (404, "nothing here"));
        let large = "large ".repeat(200_000);
        let echo = agent.post(&python.url("/echo")).body(large.clone()).send().await?;
        assert_eq!(echo.text().await?, large);
        assert_eq!(ask("/place").await?, place, "one connection for all");
        let pieces = agent.get(&python.url("/chunked")).send().await?;
        let relayed = agent.post(&python.url("/echo")).body(Body::stream(pieces)).send().await?;
        assert_eq!(relayed.text().await?, chunked, "an answer is a body");
        assert_eq!(agent.statistics().made, 2, "the relay took two at once");
        assert_eq!(ask("/until-close").await?, "z".repeat(100_000));
        let failure = get_page(&reactor, &python.url("/missing")).await.unwrap_err();
        assert!(matches!(failure.check(), Some(ClientError::Status(404))));
        assert_eq!(get_page(&reactor, &python.url("/me")).await?, "nobody");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_server_that_is_gone_is_told_from_one_that_answers() {
    let Some(python) = Python::start() else { return };
    react(move |reactor| async move {
        let agent = Agent::new(&reactor);
        let url = python.url("/place");
        assert_eq!(agent.get(&url).send().await?.status(), 200);
        drop(python);
        let failure = agent.get(&url).timeout(Duration::from_secs(20)).send().await.map(drop).unwrap_err();
        let error = failure.check::<ropewalk_net::ConnectError>().map(ropewalk_net::ConnectError::kind);
        assert_eq!(error, Some(std::io::ErrorKind::ConnectionRefused), "{failure:?}");
        assert_eq!(agent.statistics().open, 0);
        Ok(())
    })
    .unwrap();
}
