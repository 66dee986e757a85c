//! A configuration file as tables of entries, each with its line. What the words mean is `plan`'s business.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::mistake::Mistake;

/// A value that an option can have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Word {
    /// A text, or a number as it is written.
    Text(String),
    /// true or false.
    Switch(bool),
    /// Several.
    List(Vec<String>),
}

/// `key = value`, and where it is said.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) word: Word,
    pub(crate) place: String,
}

/// One service's table.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) place: String,
    pub(crate) entries: Vec<Entry>,
}

/// A whole file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tables {
    /// What stands before the services: the program's own options.
    pub(crate) program: Vec<Entry>,
    pub(crate) services: Vec<Section>,
}

/// Reads a file's text; what is no option at all is a mistake, and the rest is read on.
pub(crate) fn read(file: &str, text: &str, mistakes: &mut Vec<Mistake>) -> Tables {
    let reader = Reader { file, text };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let place = reader.place(&error.span().unwrap_or(0..0));
        let what = error.message().lines().next().unwrap_or("it is no TOML").to_owned();
        mistakes.push(Mistake { place, what });
    }
    if !mistakes.is_empty() {
        return Tables::default();
    }
    let mut tables = Tables::default();
    let mut entries: Vec<_> = document.get_ref().iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("services", DeValue::Table(services)) => {
                let mut services: Vec<_> = services.iter().collect();
                services.sort_by_key(|(key, _)| key.span().start);
                for (name, service) in services {
                    let place = reader.place(&name.span());
                    match service.get_ref() {
                        DeValue::Table(table) => tables.services.push(Section {
                            name: name.get_ref().to_string(),
                            entries: reader.entries(table, mistakes),
                            place,
                        }),
                        _ => mistakes
                            .push(Mistake { place, what: format!("write [services.{}]", name.get_ref()) }),
                    }
                }
            }
            ("services", _) => mistakes
                .push(Mistake { place: reader.place(&key.span()), what: "write [services.NAME]".to_owned() }),
            (name, value) => match reader.word(value) {
                Some(word) => {
                    let place = reader.place(&key.span());
                    tables.program.push(Entry { key: name.to_owned(), word, place });
                }
                None => mistakes.push(Mistake {
                    place: reader.place(&key.span()),
                    what: format!("{name:?} is no table that there is; services are written [services.NAME]"),
                }),
            },
        }
    }
    tables
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    /// The file and the line.
    fn place(&self, span: &Range<usize>) -> String {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        format!("{}:{line}", self.file)
    }

    fn entries(&self, table: &DeTable<'_>, mistakes: &mut Vec<Mistake>) -> Vec<Entry> {
        let mut found: Vec<_> = table.iter().collect();
        found.sort_by_key(|(key, _)| key.span().start);
        let mut entries = Vec::new();
        for (key, value) in found {
            let (name, place) = (key.get_ref().to_string(), self.place(&key.span()));
            match self.word(value.get_ref()) {
                Some(word) => entries.push(Entry { key: name, word, place }),
                None => mistakes.push(Mistake {
                    place,
                    what: format!("{name} wants a text, a number, true or false, or a list"),
                }),
            }
        }
        entries
    }

    fn word(&self, value: &DeValue<'_>) -> Option<Word> {
        match value {
            DeValue::Boolean(switch) => Some(Word::Switch(*switch)),
            DeValue::Array(items) => {
                let text = |item: &toml::Spanned<DeValue<'_>>| match self.word(item.get_ref()) {
                    Some(Word::Text(text)) => Some(text),
                    _ => None,
                };
                items.iter().map(text).collect::<Option<Vec<_>>>().map(Word::List)
            }
            DeValue::Table(_) => None,
            DeValue::String(text) => Some(Word::Text(text.to_string())),
            DeValue::Integer(number) => Some(Word::Text(decimal(number))),
            DeValue::Float(number) => Some(Word::Text(number.as_str().to_owned())),
            DeValue::Datetime(time) => Some(Word::Text(time.to_string())),
        }
    }
}

/// A number as a command line has it, whatever base it was written in.
fn decimal(number: &toml::de::DeInteger<'_>) -> String {
    i128::from_str_radix(number.as_str(), number.radix())
        .map_or_else(|_| number.as_str().to_owned(), |n| n.to_string())
}
