//! One copy of each name per run: a cluster's name stands in its own resource, its endpoints, its routes, its listeners
//! and in the dumps of all its neighbours.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::envoy::Name;

/// The keys are hashes already.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            self.0 = chunk.iter().fold(self.0, |h, b| h << 8 | u64::from(*b));
        }
    }
    fn write_u64(&mut self, v: u64) {
        self.0 = v;
    }
}

type Table = HashMap<u64, Name, BuildHasherDefault<Identity>>;

/// Shards of the table all threads share.
const SHARDS: usize = 64;
/// A shard that reaches this many names forgets those nobody holds any more.
const SWEEP_AT: usize = 1 << 14;
/// Names a thread keeps at hand.
const MAX_AT_HAND: usize = 1024;
/// Longer strings are not names.
const MAX_NAME_BYTES: usize = 4096;

struct Shard {
    names: Table,
    sweep_at: usize,
}

static ALL: [Mutex<Shard>; SHARDS] =
    [const { Mutex::new(Shard { names: HashMap::with_hasher(BuildHasherDefault::new()), sweep_at: SWEEP_AT }) };
        SHARDS];

thread_local! {
    static AT_HAND: RefCell<Table> = RefCell::default();
    static EMPTY: Name = Arc::from("");
}

/// The empty name.
pub(crate) fn empty() -> Name {
    EMPTY.with(Clone::clone)
}

/// The name for `text` whose hash is [`super::tally::text_hash`]: for names that a few resources share.
pub(crate) fn unique(text: &str, hash: u64) -> Name {
    if text.is_empty() {
        return empty();
    }
    if text.len() > MAX_NAME_BYTES {
        return text.into();
    }
    // the table only holds names, so what a panicking thread left behind is whole
    let mut shard = ALL[(hash >> 58) as usize].lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(name) = shard.names.get(&hash) {
        // two texts with one hash: the later ones are not shared
        return if &**name == text { name.clone() } else { text.into() };
    }
    if shard.names.len() >= shard.sweep_at {
        shard.names.retain(|_, n| Arc::strong_count(n) > 1);
        shard.sweep_at = SWEEP_AT.max(shard.names.len() * 2);
    }
    let name: Name = text.into();
    shard.names.insert(hash, name.clone());
    name
}

/// The same for words that nearly every resource repeats (types, filter names), without taking a lock each time.
pub(crate) fn common(text: &str, hash: u64) -> Name {
    AT_HAND.with(|t| {
        let mut t = t.borrow_mut();
        if let Some(name) = t.get(&hash)
            && &**name == text
        {
            return name.clone();
        }
        if t.len() >= MAX_AT_HAND {
            t.clear();
        }
        let name = unique(text, hash);
        t.insert(hash, name.clone());
        name
    })
}

/// Forgets the names that nobody holds, and gives back the room of the table: reading is over.
pub(crate) fn reading_is_over() {
    for shard in &ALL {
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        shard.names = Table::default();
        shard.sweep_at = SWEEP_AT;
    }
}

/// [`common`] for text that was not weighed.
pub(crate) fn word(text: &str) -> Name {
    common(text, super::tally::text_hash(text.as_bytes()))
}
