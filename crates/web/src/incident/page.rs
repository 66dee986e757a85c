//! The page that a developer sees instead of an answer, where the site debugs: the failure's own words, its causes, the places.
//! What it shows may come from anywhere, so all of it is escaped here, and nowhere else.

use std::fmt::{self, Display, Write};

use ropewalk_reactor::failure::Panicked;

use super::{Incident, Title, Written, causes, title};

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--quiet:#888}
body{margin:0;font:16px/1.5 system-ui,sans-serif}
main{max-width:60rem;margin:0 auto;padding:2rem 1.5rem;border-top:.4rem solid #c0392b}
h1{margin:.25rem 0 1rem;font-size:1.6rem;line-height:1.3;white-space:pre-wrap;overflow-wrap:anywhere}
h2{margin:1.75rem 0 .5rem;font-size:1rem}
p,ol{margin:.25rem 0}
.status{color:#c0392b;font-weight:600}
code,pre{font:.9rem/1.5 ui-monospace,monospace;overflow-wrap:anywhere}
li{white-space:pre-wrap;overflow-wrap:anywhere}
pre{padding:1rem;border:1px solid var(--line);border-radius:.4rem;white-space:pre-wrap}
summary{margin-top:1.75rem;cursor:pointer}
footer{margin-top:2rem;padding-top:.75rem;border-top:1px solid var(--line);color:var(--quiet);font-size:.9rem}
";

/// The page of an incident that is answered with this status.
pub(super) struct Page<'a>(pub(super) &'a Incident<'a>, pub(super) u16);

impl Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Page(incident, status) = *self;
        let Title(code, phrase) = title(status);
        let failure = incident.failure;
        let path = incident.exchange.head.path();
        let words = failure.to_string();
        let first = words.lines().next().unwrap_or_default();
        writeln!(f, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">")?;
        writeln!(f, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")?;
        writeln!(f, "<title>{code} {phrase}: {}</title>", Escaped(first))?;
        writeln!(f, "<style>\n{STYLE}</style>\n</head>\n<body>\n<main>")?;
        writeln!(f, "<p class=\"status\">{code} {phrase}</p>\n<h1>{}</h1>", Escaped(&words))?;
        writeln!(f, "<p><code>{} {}</code></p>", Escaped(incident.method()), Escaped(path))?;
        if causes(failure).next().is_some() {
            list(f, "Because", causes(failure))?;
        }
        writeln!(f, "<h2>Handler</h2>\n<p><code>{}</code></p>", Escaped(Written(incident.handler)))?;
        // Of a panic only the place is known that caught it.
        let made = if failure.is::<Panicked>() { "Caught at" } else { "Made at" };
        writeln!(f, "<h2>{made}</h2>\n<p><code>{}</code></p>", Escaped(failure.place()))?;
        if !failure.passed().is_empty() {
            list(f, "Passed", failure.passed().iter())?;
        }
        write!(f, "<details><summary>As it stands in the log</summary>\n<pre>")?;
        writeln!(f, "{}</pre></details>", Escaped(format_args!("{failure:?}")))?;
        writeln!(f, "<footer>Incident {}. This site debugs; others", incident.id)?;
        writeln!(f, "tell their visitors only the incident.</footer>\n</main>\n</body>\n</html>")
    }
}

fn list<T: Display>(f: &mut fmt::Formatter<'_>, title: &str, items: impl Iterator<Item = T>) -> fmt::Result {
    writeln!(f, "<h2>{title}</h2>\n<ol>")?;
    for item in items {
        writeln!(f, "<li>{}</li>", Escaped(item))?;
    }
    writeln!(f, "</ol>")
}

/// Anything as text of HTML: no markup, no end of an attribute, no control characters but the ends of lines. For text, and for attributes
/// in quotes; not for scripts, styles, and addresses of which somebody else chooses the scheme.
///
/// ```
/// use ropewalk_web::Escaped;
/// let name = "<b onclick=\"x\">";
/// assert_eq!(format!("<p>{}</p>", Escaped(name)), "<p>&lt;b onclick=&quot;x&quot;&gt;</p>");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Escaped<T>(pub T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escape(f), "{}", self.0)
    }
}

struct Escape<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Escape<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '&' => self.0.write_str("&amp;")?,
                '<' => self.0.write_str("&lt;")?,
                '>' => self.0.write_str("&gt;")?,
                '"' => self.0.write_str("&quot;")?,
                '\'' => self.0.write_str("&#39;")?,
                '\n' | '\t' => self.0.write_char(character)?,
                // They would show nothing, or turn the line around.
                '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => {
                    self.0.write_char(char::REPLACEMENT_CHARACTER)?;
                }
                hidden if hidden.is_control() => self.0.write_char(char::REPLACEMENT_CHARACTER)?,
                other => self.0.write_char(other)?,
            }
        }
        Ok(())
    }
}
