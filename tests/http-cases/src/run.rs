//! Runs cases, step by step.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use idemp_stores::AnyStore;
use serde_json::Value;
use tokio::sync::watch;

use crate::PATIENCE;
use crate::answer::{Expected, Refusals};
use crate::case::{self, Case, Counts, Step};
use crate::client::{Answer, Exchange};
use crate::handler::{Gates, Handler};
use crate::service::Service;
use crate::stage::{Stage, Swaps};

/// The files of cases, without `.json`.
pub const TOPICS: &[&str] = &[
    "replay",
    "payload",
    "key-header",
    "requirement",
    "refusals-told",
    "bodies",
    "headers",
    "statuses",
    "streams",
    "limits",
    "scopes",
    "in-progress",
    "outage",
    "lapses",
];

/// Runs the cases of a topic on a store, or those of them whose name holds `IDEMP_CASE`.
///
/// # Panics
/// Where a case fails, when all have run: with the name of each that failed, the step and what was
/// expected.
pub async fn run(topic: &str, store: Arc<AnyStore>) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let only = std::env::var("IDEMP_CASE").unwrap_or_default();
    let mut failed = Vec::new();
    for case in case::read(topic) {
        if !case.name.contains(&only) {
            continue;
        }
        // Unlike the names of all others, also those of another run on the same server.
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let slots = format!("{} {number}", std::process::id());
        let name = case.name.clone();
        let store = store.clone();
        // In a task, so that a panic ends the case and no other.
        let ran =
            tokio::spawn(async move { Run::of(&case, store, slots).await.steps(&case).await });
        if let Err(why) = ran.await {
            let why = said(AssertUnwindSafe(why.into_panic()).0);
            failed.push(format!("{topic}: {name}: {why}"));
        }
    }
    assert!(failed.is_empty(), "\n\n{}\n", failed.join("\n\n"));
}

fn said(panic: Box<dyn std::any::Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic
            .downcast_ref::<&str>()
            .unwrap_or(&"a panic")
            .to_string(),
    }
}

struct Run {
    service: Service,
    stage: Stage,
    gates: Gates,
    runs: watch::Receiver<usize>,
    swaps: watch::Receiver<Swaps>,
    refusals: Refusals,
    started: HashMap<String, Exchange>,
}

impl Run {
    async fn of(case: &Case, store: Arc<AnyStore>, slots: String) -> Self {
        let gates = Gates::default();
        let stage = Stage::new(store, slots, gates.clone());
        let (told, runs) = watch::channel(0);
        let handler = Handler {
            scripts: case.handler.clone(),
            gates: gates.clone(),
            stage: stage.clone(),
            runs: told,
        };
        Self {
            service: Service::start(case, stage.clone(), Arc::new(handler)).await,
            swaps: stage.counts(),
            stage,
            gates,
            runs,
            refusals: Refusals::read(),
            started: HashMap::new(),
        }
    }

    async fn steps(mut self, case: &Case) {
        for (number, step) in case.steps.iter().enumerate() {
            if let Err(why) = self.step(step).await {
                panic!("step {}: {why}", number + 1);
            }
        }
        let runs = *self.runs.borrow();
        assert_eq!(runs, case.runs, "runs of the handler in the end");
        assert!(
            self.started.is_empty(),
            "what was started is answered or dropped"
        );
    }

    async fn step(&mut self, step: &Step) -> Result<(), String> {
        if step.deeds() != 1 {
            return Err("a step does one thing".to_owned());
        }
        match step {
            Step {
                race: Some(count),
                send: Some(request),
                expect: Some(expected),
                others: Some(others),
                ..
            } => {
                let racing: Vec<_> = (0..*count)
                    .map(|_| Exchange::begin(self.service.address, request))
                    .collect();
                let mut answers = Vec::new();
                for exchange in racing {
                    answers.push(exchange.answer().await);
                }
                self.judge_race(&answers, expected, others)
            }
            Step {
                start: Some(name),
                send: Some(request),
                ..
            } => {
                let exchange = Exchange::begin(self.service.address, request);
                self.started.insert(name.clone(), exchange);
                Ok(())
            }
            Step {
                send: Some(request),
                expect: Some(expected),
                ..
            } => {
                let answer = Exchange::begin(self.service.address, request)
                    .answer()
                    .await;
                self.judge(answer.as_ref(), expected)
            }
            Step {
                answer: Some(name),
                expect: Some(expected),
                ..
            } => {
                let exchange = self.started.remove(name).expect("it was started");
                self.judge(exchange.answer().await.as_ref(), expected)
            }
            Step {
                received: Some(name),
                body: Some(body),
                ..
            } => {
                let exchange = self.started.get_mut(name).expect("it was started");
                exchange.received(&body.bytes()).await;
                Ok(())
            }
            Step {
                drop: Some(name), ..
            } => {
                let before = *self.service.ended.borrow();
                drop(self.started.remove(name).expect("it was started"));
                let ended = self.service.ended.wait_for(|ended| *ended > before);
                let ended = tokio::time::timeout(PATIENCE, ended).await;
                ended
                    .map(|_| ())
                    .map_err(|_| "the server never missed the client".to_owned())
            }
            Step {
                wait: Some(counts), ..
            } => self.wait(*counts).await,
            Step {
                check: Some(counts),
                ..
            } => self.check(*counts),
            Step {
                open: Some(gate), ..
            } => {
                self.gates.open(gate);
                Ok(())
            }
            Step {
                advance: Some(span),
                ..
            } => {
                self.stage.advance(Duration::from_millis(*span));
                Ok(())
            }
            Step {
                store: Some(fault), ..
            } => {
                self.stage.always(fault.clone());
                Ok(())
            }
            Step {
                next: Some(faults), ..
            } => {
                self.stage.next(faults.iter().cloned());
                Ok(())
            }
            _ => Err("this is no step".to_owned()),
        }
    }

    fn judge(&self, answer: Option<&Answer>, expected: &Value) -> Result<(), String> {
        let expected = expectation(expected);
        expected.differs(answer, &self.refusals).map_or(Ok(()), Err)
    }

    /// One is as expected, and each other as one of the others.
    fn judge_race(
        &self,
        answers: &[Option<Answer>],
        expected: &Value,
        others: &[Value],
    ) -> Result<(), String> {
        let fits = |answer: &&Option<Answer>| self.judge(answer.as_ref(), expected).is_ok();
        let (winners, losers): (Vec<_>, Vec<_>) = answers.iter().partition(fits);
        if winners.len() != 1 {
            return Err(format!("{} of the answers are as expected", winners.len()));
        }
        for loser in losers {
            let judged = others.iter().map(|other| self.judge(loser.as_ref(), other));
            if !judged.clone().any(|judged| judged.is_ok()) {
                let why: Vec<_> = judged.filter_map(Result::err).collect();
                return Err(why.join("\n  or "));
            }
        }
        Ok(())
    }

    async fn wait(&mut self, counts: Counts) -> Result<(), String> {
        let (runs, swaps) = (&mut self.runs, &mut self.swaps);
        let arrived = &mut self.service.arrived;
        let reached = async {
            let least = |wanted: Option<usize>, is: usize| wanted.is_none_or(|wanted| is >= wanted);
            _ = arrived.wait_for(|is| least(counts.arrived, *is)).await;
            _ = runs.wait_for(|is| least(counts.runs, *is)).await;
            let enough = |is: &Swaps| least(counts.asked, is.asked) && least(counts.won, is.won);
            _ = swaps.wait_for(enough).await;
        };
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        reached.map_err(|_| format!("{counts:?} never came, but {:?}", self.counts()))
    }

    fn check(&self, counts: Counts) -> Result<(), String> {
        let is = self.counts();
        let same = |wanted: Option<usize>, is: Option<usize>| wanted.is_none() || wanted == is;
        let all = same(counts.arrived, is.arrived)
            && same(counts.runs, is.runs)
            && same(counts.asked, is.asked)
            && same(counts.won, is.won);
        if all {
            Ok(())
        } else {
            Err(format!("expected {counts:?}, it was {is:?}"))
        }
    }

    fn counts(&self) -> Counts {
        let swaps = *self.swaps.borrow();
        Counts {
            arrived: Some(*self.service.arrived.borrow()),
            runs: Some(*self.runs.borrow()),
            asked: Some(swaps.asked),
            won: Some(swaps.won),
        }
    }
}

fn expectation(value: &Value) -> Expected {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("expect: {error}"))
}
