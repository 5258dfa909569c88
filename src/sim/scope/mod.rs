//! What each workload of a mesh sees of it, by Istio's rules, from the objects of the cluster alone.

pub mod workloads;
