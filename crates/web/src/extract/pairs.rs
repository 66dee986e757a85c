//! From names and values to a type, by serde: what paths, queries and forms have in common. A struct or a map takes values by
//! their names, and `Vec` all values of a name; a value that is there more often than it is asked for is an error, so that no two
//! readers of a request see different ones.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::num::IntErrorKind;

use serde::de::value::StringDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

/// What is wrong with which value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) field: Option<String>,
    pub(super) why: String,
    /// It is not there.
    pub(super) missing: bool,
    /// The program asks for what a route cannot have.
    pub(super) misuse: bool,
}

impl Wrong {
    fn new(why: impl Into<String>) -> Wrong {
        Wrong { field: None, why: why.into(), missing: false, misuse: false }
    }

    fn misuse(why: impl Into<String>) -> Wrong {
        Wrong { misuse: true, ..Wrong::new(why) }
    }

    fn within(mut self, name: &str) -> Wrong {
        self.field.get_or_insert_with(|| name.to_owned());
        self
    }
}

impl Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Wrong {}

impl serde::de::Error for Wrong {
    fn custom<T: Display>(why: T) -> Wrong {
        Wrong::new(why.to_string())
    }

    fn missing_field(field: &'static str) -> Wrong {
        Wrong { field: Some(field.to_owned()), missing: true, ..Wrong::new("is missing") }
    }
}

/// Names and values in order.
pub(super) struct Pairs {
    /// Each name once, where it first stands.
    groups: Vec<(String, Vec<String>)>,
    /// The values alone are meant, by their places: a path.
    positional: bool,
}

impl Pairs {
    pub(super) fn new(pairs: Vec<(String, String)>, positional: bool) -> Pairs {
        let mut groups: Vec<(String, Vec<String>)> = Vec::new();
        // A body may have very many names: each is looked for in a map.
        let mut known: BTreeMap<String, usize> = BTreeMap::new();
        for (name, value) in pairs {
            match known.get(&name) {
                Some(&index) => groups[index].1.push(value),
                None => {
                    known.insert(name.clone(), groups.len());
                    groups.push((name, vec![value]));
                }
            }
        }
        Pairs { groups, positional }
    }

    fn one(self) -> Result<Value, Wrong> {
        let count = self.groups.len();
        let mut groups = self.groups.into_iter();
        match (groups.next(), count, self.positional) {
            (Some((name, values)), 1, true) => Ok(Value { name, values }),
            (_, _, true) => Err(Wrong::misuse(format!(
                "the handler takes one value, and its route has {count} parameters"
            ))),
            _ => Err(Wrong::misuse("arguments have names: take a struct or a map")),
        }
    }
}

macro_rules! as_one {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            self.one()?.$method(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Pairs {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_map(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_map(Groups { rest: self.groups.into_iter(), value: None })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.deserialize_map(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        if !self.positional {
            return Err(Wrong::misuse("arguments have names: take a struct or a map"));
        }
        visitor.visit_seq(Places(self.groups.into_iter()))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Wrong> {
        let count = self.groups.len();
        if self.positional && count != length {
            return Err(Wrong::misuse(format!(
                "the handler takes {length} values, and its route has {count} parameters"
            )));
        }
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        if self.groups.is_empty() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_unit()
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.one()?.deserialize_enum(name, variants, visitor)
    }

    as_one! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8
        deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char
        deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_identifier
    }
}

struct Groups {
    rest: std::vec::IntoIter<(String, Vec<String>)>,
    value: Option<Value>,
}

impl<'de> MapAccess<'de> for Groups {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Wrong> {
        let Some((name, values)) = self.rest.next() else { return Ok(None) };
        let key: StringDeserializer<Wrong> = name.clone().into_deserializer();
        let key = seed.deserialize(key).map_err(|wrong| wrong.within(&name))?;
        self.value = Some(Value { name, values });
        Ok(Some(key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let value =
            self.value.take().ok_or_else(|| Wrong::custom("a value was asked for before its name"))?;
        seed.deserialize(value)
    }
}

struct Places(std::vec::IntoIter<(String, Vec<String>)>);

impl<'de> SeqAccess<'de> for Places {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Wrong> {
        let Some((name, values)) = self.0.next() else { return Ok(None) };
        seed.deserialize(Value { name, values }).map(Some)
    }
}

/// All values of one name.
struct Value {
    name: String,
    values: Vec<String>,
}

impl Value {
    fn one(mut self) -> Result<(String, String), Wrong> {
        match (self.values.pop(), self.values.len()) {
            (Some(value), 0) => Ok((self.name, value)),
            (_, others) => {
                Err(Wrong::new(format!("is given {} times, and one is wanted", others + 1))
                    .within(&self.name))
            }
        }
    }

    fn read<T>(self, read: impl FnOnce(&str) -> Result<T, String>) -> Result<T, Wrong> {
        let (name, value) = self.one()?;
        read(&value).map_err(|why| Wrong::new(format!("{value:?} {why}")).within(&name))
    }
}

/// What is wrong with a number.
fn whole(error: &std::num::ParseIntError) -> String {
    match error.kind() {
        IntErrorKind::PosOverflow => "is too large".to_owned(),
        IntErrorKind::NegOverflow => "is too small".to_owned(),
        _ => "is no whole number that fits".to_owned(),
    }
}

macro_rules! numbers {
    ($($deserialize:ident $visit:ident $type:ty,)*) => {
        $(fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            visitor.$visit(self.read(|text| text.parse::<$type>().map_err(|error| whole(&error)))?)
        })*
    };
}

impl<'de> Deserializer<'de> for Value {
    type Error = Wrong;

    numbers! {
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64, deserialize_i128 visit_i128 i128,
        deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16, deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64, deserialize_u128 visit_u128 u128,
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_f32(self.read(|text| text.parse().map_err(|_| "is no number".to_owned()))?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_f64(self.read(|text| text.parse().map_err(|_| "is no number".to_owned()))?)
    }

    /// `on` is what browsers send of a box that is ticked.
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_bool(self.read(|text| match text {
            "true" | "on" | "1" => Ok(true),
            "false" | "off" | "0" => Ok(false),
            _ => Err("is neither true nor false".to_owned()),
        })?)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_char(self.read(|text| text.parse().map_err(|_| "is not one character".to_owned()))?)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_string(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_string(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let (name, value) = self.one()?;
        visitor.visit_string(value).map_err(|wrong: Wrong| wrong.within(&name))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let name = self.name;
        let one = |value| (name.clone(), vec![value]);
        let groups: Vec<_> = self.values.into_iter().map(one).collect();
        visitor.visit_seq(Places(groups.into_iter())).map_err(|wrong: Wrong| wrong.within(&name))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let (name, value) = self.one()?;
        let variant: StringDeserializer<Wrong> = value.into_deserializer();
        visitor.visit_enum(variant).map_err(|wrong: Wrong| wrong.within(&name))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bytes byte_buf unit unit_struct tuple_struct map struct identifier
    }
}
