//! The hub's pages as HTML: what it is and how to subscribe by hand, and its state as tables. What they show is put together in
//! `state`.

use std::fmt::Write;

use ropewalk_web::{Escaped, Response};
use serde_json::Value;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222;\
    background:#fdfdfb}h1,h2{line-height:1.2}table{border-collapse:collapse;width:100%;font-size:.85rem}\
    th,td{text-align:left;padding:.25rem .5rem;border-bottom:1px solid #ddd;overflow-wrap:anywhere;vertical-align:top}\
    label{display:block;margin:.5rem 0}input,select{width:100%;font:inherit;padding:.3rem;box-sizing:border-box}\
    button{font:inherit;padding:.3rem .8rem}code{background:#eee;padding:0 .2rem}td form{display:inline}";

fn page(title: &str, body: &str) -> Response {
    let html = format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>{body}</body></html>\n"
    );
    Response::html(html)
        .header(
            "Content-Security-Policy",
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
        )
        .header("X-Content-Type-Options", "nosniff")
}

fn escape(text: &str) -> String {
    Escaped(text).to_string()
}

/// For people who come by.
pub(super) fn front(url: &str) -> Response {
    let url = escape(url);
    let fields = [
        ("hub.topic", "Topic: what you want to hear of", "url", true),
        ("hub.callback", "Callback: where it is to be sent", "url", true),
        ("hub.secret", "Secret, if deliveries are to be signed", "text", false),
        ("hub.lease_seconds", "For how many seconds", "number", false),
    ];
    let fields: String = fields
        .iter()
        .map(|(name, label, kind, required)| {
            let required = if *required { " required" } else { "" };
            format!("<label>{label}<input name=\"{name}\" type=\"{kind}\"{required}></label>")
        })
        .collect();
    page(
        "WebSub hub",
        &format!(
            "<h1>A WebSub hub</h1><p>Publishers tell it that a page has changed; it fetches the page and sends it to everybody who \
             has subscribed (<a href=\"https://www.w3.org/TR/websub/\">WebSub</a>). Its URL is <code>{url}</code>.</p>\
             <h2>Publish</h2><p>Send <code>Link: &lt;{url}&gt;; rel=\"hub\"</code> with your page, and when it changes:</p>\
             <pre>curl -d hub.mode=publish -d hub.url=YOUR-PAGE {url}</pre><h2>Subscribe by hand</h2>\
             <form method=\"post\" action=\"/hub\"><label>What<select name=\"hub.mode\"><option>subscribe</option>\
             <option>unsubscribe</option></select></label>{fields}<p><button>Send</button></p></form>\
             <p>The callback is asked whether it agrees. <a href=\"/state\">The state of this hub</a> is for who runs it.</p>"
        ),
    )
}

/// For who runs it.
pub(super) fn state(summary: &Value, tables: &[(&str, Vec<Value>)]) -> Response {
    let mut body =
        format!("<h1>State of the hub</h1><p><code>{}</code></p>", escape(&plain(&summary["url"])));
    let counts = ["topics", "subscriptions", "letters", "wishes", "deliveries_per_second"];
    body.push_str("<table>");
    for name in counts {
        row(&mut body, name, &plain(&summary[name]));
    }
    for (name, value) in summary["counts"].as_object().into_iter().flatten() {
        row(&mut body, name, &plain(value));
    }
    body.push_str("</table>");
    let hosts = summary["failing_hosts"].as_array().cloned().unwrap_or_default();
    table(&mut body, "Failing hosts", &hosts);
    for (title, rows) in tables {
        table(&mut body, title, rows);
    }
    body.push_str(
        "<form method=\"post\" action=\"/state/retry\"><input type=\"hidden\" name=\"all\" value=\"1\">\
         <p><button>Retry all dead letters</button></p></form>",
    );
    page("State of the hub", &body)
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn row(body: &mut String, name: &str, value: &str) {
    let (name, value) = (escape(&name.replace('_', " ")), escape(value));
    // Writing to a string does not fail.
    let _ = write!(body, "<tr><th>{name}</th><td>{value}</td></tr>");
}

fn table(body: &mut String, title: &str, rows: &[Value]) {
    let _ = write!(body, "<h2>{title}</h2>");
    let Some(first) = rows.first().and_then(Value::as_object) else {
        body.push_str("<p>None.</p>");
        return;
    };
    let names: String =
        first.keys().map(|name| format!("<th>{}</th>", escape(&name.replace('_', " ")))).collect();
    let _ = write!(body, "<table><tr>{names}<th></th></tr>");
    for one in rows {
        let cells = one.as_object().into_iter().flatten();
        let cells: String = cells.map(|(_, value)| format!("<td>{}</td>", escape(&plain(value)))).collect();
        let _ = write!(body, "<tr>{cells}<td>{}</td></tr>", buttons(title, one));
    }
    body.push_str("</table>");
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
