//! One piece of a dump, from text to the model.

use std::cell::RefCell;
use std::sync::Arc;

use foldhash::HashMap;
use xxhash_rust::xxh3::xxh3_64;

use super::messages as wire;
use super::shape::{ElementKind, ListField, ResourceKind, bare_type};
use crate::evidence::json::fields;
use crate::evidence::json::message::{Entries, Loose, Opt, Sub, Text};
use crate::evidence::json::names::{self, empty, word};
use crate::evidence::json::tally::{self, Tally};
use crate::model::envoy::{
    Bootstrap, Cluster, ClusterStatus, Discovery, EndpointSet, Extension, ExtensionConfig, FilterChain,
    FilterOverrides, HealthChecks, HostCounts, HttpConnectionManager, Listener, LoadBalancing, Meta, Name,
    NetworkFilter, Node, Owner, Payload, PayloadKind, RouteCounts, RouteSource, RouteTable, ScopedRoutes, Secret,
    SecretKind, SecretRef, Source, State, StatsConfig, TlsContext, UnixMs, VirtualHost,
};
use crate::model::source::Span;

/// What a piece held.
#[derive(Debug)]
pub(crate) enum Resource {
    Listener(Listener),
    Cluster(Cluster),
    RouteTable(RouteTable),
    ScopedRoutes(ScopedRoutes),
    EndpointSet(EndpointSet),
    Secret(Secret),
    ExtensionConfig(ExtensionConfig),
    Bootstrap(Box<(Bootstrap, Node)>),
    ClusterStatus(ClusterStatus),
}

/// Reads one piece. `text` is its JSON, `span` its place; one of `fields_from_bytes` or more is broken down by field.
///
/// Gives the resources it held and the number of values whose type was not the expected one.
///
/// # Errors
/// The JSON error, when the piece is not valid JSON or nested too deeply.
pub(crate) fn read(
    kind: ElementKind,
    text: &str,
    span: Span,
    fields_from_bytes: u64,
) -> Result<(Vec<Resource>, u32), serde_json::Error> {
    let base = text.as_ptr() as usize;
    let fields = (text.len() as u64 >= fields_from_bytes)
        .then(|| Arc::new(fields::sizes(text).into_iter().map(|(path, bytes)| (Name::from(path), bytes)).collect()));
    let (result, tally) = tally::scoped(|| read_inner(kind, text, Place { span, base, fields }));
    result.map(|r| (r, tally.mismatches))
}

fn read_inner(kind: ElementKind, text: &str, place: Place) -> Result<Vec<Resource>, serde_json::Error> {
    match kind {
        ElementKind::Entry(ListField::ClusterStatuses) => read_resource(ResourceKind::ClusterStatus, text, &place),
        ElementKind::Entry(field) => {
            let entry: wire::Entry = serde_json::from_str(text)?;
            let out = entry_resources(field, entry, &place);
            if out.is_empty() {
                // Envoy up to 1.7, and some fixtures, list the resource itself
                if let Some(kind) = bare_kind(field) {
                    let mut out = read_resource(kind, text, &place)?;
                    if field_state(field) != State::Active {
                        out.iter_mut().for_each(|r| set_state(r, field_state(field)));
                    }
                    return Ok(out);
                }
            }
            Ok(out)
        }
        ElementKind::Bootstrap => {
            let (b, tally) = tally::scoped(|| serde_json::from_str::<wire::Bootstrap>(text));
            Ok(vec![Resource::Bootstrap(Box::new(bootstrap(b?, &tally, &place)))])
        }
        ElementKind::Resource(kind) => read_resource(kind, text, &place),
    }
}

fn read_resource(kind: ResourceKind, text: &str, place: &Place) -> Result<Vec<Resource>, serde_json::Error> {
    fn parse<T: for<'a> serde::Deserialize<'a>>(text: &str) -> Result<(T, Tally), serde_json::Error> {
        let (r, t) = tally::scoped(|| serde_json::from_str::<T>(text));
        Ok((r?, t))
    }
    let no = Wrapper { state: State::Active, version: empty(), last_updated: None };
    Ok(vec![match kind {
        ResourceKind::Listener => {
            let (m, t) = parse(text)?;
            Resource::Listener(listener(m, &t, no, place))
        }
        ResourceKind::Cluster => {
            let (m, t) = parse(text)?;
            Resource::Cluster(cluster(m, &t, no, place))
        }
        ResourceKind::RouteConfiguration => {
            let (m, t) = parse(text)?;
            Resource::RouteTable(route_table(m, &t, no, place))
        }
        ResourceKind::ClusterLoadAssignment => {
            let (m, t) = parse(text)?;
            Resource::EndpointSet(endpoint_set(&m, &t, no, place))
        }
        ResourceKind::Secret => {
            let (m, t) = parse::<wire::Secret>(text)?;
            let name = m.name.0.clone();
            Resource::Secret(secret(Some(&m), &t, no, name, place))
        }
        ResourceKind::ScopedRouteConfiguration => {
            let (m, t) = parse::<wire::ScopedRoute>(text)?;
            let name = m.name.0.clone();
            Resource::ScopedRoutes(scoped(&[Sub { value: m, tally: t, present: true }], no, name, place))
        }
        ResourceKind::ExtensionConfig => {
            let (m, t) = parse::<wire::TypedExtension>(text)?;
            Resource::ExtensionConfig(extension_config(m, &t, no, place))
        }
        ResourceKind::ClusterStatus => {
            let (m, _) = parse::<wire::ClusterStatus>(text)?;
            Resource::ClusterStatus(cluster_status(&m))
        }
    }])
}

fn bare_kind(field: ListField) -> Option<ResourceKind> {
    use ListField::*;
    Some(match field {
        StaticListeners
        | DynamicListeners
        | DynamicActiveListeners
        | DynamicWarmingListeners
        | DynamicDrainingListeners => ResourceKind::Listener,
        StaticClusters | DynamicActiveClusters | DynamicWarmingClusters => ResourceKind::Cluster,
        StaticRouteConfigs | DynamicRouteConfigs => ResourceKind::RouteConfiguration,
        StaticEndpointConfigs | DynamicEndpointConfigs => ResourceKind::ClusterLoadAssignment,
        StaticSecrets | DynamicActiveSecrets | DynamicWarmingSecrets => ResourceKind::Secret,
        EcdsFilters => ResourceKind::ExtensionConfig,
        InlineScopedRouteConfigs | DynamicScopedRouteConfigs | ClusterStatuses => return None,
    })
}

fn field_state(field: ListField) -> State {
    use ListField::*;
    match field {
        StaticListeners | StaticClusters | StaticRouteConfigs | StaticSecrets | StaticEndpointConfigs => State::Static,
        DynamicWarmingListeners | DynamicWarmingClusters | DynamicWarmingSecrets => State::Warming,
        DynamicDrainingListeners => State::Draining,
        _ => State::Active,
    }
}

fn set_state(r: &mut Resource, state: State) {
    match r {
        Resource::Listener(x) => x.meta.state = state,
        Resource::Cluster(x) => x.meta.state = state,
        Resource::RouteTable(x) => x.meta.state = state,
        Resource::ScopedRoutes(x) => x.meta.state = state,
        Resource::EndpointSet(x) => x.meta.state = state,
        Resource::Secret(x) => x.meta.state = state,
        Resource::ExtensionConfig(x) => x.meta.state = state,
        Resource::Bootstrap(_) | Resource::ClusterStatus(_) => {}
    }
}

struct Place {
    span: Span,
    /// Address of the piece's first byte.
    base: usize,
    /// Bytes by field, of a large piece.
    fields: Option<Arc<Vec<(Name, u64)>>>,
}

#[derive(Clone)]
struct Wrapper {
    state: State,
    version: Name,
    last_updated: Option<UnixMs>,
}

impl Wrapper {
    fn meta(self, name: Name, tally: &Tally, place: &Place) -> Meta {
        Meta {
            name,
            state: self.state,
            version: self.version,
            last_updated: self.last_updated,
            span: place.span,
            weight: tally.weight,
            text_hash: tally.hash,
            cluster_refs: cluster_refs(tally),
            fields: place.fields.clone(),
        }
    }
}

/// Shared: thousands of clusters name the same `sds-grpc`.
fn cluster_refs(tally: &Tally) -> Option<Arc<Vec<Name>>> {
    thread_local! {
        static LAST: RefCell<Option<Arc<Vec<Name>>>> = const { RefCell::new(None) };
    }
    if tally.cluster_refs.is_empty() {
        return None;
    }
    LAST.with(|last| {
        let mut last = last.borrow_mut();
        if last.as_deref() != Some(&tally.cluster_refs) {
            *last = Some(Arc::new(tally.cluster_refs.clone()));
        }
        last.clone()
    })
}

/// RFC 3339 as Envoy (3 digits), Go (9 digits) or nobody (no fraction) writes it.
pub(crate) fn time(text: &str) -> Option<UnixMs> {
    text.parse::<jiff::Timestamp>().ok().map(|t| UnixMs(t.as_millisecond()))
}

fn entry_resources(field: ListField, entry: wire::Entry, place: &Place) -> Vec<Resource> {
    let mut out = Vec::new();
    let wrapper =
        Wrapper { state: field_state(field), version: entry.version.0, last_updated: time(&entry.last_updated.0) };
    if let Opt(Some(l)) = entry.listener {
        out.push(Resource::Listener(named(listener(l.value, &l.tally, wrapper.clone(), place), &entry.name.0)));
    }
    for (state, slot) in
        [(State::Active, entry.active), (State::Warming, entry.warming), (State::Draining, entry.draining)]
    {
        let Opt(Some(slot)) = slot else { continue };
        let wrapper = Wrapper { state, version: slot.version.0, last_updated: time(&slot.last_updated.0) };
        let sub = slot.listener.0.map(|l| *l).unwrap_or_default();
        out.push(Resource::Listener(named(listener(sub.value, &sub.tally, wrapper, place), &entry.name.0)));
    }
    if let Opt(Some(e)) = entry.error {
        let time = time(&e.last_update_attempt.0);
        if matches!(field, ListField::DynamicListeners) {
            let wrapper = Wrapper { state: State::Error, version: e.version.0, last_updated: time };
            let tally = e.failed.tally().clone();
            let shell = wire::Listener { name: Text(text(e.failed.into_value().name)), ..Default::default() };
            let mut l = named(listener(shell, &tally, wrapper, place), &entry.name.0);
            l.error = Some(e.details.0);
            out.push(Resource::Listener(l));
        }
    }
    if let Opt(Some(c)) = entry.cluster {
        out.push(Resource::Cluster(cluster(c.value, &c.tally, wrapper.clone(), place)));
    }
    if let Opt(Some(r)) = entry.route_config {
        out.push(Resource::RouteTable(route_table(r.value, &r.tally, wrapper.clone(), place)));
    }
    if let Opt(Some(e)) = entry.endpoint_config {
        out.push(Resource::EndpointSet(endpoint_set(&e.value, &e.tally, wrapper.clone(), place)));
    }
    let secret_list =
        matches!(field, ListField::StaticSecrets | ListField::DynamicActiveSecrets | ListField::DynamicWarmingSecrets);
    if secret_list {
        let (body, tally) = match entry.secret.0 {
            Some(s) => (Some(s.value), s.tally),
            None => (None, Tally::default()),
        };
        out.push(Resource::Secret(secret(body.as_ref(), &tally, wrapper.clone(), entry.name.0.clone(), place)));
    }
    if let Opt(Some(e)) = entry.ecds_filter {
        out.push(Resource::ExtensionConfig(extension_config(e.value, &e.tally, wrapper.clone(), place)));
    }
    if matches!(field, ListField::InlineScopedRouteConfigs | ListField::DynamicScopedRouteConfigs) {
        out.push(Resource::ScopedRoutes(scoped(&entry.scoped.0, wrapper, entry.name.0, place)));
    }
    out
}

fn named(mut listener: Listener, wrapper_name: &str) -> Listener {
    if listener.meta.name.is_empty() {
        listener.meta.name = wrapper_name.into();
    }
    listener
}

/// A text that few messages have.
fn text(field: Loose<Opt<Text>>) -> Name {
    field.0.0.map_or_else(empty, |t| t.0)
}

/// The configuration behind `TypedStruct` and the wrappers of older plugins.
fn effective(any: &wire::AnyConfig) -> (&wire::AnyConfig, &str) {
    let outer = bare_type(&any.type_url.0);
    let inner_type = any.inner_type.0.0.as_deref().map_or("", |t| &*t.0);
    if outer.ends_with(".TypedStruct") || (outer.is_empty() && !inner_type.is_empty()) {
        let inner = any.value.0.0.as_deref().unwrap_or(any);
        return (inner, bare_type(inner_type));
    }
    (any, outer)
}

fn extension(f: &wire::Filter) -> Extension {
    let (config, type_name) = effective(f.config.value());
    extension_of(f.name.0.clone(), type_name, config, f.config.tally(), f.discovery.present())
}

thread_local! {
    static EXTENSIONS: RefCell<HashMap<u64, Arc<Extension>>> = RefCell::default();
    static TLS: RefCell<HashMap<TlsContext, Arc<TlsContext>>> = RefCell::default();
}

/// Kept per thread; configurations that do not repeat must not pile up.
const MAX_SHARED: usize = 1024;

/// The shared copy of an extension: most filters of a dump are the same few.
fn shared_extension(f: &wire::Filter) -> Arc<Extension> {
    let name = tally::text_hash(f.name.0.as_bytes());
    let key = name.rotate_left(17) ^ f.config.tally().hash ^ u64::from(f.discovery.present());
    EXTENSIONS.with(|e| {
        let mut e = e.borrow_mut();
        if let Some(x) = e.get(&key)
            && x.name == f.name.0
            && x.weight == f.config.tally().weight
        {
            return x.clone();
        }
        if e.len() >= MAX_SHARED {
            e.clear();
        }
        let x = Arc::new(extension(f));
        e.insert(key, x.clone());
        x
    })
}

fn shared_tls(context: TlsContext) -> Arc<TlsContext> {
    TLS.with(|t| {
        let mut t = t.borrow_mut();
        if let Some(x) = t.get(&context) {
            return x.clone();
        }
        if t.len() >= MAX_SHARED {
            t.clear();
        }
        let x = Arc::new(context.clone());
        t.insert(context, x.clone());
        x
    })
}

fn extension_of(name: Name, type_name: &str, config: &wire::AnyConfig, tally: &Tally, discovery: bool) -> Extension {
    let mut payloads = tally.payloads.clone();
    let lua = type_name.contains("lua") || &*name == "envoy.lua";
    let wasm = type_name.contains("wasm") || name.contains("wasm");
    for p in &mut payloads {
        if p.kind == PayloadKind::Other {
            p.kind = if lua {
                PayloadKind::Lua
            } else if wasm && p.len_bytes > 4096 {
                PayloadKind::Wasm
            } else {
                PayloadKind::Other
            };
        } else if p.kind == PayloadKind::Wasm && !wasm {
            p.kind = PayloadKind::Other; // `local_jwks` and the like
        }
    }
    let vm = config.vm_config.0.0.as_deref().or(config.config.0.0.as_deref().and_then(|c| c.vm_config.0.0.as_deref()));
    Extension {
        name,
        type_name: word(type_name),
        weight: tally.weight,
        payloads,
        config_discovery: discovery,
        vm_id: vm.map_or_else(empty, |v| v.vm_id.0.clone()),
    }
}

fn data_source(kind: PayloadKind, d: &wire::DataSource) -> SecretRef {
    let base64 = d.inline_bytes.len_bytes > 0;
    let h = if base64 { d.inline_bytes } else { d.inline_string };
    if h.len_bytes > 0 {
        SecretRef::Inline(Payload { kind, hash: h.hash, len_bytes: h.len_bytes, base64 })
    } else {
        SecretRef::File
    }
}

fn tls_context(any: &wire::AnyConfig) -> Option<TlsContext> {
    let (config, _) = effective(any);
    if let Some(inner) = config.transport_socket.0.0.as_deref() {
        return tls_context(inner.config.value());
    }
    let common = config.common_tls_context.0.0.as_deref()?;
    let mut out = TlsContext { alpn_protocols: common.alpn.get(), ..TlsContext::default() };
    for c in &common.certificates.0 {
        if let Some(chain) = &c.chain.0 {
            out.certificates.push(data_source(PayloadKind::CertificateChain, chain));
        }
    }
    for s in &common.certificate_sds.0 {
        out.secrets_source = out.secrets_source.max(source(s.config.0.as_deref()));
        out.certificates.push(SecretRef::Sds(s.name.0.clone()));
    }
    let combined = common.combined.0.as_deref();
    let inline = common.validation.0.as_deref().or(combined.and_then(|c| c.default.0.as_deref()));
    if let Some(v) = inline {
        out.san_matchers = v.sans.get() + v.typed_sans.get();
        if let Some(ca) = &v.trusted_ca.0 {
            out.validation.push(data_source(PayloadKind::CaBundle, ca));
        }
    }
    if let Some(s) = common.validation_sds.0.as_deref().or(combined.and_then(|c| c.sds.0.as_deref())) {
        out.secrets_source = out.secrets_source.max(source(s.config.0.as_deref()));
        out.validation.push(SecretRef::Sds(s.name.0.clone()));
    }
    Some(out)
}

fn source(config: Option<&wire::ConfigSource>) -> Source {
    match config {
        Some(c) if c.api.present() => Source::OwnStream,
        Some(c) if c.path.present() => Source::File,
        _ => Source::Shared,
    }
}

/// `list` converted into a new allocation. Collecting would reuse the old one, whose elements are many times larger.
fn converted<T, U>(list: Vec<T>, convert: impl FnMut(T) -> U) -> Vec<U> {
    let mut out = Vec::with_capacity(list.len());
    out.extend(list.into_iter().map(convert));
    out
}

fn shared_extensions(list: &[wire::Filter]) -> Vec<Arc<Extension>> {
    list.iter().map(shared_extension).collect()
}

fn network_filter(f: wire::Filter, place: &Place) -> NetworkFilter {
    let ext = extension(&f);
    let any = f.config.into_value();
    let typed_struct = bare_type(&any.type_url.0).ends_with(".TypedStruct");
    let config = if typed_struct { any.value.0.0.map(|b| *b).unwrap_or_default() } else { any };
    let is_hcm = ext.type_name.ends_with(".HttpConnectionManager")
        || (ext.type_name.is_empty()
            && matches!(&*f.name.0, "envoy.http_connection_manager" | "envoy.filters.network.http_connection_manager"));
    let stat_prefix = text(config.stat_prefix);
    if is_hcm {
        let mut routes_source = Source::Shared;
        let routes = if let Some(table) = config.route_config.0.0 {
            let wrapper = Wrapper { state: State::Static, version: empty(), last_updated: None };
            RouteSource::Inline(Box::new(route_table(table.value, &table.tally, wrapper, place)))
        } else if let Some(rds) = config.rds.0.0 {
            routes_source = source(rds.source.0.as_deref());
            RouteSource::Rds(rds.name.0)
        } else if config.scoped_routes.present() {
            RouteSource::Scoped
        } else {
            RouteSource::None
        };
        let hcm = HttpConnectionManager {
            stat_prefix: stat_prefix.clone(),
            routes,
            routes_source,
            http_filters: shared_extensions(&config.http_filters.0.0),
            access_logs: shared_extensions(&config.access_log.0.0),
            upgrades: config.upgrades.get(),
            tracing: config.tracing.present(),
        };
        return NetworkFilter {
            extension: ext,
            hcm: Some(Box::new(hcm)),
            clusters: vec![],
            access_logs: vec![],
            stat_prefix,
        };
    }
    let mut clusters = Vec::new();
    let cluster = text(config.cluster);
    if !cluster.is_empty() {
        clusters.push(cluster);
    }
    if let Some(w) = config.weighted_clusters.0.0 {
        clusters.extend(w.clusters.0.into_iter().map(|c| c.name.0).filter(|n| !n.is_empty()));
    }
    NetworkFilter {
        access_logs: shared_extensions(&config.access_log.0.0),
        extension: ext,
        hcm: None,
        clusters,
        stat_prefix,
    }
}

fn filter_chain(c: wire::FilterChain, is_default: bool, place: &Place) -> FilterChain {
    let body = c.body;
    let socket = body.transport_socket;
    let old = body.tls_context;
    let tls = if socket.present {
        tls_context(socket.value.config.value())
    } else if old.present() {
        tls_context(old.value())
    } else {
        None
    };
    let hash = |a: u64, b: u64| a.rotate_left(21).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ b;
    FilterChain {
        name: body.name.0,
        is_default,
        application_protocols: body.matches.value.application_protocols.get(),
        server_names: converted(body.matches.value.server_names.0, |t| t.0),
        tls: tls.map(shared_tls),
        transport_socket: socket.present.then(|| shared_extension(&socket.value)),
        weight: c.tally.weight,
        len_bytes: c.len_bytes,
        body_hash: hash(hash(body.filters.tally.hash, socket.tally.hash), old.tally().hash),
        filters_hash: body.filters.tally.hash,
        filters: converted(body.filters.value.0, |f| network_filter(f, place)),
    }
}

fn address(a: Option<&wire::Address>) -> (Name, bool) {
    let Some(a) = a else { return (empty(), false) };
    if let Some(s) = &a.socket.0 {
        let udp = &*s.protocol.0 == "UDP";
        let port = match s.port.as_u64() {
            Some(p) => p.to_string(),
            None => s.named_port.0.to_string(),
        };
        let host = &s.address.0;
        let text = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        return (names::unique(&text, tally::text_hash(text.as_bytes())), udp);
    }
    if let Some(p) = &a.pipe.0 {
        return (p.path.0.clone(), false);
    }
    (empty(), false)
}

fn owner(m: &Opt<wire::Metadata>) -> Option<Box<Owner>> {
    let filters = &m.0.as_ref()?.filters.0;
    if let Some(istio) = &filters.istio.0.0 {
        // /apis/networking.istio.io/v1alpha3/namespaces/NS/virtual-service/NAME
        let mut parts = istio.config.0.split('/').skip_while(|p| *p != "namespaces").skip(1);
        if let (Some(namespace), Some(kind), Some(name)) = (parts.next(), parts.next(), parts.next()) {
            let name = word(name);
            return Some(Box::new(Owner { namespace: word(namespace), name, kind: word(kind) }));
        }
        if let Some(s) = istio.services.0.first() {
            let name = if s.name.is_empty() { word(&s.host.0) } else { s.name.0.clone() };
            return Some(Box::new(Owner { namespace: s.namespace.0.clone(), name, kind: word("Service") }));
        }
    }
    let r = filters.gateway.0.0.as_ref()?.resources.0.first()?;
    let name = r.name.0.clone();
    Some(Box::new(Owner { namespace: r.namespace.0.clone(), name, kind: r.kind.0.clone() }))
}

fn listener(m: wire::Listener, tally: &Tally, wrapper: Wrapper, place: &Place) -> Listener {
    let (addr, udp_address) = address(m.address.0.as_deref());
    let old_bind = m.deprecated_v1.0.and_then(|d| d.bind_to_port.0);
    let owner = owner(&m.metadata);
    let mut chains = converted(m.chains.0, |c| filter_chain(c, false, place));
    if let Some(c) = m.default_chain.0 {
        chains.reserve_exact(1);
        chains.push(filter_chain(*c, true, place));
    }
    Listener {
        meta: wrapper.meta(m.name.0, tally, place),
        address: addr,
        stat_prefix: m.stat_prefix.0,
        additional_addresses: m.additional_addresses.get(),
        bound: m.bind_to_port.0.or(old_bind).unwrap_or(true),
        udp: udp_address || m.udp.present(),
        direction: m.direction.0,
        chains,
        listener_filters: shared_extensions(&m.listener_filters.0),
        access_logs: shared_extensions(&m.access_log.0),
        error: None,
        owner,
    }
}

fn push_cluster(list: &mut Vec<Name>, name: &Name) {
    if !name.is_empty() && !list.contains(name) {
        list.push(name.clone());
    }
}

/// A virtual host whose JSON is `text`.
fn retries(counts: &mut RouteCounts, policy: &Opt<wire::RetryPolicy>) {
    if let Some(policy) = &policy.0 {
        match policy.predicates.get() {
            0 => counts.plain_retries += 1,
            predicates => counts.retry_predicates += predicates,
        }
    }
}

fn overrides(all: &mut Vec<FilterOverrides>, entries: &Entries<wire::AnySub>) {
    for (_, config) in &entries.0 {
        let (_, type_name) = effective(config.value());
        let weight = config.tally().weight;
        match all.iter_mut().find(|o| &*o.type_name == type_name) {
            Some(known) => {
                known.count += 1;
                known.weight = known.weight + weight;
            }
            None => all.push(FilterOverrides { type_name: word(type_name), count: 1, weight }),
        }
    }
}

pub(crate) fn virtual_host(b: wire::VirtualHost, tally: &Tally, text: &str) -> VirtualHost {
    let mut counts = RouteCounts {
        rate_limits: b.rate_limits.get(),
        header_additions: b.req_add.get() + b.resp_add.get(),
        header_removals: b.req_remove.get() + b.resp_remove.get(),
        mirrors: b.mirrors.0.len() as u32,
        virtual_clusters: b.virtual_clusters.0.len() as u32,
        ..RouteCounts::default()
    };
    retries(&mut counts, &b.retry_policy);
    let mut filter_overrides = Vec::new();
    overrides(&mut filter_overrides, &b.per_filter);
    // nearly all virtual hosts lead to a handful of clusters; the exceptions are sorted once at the end
    let mut clusters: Vec<Name> = Vec::new();
    let mut many = false;
    let mut add = |list: &mut Vec<Name>, name: &Name| {
        if list.len() < 32 {
            push_cluster(list, name);
        } else if !name.is_empty() {
            many = true;
            list.push(name.clone());
        }
    };
    let mut dynamic_cluster = b.matcher.present();
    let mut route_owner = None;
    let mut stat_names: Vec<Name> =
        b.virtual_clusters.0.iter().map(|v| format!("vcluster.{}", v.name.0).into()).collect();
    if !stat_names.is_empty() {
        // what matches none of them
        stat_names.push("vcluster.other".into());
    }
    for m in &b.mirrors.0 {
        add(&mut clusters, &m.cluster.0);
    }
    for r in &b.routes.0 {
        let m = &r.matches;
        match () {
            () if m.prefix.present() || m.separated.present() => counts.prefix += 1,
            () if m.path.present() => counts.path += 1,
            () if m.regex.present() => counts.regex += 1,
            () => counts.other += 1,
        }
        counts.header_matchers += m.headers.get();
        counts.query_matchers += m.query.get();
        counts.redirects += u32::from(r.redirect.present());
        counts.direct_responses += u32::from(r.direct.present());
        overrides(&mut filter_overrides, &r.per_filter);
        counts.header_additions += r.req_add.get() + r.resp_add.get();
        counts.header_removals += r.req_remove.get() + r.resp_remove.get();
        if route_owner.is_none() {
            route_owner = owner(&r.metadata);
        }
        if !r.stat_prefix.0.is_empty() {
            stat_names.push(format!("route.{}", r.stat_prefix.0).into());
        }
        let Some(a) = &r.route.0 else { continue };
        add(&mut clusters, &a.cluster.0);
        dynamic_cluster |= a.header.present() || a.plugin.present() || a.inline_plugin.present();
        if let Some(w) = &a.weighted.0 {
            for c in &w.clusters.0 {
                counts.weighted_clusters += 1;
                overrides(&mut filter_overrides, &c.per_filter);
                dynamic_cluster |= c.header.present();
                add(&mut clusters, &c.name.0);
            }
        }
        for mirror in a.mirrors.0.iter().chain(a.mirror.0.as_deref()) {
            counts.mirrors += 1;
            add(&mut clusters, &mirror.cluster.0);
        }
        retries(&mut counts, &a.retry_policy);
        counts.hash_policies += a.hash_policy.get();
        counts.rate_limits += a.rate_limits.get();
    }
    if many {
        clusters.sort_unstable();
        clusters.dedup();
    }
    clusters.shrink_to_fit();
    filter_overrides.shrink_to_fit();
    VirtualHost {
        name: b.name.0,
        domains: b.domains.count,
        domain_bytes: b.domains.bytes,
        routes: counts,
        filter_overrides,
        clusters,
        stat_names,
        dynamic_cluster,
        owner: owner(&b.metadata).or(route_owner),
        weight: tally.weight,
        offset_in_table: text.as_ptr() as u64,
        len_bytes: text.len() as u64,
        text_hash: tally.hash,
    }
}

fn route_table(m: wire::RouteConfiguration, tally: &Tally, wrapper: Wrapper, place: &Place) -> RouteTable {
    let mut clusters = Vec::new();
    for mirror in &m.mirrors.0 {
        push_cluster(&mut clusters, &mirror.cluster.0);
    }
    let mut virtual_hosts = m.virtual_hosts.0;
    for v in &mut virtual_hosts {
        v.offset_in_table = v.offset_in_table.saturating_sub(place.base as u64);
    }
    RouteTable { meta: wrapper.meta(m.name.0, tally, place), virtual_hosts, vhds: m.vhds.present(), clusters }
}

/// Distinct metadata told apart per load assignment; more than that are as good as all different.
const MAX_DISTINCT: usize = 64;

fn host_counts(m: &wire::ClusterLoadAssignment) -> HostCounts {
    let mut metadata: Vec<u64> = Vec::new();
    let mut out = HostCounts { localities: m.endpoints.0.len() as u32, ..HostCounts::default() };
    let loopback = xxh3_64(b"127.0.0.1");
    let mut priorities: Vec<u64> = Vec::new();
    let mut weight: Option<u64> = None;
    for l in &m.endpoints.0 {
        let p = l.priority.as_u64().unwrap_or(0);
        if !priorities.contains(&p) {
            priorities.push(p);
        }
        for e in &l.endpoints.0 {
            out.hosts += 1;
            let w = e.weight.as_u64().unwrap_or(1);
            if *weight.get_or_insert(w) != w {
                out.weights_differ = true;
            }
            if e.metadata.tally.weight.struct_values > 1 {
                out.with_metadata += 1;
                // pods of one deployment have equal metadata, mostly next to each other
                let hash = e.metadata.tally.bag;
                if !metadata.contains(&hash) && metadata.len() < MAX_DISTINCT {
                    metadata.push(hash);
                }
            }
            let a = &e.endpoint.address;
            out.address_bytes += a.socket.address.len_bytes + a.pipe.path.len_bytes;
            out.loopback += u32::from(a.socket.address.hash == loopback);
        }
    }
    out.priorities = priorities.len() as u32;
    out.distinct_metadata = metadata.len() as u32;
    out
}

fn cluster(m: wire::Cluster, tally: &Tally, wrapper: Wrapper, place: &Place) -> Cluster {
    let custom = m.cluster_type.0;
    let discovery = match (&custom, &*m.kind.0) {
        (Some(c), _) => Discovery::Custom(c.name.0.clone()),
        (None, "STRICT_DNS") => Discovery::StrictDns,
        (None, "LOGICAL_DNS") => Discovery::LogicalDns,
        (None, "EDS") => Discovery::Eds,
        (None, "ORIGINAL_DST") => Discovery::OriginalDst,
        _ => Discovery::Static,
    };
    let children = match &custom {
        Some(c) => {
            effective(c.config.value()).0.clusters.0.0.iter().map(|t| t.0.0.clone()).filter(|n| !n.is_empty()).collect()
        }
        None => Vec::new(),
    };
    let eds_source = source(m.eds.0.as_deref().and_then(|e| e.source.0.as_deref()));
    let service = m.eds.0.map(|e| e.service_name.0).unwrap_or_default();
    let typed = m.typed_lb.0.as_deref().and_then(|l| l.policies.0.first());
    let typed = typed.and_then(|p| p.extension.0.as_deref()).and_then(|e| e.config.0.as_deref());
    let ring = m.ring_hash.0.unwrap_or_default();
    let policy = match typed {
        Some(t) => bare_type(&t.type_url.0).into(),
        None if m.lb_policy.0.is_empty() => word("ROUND_ROBIN"),
        None => m.lb_policy.0,
    };
    let lb = LoadBalancing {
        policy,
        minimum_ring_size: ring.minimum.as_u64().or(typed.and_then(|t| t.minimum.0.as_u64())),
        maximum_ring_size: ring.maximum.as_u64().or(typed.and_then(|t| t.maximum.0.as_u64())),
        table_size: m.maglev.0.and_then(|x| x.table_size.as_u64()).or(typed.and_then(|t| t.table_size.0.as_u64())),
        subset_selectors: m.subsets.0.map_or(0, |s| s.selectors.get()) + typed.map_or(0, |t| t.selectors.get()),
        locality_weighted: m.common_lb.0.is_some_and(|c| c.locality_weighted.present()),
    };
    let mut tls = Vec::new();
    if m.transport_socket.present {
        tls.extend(tls_context(m.transport_socket.value.config.value()).map(shared_tls));
    } else if m.tls_context.present() {
        tls.extend(tls_context(m.tls_context.value()).map(shared_tls));
    }
    let matches = m.socket_matches.0.len() as u32;
    for s in &m.socket_matches.0 {
        tls.extend(tls_context(s.socket.value.config.value()).map(shared_tls));
    }
    let thresholds = m.breakers.0.map(|b| b.thresholds.0).unwrap_or_default();
    let mut http_filters = Vec::new();
    let (mut http_options, mut http2) = (false, m.http2.present());
    for (key, o) in &m.protocol_options.0 {
        if key.ends_with("HttpProtocolOptions") {
            http_options = true;
            http_filters.extend(shared_extensions(&o.value().http_filters.0.0));
            let explicit = o.value().explicit_http_config.0.0.as_deref().or(o.value().use_downstream.0.0.as_deref());
            http2 |= explicit.is_some_and(|e| e.http2.present());
        }
    }
    let mut inline_hosts = m.assignment.0.as_deref().map(host_counts).unwrap_or_default();
    if inline_hosts.hosts == 0 && m.old_hosts.get() > 0 {
        inline_hosts = HostCounts { hosts: m.old_hosts.get(), localities: 1, priorities: 1, ..inline_hosts };
    }
    Cluster {
        eds_service_name: (!service.is_empty() && service != m.name.0).then_some(service),
        eds_source,
        meta: wrapper.meta(m.name.0, tally, place),
        discovery,
        alt_stat_name: m.alt_stat_name.0,
        lb,
        inline_hosts,
        tls,
        transport_socket_matches: matches,
        health_checks: HealthChecks {
            all: m.health_checks.0.len() as u32,
            http: m.health_checks.0.iter().filter(|h| h.http.present()).count() as u32,
            grpc: m.health_checks.0.iter().filter(|h| h.grpc.present()).count() as u32,
        },
        outlier_detection: m.outlier.present(),
        circuit_breakers: thresholds.len() as u32,
        track_remaining: thresholds.iter().filter(|t| t.track_remaining.0 == Some(true)).count() as u32,
        http_protocol_options: http_options,
        http2,
        filters: shared_extensions(&m.filters.0),
        http_filters,
        children,
        has_metadata: m.metadata.0.is_some(),
        owner: owner(&m.metadata),
    }
}

fn endpoint_set(m: &wire::ClusterLoadAssignment, tally: &Tally, wrapper: Wrapper, place: &Place) -> EndpointSet {
    EndpointSet { meta: wrapper.meta(m.cluster_name.0.clone(), tally, place), hosts: host_counts(m) }
}

fn secret(m: Option<&wire::Secret>, tally: &Tally, wrapper: Wrapper, name: Name, place: &Place) -> Secret {
    let kind = match m {
        Some(m) if m.tls.present() => SecretKind::TlsCertificate,
        Some(m) if m.validation.present() => SecretKind::ValidationContext,
        Some(m) if m.tickets.present() => SecretKind::SessionTicketKeys,
        Some(m) if m.generic.present() => SecretKind::Generic,
        _ => SecretKind::Unknown,
    };
    let name = if name.is_empty() { m.map(|m| m.name.0.clone()).unwrap_or_default() } else { name };
    Secret { meta: wrapper.meta(name, tally, place), kind, payloads: tally.payloads.clone() }
}

fn extension_config(m: wire::TypedExtension, tally: &Tally, wrapper: Wrapper, place: &Place) -> ExtensionConfig {
    let (config, type_name) = effective(m.config.value());
    let extension = extension_of(m.name.0.clone(), type_name, config, m.config.tally(), false);
    ExtensionConfig { meta: wrapper.meta(m.name.0.clone(), tally, place), extension }
}

fn scoped(list: &[Sub<wire::ScopedRoute>], wrapper: Wrapper, name: Name, place: &Place) -> ScopedRoutes {
    let mut tally = Tally::default();
    let mut tables = Vec::new();
    for s in list {
        tally.weight = tally.weight + s.tally.weight;
        tally.hash = tally.hash.rotate_left(7) ^ s.tally.hash;
        push_cluster(&mut tables, &s.value.route_configuration_name.0);
    }
    ScopedRoutes { meta: wrapper.meta(name, &tally, place), scopes: list.len() as u32, route_tables: tables }
}

fn cluster_status(m: &wire::ClusterStatus) -> ClusterStatus {
    let requests = m.hosts.0.iter().flat_map(|h| &h.stats.0).filter(|s| &*s.name.0 == "rq_total");
    ClusterStatus {
        name: m.name.0.clone(),
        hosts: m.hosts.0.len() as u32,
        requests: requests.filter_map(|s| s.value.as_u64()).sum(),
    }
}

/// The node of a bootstrap or of `/server_info`.
pub(crate) fn node(m: &wire::Node) -> Node {
    let meta = m.metadata.0.0.as_deref().map(|m| &m.value);
    let get = |f: fn(&wire::NodeMetadata) -> &Loose<Text>| meta.map(|x| f(x).0.0.clone()).unwrap_or_default();
    let version = m.build.0.as_deref().and_then(|b| b.version.0.as_deref());
    let envoy_version = match version {
        Some(v) => format!(
            "{}.{}.{}",
            v.major.as_u64().unwrap_or(0),
            v.minor.as_u64().unwrap_or(0),
            v.patch.as_u64().unwrap_or(0)
        )
        .into(),
        // before 1.14: "commit/1.12.0-dev/Clean/RELEASE/BoringSSL"
        None => m.build_version.0.split('/').nth(1).unwrap_or("").into(),
    };
    let workload = get(|x| &x.workload);
    Node {
        id: m.id.0.clone(),
        cluster: m.cluster.0.clone(),
        workload: if workload.is_empty() { get(|x| &x.name) } else { workload },
        namespace: get(|x| &x.namespace),
        istio_version: get(|x| &x.istio_version),
        envoy_version,
    }
}

fn matcher_list(list: Option<Box<wire::MatcherList>>) -> Option<Vec<(Name, Name)>> {
    let list = list?;
    let patterns = list.patterns.0.into_iter().filter_map(|p| {
        let regex = p.safe_regex.0.0.map(|r| r.regex.0).unwrap_or(p.regex.0.0);
        [
            ("exact", p.exact.0.0),
            ("prefix", p.prefix.0.0),
            ("suffix", p.suffix.0.0),
            ("contains", p.contains.0.0),
            ("regex", regex),
        ]
        .into_iter()
        .find(|(_, t)| !t.is_empty())
        .map(|(k, t)| (k.into(), t))
    });
    Some(patterns.collect())
}

fn bootstrap(m: wire::Bootstrap, tally: &Tally, place: &Place) -> (Bootstrap, Node) {
    let wrapper = Wrapper { state: State::Static, version: empty(), last_updated: None };
    let resources = m.static_resources.0.unwrap_or_default();
    let stats = m.stats_config.0.unwrap_or_default();
    let matcher = stats.matcher.0.unwrap_or_default();
    let dynamic = m.dynamic_resources.value;
    let sources = [&dynamic.clusters, &dynamic.listeners].map(|c| c.present.then_some(c.value.source));
    let (ads, delta) = (dynamic.ads.present, dynamic.ads.value.delta);
    let mut clusters = dynamic.ads.value.clusters;
    clusters.extend(dynamic.clusters.value.clusters);
    clusters.extend(dynamic.listeners.value.clusters);
    clusters.extend(m.hds.value.clusters);
    clusters.extend(m.tracing.value.clusters);
    clusters.sort_unstable();
    clusters.dedup();
    let node = node(&m.node.value);
    let b = Bootstrap {
        meta: wrapper.meta(empty(), tally, place),
        node_metadata: m.node.value.metadata.0.0.as_deref().map(|m| m.tally.weight).unwrap_or_default(),
        static_clusters: resources.clusters.get(),
        static_listeners: resources.listeners.get(),
        clusters,
        stats: StatsConfig {
            reject_all: matcher.reject_all.0 == Some(true),
            inclusion: matcher_list(matcher.inclusion.0),
            exclusion: matcher_list(matcher.exclusion.0),
            stats_tags: stats.tags.get(),
            deferred_stats: m.deferred_stats.0.is_some_and(|d| d.enabled.0 == Some(true)),
            deferred_clusters: m.cluster_manager.0.is_some_and(|c| c.deferred.0 == Some(true)),
            sinks: m.sinks.get(),
        },
        uses_ads: m.dynamic_resources.present,
        ads,
        delta,
        sources,
        overload_manager: m.overload.present(),
    };
    (b, node)
}
