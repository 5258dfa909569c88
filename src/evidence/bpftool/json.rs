//! The JSON forms. Elements go into the listing as they are read, so a broken file keeps what came before the break.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Prefixes;
use crate::model::bpf::{BpfListing, BpfMap, BpfProg, Holder, MapDump, MapType, NameSum, Shape};
use crate::model::problem::{Loss, Problem};

pub(super) fn read(label: &str, bytes: &[u8], start: usize, listing: &mut BpfListing, problems: &mut Vec<Problem>) {
    let mut sink = Sink { listing, errors: Vec::new(), unknown: 0, dump: None, prefixes: Prefixes::default() };
    let mut de = serde_json::Deserializer::from_slice(&bytes[start..]);
    let mut documents = 0u32;
    let broken = loop {
        if documents > 0 && de.end().is_ok() {
            break None;
        }
        if let Err(e) = (Top { sink: &mut sink, nested: false }).deserialize(&mut de) {
            break Some(e);
        }
        documents += 1;
    };
    let Sink { errors, unknown, dump, prefixes, listing } = sink;
    if let Some(mut dump) = dump {
        dump.branch_points = prefixes.branch_points();
        listing.dumps.push(dump);
    }
    for error in errors {
        problems.push(
            Problem::new(label, Loss::Part, format!("bpftool says: {}", printable(&error)))
                .hint("run bpftool as root; what it listed before this is used"),
        );
    }
    if unknown > 0 {
        problems.push(Problem::new(
            label,
            Loss::Part,
            format!("{unknown} JSON objects are neither maps nor programs nor entries of a map"),
        ));
    }
    if let Some(e) = broken {
        let at = start + offset_of(&bytes[start..], e.line(), e.column());
        let got = listing.maps.len() + listing.progs.len();
        let (loss, what) = if e.is_eof() {
            (
                Loss::Part,
                format!("the file ends early, inside a value; {got} whole maps and programs before it are used"),
            )
        } else if documents > 0 {
            // a prompt or a tool's remark after the listing
            (Loss::Nothing, "text after the JSON is not read".to_owned())
        } else {
            (Loss::Part, format!("not JSON from here on; {got} whole maps and programs before it are used"))
        };
        let loss = if loss == Loss::Part && got == 0 && listing.dumps.is_empty() { Loss::Whole } else { loss };
        problems.push(Problem::new(label, loss, what).at(at as u64).hint("take it again with `bpftool map show -j`"));
    }
}

fn printable(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// serde_json counts lines from 1 and bytes of the line from 1.
fn offset_of(bytes: &[u8], line: usize, column: usize) -> usize {
    let before: usize =
        if line <= 1 { 0 } else { memchr::memchr_iter(b'\n', bytes).nth(line - 2).map_or(0, |at| at + 1) };
    (before + column.saturating_sub(1)).min(bytes.len())
}

struct Sink<'a> {
    listing: &'a mut BpfListing,
    errors: Vec<String>,
    unknown: u64,
    /// The dump whose entries stand at the top level.
    dump: Option<MapDump>,
    prefixes: Prefixes,
}

impl Sink<'_> {
    fn take(&mut self, item: Item<'_>) {
        if let Some(error) = item.error {
            self.errors.push(error.into_owned());
        } else if item.has_elements {
            self.listing.dumps.push(MapDump {
                map_id: item.id,
                map_name: item.name.unwrap_or_default().into(),
                branch_points: item.prefixes.branch_points(),
                ..item.elements
            });
        } else if let Some(entry) = item.entry {
            add_entry(self.dump.get_or_insert_default(), &mut self.prefixes, entry);
        } else if let Some(memlock) = item.total_memlock {
            let name = item.name.unwrap_or_default().into();
            self.listing.sums.push(NameSum { name, memlock, maps: item.maps.unwrap_or(0) });
        } else if let (Some(id), Some(kind)) = (item.id, item.kind) {
            let name = item.name.unwrap_or_default().into();
            if item.is_prog {
                let prog_type = match kind {
                    Kind::Name(name) => name.into(),
                    Kind::Number(number) => number.to_string().into(),
                };
                self.listing.progs.push(BpfProg {
                    id,
                    prog_type,
                    name,
                    map_ids: item.map_ids,
                    memlock: item.memlock.map(|(bytes, _)| bytes),
                    pinned: item.pinned,
                    holders: item.holders,
                });
            } else if item.is_map {
                let map_type = match kind {
                    Kind::Name(name) => MapType::from_name(&name).unwrap_or(MapType::Unknown(0)),
                    Kind::Number(number) => MapType::from_number(number),
                };
                self.listing.maps.push(BpfMap {
                    id,
                    name,
                    shape: Shape {
                        map_type,
                        key: item.key_bytes,
                        value: item.value_bytes,
                        max_entries: item.max_entries,
                        flags: item.flags,
                        extra: item.extra,
                    },
                    memlock: item.memlock.map(|(bytes, _)| bytes),
                    memlock_wrapped: item.memlock.is_some_and(|(_, wrapped)| wrapped),
                    pinned: item.pinned,
                    holders: item.holders,
                });
            } else {
                self.unknown += 1;
            }
        } else {
            self.unknown += 1;
        }
    }
}

fn add_entry(dump: &mut MapDump, prefixes: &mut Prefixes, entry: Entry) {
    let first = dump.entries == 0;
    dump.entries += 1;
    dump.unreadable += u64::from(entry.unreadable);
    let agree = |kept: &mut Option<u32>, now: Option<u32>| {
        if first {
            *kept = now;
        } else if *kept != now {
            *kept = None;
        }
    };
    agree(&mut dump.key_bytes, entry.key.as_ref().map(|k| k.len() as u32));
    agree(&mut dump.value_bytes, entry.value.as_ref().map(|v| v.len() as u32));
    agree(&mut dump.cpus, entry.cpus);
    match &entry.key {
        Some(key) => prefixes.add(key),
        None => prefixes.other = true,
    }
    let by_value = match entry.value.as_deref() {
        Some([a, b, c, d]) => Some(u32::from_le_bytes([*a, *b, *c, *d])),
        _ => None,
    };
    dump.inner_ids.extend(entry.inner_map_id.or(by_value));
}

/// A list, or one object.
struct Top<'s, 'a> {
    sink: &'s mut Sink<'a>,
    nested: bool,
}

impl<'de> DeserializeSeed<'de> for Top<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Top<'_, '_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of maps or programs")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if self.nested {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            self.sink.unknown += 1;
            return Ok(());
        }
        self.sink.listing.is_list = true;
        while seq.next_element_seed(Top { sink: self.sink, nested: true })?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let item = Item::visit(map)?;
        self.sink.take(item);
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.sink.unknown += 1;
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.sink.unknown += 1;
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.sink.unknown += 1;
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.sink.unknown += 1;
        Ok(())
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.sink.unknown += 1;
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

enum Kind<'a> {
    Name(Cow<'a, str>),
    Number(u32),
}

/// One object, whatever it is; what is absent stays empty.
#[derive(Default)]
struct Item<'a> {
    id: Option<u32>,
    kind: Option<Kind<'a>>,
    name: Option<Cow<'a, str>>,
    flags: u32,
    extra: u64,
    key_bytes: u32,
    value_bytes: u32,
    max_entries: u32,
    memlock: Option<(u64, bool)>,
    total_memlock: Option<u64>,
    maps: Option<u64>,
    map_ids: Vec<u32>,
    pinned: Vec<Box<str>>,
    holders: Vec<Holder>,
    is_map: bool,
    is_prog: bool,
    error: Option<Cow<'a, str>>,
    has_elements: bool,
    elements: MapDump,
    prefixes: Prefixes,
    entry: Option<Entry>,
}

/// One entry of a dump.
#[derive(Default)]
struct Entry {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    cpus: Option<u32>,
    inner_map_id: Option<u32>,
    unreadable: bool,
}

impl<'de> Item<'de> {
    fn visit<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let mut item = Self::default();
        while let Some(key) = map.next_key::<Scalar<'de>>()? {
            let Scalar::Text(key) = key else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            match &*key {
                "id" => item.id = map.next_value::<Scalar<'de>>()?.unsigned(),
                "type" => {
                    item.kind = match map.next_value::<Scalar<'de>>()? {
                        Scalar::Text(name) => Some(Kind::Name(name)),
                        other => other.unsigned().map(Kind::Number),
                    }
                }
                "name" => {
                    if let Scalar::Text(name) = map.next_value::<Scalar<'de>>()? {
                        item.name = Some(name);
                    }
                }
                "flags" => item.flags = map.next_value::<Scalar<'de>>()?.unsigned().unwrap_or(0),
                "map_extra" => item.extra = map.next_value::<Scalar<'de>>()?.unsigned().unwrap_or(0),
                "bytes_key" => {
                    item.is_map = true;
                    item.key_bytes = map.next_value::<Scalar<'de>>()?.unsigned().unwrap_or(0);
                }
                "bytes_value" => {
                    item.is_map = true;
                    item.value_bytes = map.next_value::<Scalar<'de>>()?.unsigned().unwrap_or(0);
                }
                "max_entries" => {
                    item.is_map = true;
                    item.max_entries = map.next_value::<Scalar<'de>>()?.unsigned().unwrap_or(0);
                }
                "bytes_memlock" => item.memlock = map.next_value::<Scalar<'de>>()?.memlock(),
                "total_bytes_memlock" => item.total_memlock = map.next_value::<Scalar<'de>>()?.unsigned(),
                "maps" => item.maps = map.next_value::<Scalar<'de>>()?.unsigned(),
                "tag" | "bytes_xlated" | "jited" | "gpl_compatible" | "loaded_at" => {
                    item.is_prog = true;
                    map.next_value::<IgnoredAny>()?;
                }
                "map_ids" => {
                    item.is_prog = true;
                    let ids = map.next_value::<List<Scalar<'de>>>()?.0;
                    item.map_ids = ids.into_iter().filter_map(Scalar::unsigned).collect();
                }
                "pinned" => {
                    let paths = map.next_value::<List<Scalar<'de>>>()?.0;
                    item.pinned = paths
                        .into_iter()
                        .filter_map(|p| if let Scalar::Text(path) = p { Some(path.into()) } else { None })
                        .collect();
                    // bpftool's order is not stable
                    item.pinned.sort_unstable();
                }
                "pids" => {
                    item.holders = map.next_value::<List<Pid>>()?.0.into_iter().filter_map(|p| p.0).collect();
                }
                "error" => {
                    if let Scalar::Text(error) = map.next_value::<Scalar<'de>>()? {
                        item.error = Some(error);
                    }
                }
                "elements" => {
                    item.has_elements = true;
                    map.next_value_seed(Elements { dump: &mut item.elements, prefixes: &mut item.prefixes })?;
                }
                "key" => item.entry.get_or_insert_default().key = map.next_value::<Hex>()?.bytes,
                "value" => {
                    let value = map.next_value::<Hex>()?;
                    let entry = item.entry.get_or_insert_default();
                    entry.value = value.bytes;
                    entry.unreadable |= value.is_error;
                }
                "values" => {
                    let values = map.next_value::<List<CpuValue>>()?.0;
                    let entry = item.entry.get_or_insert_default();
                    entry.cpus = Some(values.len() as u32);
                    entry.value = values.into_iter().next().and_then(|v| v.0);
                }
                "inner_map_id" => {
                    item.entry.get_or_insert_default().inner_map_id = map.next_value::<Scalar<'de>>()?.unsigned();
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(item)
    }
}

struct Elements<'s> {
    dump: &'s mut MapDump,
    prefixes: &'s mut Prefixes,
}

impl<'de> DeserializeSeed<'de> for Elements<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the entries of a map")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(ItemValue(item)) = seq.next_element()? {
            if let Some(entry) = item.entry {
                add_entry(self.dump, self.prefixes, entry);
            }
        }
        Ok(())
    }
}

struct ItemValue<'a>(Item<'a>);

impl<'de> Deserialize<'de> for ItemValue<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = ItemValue<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an entry of a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Item::visit(map).map(ItemValue)
            }
        }
        deserializer.deserialize_map(V)
    }
}

/// Any value; of lists and objects only that they were there.
enum Scalar<'a> {
    Text(Cow<'a, str>),
    Unsigned(u64),
    Negative(i64),
    Other,
}

impl Scalar<'_> {
    /// A whole number, also as a string or with an empty fraction.
    fn unsigned<T: TryFrom<u64>>(self) -> Option<T> {
        let number = match self {
            Self::Unsigned(n) => n,
            Self::Text(text) => text.trim().parse().ok()?,
            Self::Negative(_) | Self::Other => return None,
        };
        T::try_from(number).ok()
    }

    /// `bytes_memlock`, and whether it had wrapped: bpftool before 6.8 read it with `atoi`, so sizes from 2 GiB on came
    /// out negative. Sizes above 4 GiB lost their upper bits and cannot be told.
    fn memlock(self) -> Option<(u64, bool)> {
        let negative = match &self {
            Self::Negative(n) => Some(*n),
            Self::Text(text) => text.trim().parse::<i64>().ok().filter(|n| *n < 0),
            _ => None,
        };
        match negative {
            Some(n) => u64::try_from(n.checked_add(1 << 32)?).ok().map(|bytes| (bytes, true)),
            None => self.unsigned().map(|bytes| (bytes, false)),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Scalar<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Borrowed(v)))
            }
            fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Owned(v.to_owned())))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Self::Value, E> {
                Ok(Scalar::Unsigned(v))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Self::Value, E> {
                Ok(Scalar::Negative(v))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Self::Value, E> {
                let whole = v.fract() == 0.0 && (0.0..9.007_199_254_740_992e15).contains(&v);
                Ok(if whole { Scalar::Unsigned(v as u64) } else { Scalar::Other })
            }
            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Scalar::Other)
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Scalar::Other)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other)
            }
        }
        deserializer.deserialize_any(V)
    }
}

/// A list; anything else is an empty one.
struct List<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
            type Value = List<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(element) = seq.next_element()? {
                    list.push(element);
                }
                Ok(List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(List(Vec::new()))
            }
            fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
                Ok(List(Vec::new()))
            }
            fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                Ok(List(Vec::new()))
            }
            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(List(Vec::new()))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(List(Vec::new()))
            }
            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(List(Vec::new()))
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(List(Vec::new()))
            }
        }
        deserializer.deserialize_any(V(std::marker::PhantomData))
    }
}

/// Bytes as `["0x01", …]`, or the error in their place.
#[derive(Default)]
struct Hex {
    bytes: Option<Vec<u8>>,
    is_error: bool,
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Hex;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Hex, A::Error> {
                let mut bytes = Some(Vec::with_capacity(8));
                while let Some(element) = seq.next_element::<Scalar<'de>>()? {
                    let byte = match element {
                        Scalar::Text(text) => {
                            text.strip_prefix("0x").and_then(|digits| u8::from_str_radix(digits, 16).ok())
                        }
                        _ => None,
                    };
                    match (&mut bytes, byte) {
                        (Some(bytes), Some(byte)) => bytes.push(byte),
                        _ => bytes = None,
                    }
                }
                Ok(Hex { bytes, is_error: false })
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Hex, A::Error> {
                let mut is_error = false;
                while let Some((key, _)) = map.next_entry::<Scalar<'de>, IgnoredAny>()? {
                    is_error |= matches!(key, Scalar::Text(key) if key == "error");
                }
                Ok(Hex { bytes: None, is_error })
            }
            fn visit_str<E>(self, _: &str) -> Result<Hex, E> {
                Ok(Hex::default())
            }
            fn visit_u64<E>(self, _: u64) -> Result<Hex, E> {
                Ok(Hex::default())
            }
            fn visit_i64<E>(self, _: i64) -> Result<Hex, E> {
                Ok(Hex::default())
            }
            fn visit_f64<E>(self, _: f64) -> Result<Hex, E> {
                Ok(Hex::default())
            }
            fn visit_bool<E>(self, _: bool) -> Result<Hex, E> {
                Ok(Hex::default())
            }
            fn visit_unit<E>(self) -> Result<Hex, E> {
                Ok(Hex::default())
            }
        }
        deserializer.deserialize_any(V)
    }
}

/// `{"cpu": 0, "value": [...]}`.
struct CpuValue(Option<Vec<u8>>);

impl<'de> Deserialize<'de> for CpuValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ItemValue::deserialize(deserializer).map(|ItemValue(item)| Self(item.entry.and_then(|e| e.value)))
    }
}

/// `{"pid": 1, "comm": "systemd"}`.
struct Pid(Option<Holder>);

impl<'de> Deserialize<'de> for Pid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Pid;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a process")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pid, A::Error> {
                let (mut pid, mut comm) = (None, None);
                while let Some((key, value)) = map.next_entry::<Scalar<'de>, Scalar<'de>>()? {
                    match (key, value) {
                        (Scalar::Text(key), value) if key == "pid" => pid = value.unsigned(),
                        (Scalar::Text(key), Scalar::Text(value)) if key == "comm" => comm = Some(value),
                        _ => {}
                    }
                }
                Ok(Pid(pid.map(|pid| Holder { pid, comm: comm.unwrap_or_default().into() })))
            }
        }
        deserializer.deserialize_map(V)
    }
}
