//! The page that lists a folder. Names are anybody's: all of them are escaped here, and the page says that nothing but its own
//! style may be used (`Content-Security-Policy`, which `serve` sends).

use std::fmt::{self, Display};

use super::super::path;
use super::{Entry, Key, Kind, Listing, Order, View};
use crate::incident::Escaped;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8883;--quiet:#707070;--hover:#8881;--link:#0b57d0;--mark:#b06000}
@media(prefers-color-scheme:dark){:root{--quiet:#9a9a9a;--link:#8ab4f8;--mark:#fdd663}body{background:#161618;color:#e6e6e6}}
*{box-sizing:border-box}
body{margin:0;font:16px/1.5 system-ui,sans-serif}
main{max-width:60rem;margin:0 auto;padding:2rem 1.5rem}
h1{margin:0 0 1.25rem;font-size:1.35rem;font-weight:600;overflow-wrap:anywhere}
h1 i{padding:0 .3rem;color:var(--quiet);font-style:normal;font-weight:400}
h1 a:first-child:not(:last-child){margin-right:.3rem}
a{color:var(--link);text-decoration:none}
a:hover,a:focus-visible{text-decoration:underline}
table{width:100%;border-collapse:collapse}
th{text-align:left;font-size:.85rem;font-weight:500;white-space:nowrap}
th,td{padding:.4rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
tbody tr:hover{background:var(--hover)}
td:first-child{width:100%;overflow-wrap:anywhere}
td:first-child a{display:block;padding-left:1.9rem;position:relative}
td:nth-child(2),th:nth-child(2){text-align:right}
td:nth-child(n+2){color:var(--quiet);white-space:nowrap;font-variant-numeric:tabular-nums}
svg{position:absolute;left:0;top:.2rem;width:1.15rem;height:1.15rem;fill:none;stroke:currentColor;stroke-width:1.5;stroke-linejoin:round}
.folder svg{fill:var(--mark);fill-opacity:.25;stroke:var(--mark)}
.file svg{stroke:var(--quiet)}
.note{padding:.75rem 1rem;border:1px solid var(--line);border-left:.3rem solid var(--mark)}
footer,.empty{margin-top:1rem;color:var(--quiet);font-size:.9rem}
@media(max-width:38rem){main{padding:1.25rem .75rem}
table,thead,tbody{display:block}
thead tr{display:flex;gap:.5rem;border-bottom:1px solid var(--line)}
thead th{border:0}
thead th:first-child{flex:1}
tbody tr{display:grid;grid-template-columns:1fr auto;border-bottom:1px solid var(--line);padding:.35rem 0}
tbody td{border:0;padding:.1rem .5rem}
tbody td:first-child{grid-column:1/-1}
tbody td:nth-child(n+2){font-size:.85rem}
tbody td:nth-child(2){grid-column:2;text-align:right}
tbody td:nth-child(3){grid-column:1;grid-row:2;padding-left:2.4rem}
}
";

const SYMBOLS: &str = "<svg hidden><symbol id=\"folder\" viewBox=\"0 0 20 20\"><path d=\"M2 5h6l2 2h8v10H2z\"/></symbol>\
<symbol id=\"file\" viewBox=\"0 0 20 20\"><path d=\"M5 2h7l4 4v12H5zM12 2v4h4\"/></symbol>\
<symbol id=\"up\" viewBox=\"0 0 20 20\"><path d=\"M10 17V4M5 9l5-5 5 5\"/></symbol></svg>";

pub(super) struct Page<'a>(pub(super) &'a View, pub(super) &'a Listing);

impl Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Page(view, listing) = self;
        let shown = Shown(if view.name.is_empty() { b"/" } else { &view.name });
        writeln!(f, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">")?;
        writeln!(f, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")?;
        writeln!(f, "<title>{shown}</title>\n<style nonce=\"{}\">\n{STYLE}</style>", view.nonce)?;
        writeln!(f, "</head>\n<body>\n{SYMBOLS}\n<main>\n<h1>{}</h1>", Crumbs(view))?;
        if !listing.complete {
            let shown = Grouped(listing.entries.len() as u64);
            writeln!(f, "<p class=\"note\">This folder is too large to be shown as a whole. These are")?;
            writeln!(f, "{shown} of its entries; there are more.</p>")?;
        }
        writeln!(f, "<table>\n<thead><tr>")?;
        for (key, title) in [(Key::Name, "Name"), (Key::Size, "Size"), (Key::Modified, "Modified (UTC)")] {
            self.heading(f, key, title)?;
        }
        writeln!(f, "</tr></thead>\n<tbody>")?;
        if let Some(parent) = parent(&view.name) {
            let href = path::location(&view.prefix, parent, None);
            let href = Escaped(&href);
            writeln!(
                f,
                "<tr><td><a href=\"{href}\"><svg><use href=\"#up\"/></svg>..</a></td><td></td><td></td></tr>"
            )?;
        }
        for entry in &listing.entries {
            row(f, view, entry)?;
        }
        writeln!(f, "</tbody>\n</table>\n{}</main>\n</body>\n</html>", Sum(listing))
    }
}

impl Page<'_> {
    /// The heading of a column, which orders by it, or the other way around.
    fn heading(&self, f: &mut fmt::Formatter<'_>, key: Key, title: &str) -> fmt::Result {
        let now = self.0.order;
        let name = match key {
            Key::Name => "name",
            Key::Size => "size",
            Key::Modified => "modified",
        };
        let (sort, arrow, turn) = match now {
            Order { key: known, descending } if known == key => match descending {
                false => (" aria-sort=\"ascending\"", " \u{2191}", "&amp;order=desc"),
                true => (" aria-sort=\"descending\"", " \u{2193}", ""),
            },
            _ => ("", "", ""),
        };
        writeln!(f, "<th scope=\"col\"{sort}><a href=\"?sort={name}{turn}\">{title}{arrow}</a></th>")
    }
}

fn row(f: &mut fmt::Formatter<'_>, view: &View, entry: &Entry) -> fmt::Result {
    let (class, slash) = match entry.kind {
        Kind::Folder => ("folder", "/"),
        Kind::File => ("file", ""),
    };
    let (href, name, stamp) = (view.address(entry), Shown(&entry.name), stamp(entry.modified_s));
    write!(
        f,
        "<tr class=\"{class}\"><td><a href=\"{}\"><svg><use href=\"#{class}\"/></svg>",
        Escaped(&href)
    )?;
    write!(f, "<bdi>{name}</bdi>{slash}</a></td><td>")?;
    if entry.kind == Kind::File {
        write!(f, "<span title=\"{} bytes\">{}</span>", Grouped(entry.size), Human(entry.size))?;
    }
    let (day, time) = (&stamp[..10], &stamp[11..16]);
    writeln!(f, "</td><td><time datetime=\"{stamp}\">{day} {time}</time></td></tr>")
}

/// The folder around this one; none around the root.
fn parent(name: &[u8]) -> Option<&[u8]> {
    if name.is_empty() {
        return None;
    }
    Some(name.iter().rposition(|&byte| byte == b'/').map_or(b"", |slash| &name[..slash]))
}

/// The way to this folder, each part of it a link.
struct Crumbs<'a>(&'a View);

impl Display for Crumbs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let View { prefix, name, .. } = self.0;
        let home = path::location(prefix, b"", None);
        if name.is_empty() {
            return write!(f, "<b>{}</b>", Escaped(&home));
        }
        write!(f, "<a href=\"{0}\">{0}</a>", Escaped(&home))?;
        let mut begin = 0;
        for (slash, _) in name.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            let (href, shown) = (path::location(prefix, &name[..slash], None), Shown(&name[begin..slash]));
            write!(f, "<a href=\"{}\"><bdi>{shown}</bdi></a><i>/</i>", Escaped(&href))?;
            begin = slash + 1;
        }
        write!(f, "<b><bdi>{}</bdi></b>", Shown(&name[begin..]))
    }
}

/// A name as text of HTML, in one line.
struct Shown<'a>(&'a [u8]);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(self.0);
        Escaped(text.replace(['\n', '\t'], "\u{fffd}")).fmt(f)
    }
}

/// What all of it comes to.
struct Sum<'a>(&'a Listing);

impl Display for Sum<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = &self.0.entries;
        let folders = entries.iter().filter(|entry| entry.kind == Kind::Folder).count();
        let files = entries.len() - folders;
        if entries.is_empty() && self.0.complete {
            return writeln!(f, "<p class=\"empty\">This folder is empty.</p>");
        }
        let bytes = entries.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.size));
        let folder_word = if folders == 1 { "folder" } else { "folders" };
        let file_word = if files == 1 { "file" } else { "files" };
        let (folders, files) = (Grouped(folders as u64), Grouped(files as u64));
        writeln!(f, "<footer>{folders} {folder_word}, {files} {file_word}, {}</footer>", Human(bytes))
    }
}

/// A number of bytes as people say it.
struct Human(u64);

impl Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let power = (63 - self.0.leading_zeros()) / 10;
        let scale = 1_u64 << (power * 10);
        let unit = UNITS[power as usize - 1];
        // Tenths, rounded down, so that no 1024.0 comes of it.
        let tenths = u128::from(self.0) * 10 / u128::from(scale);
        if tenths < 100 {
            return write!(f, "{}.{} {unit}", tenths / 10, tenths % 10);
        }
        write!(f, "{} {unit}", tenths / 10)
    }
}

/// A number with its thousands apart.
struct Grouped(u64);

impl Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// Seconds since the epoch as `2025-01-31T23:59:59Z` (RFC 3339), within the years that it can tell.
pub(super) fn stamp(seconds: i64) -> String {
    const DAY_S: i64 = 86_400;
    const LAST_S: i64 = 253_402_300_799;
    let seconds = seconds.clamp(0, LAST_S);
    let (days, second) = (seconds / DAY_S, seconds % DAY_S);
    // Counted from 1 March of the year 0, in eras of 400 years: the leap day is the last of its year.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = match month {
        0..10 => (era * 400 + year, month + 3),
        _ => (era * 400 + year + 1, month - 9),
    };
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_numbers() {
        for (bytes, human, grouped) in [
            (0, "0 B", "0"),
            (1023, "1023 B", "1,023"),
            (1024, "1.0 KiB", "1,024"),
            (10_239, "9.9 KiB", "10,239"),
            (10_240, "10 KiB", "10,240"),
            (1_048_575, "1023 KiB", "1,048,575"),
            (1_572_864, "1.5 MiB", "1,572,864"),
            (u64::MAX, "15 EiB", "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(
                (Human(bytes).to_string().as_str(), Grouped(bytes).to_string().as_str()),
                (human, grouped)
            );
        }
    }

    #[test]
    fn stamps_agree_with_dates() {
        for seconds in
            [0, 951_782_399, 951_868_799, 951_868_800, 1_735_689_599, 4_107_542_399, 253_402_300_799]
        {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            let date = httpdate::fmt_http_date(time);
            let stamp = stamp(i64::try_from(seconds).unwrap());
            let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
            let month = months.iter().position(|month| *month == &date[8..11]).unwrap() + 1;
            let expected = format!("{}-{month:02}-{}T{}Z", &date[12..16], &date[5..7], &date[17..25]);
            assert_eq!(stamp, expected);
        }
        assert_eq!((stamp(-1), stamp(i64::MAX)), (stamp(0), "9999-12-31T23:59:59Z".to_owned()));
    }

    #[test]
    fn the_way_up() {
        assert_eq!((parent(b""), parent(b"a"), parent(b"a/b")), (None, Some(&b""[..]), Some(&b"a"[..])));
    }
}
