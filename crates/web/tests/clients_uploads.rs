//! Forms with files as curl, requests and httpx send them: names of every kind, many files, and some that are large.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use ropewalk_net::{Address, listen};
use ropewalk_reactor::react;
use ropewalk_web::extract::typed;
use ropewalk_web::handlers::{Call, RequestHandler, per_request};
use ropewalk_web::{Failure, FormData, MultipartLimits, Outcome, Request, Router, Site, Xsrf};
use serde_json::{Value, json};

/// Tells two contents apart that are of one length.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(7, |sum: u64, &byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)))
}

async fn told(form: FormData) -> Result<Value, Failure> {
    let mut files = Vec::new();
    for file in &form.files {
        let bytes = file.bytes().await?;
        files.push(json!([file.name(), file.file_name(), file.content_type(), bytes.len(), sum(&bytes)]));
    }
    let fields: Vec<_> = form.fields.iter().collect();
    Ok(json!({ "fields": fields, "files": files }))
}

/// The same of a form in memory, as handler types have it.
struct InMemory;

impl RequestHandler for InMemory {
    async fn post(&mut self, call: &mut Call) -> Outcome<()> {
        let names = |call: &mut Call| call.body_arguments("a");
        let fields: Vec<_> = names(call).into_iter().map(|value| ("a", value)).collect();
        let files = call.files();
        let files: Vec<_> = files
            .map(|(info, bytes)| {
                json!([info.name(), info.file_name(), info.content_type(), bytes.len(), sum(bytes)])
            })
            .collect();
        call.write_json(&json!({ "fields": fields, "files": files }))
    }
}

fn site() -> Site {
    let limits = MultipartLimits { form_bytes_max: Some(64 * 1024 * 1024), ..MultipartLimits::default() };
    let guarded =
        Router::new().get("/token", |request: Request| request.xsrf_token()).post("/guarded", typed(told));
    let router = Router::new()
        .post("/", typed(told))
        .any("/memory", per_request(|| InMemory))
        .fallback(ropewalk_web::Handler::with(guarded, Xsrf::new()))
        .state(limits);
    Site::new(router)
}

/// Serves while this runs on a thread, with the address, and answers what it answers.
fn beside<T: Send + 'static>(run: impl FnOnce(String) -> T + Send + 'static) -> T {
    react(move |reactor| async move {
        let port = listen(&reactor, &"tcp:0:interface=127.0.0.1".parse()?, site())?;
        let Address::Inet(address) = *port.address() else { unreachable!("it listens on TCP") };
        reactor.defer_to_thread(move || run(format!("http://{address}"))).await
    })
    .unwrap()
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ropewalk-uploads-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.0.join(name), bytes).unwrap();
        self.0.join(name).into_os_string().into_string().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Bytes with line ends and dashes in them, as a boundary has.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| b"\r\n--------------------------\0\xff"[at * 7 % 30]).collect()
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {said}{errors}");
    said.into_owned()
}

fn curl(program: &Path, url: &str, arguments: &[String]) -> Value {
    let said = output(Command::new(program).args(["-sS", "--max-time", "60"]).args(arguments).arg(url));
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[test]
fn curl_sends_fields_and_files() {
    let Some(program) = ropewalk_testkit::require("curl") else { return };
    let folder = Folder::new();
    let (small, large) = (content(1000), content(9_000_000));
    let (first, second) = (folder.file("small.txt", &small), folder.file("naïve;\"name\".bin", &large));
    let quoted = second.replace('"', "\\\"");
    let arguments = [
        "--form-string".to_owned(),
        "a=1; not a type".to_owned(),
        "-F".to_owned(),
        "a=ü".to_owned(),
        "-F".to_owned(),
        format!("f=@{first};type=text/plain"),
        "-F".to_owned(),
        format!("g=@\"{quoted}\""),
        "-F".to_owned(),
        "none=@/dev/null;filename=".to_owned(),
    ];
    let (said, in_memory) = beside(move |url| {
        let said = curl(&program, &format!("{url}/"), &arguments);
        (said, curl(&program, &format!("{url}/memory"), &arguments[..6]))
    });
    assert_eq!(said["fields"], json!([["a", "1; not a type"], ["a", "ü"]]));
    assert_eq!(said["files"][0], json!(["f", "small.txt", "text/plain", 1000, sum(&small)]));
    assert_eq!((&said["files"][1][0], &said["files"][1][3]), (&json!("g"), &json!(9_000_000)));
    assert_eq!(said["files"][1][4], json!(sum(&large)));
    // Older ones hide a quote behind a backslash, newer ones write %22, as browsers do.
    let name = said["files"][1][1].as_str().unwrap();
    assert!(["naïve;\"name\".bin", "naïve;%22name%22.bin"].contains(&name), "{name}");
    assert_eq!(said["files"].as_array().unwrap().len(), 2, "no file was chosen for the third");
    assert_eq!(in_memory["fields"], json!([["a", "1; not a type"], ["a", "ü"]]));
    assert_eq!(in_memory["files"], json!([["f", "small.txt", "text/plain", 1000, sum(&small)]]));
}

#[test]
fn curl_passes_the_guard_with_the_token_in_front() {
    let Some(program) = ropewalk_testkit::require("curl") else { return };
    let folder = Folder::new();
    let bytes = content(3_000_000);
    let (file, jar) = (folder.file("large", &bytes), folder.file("cookies", b""));
    let said = beside(move |url| {
        let token = output(Command::new(&program).args(["-sS", "-c", &jar, &format!("{url}/token")]));
        let arguments = [
            "-b".to_owned(),
            jar,
            "-F".to_owned(),
            format!("_xsrf={token}"),
            "-F".to_owned(),
            format!("f=@{file}"),
        ];
        curl(&program, &format!("{url}/guarded"), &arguments)
    });
    assert_eq!(said["files"][0][4], json!(sum(&bytes)));
}

const SCRIPT: &str = r#"
import io, json, sys
url, library = sys.argv[1], sys.argv[2]
content = bytes(b"\r\n--------------------------\0\xff"[at * 7 % 30] for at in range(1_500_000))
files = [('f', ('naïve "rope".txt', io.BytesIO(b'hello\r\n'), 'text/plain')), ('f', ('large.bin', io.BytesIO(content)))]
if library == 'requests':
    import requests
    answer = requests.post(url + '/', data=[('a', '1'), ('a', 'ü')], files=files)
else:
    import httpx
    answer = httpx.post(url + '/', data={'a': ['1', 'ü']}, files=files, trust_env=False)
assert answer.status_code == 200, answer.text
print(json.dumps(answer.json()))
"#;

fn python(library: &'static str) {
    let (Some(program), Some(path)) =
        (ropewalk_testkit::require("python3"), ropewalk_testkit::python(library))
    else {
        return;
    };
    let said = beside(move |url| {
        let mut command = Command::new(program);
        output(command.env("PYTHONPATH", path).args(["-c", SCRIPT, &url, library]))
    });
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["fields"], json!([["a", "1"], ["a", "ü"]]));
    let (name, large) = (said["files"][0][1].as_str().unwrap(), content(1_500_000));
    assert!(["naïve \"rope\".txt", "naïve %22rope%22.txt"].contains(&name), "{name}");
    assert_eq!((&said["files"][0][2], &said["files"][0][3]), (&json!("text/plain"), &json!(7)));
    assert_eq!((&said["files"][1][1], &said["files"][1][4]), (&json!("large.bin"), &json!(sum(&large))));
}

#[test]
fn requests_sends_fields_and_files() {
    python("requests");
}

#[test]
fn httpx_sends_fields_and_files() {
    python("httpx");
}
