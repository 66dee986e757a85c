//! A site and its tests: a login, a countdown that is watched while it comes, an upload that is broken off. Minutes pass in no time.
//!
//! Run the tests with `cargo test --example testing_site`, and the site with `cargo run --example testing_site`; then
//! ```text
//! curl -d name=ada http://127.0.0.1:8080/login -c jar && curl -b jar http://127.0.0.1:8080/
//! curl -N http://127.0.0.1:8080/countdown/3      one line a minute
//! curl -T some-file http://127.0.0.1:8080/upload
//! ```

use std::cell::Cell;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use ropewalk::web::extract::{Form, Path, typed};
use ropewalk::web::{BodyError, Cookie, Request, Response, Router};
use serde::Deserialize;

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Login {
    name: String,
}

fn login(Form(login): Form<Login>) -> Response {
    Response::redirect(303, "/").cookie(Cookie::new("name", login.name))
}

fn home(request: Request) -> Response {
    let known = request.cookie("name").map(|name| Response::text(format!("Hello, {name}!\n")));
    known.unwrap_or_else(|| Response::error(401, "who are you?"))
}

async fn countdown(Path(from): Path<u32>, request: Request) {
    let responder = request.responder();
    responder.set_content_type("text/event-stream");
    for number in (0..=from).rev() {
        responder.write(format!("id: {number}\ndata: {number} minutes left\n\n"));
        request.reactor().sleep(if number == 0 { Duration::ZERO } else { MINUTE }).await;
    }
    responder.finish();
}

/// The site; `whole` counts the uploads that came to their end.
pub fn site(whole: &Rc<Cell<u32>>) -> Router {
    let whole = Rc::clone(whole);
    let upload = move |request: Request| {
        let whole = Rc::clone(&whole);
        async move {
            let bytes = request.bytes().await?.len();
            whole.set(whole.get() + 1);
            Ok::<_, BodyError>(format!("{bytes} bytes\n"))
        }
    };
    let router = Router::new().get("/", home).post("/login", typed(login));
    router.get("/countdown/{from}", typed(countdown)).put("/upload", upload)
}

fn main() -> ExitCode {
    ropewalk::main("testing_site", |app| app.serve("tcp:8080", || site(&Rc::default())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk::web::testing::TestClient;

    #[test]
    fn who_has_logged_in_is_known() {
        let client = TestClient::new(site(&Rc::default()));
        client.get("/").send().assert_status(401);
        let login = client.post("/login").form(&[("name", "ada")]);
        login.follow_redirects().send().assert_status(200).assert_text("Hello, ada!\n");
    }

    #[test]
    fn a_minute_is_left_for_a_minute() {
        let client = TestClient::new(site(&Rc::default()));
        let mut stream = client.get("/countdown/2").open();
        stream.assert_status(200).assert_header("Content-Type", "text/event-stream");
        assert_eq!(stream.next_event().expect("a first event").data, "2 minutes left");
        assert!(stream.within(MINUTE - Duration::from_secs(1)).is_empty());
        assert_eq!(stream.next_event().expect("a second event").id, "1");
        assert_eq!(stream.next_event().expect("the last event").data, "0 minutes left");
        assert_eq!(stream.next_event(), None);
    }

    #[test]
    fn half_an_upload_is_none() {
        let whole = Rc::default();
        let client = TestClient::new(site(&whole));
        let upload = client.put("/upload").upload();
        upload.write("half of");
        upload.disconnect();
        assert_eq!((whole.get(), client.connections()), (0, 0));
        client.put("/upload").body("all of it").send().assert_text("9 bytes\n");
        assert_eq!(whole.get(), 1);
    }
}
