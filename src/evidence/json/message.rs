//! Tolerant building blocks for protobuf messages written as JSON.
//!
//! Both spellings of keys, numbers as strings and the reverse, `null`, repeated keys (the last one wins) and unknown
//! fields are all accepted; a value of another type than expected becomes the default and is counted as a mismatch.
//! Everything read is weighed by [`super::tally`].

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{names, tally};
use crate::model::envoy::Name;

/// Defines a message struct with a tolerant `Deserialize`. Fields not named are weighed and dropped.
macro_rules! message {
    ($(#[$meta:meta])* struct $name:ident { $( $(#[$fmeta:meta])* $field:ident : $ty:ty = $($key:literal)|+ ),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        pub(crate) struct $name { $( $(#[$fmeta])* pub(crate) $field: $ty ),* }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                struct V;
                impl<'de> serde::de::Visitor<'de> for V {
                    type Value = $name;
                    $crate::evidence::json::message::tolerate!(map);
                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        use $crate::evidence::json::{message::{Key, Weighed}, tally};
                        tally::object();
                        let mut out = $name::default();
                        $( let mut $field = false; )*
                        while let Some(Key(key)) = map.next_key()? {
                            match &*key {
                                $( $($key)|+ => {
                                    const INFO: tally::KnownKey =
                                        tally::key_info($crate::evidence::json::message::first!($($key),+));
                                    tally::known_key(INFO);
                                    if std::mem::replace(&mut $field, true) && tally::repeated() {
                                        tally::passing(&key);
                                        map.next_value::<$crate::evidence::json::message::Refused>()?;
                                    }
                                    out.$field = map.next_value().inspect_err(|_| tally::passing(&key))?;
                                } )*
                                _ => {
                                    tally::key(&key);
                                    map.next_value::<Weighed>()?;
                                }
                            }
                        }
                        tally::end();
                        Ok(out)
                    }
                }
                d.deserialize_any(V)
            }
        }
    };
}
pub(crate) use message;

/// The first of several spellings.
macro_rules! first {
    ($first:literal $(, $rest:literal)*) => {
        $first
    };
}
pub(crate) use first;

/// The `visit_*` methods for values of an unexpected type: weigh, count a mismatch, give the default.
/// The arguments name the kinds that the caller visits itself.
macro_rules! tolerate {
    (@expecting) => {
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a value")
        }
        fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
            Ok(Default::default())
        }
    };
    (@str $wanted:literal) => {
        fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<Self::Value, E> {
            $crate::evidence::json::tally::string(v);
            $crate::evidence::json::message::mismatch($wanted, "a string")?;
            Ok(Default::default())
        }
    };
    (@num $wanted:literal) => {
        fn visit_bool<E: serde::de::Error>(self, v: bool) -> Result<Self::Value, E> {
            $crate::evidence::json::tally::scalar(u64::from(v));
            $crate::evidence::json::message::mismatch($wanted, "true or false")?;
            Ok(Default::default())
        }
        fn visit_u64<E: serde::de::Error>(self, v: u64) -> Result<Self::Value, E> {
            $crate::evidence::json::tally::scalar(v);
            $crate::evidence::json::message::mismatch($wanted, "a number")?;
            Ok(Default::default())
        }
        fn visit_i64<E: serde::de::Error>(self, v: i64) -> Result<Self::Value, E> {
            self.visit_u64(v as u64)
        }
        fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<Self::Value, E> {
            self.visit_u64(v.to_bits())
        }
    };
    (@seq $wanted:literal) => {
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
            $crate::evidence::json::message::mismatch($wanted, "a list")?;
            $crate::evidence::json::message::weigh_seq(seq)?;
            Ok(Default::default())
        }
    };
    (@map $wanted:literal) => {
        fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            $crate::evidence::json::message::mismatch($wanted, "an object")?;
            $crate::evidence::json::message::weigh_map(map)?;
            Ok(Default::default())
        }
    };
    (map) => { $crate::evidence::json::message::tolerate!(@expecting); $crate::evidence::json::message::tolerate!(@str "an object"); $crate::evidence::json::message::tolerate!(@num "an object"); $crate::evidence::json::message::tolerate!(@seq "an object"); };
    (seq) => { $crate::evidence::json::message::tolerate!(@expecting); $crate::evidence::json::message::tolerate!(@str "a list"); $crate::evidence::json::message::tolerate!(@num "a list"); $crate::evidence::json::message::tolerate!(@map "a list"); };
    (scalar $wanted:literal) => { $crate::evidence::json::message::tolerate!(@expecting); $crate::evidence::json::message::tolerate!(@seq $wanted); $crate::evidence::json::message::tolerate!(@map $wanted); };
}
pub(crate) use tolerate;

/// A value of another type than `wanted`: counted, and an error where the reading is strict.
pub(crate) fn mismatch<E: serde::de::Error>(wanted: &str, found: impl fmt::Display) -> Result<(), E> {
    if tally::mismatch() { Err(E::custom(format_args!("expected {wanted}, found {found}"))) } else { Ok(()) }
}

/// A key, borrowed unless it holds escapes.
pub(crate) struct Key<'de>(pub(crate) Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(v)))
            }
            fn visit_str<E>(self, v: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(v.to_owned())))
            }
        }
        d.deserialize_str(V)
    }
}

/// Weighs the rest of an array.
pub(crate) fn weigh_seq<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<u32, A::Error> {
    tally::list();
    let mut n = 0;
    while let Some(Weighed(scalar)) = seq.next_element()? {
        n += 1;
        if scalar {
            tally::list_item();
        }
    }
    tally::end();
    Ok(n)
}

/// Weighs the rest of an object and counts its entries.
pub(crate) fn weigh_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<u32, A::Error> {
    tally::object();
    let mut n = 0;
    while let Some(Key(key)) = map.next_key()? {
        tally::key(&key);
        map.next_value::<Weighed>()?;
        n += 1;
    }
    tally::end();
    Ok(n)
}

/// The value of a key that stood before: an error at its place, which ends in [`Refused::WHY`].
pub(crate) struct Refused;

impl Refused {
    pub(crate) const WHY: &str = "stands twice";
}

impl<'de> Deserialize<'de> for Refused {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = Refused;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(Refused::WHY)
            }
        }
        d.deserialize_any(V)
    }
}

/// Any value, weighed and dropped. Holds whether it was a scalar or string.
#[derive(Debug, Default)]
pub(crate) struct Weighed(pub(crate) bool);

impl<'de> Deserialize<'de> for Weighed {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Weighed;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_unit<E>(self) -> Result<Weighed, E> {
                Ok(Weighed(true))
            }
            fn visit_bool<E>(self, v: bool) -> Result<Weighed, E> {
                tally::scalar(u64::from(v));
                Ok(Weighed(true))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Weighed, E> {
                tally::scalar(v);
                Ok(Weighed(true))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Weighed, E> {
                tally::scalar(v as u64);
                Ok(Weighed(true))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Weighed, E> {
                tally::scalar(v.to_bits());
                Ok(Weighed(true))
            }
            fn visit_str<E>(self, v: &str) -> Result<Weighed, E> {
                tally::string(v);
                Ok(Weighed(true))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Weighed, A::Error> {
                weigh_seq(seq).map(|_| Weighed(false))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Weighed, A::Error> {
                weigh_map(map).map(|_| Weighed(false))
            }
        }
        d.deserialize_any(V)
    }
}

/// A string that is kept; a number or boolean is taken as its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) Name);

impl Text {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Default for Text {
    fn default() -> Self {
        Self(names::empty())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Text;
            tolerate!(scalar "a string");
            fn visit_str<E>(self, v: &str) -> Result<Text, E> {
                let hash = tally::string(v);
                Ok(Text(names::unique(v, hash)))
            }
            fn visit_bool<E>(self, v: bool) -> Result<Text, E> {
                tally::scalar(u64::from(v));
                Ok(Text(v.to_string().into()))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Text, E> {
                tally::scalar(v);
                Ok(Text(v.to_string().into()))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Text, E> {
                tally::scalar(v as u64);
                Ok(Text(v.to_string().into()))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Text, E> {
                tally::scalar(v.to_bits());
                Ok(Text(v.to_string().into()))
            }
        }
        d.deserialize_any(V)
    }
}

/// A string that is looked at and dropped again: a time, an address to be put together, a path to be taken apart.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Plain(pub(crate) Box<str>);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Plain;
            tolerate!(scalar "a string");
            tolerate!(@num "a string");
            fn visit_str<E>(self, v: &str) -> Result<Plain, E> {
                tally::string(v);
                Ok(Plain(v.into()))
            }
        }
        d.deserialize_any(V)
    }
}

/// A string that many resources repeat; a number or boolean is taken as its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shared(pub(crate) Name);

impl Default for Shared {
    fn default() -> Self {
        Self(names::empty())
    }
}

impl<'de> Deserialize<'de> for Shared {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Shared;
            tolerate!(scalar "a string");
            fn visit_str<E>(self, v: &str) -> Result<Shared, E> {
                let hash = tally::string(v);
                Ok(Shared(names::common(v, hash)))
            }
            fn visit_bool<E>(self, v: bool) -> Result<Shared, E> {
                tally::scalar(u64::from(v));
                Ok(Shared(v.to_string().into()))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Shared, E> {
                tally::scalar(v);
                Ok(Shared(v.to_string().into()))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Shared, E> {
                tally::scalar(v as u64);
                Ok(Shared(v.to_string().into()))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Shared, E> {
                tally::scalar(v.to_bits());
                Ok(Shared(v.to_string().into()))
            }
        }
        d.deserialize_any(V)
    }
}

/// A string of which only length and hash are kept.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hashed {
    /// xxh3-64.
    pub(crate) hash: u64,
    /// Length in bytes, 0 when absent.
    pub(crate) len_bytes: u32,
}

impl<'de> Deserialize<'de> for Hashed {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Hashed;
            tolerate!(scalar "a string");
            tolerate!(@num "a string");
            fn visit_str<E>(self, v: &str) -> Result<Hashed, E> {
                let hash = tally::string(v);
                Ok(Hashed { hash, len_bytes: u32::try_from(v.len()).unwrap_or(u32::MAX) })
            }
        }
        d.deserialize_any(V)
    }
}

/// The `@type` of a message that is also met without one.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct TypeUrl;

impl<'de> Deserialize<'de> for TypeUrl {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = TypeUrl;
            tolerate!(scalar "a string");
            tolerate!(@num "a string");
            fn visit_str<E>(self, v: &str) -> Result<TypeUrl, E> {
                tally::type_string(v);
                Ok(TypeUrl)
            }
        }
        d.deserialize_any(V)
    }
}

/// A number, however written; `None` when absent or not a number.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(crate) struct Num(pub(crate) Option<f64>);

impl Num {
    /// The value as an unsigned integer, when it is one.
    pub(crate) fn as_u64(self) -> Option<u64> {
        self.0.filter(|v| *v >= 0.0 && *v <= 9.0e18).map(|v| v as u64)
    }
}

impl<'de> Deserialize<'de> for Num {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Num;
            tolerate!(scalar "a number");
            fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<Num, E> {
                tally::string(v);
                let n = v.trim().parse().ok();
                if n.is_none() {
                    mismatch("a number", format_args!("`{v}`"))?;
                }
                Ok(Num(n))
            }
            fn visit_bool<E: serde::de::Error>(self, v: bool) -> Result<Num, E> {
                tally::scalar(u64::from(v));
                mismatch("a number", v)?;
                Ok(Num(None))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Num, E> {
                tally::scalar(v);
                Ok(Num(Some(v as f64)))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Num, E> {
                tally::scalar(v as u64);
                Ok(Num(Some(v as f64)))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Num, E> {
                tally::scalar(v.to_bits());
                Ok(Num(Some(v)))
            }
        }
        d.deserialize_any(V)
    }
}

/// A boolean, however written; `None` when absent.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flag(pub(crate) Option<bool>);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Flag;
            tolerate!(scalar "true or false");
            fn visit_bool<E>(self, v: bool) -> Result<Flag, E> {
                tally::scalar(u64::from(v));
                Ok(Flag(Some(v)))
            }
            fn visit_str<E>(self, v: &str) -> Result<Flag, E> {
                tally::string(v);
                Ok(Flag(v.parse().ok()))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Flag, E> {
                tally::scalar(v);
                Ok(Flag(Some(v != 0)))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Flag, E> {
                tally::scalar(v as u64);
                Ok(Flag(Some(v != 0)))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Flag, E> {
                tally::scalar(v.to_bits());
                Ok(Flag(Some(v != 0.0)))
            }
        }
        d.deserialize_any(V)
    }
}

/// A repeated field.
#[derive(Debug)]
pub(crate) struct List<T>(pub(crate) Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
            type Value = List<T>;
            tolerate!(seq);
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<List<T>, A::Error> {
                tally::list();
                let mut out = Vec::new();
                while let Some(v) = seq.next_element().inspect_err(|_| tally::passing_item(out.len()))? {
                    out.push(v);
                }
                tally::end();
                Ok(List(out))
            }
        }
        d.deserialize_any(V(std::marker::PhantomData))
    }
}

/// A map with string keys, in the order written.
#[derive(Debug)]
pub(crate) struct Entries<T>(pub(crate) Vec<(Box<str>, T)>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
            type Value = Entries<T>;
            tolerate!(map);
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<T>, A::Error> {
                tally::object();
                let mut out = Vec::new();
                while let Some(Key(key)) = map.next_key()? {
                    tally::key(&key);
                    let value = map.next_value().inspect_err(|_| tally::passing(&key))?;
                    out.push((Box::from(&*key), value));
                }
                tally::end();
                Ok(Entries(out))
            }
        }
        d.deserialize_any(V(std::marker::PhantomData))
    }
}

/// How many elements or entries a value has; `None` when absent, 1 for a scalar.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) Option<u32>);

impl Count {
    /// The count, 0 when absent.
    pub(crate) fn get(self) -> u32 {
        self.0.unwrap_or(0)
    }
    /// Whether the field was there at all.
    pub(crate) fn present(self) -> bool {
        self.0.is_some()
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Count;
            tolerate!(@expecting);
            fn visit_bool<E>(self, v: bool) -> Result<Count, E> {
                tally::scalar(u64::from(v));
                Ok(Count(Some(1)))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Count, E> {
                tally::scalar(v);
                Ok(Count(Some(1)))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Count, E> {
                tally::scalar(v as u64);
                Ok(Count(Some(1)))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Count, E> {
                tally::scalar(v.to_bits());
                Ok(Count(Some(1)))
            }
            fn visit_str<E>(self, v: &str) -> Result<Count, E> {
                tally::string(v);
                Ok(Count(Some(1)))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Count, A::Error> {
                weigh_seq(seq).map(|n| Count(Some(n)))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Count, A::Error> {
                weigh_map(map).map(|n| Count(Some(n)))
            }
        }
        d.deserialize_any(V)
    }
}

/// A field weighed on its own.
#[derive(Debug, Default)]
pub(crate) struct Sub<T> {
    /// The value.
    pub(crate) value: T,
    /// What it weighs.
    pub(crate) tally: tally::Tally,
    /// The field was there.
    pub(crate) present: bool,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Sub<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let (value, tally) = tally::scoped(|| T::deserialize(d));
        Ok(Self { value: value?, tally, present: true })
    }
}

/// A field whose type depends on a message type that may not be known yet: another type is no mismatch.
#[derive(Debug, Default)]
pub(crate) struct Loose<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Loose<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        tally::forgiving(|| T::deserialize(d)).map(Loose)
    }
}

/// An optional nested message.
#[derive(Debug)]
pub(crate) struct Opt<T>(pub(crate) Option<Box<T>>);

impl<T> Default for Opt<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Opt<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        // `null` reaches the message as its default; nothing in a dump tells the two apart
        Ok(Self(Some(Box::new(T::deserialize(d)?))))
    }
}
