//! The laws of a store, on a cluster of three nodes.

mod rooms;

idemp_conformance::suite!(rooms::OnCluster);
