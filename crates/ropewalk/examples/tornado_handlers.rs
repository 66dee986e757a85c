//! Handler types in the manner of Tornado: an object for each request, with hooks around its methods.
//!
//! Run it with `cargo run --example tornado_handlers`, then
//! ```text
//! curl http://127.0.0.1:8080/                           links to the stories
//! curl http://127.0.0.1:8080/story/1                    one of them
//! curl -d 'title=A Walk' -u editor:rope http://127.0.0.1:8080/story/1
//! curl http://127.0.0.1:8080/countdown                  an answer in pieces
//! ```

use std::cell::RefCell;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use ropewalk::web::handlers::{Call, RequestHandler, per_request};
use ropewalk::web::{Rejection, Router, constant_time_eq};
use ropewalk::{Failure, Outcome};

type Titles = Rc<RefCell<Vec<String>>>;

struct Home(Titles);

impl RequestHandler for Home {
    async fn get(&mut self, call: &mut Call) -> Outcome<()> {
        for (number, title) in self.0.borrow().iter().enumerate() {
            call.write(format!("{title}: {}\n", call.reverse_url("story", (number,))?));
        }
        call.set_header("Content-Type", "text/plain; charset=utf-8");
        Ok(())
    }
}

/// What the function that makes it gives it, Tornado gives to `initialize`.
struct Story {
    titles: Titles,
    number: usize,
}

impl RequestHandler for Story {
    fn default_headers(&self, call: &mut Call) {
        call.set_header("Content-Type", "text/plain; charset=utf-8");
    }

    async fn prepare(&mut self, call: &mut Call) -> Outcome<()> {
        self.number = call.path()?;
        self.titles.borrow().get(self.number).ok_or_else(|| Rejection::new(404, "no such story"))?;
        Ok(())
    }

    async fn get(&mut self, call: &mut Call) -> Outcome<()> {
        call.write(format!("the story of {}\n", self.titles.borrow()[self.number]));
        Ok(())
    }

    async fn post(&mut self, call: &mut Call) -> Outcome<()> {
        let password = call.request().password().unwrap_or_default();
        if !constant_time_eq(password.as_bytes(), b"rope") {
            call.send_error(403, "only the editor changes titles");
            return Ok(());
        }
        self.titles.borrow_mut()[self.number] = call.body_argument("title")?;
        call.redirect(call.reverse_url("story", (self.number,))?);
        Ok(())
    }

    fn write_error(&mut self, call: &mut Call, status: u16, failure: &Failure) {
        call.write(format!("{status}, sorry: {failure}\n"));
    }
}

struct Countdown;

impl RequestHandler for Countdown {
    async fn get(&mut self, call: &mut Call) -> Outcome<()> {
        for number in (1..=3).rev() {
            call.write(format!("{number}\n"));
            call.flush().await?;
            call.request().reactor().sleep(Duration::from_secs(1)).await;
        }
        call.write("go\n");
        Ok(())
    }
}

/// Two stories and a countdown.
pub fn stories() -> Router {
    let titles = Titles::new(RefCell::new(vec!["The Rope".to_owned(), "The Walk".to_owned()]));
    let home = Rc::clone(&titles);
    Router::new()
        .any("/", per_request(move || Home(Rc::clone(&home))))
        .regex(r"/story/(\d+)", per_request(move || Story { titles: Rc::clone(&titles), number: 0 }))
        .named("story")
        .any("/countdown", per_request(|| Countdown))
        .redirect("/old/{number}", "/story/{number}")
}

fn main() -> ExitCode {
    ropewalk::main("tornado_handlers", |app| app.serve("tcp:8080", stories))
}
