//! Every interleaving of a few clients, judged by the contract.
//!
//! [`contract`] is the protocol as a plain program; [`world`] lets real machines loose on real
//! slots; [`mutant`] knows the classic ways to get it wrong; [`explore`] visits every state.

pub mod contract;
pub mod explore;
pub mod mutant;
pub mod probe;
pub mod world;
