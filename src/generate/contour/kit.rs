//! States of Contour as parts of one recording.

use std::collections::{BTreeMap, HashMap};
use std::io;

use serde_json::Value;

use super::history::{History, hash};
use super::shapes::{certificate, cluster, cluster_name, host, load, secret_name};
use crate::generate::write::Output;
use crate::lab::shapes::{certificate_secret, table};
use crate::model::ingress::{Backend, Site};
use crate::model::stream::XdsType;

/// One recording that has every chain, host and other resource of some states once, and what each state is made of.
#[derive(Debug)]
pub struct Kit {
    /// The recording: five responses, the last one of empty route tables.
    pub recording: Vec<u8>,
    chains: HashMap<Vec<u32>, u32>,
    places: HashMap<(XdsType, String), u32>,
    hosts: [u64; 2],
}

/// A resource of a state, as parts of a [`Kit`]. Pushes are counted in the order of the kit's recording.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Part {
    /// As it stands in the kit: push and position.
    Whole(usize, u32),
    /// The listener at this place with these of its chains.
    Chains(usize, u32, Vec<u32>),
    /// The route table at this place of the full and of the empty tables, with that many of its hosts, and its hash.
    Hosts(u32, u64, u64, u64),
}

/// Pushes of a kit's recording.
pub const KIT_PUSHES: usize = 6;
/// The one with full route tables.
pub const FULL_TABLES: usize = 3;
/// The one with empty route tables.
pub const EMPTY_TABLES: usize = 5;

impl History {
    /// The kit of these states.
    ///
    /// # Errors
    /// None in practice: it is written to memory.
    pub fn kit(&self, states: &[usize]) -> io::Result<Kit> {
        let mut chains: HashMap<Vec<u32>, u32> = HashMap::new();
        let mut values = Vec::new();
        let mut add = |group: &[u32]| {
            if !chains.contains_key(group) {
                chains.insert(group.to_vec(), chains.len() as u32);
                values.push(self.chain(group));
            }
        };
        if self.shape.grouped {
            states.iter().for_each(|state| self.each_group(*state, &mut add));
        } else if !states.is_empty() {
            (0..self.distinct.len() as u32).for_each(|n| add(&[n]));
        }
        // every site, service and secret that there ever was
        let mut all: Vec<Site> = self.sites.all.iter().map(|l| l.value.clone()).collect();
        all.sort_by(|a, b| a.fqdn.cmp(&b.fqdn));
        all.dedup_by(|a, b| a.fqdn == b.fqdn);
        let backends: BTreeMap<String, Backend> =
            all.iter().flat_map(|s| &s.backends).map(|b| (cluster_name(b), b.clone())).collect();
        let mut places = HashMap::new();
        let mut place = |kind, key: String, list: &mut Vec<Value>, value: Value| {
            places.entry((kind, key)).or_insert_with(|| {
                list.push(value);
                list.len() as u32 - 1
            });
        };
        let (mut clusters, mut endpoints, mut secrets) = (Vec::new(), Vec::new(), Vec::new());
        for (name, backend) in &backends {
            place(XdsType::Cluster, name.clone(), &mut clusters, cluster(backend));
            for count in
                self.endpoints.all.iter().filter(|l| l.value.0 == backend.service).map(|l| l.value.1).chain([0])
            {
                place(XdsType::Endpoints, format!("{name} {count}"), &mut endpoints, load(backend, count));
            }
        }
        for life in self.secrets.all.iter().filter(|_| !self.shape.inline_certificates) {
            let (name, content) = &life.value;
            let value = certificate_secret(&secret_name(name), certificate(name, *content));
            place(XdsType::Secret, format!("{name} {content}"), &mut secrets, value);
        }
        let secured: Vec<&Site> = all.iter().filter(|s| s.secret.is_some()).collect();
        let full = vec![
            table("ingress_http", all.iter().map(host).collect()),
            table("ingress_https", secured.iter().map(|s| host(s)).collect()),
        ];
        let empty = vec![table("ingress_http", vec![]), table("ingress_https", vec![])];
        let hosts = [all.len() as u64, secured.len() as u64];
        let mut recording = Vec::new();
        let mut out = Output::new(&mut recording);
        let pushes = [
            (XdsType::Cluster, clusters),
            (XdsType::Endpoints, endpoints),
            (XdsType::Listener, self.listeners(values)),
            (XdsType::RouteConfig, full),
            (XdsType::Secret, secrets),
            (XdsType::RouteConfig, empty),
        ];
        for (kind, values) in &pushes {
            out.sotw_values(0, *kind, "kit", values)?;
        }
        Ok(Kit { recording, chains, places, hosts })
    }

    /// What a type consists of in a state whose chains are in the kit.
    pub fn parts(&self, kit: &Kit, kind: XdsType, state: usize) -> Vec<Part> {
        let whole = |push: usize, key: String| kit.places.get(&(kind, key)).map(|at| Part::Whole(push, *at));
        match kind {
            XdsType::Listener => {
                let mut chains = Vec::with_capacity(self.counts[state][1] as usize);
                self.each_group(state, &mut |group| chains.extend(kit.chains.get(group)));
                let http = [Part::Whole(2, 0)];
                let https = (!chains.is_empty()).then_some(Part::Chains(2, 1, chains));
                http.into_iter().chain(https).collect()
            }
            XdsType::RouteConfig => {
                let [plain, secured] = self.counts[state];
                let sum = |salt: u64| hash(&(self.content[state][3], self.content[state][2].wrapping_mul(salt), salt));
                let http = [Part::Hosts(0, plain, kit.hosts[0], sum(0))];
                let https = (secured > 0).then(|| Part::Hosts(1, secured, kit.hosts[1], sum(1)));
                http.into_iter().chain(https).collect()
            }
            XdsType::Cluster => self.backends(state).filter_map(|b| whole(0, cluster_name(b))).collect(),
            XdsType::Endpoints => {
                self.loads(state).filter_map(|(b, n)| whole(1, format!("{} {n}", cluster_name(b)))).collect()
            }
            XdsType::Secret => {
                self.secrets_used(state).filter_map(|(name, content)| whole(4, format!("{name} {content}"))).collect()
            }
            _ => Vec::new(),
        }
    }
}
