//! Reading JSON without a DOM: a structural scan for the end of a value ([`skip`]), and tolerant typed
//! visitors for one resource at a time ([`message`]) that weigh what they read ([`tally`]).

pub(crate) mod fields;
pub(crate) mod message;
pub(crate) mod names;
pub(crate) mod outline;
pub(crate) mod skip;
pub(crate) mod tally;
