//! Where in a JSON text a byte stands, as a path: serde_json says only line and column of what is wrong with it.

/// The path to the value that ends, or is, at a line and a column as serde_json counts them; empty for the whole.
pub(super) fn place(text: &[u8], line: usize, column: usize) -> String {
    let before: usize =
        text.split_inclusive(|&byte| byte == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    // The last byte that was read belongs to what the path is wanted of.
    let end = (before + column).saturating_sub(1).min(text.len());
    let mut walk = Walk::default();
    let mut rest = text[..end].iter();
    while let Some(&byte) = rest.next() {
        if byte != b'"' {
            walk.step(byte);
            continue;
        }
        let mut string = vec![b'"'];
        while let Some(&byte) = rest.next() {
            string.push(byte);
            match byte {
                b'\\' => string.extend(rest.next()),
                b'"' => break,
                _ => {}
            }
        }
        walk.string(&string);
    }
    if matches!(text.get(end), Some(b'}' | b']')) {
        // It is the whole that is wrong, not what stands last in it.
        walk.steps.pop();
    }
    walk.path()
}

enum Step {
    /// In an object, behind this name, or before the first one.
    Name(Option<String>),
    Index(usize),
}

#[derive(Default)]
struct Walk {
    steps: Vec<Step>,
    /// A string that comes now is a name.
    name_next: bool,
}

impl Walk {
    fn step(&mut self, byte: u8) {
        match byte {
            b'{' => {
                self.steps.push(Step::Name(None));
                self.name_next = true;
            }
            b'[' => self.steps.push(Step::Index(0)),
            b'}' | b']' => drop(self.steps.pop()),
            b':' => self.name_next = false,
            b',' => match self.steps.last_mut() {
                Some(Step::Index(index)) => *index += 1,
                Some(Step::Name(_)) => self.name_next = true,
                None => {}
            },
            _ => {}
        }
    }

    fn string(&mut self, quoted: &[u8]) {
        if let (true, Some(Step::Name(name))) = (self.name_next, self.steps.last_mut()) {
            *name = serde_json::from_slice(quoted).ok();
            self.name_next = false;
        }
    }

    fn path(&self) -> String {
        self.steps.iter().fold(String::new(), |path, step| match step {
            Step::Name(Some(name)) if path.is_empty() => name.clone(),
            Step::Name(Some(name)) => format!("{path}.{name}"),
            Step::Name(None) => path,
            Step::Index(index) => format!("{path}[{index}]"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only whether it can be read matters")]
    struct Line {
        name: String,
        amount: u32,
    }
    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only whether it can be read matters")]
    struct Order {
        lines: Vec<Line>,
        note: Option<bool>,
    }

    fn wrong(text: &str) -> String {
        let error = serde_json::from_str::<Order>(text).unwrap_err();
        place(text.as_bytes(), error.line(), error.column())
    }

    #[test]
    fn the_value_that_is_wrong_is_found() {
        assert_eq!(
            wrong(r#"{"lines":[{"name":"a","amount":1},{"name":"b","amount":"x"}]}"#),
            "lines[1].amount"
        );
        assert_eq!(wrong("{\n \"lines\": [\n  {\"name\": 7, \"amount\": 1}]}"), "lines[0].name");
        assert_eq!(wrong(r#"{"lines":[],"note":3}"#), "note");
        assert_eq!(wrong(r#"{"lines":[],"note":"a \" , : { b"}"#), "note");
        assert_eq!(wrong(r#"{"lines":7}"#), "lines");
        assert_eq!(wrong(r#"{"lines":[{"name":"a","amount":-1}]}"#), "lines[0].amount");
    }

    #[test]
    fn an_object_that_lacks_something_is_found() {
        assert_eq!(wrong(r#"{"lines":[{"name":"a"}]}"#), "lines[0]");
        assert_eq!(wrong("{}"), "");
        assert_eq!(wrong("7"), "");
    }
}
