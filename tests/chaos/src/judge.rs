//! The judgement: what a ledger shows, held against the promises S1, S3, S4, S7, S8 and S10.

use crate::ledger::{Entry, Outcome, Stamp};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// What was counted. The last four have to be zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Keys that were executed.
    pub keys: u64,
    /// Executions.
    pub executions: u64,
    /// Executions that a lapse or a release allowed: attempts beyond the first of their key.
    pub repeated: u64,
    /// Outcomes whose storing was acknowledged.
    pub finishes: u64,
    /// Stored outcomes that were given to a repetition.
    pub replays: u64,
    /// Calls that failed, so that their outcome was unknown.
    pub failures: u64,
    /// Executions beyond 1 + lapses + releases (S10).
    pub duplicates: u64,
    /// Acknowledged outcomes that did not come back, or not as they were (S3, S7).
    pub lost_outcomes: u64,
    /// Acknowledged leases that were granted to another while they lived (S1, S8).
    pub lost_leases: u64,
    /// Replays of what no execution of the key ever stored (S4).
    pub invented: u64,
    /// Which keys broke what: the first few, for a look into the ledger.
    pub broken: Vec<String>,
}

impl Report {
    /// How many promises were broken.
    #[must_use]
    pub fn losses(&self) -> u64 {
        self.duplicates + self.lost_outcomes + self.lost_leases + self.invented
    }

    /// For a fault that the store's settings promise to survive.
    ///
    /// # Panics
    /// Where anything was lost or done twice, or nothing was done at all.
    pub fn assert_nothing_lost(&self) {
        assert!(self.losses() == 0, "{self}\n{}", self.broken.join("\n"));
        assert!(self.executions > 0 && self.replays > 0, "nothing ran");
    }

    /// The judgement on these entries, in whatever order they came.
    pub(crate) fn of(entries: &[Entry]) -> Self {
        let mut stories: BTreeMap<&str, Story<'_>> = BTreeMap::new();
        let mut report = Self::default();
        for entry in entries {
            report.failures += u64::from(matches!(entry, Entry::Failed { .. }));
            stories.entry(entry.key()).or_default().add(entry);
        }
        for (key, story) in &stories {
            story.judge(key, &mut report);
        }
        report
    }

    fn breach(&mut self, key: &str, what: &str) {
        if self.broken.len() < 20 {
            self.broken.push(format!("{key}: {what}"));
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} keys, {} executions ({} after a lapse or release), {} finishes, {} replays, \
             {} unknown outcomes of calls; duplicates {}, lost outcomes {}, lost leases {}, \
             invented replays {}",
            self.keys,
            self.executions,
            self.repeated,
            self.finishes,
            self.replays,
            self.failures,
            self.duplicates,
            self.lost_outcomes,
            self.lost_leases,
            self.invented,
        )
    }
}

/// What happened to one key.
#[derive(Default)]
struct Story<'a> {
    executions: Vec<Execution>,
    finishes: Vec<(u32, Stamp, Outcome)>,
    releases: BTreeMap<u32, Stamp>,
    stales: Vec<(u32, Stamp)>,
    replays: Vec<(Stamp, Outcome)>,
    winners: Vec<Outcome>,
    refusals: Vec<(Stamp, &'a str)>,
}

struct Execution {
    attempt: u32,
    asked: Stamp,
    granted: Stamp,
    /// The lease lives until then, at the least.
    sure_until: Stamp,
    outcome: Outcome,
}

impl<'a> Story<'a> {
    fn add(&mut self, entry: &'a Entry) {
        match entry {
            Entry::Executed {
                attempt,
                asked,
                granted,
                lease,
                outcome,
                ..
            } => self.executions.push(Execution {
                attempt: *attempt,
                asked: *asked,
                granted: *granted,
                sure_until: asked.after(certain(*lease)),
                outcome: *outcome,
            }),
            Entry::Finished {
                attempt,
                at,
                outcome,
                ..
            } => self.finishes.push((*attempt, *at, *outcome)),
            Entry::Releasing { attempt, at, .. } => {
                let first = self.releases.entry(*attempt).or_insert(*at);
                *first = (*first).min(*at);
            }
            Entry::Stale {
                attempt,
                at,
                winner,
                ..
            } => {
                self.stales.push((*attempt, *at));
                self.winners.extend(winner);
            }
            Entry::Replayed { asked, outcome, .. } => self.replays.push((*asked, *outcome)),
            Entry::Refused {
                asked, decision, ..
            } => self.refusals.push((*asked, decision)),
            Entry::Failed { .. } => {}
        }
    }

    fn judge(&self, key: &str, report: &mut Report) {
        report.keys += u64::from(!self.executions.is_empty());
        report.executions += self.executions.len() as u64;
        report.finishes += self.finishes.len() as u64;
        report.replays += self.replays.len() as u64;
        let mut attempts = BTreeSet::new();
        for execution in &self.executions {
            let told_done = self
                .finishes
                .iter()
                .any(|(attempt, at, _)| *attempt < execution.attempt || *at < execution.asked);
            // Every lapse and every release makes one more attempt, under a number of its own.
            let again = !attempts.insert(execution.attempt);
            if again || told_done {
                report.duplicates += 1;
                let of = execution.attempt;
                report.breach(key, &format!("attempt {of} executed though it was done"));
            } else if execution.attempt > 1 {
                report.repeated += 1;
            }
            if self.lease_was_lost(execution) {
                report.lost_leases += 1;
                report.breach(key, "a live lease was granted to another");
            }
        }
        for (_, at, outcome) in &self.finishes {
            let changed = |(asked, replay): &(Stamp, Outcome)| asked > at && replay != outcome;
            let refused = |(asked, _): &(Stamp, &str)| asked > at;
            if self.replays.iter().any(changed) || self.refusals.iter().any(refused) {
                report.lost_outcomes += 1;
                let decisions: Vec<_> = self.refusals.iter().filter(|r| refused(r)).collect();
                report.breach(key, &format!("an outcome is lost: {decisions:?}"));
            }
        }
        let stored = |outcome: &Outcome| self.executions.iter().any(|e| e.outcome == *outcome);
        let replays = self.replays.iter().map(|(_, outcome)| outcome);
        for outcome in replays.chain(&self.winners) {
            if !stored(outcome) {
                report.invented += 1;
                report.breach(key, "a replay that nobody stored");
            }
        }
    }

    /// Whether somebody else was granted the key, or its owner was sent away, while the lease
    /// certainly lived and nobody had released it.
    fn lease_was_lost(&self, lease: &Execution) -> bool {
        let released = self.releases.get(&lease.attempt);
        let lives_at = |at: Stamp| at < lease.sure_until && released.is_none_or(|by| at < *by);
        let other = |other: &Execution| {
            let later = other.attempt > lease.attempt || other.asked > lease.granted;
            later && lives_at(other.granted)
        };
        let sent_away = |(attempt, at): &(u32, Stamp)| *attempt == lease.attempt && lives_at(*at);
        self.executions.iter().any(other) || self.stales.iter().any(sent_away)
    }
}

/// What is left of a lease for certain, where the store's clock and ours run at different rates:
/// the margin of [`idemp::Lease::remaining`].
fn certain(lease: Duration) -> Duration {
    lease - lease / 20
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_nanos(100);

    fn executed(attempt: u32, asked: u64, granted: u64) -> Entry {
        Entry::Executed {
            key: "k".to_string(),
            attempt,
            asked: Stamp(asked),
            granted: Stamp(granted),
            lease: LEASE,
            outcome: outcome(attempt),
        }
    }

    fn finished(attempt: u32, at: u64) -> Entry {
        Entry::Finished {
            key: "k".to_string(),
            attempt,
            at: Stamp(at),
            outcome: outcome(attempt),
        }
    }

    fn replayed(asked: u64, of: u32) -> Entry {
        Entry::Replayed {
            key: "k".to_string(),
            asked: Stamp(asked),
            outcome: outcome(of),
        }
    }

    fn refused(asked: u64, decision: &str) -> Entry {
        Entry::Refused {
            key: "k".to_string(),
            asked: Stamp(asked),
            decision: decision.to_string(),
        }
    }

    fn releasing(attempt: u32, at: u64) -> Entry {
        Entry::Releasing {
            key: "k".to_string(),
            attempt,
            at: Stamp(at),
        }
    }

    fn stale(attempt: u32, at: u64) -> Entry {
        Entry::Stale {
            key: "k".to_string(),
            attempt,
            at: Stamp(at),
            winner: None,
        }
    }

    fn outcome(attempt: u32) -> Outcome {
        Outcome::of(&attempt.to_be_bytes())
    }

    /// Duplicates, lost outcomes, lost leases, invented replays.
    fn judged(entries: &[Entry]) -> [u64; 4] {
        let report = Report::of(entries);
        [
            report.duplicates,
            report.lost_outcomes,
            report.lost_leases,
            report.invented,
        ]
    }

    #[test]
    fn an_execution_its_finish_and_its_replays_are_well() {
        let told = [executed(1, 0, 5), finished(1, 20), replayed(30, 1)];
        assert_eq!(judged(&told), [0; 4]);
        Report::of(&told).assert_nothing_lost();
    }

    #[test]
    fn a_take_over_after_a_lapse_is_well_and_one_before_it_is_a_lost_lease() {
        assert_eq!(judged(&[executed(1, 0, 5), executed(2, 90, 96)]), [0; 4]);
        for asked in [3, 80] {
            let early = judged(&[executed(1, 0, 5), executed(2, asked, 94)]);
            assert_eq!(early, [0, 0, 1, 0]);
        }
    }

    #[test]
    fn a_take_over_after_a_release_is_well() {
        let told = [executed(1, 0, 5), releasing(1, 10), executed(2, 11, 20)];
        assert_eq!(judged(&told), [0; 4]);
        let before = [executed(1, 0, 5), releasing(1, 30), executed(2, 11, 20)];
        assert_eq!(judged(&before), [0, 0, 1, 0]);
    }

    #[test]
    fn an_attempt_that_is_granted_twice_is_a_duplicate() {
        let told = [executed(1, 0, 5), executed(1, 200, 205)];
        assert_eq!(judged(&told), [1, 0, 0, 0]);
    }

    #[test]
    fn an_execution_after_an_acknowledged_outcome_is_a_duplicate() {
        let forgotten = [executed(2, 0, 5), finished(2, 20), executed(1, 200, 205)];
        assert_eq!(judged(&forgotten), [1, 0, 0, 0]);
        let overtaken = [executed(1, 0, 5), executed(2, 200, 205), finished(1, 210)];
        assert_eq!(judged(&overtaken), [1, 0, 0, 0]);
    }

    #[test]
    fn an_acknowledged_outcome_that_does_not_come_back_is_lost() {
        for decision in ["Miss", "InProgress", "Conflict", "Unknown", "Expired"] {
            let told = [executed(1, 0, 5), finished(1, 20), refused(30, decision)];
            assert_eq!(judged(&told), [0, 1, 0, 0], "{decision}");
            let before = [executed(1, 0, 5), finished(1, 20), refused(15, decision)];
            assert_eq!(judged(&before), [0; 4], "{decision}");
        }
    }

    #[test]
    fn an_outcome_that_comes_back_changed_is_lost_or_invented() {
        let other = [
            executed(1, 0, 5),
            executed(2, 200, 205),
            finished(2, 210),
            replayed(220, 1),
        ];
        assert_eq!(judged(&other), [0, 1, 0, 0]);
        let invented = [executed(1, 0, 5), replayed(20, 9)];
        assert_eq!(judged(&invented), [0, 0, 0, 1]);
    }

    #[test]
    fn an_owner_that_is_sent_away_in_time_has_lost_its_lease() {
        assert_eq!(judged(&[executed(1, 0, 5), stale(1, 50)]), [0, 0, 1, 0]);
        assert_eq!(judged(&[executed(1, 0, 5), stale(1, 150)]), [0; 4]);
    }

    #[test]
    fn an_entry_survives_its_line_and_a_torn_line_is_none() {
        let entry = executed(3, 1, 2);
        let line = entry.to_line();
        assert_eq!(Entry::from_line(&line), Some(entry));
        assert_eq!(Entry::from_line(&line[..line.len() / 2]), None);
    }
}
