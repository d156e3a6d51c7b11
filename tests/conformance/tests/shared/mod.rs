//! Small stores to run the suite on: the definition in memory, which can be told to break a law,
//! and the definition in files, for two processes.

#![allow(dead_code, unreachable_pub)] // each test target uses a part of it

pub mod faulty;
pub mod file;
