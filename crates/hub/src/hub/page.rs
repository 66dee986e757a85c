//! The hub's pages as HTML: what it is and how to subscribe by hand, and its state as tables. What they show is put together in
//! `state`.

use std::fmt::Write;

use ropewalk_web::{Escaped, Response};
use serde_json::Value;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2.5rem auto;padding:0 1rem;color:#222;\
    background:#fdfdfb}body.wide{max-width:75rem}h1,h2{line-height:1.2}h2{margin-top:2.2rem;font-size:1.25rem}a{color:#1b5e8a}\
    table{border-collapse:collapse;width:100%;font-size:.87rem}th,td{text-align:left;\
    padding:.45rem .9rem .45rem 0;border-bottom:1px solid #ddd;overflow-wrap:anywhere;vertical-align:top}\
    th{color:#666;font-weight:600;overflow-wrap:normal}small{color:#666;display:block}\
    label{display:block;margin:.8rem 0;font-size:.9rem}input,select{display:block;width:100%;font:inherit;font-size:1rem;\
    padding:.4rem .6rem;margin-top:.15rem;box-sizing:border-box;border:1px solid #bbb;border-radius:.3rem;background:#fff}\
    button{font:inherit;padding:.4rem 1.1rem;border:0;border-radius:.3rem;background:#1b5e8a;color:#fff;cursor:pointer}\
    td{min-width:4.5rem}td form{display:inline}td button{padding:.1rem .6rem;background:#e6edf2;color:#1b5e8a}\
    code,pre{background:#f0f0ec;border-radius:.2rem}code{padding:0 .25rem}pre{padding:.6rem .8rem;overflow-x:auto}\
    .tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(8rem,1fr));gap:.8rem;margin:1.5rem 0}\
    .tiles div{font-size:.9rem;background:#f0f0ec;border-radius:.4rem;padding:.6rem .9rem}.tiles strong{display:block;font-size:1.5rem;line-height:1.3}\
    small.bad{color:#a02020}@media(max-width:45rem){table{display:block;overflow-x:auto}}.two{display:grid;grid-template-columns:1fr 1fr;gap:0 1rem}";

fn page(title: &str, class: &str, body: &str) -> Response {
    let html = format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title><link rel=\"icon\" href=\"data:,\">\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head>\
         <body class=\"{class}\">{body}</body></html>\n"
    );
    Response::html(html)
        .header(
            "Content-Security-Policy",
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; frame-ancestors 'none'",
        )
        .header("X-Content-Type-Options", "nosniff")
}

fn escape(text: &str) -> String {
    Escaped(text).to_string()
}

/// For people who come by.
pub(super) fn front(url: &str) -> Response {
    let url = escape(url);
    let field = |name: &str, label: &str, kind: &str, more: &str| {
        format!("<label>{label}<input name=\"{name}\" type=\"{kind}\" {more}></label>")
    };
    let topic = field("hub.topic", "What you want to hear of", "url", "required placeholder=\"https://…\"");
    let callback =
        field("hub.callback", "Where it is to be sent", "url", "required placeholder=\"https://…\"");
    let secret = field("hub.secret", "A secret, if deliveries are to be signed", "text", "maxlength=\"199\"");
    let lease = field(
        "hub.lease_seconds",
        "For how many seconds",
        "number",
        "min=\"1\" placeholder=\"as is usual here\"",
    );
    page(
        "WebSub hub",
        "",
        &format!(
            "<h1>A WebSub hub</h1><p>Publishers tell it that a page has changed; it fetches the page and sends it to everybody who \
             has subscribed (<a href=\"https://www.w3.org/TR/websub/\">WebSub</a>). Its URL is</p><pre>{url}</pre>\
             <h2>Publish</h2><p>Name the hub in the answer that brings your page:</p><pre>Link: &lt;{url}&gt;; rel=\"hub\"</pre>\
             <p>And say so when it has changed:</p><pre>curl -d hub.mode=publish -d hub.url=YOUR-PAGE {url}</pre>\
             <h2>Subscribe by hand</h2><form method=\"post\" action=\"/hub\">\
             <label>What is to be done<select name=\"hub.mode\"><option>subscribe</option><option>unsubscribe</option></select></label>\
             {topic}{callback}<div class=\"two\">{secret}{lease}</div><p><button>Send</button></p></form>\
             <p>The callback is asked whether it agrees. <a href=\"/state\">The state of this hub</a> is for who runs it.</p>"
        ),
    )
}

/// For who runs it.
pub(super) fn state(summary: &Value, tables: &[(&str, Vec<Value>)]) -> Response {
    let mut body =
        format!("<h1>State of the hub</h1><p><code>{}</code></p>", escape(&plain(&summary["url"])));
    let counts = &summary["counts"];
    tiles(
        &mut body,
        &[
            ("topics", &summary["topics"]),
            ("subscriptions", &summary["subscriptions"]),
            ("to be verified", &summary["wishes"]),
            ("dead letters", &summary["letters"]),
            ("tasks that wait", &counts["waiting"]),
            ("tasks that run", &counts["running"]),
            ("deliveries/s", &summary["deliveries_per_second"]),
        ],
    );
    let hosts = summary["failing_hosts"].as_array().cloned().unwrap_or_default();
    table(&mut body, "Failing hosts", &hosts);
    for (title, rows) in tables {
        table(&mut body, title, rows);
        if *title == "Dead letters" && !rows.is_empty() {
            body.push_str(
                "<form method=\"post\" action=\"/state/retry\"><input type=\"hidden\" name=\"all\" value=\"1\">\
                 <p><button>Retry all dead letters</button></p></form>",
            );
        }
    }
    body.push_str("<h2>Since it was started</h2>");
    let since = counts.as_object().into_iter().flatten();
    let since = since.filter(|(name, _)| !matches!(name.as_str(), "waiting" | "running"));
    let since: Vec<(&str, &Value)> = since.map(|(name, value)| (name.as_str(), value)).collect();
    tiles(&mut body, &since);
    page("State of the hub", "wide", &body)
}

fn tiles(body: &mut String, figures: &[(&str, &Value)]) {
    body.push_str("<div class=\"tiles\">");
    for (name, value) in figures {
        let (name, value) = (escape(&name.replace('_', " ")), escape(&plain(value)));
        // Writing to a string does not fail.
        let _ = write!(body, "<div><strong>{value}</strong>{name}</div>");
    }
    body.push_str("</div>");
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The columns of a table, each with what its cells are made of.
fn columns(title: &str) -> &'static [(&'static str, Cell)] {
    match title {
        "Failing hosts" => &[
            ("Host", Cell::Plain("host")),
            ("Role", Cell::Plain("role")),
            ("Failures in a row", Cell::Plain("failures")),
            ("Tasks that wait", Cell::Plain("waiting")),
            ("Pause", Cell::Span("paused_seconds")),
        ],
        "Topics" => &[
            ("Topic", Cell::Plain("topic")),
            ("Version", Cell::Plain("version")),
            ("Type", Cell::Plain("media")),
            ("Fetched", Cell::Plain("fetched_at")),
            ("Standing", Cell::Standing("")),
        ],
        "Subscriptions" => &[
            ("Topic and callback", Cell::Pair),
            ("Lease", Cell::Span("lease_seconds_left")),
            ("Signed", Cell::Plain("signed")),
            ("Version", Cell::Plain("delivered")),
            ("Delivered", Cell::Plain("delivered_at")),
            ("Standing", Cell::Standing("failures")),
            ("", Cell::Buttons),
        ],
        _ => &[
            ("Topic and callback", Cell::Pair),
            ("Version", Cell::Plain("version")),
            ("Tries", Cell::Plain("attempts")),
            ("Given up", Cell::Plain("at")),
            ("Standing", Cell::Standing("")),
            ("", Cell::Buttons),
        ],
    }
}

/// What a cell is made of.
#[derive(Clone, Copy)]
enum Cell {
    /// A field as it is.
    Plain(&'static str),
    /// A field of seconds.
    Span(&'static str),
    /// Topic and callback.
    Pair,
    /// Whether something waits, how often it has failed (in this field), and why.
    Standing(&'static str),
    /// What can be done.
    Buttons,
}

fn table(body: &mut String, title: &str, rows: &[Value]) {
    let _ = write!(body, "<h2>{title}</h2>");
    if rows.is_empty() {
        body.push_str("<p>None.</p>");
        return;
    }
    let columns = columns(title);
    let names: String = columns.iter().map(|(name, _)| format!("<th>{name}</th>")).collect();
    let _ = write!(body, "<table><tr>{names}</tr>");
    for one in rows {
        let cells = columns.iter().map(|(_, cell)| format!("<td>{}</td>", shown(title, *cell, one)));
        let _ = write!(body, "<tr>{}</tr>", cells.collect::<String>());
    }
    body.push_str("</table>");
}

fn shown(title: &str, cell: Cell, row: &Value) -> String {
    let field = |name: &str| escape(&plain(&row[name]));
    match cell {
        Cell::Plain(name) => field(name),
        Cell::Span(name) => row[name].as_u64().map(span).unwrap_or_default(),
        Cell::Pair => format!("{}<small>{}</small>", field("topic"), field("callback")),
        Cell::Standing(failures) => {
            let waits = if row["waits"] == true { "waits" } else { "" };
            let failed = match row[failures].as_u64() {
                Some(1) => ", after a failure".to_owned(),
                Some(count) if count > 1 => format!(", after {count} failures"),
                _ => String::new(),
            };
            format!("{waits}{failed}<small class=\"bad\">{}</small>", field("error"))
        }
        Cell::Buttons => buttons(title, row),
    }
}

/// The two largest units of a time.
fn span(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let at = units.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(units.len() - 1);
    let (unit, name) = units[at];
    let rest = units.get(at + 1).map(|(small, name)| (seconds % unit / small, name));
    match rest.filter(|(count, _)| *count > 0) {
        Some((count, small)) => format!("{} {name} {count} {small}", seconds / unit),
        None => format!("{} {name}", seconds / unit),
    }
}

fn buttons(title: &str, row: &Value) -> String {
    let verbs: &[&str] = match title {
        "Subscriptions" => &["retry", "deny"],
        "Dead letters" => &["retry"],
        _ => &[],
    };
    let field = |name: &str| escape(&plain(&row[name]));
    let (topic, callback) = (field("topic"), field("callback"));
    verbs
        .iter()
        .map(|verb| {
            format!(
                "<form method=\"post\" action=\"/state/{verb}\"><input type=\"hidden\" name=\"topic\" value=\"{topic}\">\
                 <input type=\"hidden\" name=\"callback\" value=\"{callback}\"><button>{verb}</button></form> "
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use ropewalk_web::Body;
    use serde_json::json;

    use super::*;

    #[test]
    fn spans_have_two_units_at_most() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (61, "1 min 1 s"),
            (7_200, "2 h"),
            (863_999, "9 d 23 h"),
            (864_001, "10 d"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn what_strangers_write_is_text() {
        let rows = vec![json!({ "topic": "http://t/?\"><script>", "callback": "http://c/'<b>" })];
        let shown =
            state(&json!({ "url": "<i>", "counts": {}, "failing_hosts": [] }), &[("Subscriptions", rows)]);
        let Body::Bytes(bytes) = shown.body() else { panic!("a page is bytes") };
        let text = std::str::from_utf8(bytes).unwrap();
        assert!(!text.contains("<script>") && !text.contains("<b>") && !text.contains("<i>"), "{text}");
        assert!(text.contains("&quot;&gt;&lt;script&gt;"));
    }
}
