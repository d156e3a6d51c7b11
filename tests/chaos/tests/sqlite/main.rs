//! The SQLite store where processes are killed, the power fails and the disk does not obey.

mod dice;
mod disk;
mod folder;
mod kill;
mod power;

/// How many rounds: more in the night.
fn rounds(by_day: usize, by_night: usize) -> usize {
    if idemp_chaos::nightly() {
        by_night
    } else {
        by_day
    }
}
