//! A headless Chromium that is talked with over its DevTools pipe: it opens pages, types, clicks, chooses files, and takes pictures of what is seen.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use super::support::Folder;

/// A browser takes longer to start than anything else here.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Browser {
    child: Child,
    stdin: ChildStdin,
    messages: Receiver<Value>,
    session: String,
    number: u64,
    _profile: Folder,
}

impl Browser {
    pub(crate) fn start(program: &Path) -> Browser {
        let profile = Folder::new();
        // The pipe is file descriptors 3 and 4; a shell makes them of what a child has.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1"])
            .arg(program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            .args(["--no-proxy-server", "--disable-background-networking", "--remote-debugging-pipe"])
            .arg("--window-size=1100,900")
            .arg(format!("--user-data-dir={}", profile.name("profile")))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (tell, messages) = channel();
        std::thread::spawn(move || {
            for text in BufReader::new(stdout).split(0).map_while(Result::ok) {
                // The test may be over.
                let _ = serde_json::from_slice(&text).map(|message: Value| tell.send(message));
            }
        });
        let mut browser =
            Browser { child, stdin, messages, session: String::new(), number: 0, _profile: profile };
        let target = browser.command("Target.createTarget", json!({ "url": "about:blank" }));
        let attached = json!({ "targetId": target["targetId"], "flatten": true });
        browser.session =
            browser.command("Target.attachToTarget", attached)["sessionId"].as_str().unwrap().to_owned();
        browser.command("Page.enable", json!({}));
        browser.command("DOM.enable", json!({}));
        browser
    }

    /// Sends a command, and waits for its result; events are passed over.
    pub(crate) fn command(&mut self, method: &str, parameters: Value) -> Value {
        self.number += 1;
        let mut message = json!({ "id": self.number, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.stdin.write_all(message.to_string().as_bytes()).unwrap();
        self.stdin.write_all(&[0]).unwrap();
        let number = self.number;
        let mut answer = self.wait(|message| message["id"] == number);
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].take()
    }

    fn wait(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.messages.recv_timeout(PATIENCE).expect("the browser answers");
            if fits(&message) {
                return message;
            }
        }
    }

    pub(crate) fn open(&mut self, url: &str) {
        self.send_and_load("Page.navigate", json!({ "url": url }));
    }

    /// What leads to another page: a command, and its loading, of which the browser may tell before it answers.
    fn send_and_load(&mut self, method: &str, parameters: Value) {
        self.number += 1;
        let message =
            json!({ "id": self.number, "method": method, "params": parameters, "sessionId": self.session });
        self.stdin.write_all(message.to_string().as_bytes()).unwrap();
        self.stdin.write_all(&[0]).unwrap();
        // A new document has come, and then it is complete; of the blank one before the first, the browser may tell late.
        self.wait(|message| {
            let frame = &message["params"]["frame"];
            message["method"] == "Page.frameNavigated"
                && frame["parentId"].is_null()
                && frame["url"] != "about:blank"
        });
        self.wait(|message| message["method"] == "Page.loadEventFired");
    }

    /// What an expression comes to on the page.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut result = self.command("Runtime.evaluate", asked);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].take()
    }

    pub(crate) fn text(&mut self) -> String {
        self.value("document.body.innerText").as_str().unwrap().to_owned()
    }

    /// Types into a field, in the place of what is there.
    pub(crate) fn fill(&mut self, selector: &str, text: &str) {
        self.value(&format!(
            "(() => {{ const it = document.querySelector({selector:?}); it.focus(); it.select(); }})()"
        ));
        self.command("Input.insertText", json!({ "text": text }));
    }

    /// Clicks on something that leads to another page.
    pub(crate) fn click(&mut self, selector: &str) {
        let asked = format!("document.querySelector({selector:?}).click()");
        self.send_and_load("Runtime.evaluate", json!({ "expression": asked }));
    }

    /// Submits a form, as Enter in one of its fields does.
    pub(crate) fn submit(&mut self, selector: &str) {
        let asked = format!("document.querySelector({selector:?}).requestSubmit()");
        self.send_and_load("Runtime.evaluate", json!({ "expression": asked }));
    }

    /// Chooses files for a field.
    pub(crate) fn choose(&mut self, selector: &str, file: &str) {
        let root = self.command("DOM.getDocument", json!({}))["root"]["nodeId"].clone();
        let node = self.command("DOM.querySelector", json!({ "nodeId": root, "selector": selector }));
        self.command("DOM.setFileInputFiles", json!({ "files": [file], "nodeId": node["nodeId"] }));
    }

    /// What is seen, as a PNG in base64.
    pub(crate) fn picture(&mut self) -> String {
        self.command("Page.captureScreenshot", json!({}))["data"].as_str().unwrap().to_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
