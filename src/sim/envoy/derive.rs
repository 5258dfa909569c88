//! Bodies made of parts of others, for streams in which every state of a large listener or route table is another body:
//! a thousand states of a thousand chains need the chains once.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::prepare::{BodyPlan, ListenerPlan, Plan, Prepared};
use crate::cost::envoy::generation::Amount;
use crate::model::stream::BodyId;

impl Prepared {
    /// Adds a listener like `kit` with those of its chains that stand at `members`, in that order.
    ///
    /// # Panics
    /// When `kit` is no listener, or has no such chain.
    pub fn derive_listener(&mut self, kit: BodyId, members: &[u32]) -> BodyId {
        let body = &self.bodies[kit.0 as usize];
        let Plan::Listener(plan) = &body.plan else { panic!("a listener is derived from a listener") };
        let chains: Vec<_> = members.iter().map(|at| Arc::clone(&plan.chains[*at as usize])).collect();
        let bytes: Vec<u8> = chains.iter().flat_map(|c| c.id.to_le_bytes()).collect();
        let set = chains.iter().fold(0_u64, |sum, c| sum.wrapping_add(xxh3_64(&c.id.to_le_bytes())));
        let identity = plan.identity.clone().map(|mut identity| {
            // of these only whether there are any is looked at again; `chains` tells them apart
            identity.chain_hashes =
                identity.chain_hashes.first().filter(|_| !members.is_empty()).into_iter().copied().collect();
            identity
        });
        let wire_bytes = body.wire_bytes * members.len() as u64 / plan.chains.len().max(1) as u64;
        let plan = ListenerPlan {
            own: plan.own.clone(),
            chains,
            identity,
            address: plan.address,
            udp: plan.udp,
            inbound: plan.inbound,
        };
        let made = BodyPlan {
            kind: body.kind,
            name: body.name,
            hash: xxh3_64(&bytes),
            set_hash: set,
            // what makes the kit invalid is that it has chains of several states, which match the same names
            invalid: false,
            wire_bytes,
            plan: Plan::Listener(Box::new(plan)),
        };
        self.bodies.push(made);
        BodyId(self.bodies.len() as u32 - 1)
    }

    /// Adds a route table between `empty` and `full`, which has `of` virtual hosts: one with `hosts` of them, each at
    /// their mean price. `hash` tells tables apart.
    ///
    /// # Panics
    /// When `empty` or `full` is no route table.
    pub fn derive_routes(&mut self, empty: BodyId, full: BodyId, (hosts, of): (u64, u64), hash: u64) -> BodyId {
        let piece = |id: BodyId| match &self.bodies[id.0 as usize].plan {
            Plan::Routes(piece) => piece.clone(),
            _ => panic!("a route table is derived from route tables"),
        };
        let (least, mut made) = (piece(empty).own.bytes() as f64, piece(full));
        let all = made.own.bytes() as f64;
        made.own = Amount::measured(least + (all - least) * hosts as f64 / of.max(1) as f64);
        let body = &self.bodies[full.0 as usize];
        let made = BodyPlan {
            kind: body.kind,
            name: body.name,
            hash,
            set_hash: hash,
            invalid: false,
            wire_bytes: body.wire_bytes * hosts / of.max(1),
            plan: Plan::Routes(made),
        };
        self.bodies.push(made);
        BodyId(self.bodies.len() as u32 - 1)
    }
}
