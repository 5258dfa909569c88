//! Prices of one object apart from all others, and the ledger that adds them up while objects come and go.
//!
//! [`super::price`] prices a proxy as it stands. A simulation has many generations of the same objects alive at once and
//! changes one at a time: a [`Pricer`] gives each distinct object a [`Piece`] once, which names apart what it shares with
//! others (stats by full name, the state of a subscription, a Wasm VM), and a [`Ledger`] counts who uses what. What it
//! sums up to equals [`super::price`] of a proxy with the same objects.

use std::ops::{Add, AddAssign, Mul, Neg, Sub, SubAssign};

use foldhash::{HashMap, HashMapExt};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::outside::outside_of;
use super::sizes::{decoded, key_bytes};
use super::stats::{Kept, Matcher};
use super::table::Table;
use super::term::{Term, Unit, family, t};
use super::terms::{Frame, Object, secret_terms, subscription, walk_apart};
use super::{BY_SIZE, Item, Settings};
use crate::cost::Estimate;
use crate::model::envoy::{
    Bootstrap, Cluster, Discovery, EndpointSet, ExtensionConfig, FilterChain, Listener, RouteSource, RouteTable,
    ScopedRoutes, Secret, SecretRef, Source, State, StatsConfig,
};

/// Bytes in steps of 1/256, so that a sum does not depend on the order of its parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    measured: i64,
    by_size: i64,
}

const STEPS: f64 = 256.0;

impl Amount {
    /// A measured number of bytes.
    pub fn measured(bytes: f64) -> Self {
        Self { measured: (bytes * STEPS).round() as i64, by_size: 0 }
    }

    /// Whole bytes, never below 0.
    pub fn bytes(self) -> u64 {
        u64::try_from((self.measured + self.by_size + 128) >> 8).unwrap_or(0)
    }

    /// With the bounds of the cost model: `percent` on what was measured, wide ones on what is priced by size.
    pub fn estimate(self, percent: u64) -> Estimate {
        let whole = |x: i64| u64::try_from((x + 128) >> 8).unwrap_or(0);
        Estimate::within(whole(self.measured), percent) + Estimate::within(whole(self.by_size), BY_SIZE)
    }
}

impl Add for Amount {
    type Output = Self;
    fn add(self, o: Self) -> Self {
        Self { measured: self.measured + o.measured, by_size: self.by_size + o.by_size }
    }
}

impl Sub for Amount {
    type Output = Self;
    fn sub(self, o: Self) -> Self {
        Self { measured: self.measured - o.measured, by_size: self.by_size - o.by_size }
    }
}

impl Neg for Amount {
    type Output = Self;
    fn neg(self) -> Self {
        Self::default() - self
    }
}

impl Mul<i64> for Amount {
    type Output = Self;
    fn mul(self, n: i64) -> Self {
        Self { measured: self.measured * n, by_size: self.by_size * n }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, o: Self) {
        *self = *self + o;
    }
}

impl SubAssign for Amount {
    fn sub_assign(&mut self, o: Self) {
        *self = *self - o;
    }
}

/// Index of something that exists once however many objects use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SharedId(u32);

/// Index of a secret's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretId(u32);

/// How a TLS context uses a secret that comes over SDS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretUse {
    /// Which.
    pub secret: SecretId,
    /// As the CA bundle it validates with, not as a certificate.
    pub ca: bool,
}

/// The price of one object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Piece {
    /// What goes when the object goes.
    pub own: Amount,
    /// What it shares with others.
    pub shared: Box<[SharedId]>,
    /// Secrets its TLS contexts have parsed; priced by the secret's current content.
    pub secrets: Box<[SecretUse]>,
    /// As `own`, but outside the allocator (LuaJIT).
    pub outside: Amount,
    /// TLS contexts by where their secrets come from, in the order of [`Source`].
    pub contexts: [u32; 3],
}

/// The prices of a listener's parts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ListenerPieces {
    /// Sockets, matchers, listener filters, access loggers, the configuration proper.
    pub own: Piece,
    /// Parallel to `chains`, inline route tables included.
    pub chains: Vec<Piece>,
    /// Parallel to `chains`: what a second generation keeps for a chain it shares with the first.
    pub retained: Vec<Amount>,
}

/// The price of a secret.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SecretPiece {
    /// The secret itself.
    pub own: Piece,
    /// What a TLS context adds that presents it as its certificate.
    pub as_certificate: Amount,
    /// What a TLS context adds that validates with it.
    pub as_ca: Amount,
    /// It came over SDS.
    pub dynamic: bool,
}

/// Gives objects their pieces. Everything is priced for one Envoy: its version, its workers, its stats matcher.
#[derive(Debug)]
pub struct Pricer {
    table: &'static Table,
    workers: u32,
    percent: u64,
    matcher: Matcher,
    deferred_stats: bool,
    deferred_clusters: bool,
    delta: bool,
    kept: HashMap<u64, Kept>,
    keys: HashMap<u64, SharedId>,
    shared: Vec<Shared>,
    secrets: HashMap<Box<str>, SecretId>,
    nothing: Piece,
}

#[derive(Debug, Clone, Copy, Default)]
struct Shared {
    amount: Amount,
    outside: Amount,
    /// Envoy keeps it for good once it was needed.
    for_good: bool,
}

/// Sums of one walk: for each part of the object its own amount, what it shares, the secrets it uses.
#[derive(Default)]
struct Sums(Vec<(Item, Amount, Vec<SharedId>, Vec<SecretUse>)>);

impl Sums {
    fn of(&mut self, item: Item) -> &mut (Item, Amount, Vec<SharedId>, Vec<SecretUse>) {
        // inline routes belong to their chain, everything else but chains to the object as a whole
        let item = match item {
            Item::Chain(i, j) | Item::InlineRoutes(i, j) => Item::Chain(i, j),
            _ => Item::Base,
        };
        let at = match self.0.iter().rposition(|s| s.0 == item) {
            Some(at) => at,
            None => {
                self.0.push((item, Amount::default(), Vec::new(), Vec::new()));
                self.0.len() - 1
            }
        };
        &mut self.0[at]
    }
}

impl Pricer {
    /// For one Envoy, with the stats configuration of its bootstrap. `delta`: what it was sent came as delta responses,
    /// for which it has no state for each type.
    pub fn new(settings: &Settings, stats: Option<&StatsConfig>, delta: bool) -> Self {
        let table = super::table(settings.version);
        Self {
            table,
            workers: settings.concurrency,
            percent: super::bounds(settings.version, table).0,
            matcher: Matcher::new(stats),
            deferred_stats: stats.is_some_and(|c| c.deferred_stats),
            deferred_clusters: stats.is_some_and(|c| c.deferred_clusters),
            delta,
            kept: HashMap::new(),
            keys: HashMap::new(),
            shared: Vec::new(),
            secrets: HashMap::new(),
            nothing: Piece::default(),
        }
    }

    /// Name and day of the table that is used.
    pub fn model(&self) -> String {
        format!("envoy-{}.{}/{}", self.table.version.major, self.table.version.minor, self.table.date)
    }

    /// An amount with the bounds of the table.
    pub fn estimate(&self, amount: Amount) -> Estimate {
        amount.estimate(self.percent)
    }

    /// Anonymous resident memory as a fixed part in bytes and a factor on `allocated`.
    pub fn resident(&self) -> (f64, f64) {
        let fixed =
            self.table.price(t!("resident.base")) + self.table.price(t!("resident.worker")) * f64::from(self.workers);
        (fixed, self.table.price(t!("resident.allocated")))
    }

    /// A piece that costs nothing.
    pub fn nothing(&self) -> &Piece {
        &self.nothing
    }

    /// The process and its bootstrap.
    pub fn process(&mut self, bootstrap: Option<&Bootstrap>) -> Piece {
        let mut piece = self.one(Object::Process(bootstrap));
        let told = bootstrap.is_some_and(|b| b.delta);
        if self.delta != told {
            // the stream is not what the bootstrap says
            let [ads, delta] = [t!("xds.ads"), t!("xds.delta")].map(|t| Amount::measured(self.table.price(t)));
            piece.own += if self.delta { delta - ads } else { ads - delta };
        }
        piece
    }

    /// What Envoy keeps once it was asked for a `/config_dump`: descriptors of the messages in it.
    pub fn config_dump_asked(&self) -> Amount {
        Amount::measured(CONFIG_DUMP_ASKED)
    }

    /// What a cluster gives back after its endpoints came: the buckets of `update_duration`, which are freed when the stats
    /// are flushed (every 5 s). The prices are of Envoys that were read before that.
    pub fn flushed(&self, c: &Cluster) -> Amount {
        let family = family!("cluster.eds");
        let histograms = self.table.family(family).map_or(0, |f| self.matcher.keep(f, &c.meta.name).histograms);
        Amount::measured(HISTOGRAM_FLUSHED * f64::from(histograms))
    }

    /// A cluster without its hosts.
    pub fn cluster(&mut self, c: &Cluster) -> Piece {
        let mut piece = self.one(Object::Cluster(c));
        c.tls.iter().for_each(|t| piece.contexts[t.secrets_source as usize] += 1);
        if c.discovery == Discovery::Eds && c.eds_source == Source::Shared {
            self.subscribed(&mut piece, t!("subscription.endpoints"));
        }
        if !c.tls.is_empty() {
            self.also(&mut piece, t!("first.tls_upstream"));
        }
        piece
    }

    /// Hosts of a cluster and what balances over them, with its endpoint set once it is there.
    pub fn hosts(&mut self, c: &Cluster, set: Option<&EndpointSet>) -> Amount {
        self.one(Object::Hosts(c, set)).own
    }

    /// A route table as RDS brings it.
    pub fn routes(&mut self, t: &RouteTable) -> Piece {
        self.one(Object::Routes(t))
    }

    /// A scoped route configuration.
    pub fn scopes(&mut self, s: &ScopedRoutes) -> Piece {
        self.one(Object::Scopes(s))
    }

    /// An ECDS resource.
    pub fn extension(&mut self, e: &ExtensionConfig) -> Piece {
        self.one(Object::Extension(e))
    }

    /// A secret.
    pub fn secret(&mut self, s: &Secret) -> SecretPiece {
        let own = self.one(Object::Secret(s));
        let table = self.table;
        let content = |ca| Amount::measured(secret_terms(s, ca).iter().map(|(term, n)| table.price(*term) * n).sum());
        SecretPiece {
            as_certificate: content(false),
            as_ca: content(true),
            dynamic: s.meta.state != State::Static,
            own,
        }
    }

    /// The number of a secret's name.
    pub fn secret_id(&mut self, name: &str) -> SecretId {
        if let Some(id) = self.secrets.get(name) {
            return *id;
        }
        let id = SecretId(self.secrets.len() as u32);
        self.secrets.insert(name.into(), id);
        id
    }

    /// A listener and its chains.
    pub fn listener(&mut self, l: &Listener) -> ListenerPieces {
        let sums = self.walk(Object::Listener(l));
        let mut out = ListenerPieces { chains: vec![Piece::default(); l.chains.len()], ..Default::default() };
        for (item, own, shared, secrets) in sums.0 {
            let piece = Piece { own, shared: shared.into(), secrets: secrets.into(), ..Piece::default() };
            match item {
                Item::Chain(_, j) => out.chains[j] = piece,
                _ => out.own = piece,
            }
        }
        self.also(&mut out.own, t!("first.listener"));
        for (piece, chain) in out.chains.iter_mut().zip(&l.chains) {
            self.outside(piece, chain);
            if let Some(tls) = &chain.tls {
                piece.contexts[tls.secrets_source as usize] += 1;
                self.also(piece, t!("first.tls_downstream"));
            }
            let managers = || chain.filters.iter().filter_map(|f| f.hcm.as_ref());
            if managers().next().is_some() {
                self.also(piece, t!("first.http"));
            }
            // a type is subscribed to with the first that wants it, whether it comes or not
            if managers().any(|h| matches!(h.routes, RouteSource::Rds(_)) && h.routes_source == Source::Shared) {
                self.subscribed(piece, t!("subscription.routes"));
            }
            if managers().any(|h| h.http_filters.iter().any(|f| f.config_discovery)) {
                self.subscribed(piece, t!("subscription.extensions"));
            }
        }
        out.retained = l.chains.iter().map(|c| self.retained(c)).collect();
        out
    }

    /// What a second generation keeps for a chain that it shares with the first: the chain in its copy of the
    /// configuration, and as the key under which the chain is found (`filter_chain_manager_impl.cc`, `fc_contexts_`).
    fn retained(&self, c: &FilterChain) -> Amount {
        let configuration = RETAINED_PER_BYTE * c.weight.wire_bytes() as f64;
        let more_names = c.server_names.len().saturating_sub(1) as f64;
        let names = self.table.price(t!("chain.server_name")) * RETAINED_OF_NAME * more_names;
        // certificates, keys and bundles are long strings, twice; the weight leaves out the keys, which a dump hides
        let secrets = c.tls.as_ref().map_or(0.0, |tls| {
            let inline = |r: &SecretRef| match r {
                SecretRef::Inline(p) => decoded(p.len_bytes, p.base64),
                _ => 0.0,
            };
            let chains: f64 = tls.certificates.iter().map(inline).sum();
            let bundles: f64 = tls.validation.iter().map(inline).sum();
            let keys: f64 = tls.certificates.iter().map(inline).filter(|n| *n > 0.0).map(key_bytes).sum();
            RETAINED_OF_TLS + RETAINED_PER_SECRET_BYTE * (chains + bundles + keys)
                - RETAINED_PER_BYTE * (chains + bundles)
        });
        Amount::measured(self.table.price(t!("chain")) * RETAINED_OF_CHAIN + names + configuration + secrets)
    }

    /// What of a listener's price an in-place update does not pay again: it has the sockets, statistics and the listeners of
    /// the workers of the generation before (`ListenerImpl`'s constructor with an origin).
    pub fn spared_in_place(&self) -> Amount {
        Amount::measured(SPARED_IN_PLACE + SPARED_IN_PLACE_PER_WORKER * f64::from(self.workers))
    }

    /// The part of a cluster that workers have, once it is warm.
    pub fn cluster_workers(&self, c: &Cluster) -> Amount {
        let deferred = self.deferred_clusters && matches!(c.discovery, Discovery::Static | Discovery::Eds);
        let workers = if deferred { 0.0 } else { f64::from(self.workers) };
        Amount::measured(self.table.price(t!("cluster.worker")) * workers)
    }

    /// What a removed cluster leaves in tables that do not shrink.
    pub fn cluster_residue(&self) -> Amount {
        Amount::measured(CLUSTER_RESIDUE)
    }

    /// LuaJIT states belong to the chain; virtual machines of V8 are shared.
    fn outside(&mut self, piece: &mut Piece, chain: &FilterChain) {
        let mut all = [0.0; 3];
        let mut vms = Vec::new();
        let mut note = |key| {
            vms.push(key);
            false
        };
        outside_of(std::iter::once(chain), self.workers, &mut note, &mut all);
        let [lua, lua_bytes, ..] = all;
        let price = |term| self.table.price(term);
        piece.outside = Amount::measured(lua * price(t!("outside.lua")) + lua_bytes * price(t!("outside.lua_bytes")));
        for key in vms {
            let mut vm = [0.0; 3];
            outside_of(std::iter::once(chain), self.workers, &mut |k| k == key, &mut vm);
            let bytes = vm[2] * self.table.price(t!("outside.wasm"));
            let id = self.id(xxh3_64_with_seed(key.as_bytes(), xxh3_64(b"outside")));
            self.shared[id.0 as usize].outside = Amount::measured(bytes);
            piece.share(id);
        }
    }

    fn id(&mut self, key: u64) -> SharedId {
        *self.keys.entry(key).or_insert_with(|| {
            self.shared.push(Shared::default());
            SharedId(self.shared.len() as u32 - 1)
        })
    }

    /// `piece` wants a type of resources that the shared stream brings.
    fn subscribed(&mut self, piece: &mut Piece, of: Term) {
        let price = self.table.price(subscription(of, self.delta));
        self.first(piece, of, price);
    }

    /// `piece` also uses something that is set up when the first of its kind comes, and stays.
    fn also(&mut self, piece: &mut Piece, term: Term) {
        self.first(piece, term, self.table.price(term));
    }

    fn first(&mut self, piece: &mut Piece, term: Term, price: f64) {
        let id = self.id(xxh3_64_with_seed(Term::NAMES[usize::from(term.0)].as_bytes(), xxh3_64(b"first")));
        self.shared[id.0 as usize] = Shared { amount: Amount::measured(price), for_good: true, ..Shared::default() };
        piece.share(id);
    }

    fn one(&mut self, object: Object<'_>) -> Piece {
        let mut piece = Piece::default();
        for (_, own, shared, secrets) in self.walk(object).0 {
            piece.own += own;
            piece.shared = shared.into();
            piece.secrets = secrets.into();
        }
        piece
    }

    fn walk(&mut self, object: Object<'_>) -> Sums {
        let table = self.table;
        let frame = Frame {
            workers: self.workers,
            table,
            matcher: &self.matcher,
            deferred_stats: self.deferred_stats,
            deferred_clusters: self.deferred_clusters,
        };
        // the terms of one item mostly come in a row
        let mut raw: Vec<(Item, f64, f64)> = Vec::new();
        let apart = walk_apart(object, frame, &mut self.kept, &mut |item, unit, amount| {
            if raw.last().is_none_or(|r| r.0 != item) {
                raw.push((item, 0.0, 0.0));
            }
            let Some(sum) = raw.last_mut() else { return };
            match unit {
                Unit::Term(term) => sum.1 += table.price(term) * amount,
                Unit::Unmeasured(class, _) => sum.2 += table.usual(class).unwrap_or(0.0) * amount,
            }
        });
        let (uses, terms, secrets) = (apart.uses, apart.terms, apart.secrets);
        let mut out = Sums::default();
        for (item, measured, by_size) in raw {
            out.of(item).1 += Amount { by_size: Amount::measured(by_size).measured, ..Amount::measured(measured) };
        }
        for (key, term, amount) in terms {
            let id = self.id(key);
            self.shared[id.0 as usize].amount += Amount::measured(table.price(term) * amount);
        }
        for (item, key) in uses {
            let id = self.id(key);
            out.of(item).2.push(id);
        }
        for (item, name, ca) in secrets {
            let secret = self.secret_id(&name);
            out.of(item).3.push(SecretUse { secret, ca });
        }
        out
    }
}

impl Piece {
    fn share(&mut self, id: SharedId) {
        self.shared = self.shared.iter().copied().chain([id]).collect();
    }
}

/// Part of a chain's own price that a second generation pays again: its entries in the matcher's tables and the key it is
/// found by. Measured on 1.40 as the slope between generations of 20 and 80 chains: 2,416 to 2,468 of 3,932 bytes beside the
/// configuration, for TCP and HTTP chains of 125 to 650 bytes each, with and without SDS.
const RETAINED_OF_CHAIN: f64 = 0.623;
/// Per byte of a chain's configuration, which is there twice, in allocations that are rounded up: 2.1 to 2.3 in the same runs.
const RETAINED_PER_BYTE: f64 = 2.2;
/// Part of the price of a further server name that a second generation pays again, which has matcher's tables of its own.
/// Measured on 1.40: 1,419 of 1,576 bytes beside the configuration, for 20 chains of 6, 21 and 41 names (1,504 to 1,458 with
/// it).
const RETAINED_OF_NAME: f64 = 0.9;
/// Of a listener beside its chains. Measured on 1.40: an in-place update of a listener with one TCP chain takes 10,280 bytes
/// less than the price of both on two workers and 18,354 less on six, and with 5 and 40 chains that stay 9,762 and 7,688 (with
/// the price of what stays as it was then).
const SPARED_IN_PLACE: f64 = 6200.0;
const SPARED_IN_PLACE_PER_WORKER: f64 = 2020.0;
/// For a chain with TLS beside that, and per byte of inline certificates, keys and bundles. Measured on 1.40, generations of
/// 40 chains each: over SDS +383 bytes, with an ECDSA certificate +1,167, RSA +5,077, RSA and five roots +8,712 against the
/// prices without these; these give +383, +1,253, +4,912, +8,758.
const RETAINED_OF_TLS: f64 = 383.0;
const RETAINED_PER_SECRET_BYTE: f64 = 2.3;
/// The first `/config_dump` of an idle Envoy leaves 149 KB (1.36), 168 KB (1.38), 155 KB (1.40).
const CONFIG_DUMP_ASKED: f64 = 155_000.0;
/// 200 clusters with endpoints: 59,188 bytes each before the flush, 57,172 after it; 73,934 and 71,918 with ten hosts. Without
/// stats, and without endpoints, nothing is freed.
const HISTOGRAM_FLUSHED: f64 = 2016.0;
/// Bytes that a removed cluster leaves behind (1.40: 2.0 to 2.7 KB each after 2,000 were added and removed).
const CLUSTER_RESIDUE: f64 = 2300.0;

/// Who uses what right now, and what all of it costs.
#[derive(Debug)]
pub struct Ledger<'p> {
    pricer: &'p Pricer,
    uses: Vec<u32>,
    own: Amount,
    outside: Amount,
    /// By secret: uses as a certificate and as a CA bundle, and what one use of each costs now.
    secrets: Vec<([i64; 2], [Amount; 2])>,
    /// Secrets that came over SDS.
    dynamic_secrets: i64,
    subscribed_to_secrets: bool,
    /// As in [`Piece`].
    contexts: [i64; 3],
}

impl<'p> Ledger<'p> {
    /// An empty one.
    pub fn new(pricer: &'p Pricer) -> Self {
        Self {
            pricer,
            uses: vec![0; pricer.shared.len()],
            own: Amount::default(),
            outside: Amount::default(),
            secrets: vec![Default::default(); pricer.secrets.len()],
            dynamic_secrets: 0,
            subscribed_to_secrets: false,
            contexts: [0; 3],
        }
    }

    /// An object comes.
    pub fn add(&mut self, piece: &Piece) {
        self.add_times(piece, 1);
    }

    /// An object comes `n` times.
    pub fn add_times(&mut self, piece: &Piece, n: u32) {
        let times = i64::from(n);
        self.own += piece.own * times;
        self.outside += piece.outside * times;
        self.contexts.iter_mut().zip(piece.contexts).for_each(|(all, one)| *all += i64::from(one) * times);
        self.subscribed_to_secrets |= n > 0 && !piece.secrets.is_empty();
        for id in piece.shared.iter().filter(|_| n > 0) {
            let uses = &mut self.uses[id.0 as usize];
            if *uses == 0 {
                let shared = &self.pricer.shared[id.0 as usize];
                self.own += shared.amount;
                self.outside += shared.outside;
                // one use that nobody ends
                *uses += u32::from(shared.for_good);
            }
            *uses += n;
        }
        for used in &piece.secrets {
            let (uses, amounts) = &mut self.secrets[used.secret.0 as usize];
            uses[usize::from(used.ca)] += times;
            self.own += amounts[usize::from(used.ca)] * times;
        }
    }

    /// An object goes that was added before.
    pub fn remove(&mut self, piece: &Piece) {
        self.remove_times(piece, 1);
    }

    /// An object goes that was added at least `n` times before.
    pub fn remove_times(&mut self, piece: &Piece, n: u32) {
        let times = i64::from(n);
        self.own -= piece.own * times;
        self.outside -= piece.outside * times;
        self.contexts.iter_mut().zip(piece.contexts).for_each(|(all, one)| *all -= i64::from(one) * times);
        for id in piece.shared.iter().filter(|_| n > 0) {
            let uses = &mut self.uses[id.0 as usize];
            *uses -= n;
            if *uses == 0 {
                let shared = &self.pricer.shared[id.0 as usize];
                self.own -= shared.amount;
                self.outside -= shared.outside;
            }
        }
        for used in &piece.secrets {
            let (uses, amounts) = &mut self.secrets[used.secret.0 as usize];
            uses[usize::from(used.ca)] -= times;
            self.own -= amounts[usize::from(used.ca)] * times;
        }
    }

    /// Bytes that belong to no piece.
    pub fn add_amount(&mut self, amount: Amount) {
        self.own += amount;
    }

    /// The reverse of [`Ledger::add_amount`].
    pub fn remove_amount(&mut self, amount: Amount) {
        self.own -= amount;
    }

    /// A secret comes or its content changes: all TLS contexts that use it parse it anew.
    pub fn set_secret(&mut self, id: SecretId, old: Option<&SecretPiece>, new: Option<&SecretPiece>) {
        let (uses, amounts) = &mut self.secrets[id.0 as usize];
        let content = new.map_or([Amount::default(); 2], |s| [s.as_certificate, s.as_ca]);
        for ((n, old), new) in uses.iter().zip(amounts.iter_mut()).zip(content) {
            self.own += (new - *old) * *n;
            *old = new;
        }
        if let Some(new) = new {
            self.add(&new.own);
            self.dynamic_secrets += i64::from(new.dynamic);
            self.subscribed_to_secrets |= new.dynamic;
        }
        if let Some(old) = old {
            self.remove(&old.own);
            self.dynamic_secrets -= i64::from(old.dynamic);
        }
    }

    /// What `/memory` would show as `allocated`.
    pub fn total(&self) -> Amount {
        // over ADS all secrets share one subscription state; otherwise each secret has a gRPC stream of its own
        let one = i64::from(self.subscribed_to_secrets);
        let price = |term| Amount::measured(self.pricer.table.price(term));
        let streams = match self.contexts {
            [_, own, _] if own > 0 => price(t!("subscription.stream")) * self.dynamic_secrets.max(one),
            [0, _, files] if files > 0 => price(t!("subscription.file")) * self.dynamic_secrets,
            _ => price(subscription(t!("subscription.secrets"), self.pricer.delta)) * one,
        };
        self.own + streams
    }

    /// Memory outside the allocator: LuaJIT, V8.
    pub fn outside(&self) -> Amount {
        self.outside
    }
}
