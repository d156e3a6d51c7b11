//! Every interleaving of a few clients, judged by the contract.
//!
//! [`contract`] is the protocol as a plain program, written from the page; [`world`] lets real
//! machines loose on real slots, one [`event`] at a time; [`mutant`] knows the classic ways to get
//! it wrong; [`explore`] visits every state, and [`probe`] asks in each what anybody could ask.

mod client;
pub mod contract;
pub mod event;
pub mod explore;
pub mod mutant;
pub mod probe;
pub mod told;
pub mod world;
