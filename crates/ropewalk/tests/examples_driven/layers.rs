//! The example of middlewares: everything that its head promises.

use std::time::Duration;

use crate::middleware::site;
use crate::support::Ground;
use ropewalk::web::Metrics;

fn ask(ground: &Ground, line: &str, fields: &str) -> String {
    let client = ground.connect();
    client.write(format!("{line} HTTP/1.1\r\nHost: example.org\r\n{fields}\r\n").as_bytes());
    ground.advance(Duration::from_millis(1500));
    String::from_utf8_lossy(&client.take()).into_owned()
}

#[test]
fn middleware_does_what_its_head_says() {
    let ground = Ground::new(1, site(&Metrics::new()));
    let hello = ask(&ground, "GET /", "");
    let (_, id) = hello.rsplit_once("\r\n\r\nHello, request ").unwrap();
    let id = id.trim_end_matches("!\n");
    for field in
        [&format!("X-Request-Id: {id}"), "Server-Timing: handler;dur=0", "X-Content-Type-Options: nosniff"]
    {
        assert!(hello.contains(&format!("\r\n{field}\r\n")), "{field}: {hello}");
    }
    assert!(
        ask(&ground, "GET /poem", "Accept-Encoding: gzip\r\n").contains("\r\nContent-Encoding: gzip\r\n")
    );
    assert!(ask(&ground, "GET /slow", "").starts_with("HTTP/1.1 504 "));
    assert!(ask(&ground, "GET /nowhere", "Accept: text/html\r\n").contains("<h1>404 Not Found</h1>"));
    assert!(ask(&ground, "GET /nowhere", "Accept: application/json\r\n").contains("\"status\":404"));
    let time = ask(&ground, "GET /api/time", "Origin: https://app.example.org\r\n");
    assert!(time.contains("\r\nAccess-Control-Allow-Origin: https://app.example.org\r\n"), "{time}");
    for attempt in 1..=6 {
        let answer = ask(&ground, "POST /login", "Content-Length: 0\r\n");
        assert_eq!(answer.starts_with("HTTP/1.1 429 "), attempt == 6, "{attempt}: {answer}");
    }
    assert!(ask(&ground, "GET /vault", "").starts_with("HTTP/1.1 403 "));
    assert!(ask(&ground, "GET /vault", "X-Secret: please\r\n").ends_with("\r\n\r\na rope of sand\n"));
    let metrics = ask(&ground, "GET /metrics", "");
    for line in [
        "http_requests_total{route=\"/login\",method=\"POST\",status=\"2xx\"} 5",
        "http_requests_total{route=\"/login\",method=\"POST\",status=\"4xx\"} 1",
        "http_requests_total{route=\"/slow\",method=\"GET\",status=\"5xx\"} 1",
        "http_requests_total{route=\"none\",method=\"GET\",status=\"4xx\"} 2",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}
