//! What the readers of a run's sources fill together.

use super::bodies::Bodies;
use super::log::Unzoned;
use crate::model::envoy::{Node, ServerInfo};
use crate::model::problem::{Loss, Problem};
use crate::model::source::InputId;
use crate::model::stream::Event;

/// Events in any order, bodies, problems.
#[derive(Default)]
pub(super) struct Timeline {
    pub(super) events: Vec<Event>,
    pub(super) bodies: Bodies,
    pub(super) problems: Vec<Problem>,
    pub(super) times_assumed: bool,
    /// Keep the texts of bodies.
    pub(super) keep_texts: bool,
    /// The node of the first request that has one.
    pub(super) node: Option<Node>,
    /// Another one asked too.
    pub(super) several_nodes: bool,
    /// What a recording of our own says of its Envoy.
    pub(super) header: Option<ServerInfo>,
    /// Logs, and those of them whose lines have no zone.
    pub(super) logs: Vec<InputId>,
    pub(super) unzoned: Vec<Unzoned>,
}

impl Timeline {
    /// A request names this node. A recording is of one Envoy: a second one is a problem of the input `label`.
    pub(super) fn meet(&mut self, label: &str, node: Node) {
        let Some(first) = &self.node else {
            self.node = Some(node).filter(|n| *n != Node::default());
            return;
        };
        if self.several_nodes || node.id.is_empty() || first.id.is_empty() || node.id == first.id {
            return;
        }
        let what = format!("`{}` asked too, after `{}`: both are read as one Envoy", node.id, first.id);
        let hint = "a recording is of one Envoy: give what one node was sent";
        self.problems.push(Problem::new(label, Loss::Part, what).hint(hint));
        self.several_nodes = true;
    }
}
