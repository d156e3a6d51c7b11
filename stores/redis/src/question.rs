//! [`Question`]: a swap as commands, and the replies as its answer.
//!
//! A claim of a vacant slot and a read are native commands in a transaction, which a server
//! answers in half the time of a script. The transaction is what makes the key's expiry that of
//! the value beside it: without one, another client's write gets between them.

use idemp::{Expect, NewSlot, Put, Rev, Swap, Swapped, Timestamp, Verdict};
use redis::{Pipeline, Value};

use crate::fault::RedisFault;
use crate::options::{Copies, Options};
use crate::record::{self, millis};
use crate::script;

/// How a swap is put to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `SET … NX GET PX`, with the expiry and what is left until then.
    Claim,
    /// `GETEX`, with the expiry and the time. It changes nothing and counts as a write: so a
    /// replica refuses it, whose answer could be old.
    Read,
    /// The script.
    Script,
}

/// What the server is asked.
pub(crate) struct Question<'a> {
    swap: &'a Swap,
    key: &'a [u8],
    form: Form,
    copies: Option<Copies>,
}

/// What the replies say.
#[derive(Debug)]
pub(crate) enum Answer {
    Swapped(Swapped),
    /// The claim lost against a slot in the millisecond in which it goes, or won one that was gone
    /// before its time could be told. The script knows better.
    Unclear,
}

impl<'a> Question<'a> {
    /// Where copies are waited for, what defeats a swap is waited for, too, and only the script
    /// writes what makes that sure.
    pub(crate) fn new(swap: &'a Swap, key: &'a [u8], options: &Options) -> Self {
        let copies = options.copies;
        let form = match (&swap.put, swap.expect) {
            _ if copies.is_some() => Form::Script,
            (_, Expect::Rev(Rev::NIL)) => Form::Read,
            (Put::Slot(new), Expect::Vacant) if new.keep_for.as_millis() > 0 => Form::Claim,
            _ => Form::Script,
        };
        Self {
            swap,
            key,
            form,
            copies,
        }
    }

    /// The same by the script, which knows every case.
    pub(crate) fn by_script(&self) -> Self {
        let form = Form::Script;
        Self { form, ..*self }
    }

    pub(crate) fn key(&self) -> &[u8] {
        self.key
    }

    /// Whether it changes nothing, whatever lies there.
    pub(crate) fn reads(&self) -> bool {
        self.swap.expect == Expect::Rev(Rev::NIL)
    }

    /// Whether it may grant a lease where none was.
    pub(crate) fn claims(&self) -> bool {
        self.swap.expect == Expect::Vacant && matches!(self.swap.put, Put::Slot(_))
    }

    /// The commands, and how many replies they have.
    pub(crate) fn commands(&self) -> Result<(Pipeline, usize), RedisFault> {
        let mut commands = Pipeline::with_capacity(6);
        let count = match (self.form, &self.swap.put) {
            (Form::Claim, Put::Slot(new)) => {
                let mut set = redis::Cmd::with_capacity(7, self.key.len() + new.body.len() + 160);
                set.arg("SET").arg(self.key).arg(record::encode(new)?);
                set.arg("NX")
                    .arg("GET")
                    .arg("PX")
                    .arg(millis(new.keep_for)?);
                // What is left of a slot that defeats it says the time in fewer bytes than TIME.
                let mut left = redis::cmd("PTTL");
                left.arg(self.key);
                self.transaction(&mut commands, set, left)
            }
            (Form::Read, _) => {
                let mut get = redis::cmd("GETEX");
                get.arg(self.key);
                self.transaction(&mut commands, get, redis::cmd("TIME"))
            }
            _ => {
                commands.add_command(self.script()?);
                1
            }
        };
        let Some(copies) = self.copies else {
            return Ok((commands, count));
        };
        commands.add_command(wait(copies));
        Ok((commands, count + 1))
    }

    fn transaction(&self, commands: &mut Pipeline, first: redis::Cmd, last: redis::Cmd) -> usize {
        commands.cmd("MULTI").add_command(first);
        commands.cmd("PEXPIRETIME").arg(self.key);
        commands.add_command(last).cmd("EXEC");
        5
    }

    fn script(&self) -> Result<redis::Cmd, RedisFault> {
        let script = if self.claims() {
            &script::CLAIM
        } else {
            &script::REPLACE
        };
        let mut eval = redis::cmd("EVALSHA");
        eval.arg(script.get_hash()).arg(1).arg(self.key);
        match &self.swap.expect {
            Expect::Vacant => eval.arg(""),
            Expect::Rev(Rev::NIL) => eval.arg("none"),
            Expect::Rev(rev) => eval.arg(&rev.as_bytes()[..]),
        };
        match &self.swap.put {
            Put::Slot(new) => eval
                .arg(&record::version_and_rev(new.rev)[..])
                .arg(millis(new.lease_for)?)
                .arg(millis(new.keep_for)?)
                .arg(record::rest(new)),
            Put::Remove => eval.arg("").arg(0).arg(0).arg(""),
        };
        eval.arg(if self.copies.is_some() { "1" } else { "" });
        Ok(eval)
    }

    /// Reads the replies, none of which is an error.
    pub(crate) fn answer(&self, mut replies: Vec<Value>) -> Result<Answer, RedisFault> {
        if let Some(copies) = self.copies {
            confirmed(&replies.pop().ok_or(RedisFault::Reply)?, copies)?;
        }
        let last = replies.pop().ok_or(RedisFault::Reply)?;
        match (self.form, &self.swap.put, last) {
            (Form::Script, _, Value::Int(now)) => won(now),
            (Form::Script, _, Value::Array(parts)) => scripted(parts),
            (Form::Claim, Put::Slot(new), Value::Array(parts)) => claimed(parts, new),
            (Form::Read, _, Value::Array(parts)) => read(parts),
            _ => Err(RedisFault::Reply),
        }
    }
}

fn wait(copies: Copies) -> redis::Cmd {
    let mut wait = redis::cmd(match copies {
        Copies::InMemory { .. } => "WAIT",
        Copies::OnDisk { .. } => "WAITAOF",
    });
    let (local, replicas) = copies.wanted();
    if let Copies::OnDisk { .. } = copies {
        wait.arg(local);
    }
    // Zero would be for ever; an option of less than a millisecond is refused.
    wait.arg(replicas).arg(copies.within().as_millis() as u64);
    wait
}

/// Whether enough copies confirmed, by the reply to `WAIT` or `WAITAOF`.
fn confirmed(reply: &Value, copies: Copies) -> Result<(), RedisFault> {
    let (local, replicas) = copies.wanted();
    let reached = match reply {
        Value::Int(replicas) => (0, *replicas),
        Value::Array(both) => match both[..] {
            [Value::Int(local), Value::Int(replicas)] => (local, replicas),
            _ => return Err(RedisFault::Reply),
        },
        _ => return Err(RedisFault::Reply),
    };
    let reached = (reached.0.max(0) as u64, reached.1.max(0) as u64);
    if reached.0 >= local && reached.1 >= replicas {
        return Ok(());
    }
    Err(RedisFault::Unreplicated {
        reached: reached.0.min(local) + reached.1.min(replicas),
        wanted: local + replicas,
    })
}

fn claimed(parts: Vec<Value>, new: &NewSlot) -> Result<Answer, RedisFault> {
    let Ok([there, Value::Int(gone_at), Value::Int(left)]) = <[Value; 3]>::try_from(parts) else {
        return Err(RedisFault::Reply);
    };
    match value(there)? {
        // The expiry is the server's time of the SET, and `keep_for`.
        None if gone_at > 0 => won(gone_at - millis(new.keep_for)? as i64),
        None => Ok(Answer::Unclear),
        // A key that never expires is no record.
        Some(_) if gone_at == -1 => Err(RedisFault::Damaged),
        // It went between the commands, or goes in this millisecond: the server keeps a key
        // through that of its expiry, when by the laws of slots it is gone.
        Some(_) if left <= 0 || gone_at < 0 => Ok(Answer::Unclear),
        Some(value) => lost(gone_at - left, Some(record::decode(&value, gone_at)?)),
    }
}

fn read(parts: Vec<Value>) -> Result<Answer, RedisFault> {
    let Ok([there, Value::Int(gone_at), Value::Array(time)]) = <[Value; 3]>::try_from(parts) else {
        return Err(RedisFault::Reply);
    };
    let now = milliseconds(&time)?;
    let gone = gone_at == -2 || (0..=now).contains(&gone_at);
    match value(there)? {
        Some(value) if !gone => lost(now, Some(record::decode(&value, gone_at)?)),
        _ => lost(now, None),
    }
}

fn value(reply: Value) -> Result<Option<Vec<u8>>, RedisFault> {
    match reply {
        Value::Nil => Ok(None),
        Value::BulkString(value) => Ok(Some(value)),
        _ => Err(RedisFault::Reply),
    }
}

/// What `TIME` says: seconds, and microseconds beyond.
fn milliseconds(time: &[Value]) -> Result<i64, RedisFault> {
    let number = |part: &Value| match part {
        Value::BulkString(digits) => std::str::from_utf8(digits).ok()?.parse::<i64>().ok(),
        _ => None,
    };
    let parts: Option<Vec<i64>> = time.iter().map(number).collect();
    match parts.as_deref() {
        Some([seconds, micros]) => Ok(seconds * 1000 + micros / 1000),
        _ => Err(RedisFault::Reply),
    }
}

/// What the script answers to a swap that lost.
fn scripted(parts: Vec<Value>) -> Result<Answer, RedisFault> {
    match &parts[..] {
        [Value::Int(now)] => lost(*now, None),
        [
            Value::Int(now),
            Value::Int(gone_at),
            Value::BulkString(value),
        ] => {
            let slot = record::decode(value, *gone_at)?;
            lost(*now, Some(slot))
        }
        _ => Err(RedisFault::Reply),
    }
}

fn won(now: i64) -> Result<Answer, RedisFault> {
    swapped(now, Verdict::Won)
}

fn lost(now: i64, slot: Option<idemp::Slot>) -> Result<Answer, RedisFault> {
    swapped(now, Verdict::Lost(slot))
}

fn swapped(now: i64, verdict: Verdict) -> Result<Answer, RedisFault> {
    let now = u64::try_from(now).map_err(|_| RedisFault::Reply)?;
    let now = Timestamp::from_millis(now);
    Ok(Answer::Swapped(Swapped { now, verdict }))
}
