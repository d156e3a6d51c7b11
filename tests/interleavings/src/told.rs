//! [`Told`]: what a step tells, counted and in words.

use std::fmt::Write as _;

use idemp::{Decision, LeaseReply};

use crate::contract::{Act, Deed};

/// What was seen: a search that never sees a take-over shows nothing about take-overs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // each is its name
pub enum Sight {
    FirstAttempt,
    SameLeaseAgain,
    TakeOver,
    ReleasedAndRetried,
    Replay,
    Conflict,
    InProgress,
    Unknown,
    LateFinishAccepted,
    FinishRepeated,
    Stale,
    StaleWithWinner,
    LateMessageDefeated,
    LateMessageWon,
    Resolved,
}

impl Sight {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Every one, with its name.
    pub const ALL: [(Self, &str); 15] = [
        (Self::FirstAttempt, "first attempt"),
        (Self::SameLeaseAgain, "same lease again after a lost answer"),
        (Self::TakeOver, "take-over"),
        (Self::ReleasedAndRetried, "released and retried"),
        (Self::Replay, "replay"),
        (Self::Conflict, "conflict"),
        (Self::InProgress, "in progress"),
        (Self::Unknown, "unknown"),
        (Self::LateFinishAccepted, "late finish, accepted"),
        (Self::FinishRepeated, "finish repeated"),
        (Self::Stale, "late owner, stale"),
        (
            Self::StaleWithWinner,
            "late owner, given the winner's outcome",
        ),
        (Self::LateMessageDefeated, "late message, defeated"),
        (Self::LateMessageWon, "late message, in effect"),
        (Self::Resolved, "resolved by an operator"),
    ];
}

/// What a step tells, where somebody listens.
#[derive(Debug, Default)]
pub struct Told {
    /// How often each [`Sight`] was seen.
    pub sights: [u64; Sight::COUNT],
    /// What happened, in words.
    pub words: Option<String>,
}

impl Told {
    pub(crate) fn saw(&mut self, sight: Sight) {
        self.sights[sight as usize] += 1;
    }

    pub(crate) fn say(&mut self, words: impl FnOnce() -> String) {
        if let Some(all) = &mut self.words {
            let _ = write!(all, "{}{}", if all.is_empty() { "" } else { "; " }, words());
        }
    }
}

pub(crate) fn name(client: usize) -> &'static str {
    ["Alice", "Bob", "Carol", "Dave", "Erin"][client.min(4)]
}

pub(crate) fn deed_name(deed: &Deed) -> String {
    match deed {
        Deed::Begin { payload, .. } => format!("begin with payload {payload}"),
        Deed::Act { act, attempt, .. } => {
            let act = match act {
                Act::Finish(_) => "finish",
                Act::FinishUnstorable => "finish without a storable outcome",
                Act::Fence => "fence",
                Act::Renew => "renew",
                Act::Publish(_) => "publish",
                Act::Release => "release",
                Act::Forget => "forget",
            };
            format!("{act} attempt {attempt}")
        }
        Deed::Resolve { .. } => "resolve".into(),
    }
}

pub(crate) fn decision_name(decision: &Decision) -> String {
    match decision {
        Decision::Miss(token) => format!("MISS, attempt {}", token.attempt()),
        Decision::Hit(_) => "HIT".into(),
        Decision::Conflict => "CONFLICT".into(),
        Decision::InProgress(_) => "IN_PROGRESS".into(),
        Decision::Unknown => "UNKNOWN".into(),
        Decision::Expired => "EXPIRED".into(),
    }
}

pub(crate) fn reply_name(reply: &LeaseReply) -> &'static str {
    match reply {
        LeaseReply::Held(_) => "the lease goes on",
        LeaseReply::Ended => "done",
        LeaseReply::Ceiling => "the ceiling is reached",
        LeaseReply::Stale(stale) if stale.winner.is_some() => "stale, with the winner's outcome",
        LeaseReply::Stale(_) => "stale",
    }
}
