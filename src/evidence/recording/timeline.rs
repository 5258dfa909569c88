//! What the readers of a run's sources fill together.

use super::bodies::Bodies;
use crate::model::problem::Problem;
use crate::model::stream::Event;

/// Events in any order, bodies, problems.
#[derive(Default)]
pub(super) struct Timeline {
    pub(super) events: Vec<Event>,
    pub(super) bodies: Bodies,
    pub(super) problems: Vec<Problem>,
    pub(super) times_assumed: bool,
}
