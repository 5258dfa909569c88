//! What each workload of a mesh sees of it, by Istio's rules, from the objects of the cluster alone.

pub mod dress;
pub mod mesh;
pub mod stream;
pub mod trim;
pub mod view;
pub mod workloads;

#[cfg(test)]
mod tests;
