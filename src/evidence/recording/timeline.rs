//! What the readers of a run's sources fill together.

use super::bodies::Bodies;
use super::log::Unzoned;
use crate::model::envoy::Node;
use crate::model::problem::Problem;
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
    /// Logs, and those of them whose lines have no zone.
    pub(super) logs: Vec<InputId>,
    pub(super) unzoned: Vec<Unzoned>,
}
