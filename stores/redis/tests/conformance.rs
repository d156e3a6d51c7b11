//! The laws of a store, on one server.

mod rooms;

idemp_conformance::suite!(rooms::OneServer);
