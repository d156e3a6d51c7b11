//! [`Question`]: a swap as commands, and the replies as its answer.
//!
//! A claim of a vacant slot and a read are native commands, which a server answers in half the
//! time of a script. The key's expiry has to be that of the value beside it, also where another
//! client's write gets between two commands. A read is a transaction. A claim is not, which costs
//! both sides less: its last command reads the revision once more. A revision is put once, so
//! where it is still that of the value that the `SET` left there, nothing was written since, and
//! what the commands between them said is of that value, at a moment when it lay there.
//! In a cluster, where the key may also move away in between, a claim is a transaction, too.

use std::time::Duration;

use idemp::{Expect, NewSlot, Put, Rev, Swap, Swapped, Timestamp, Verdict};
use redis::{Pipeline, Value};

use crate::fault::RedisFault;
use crate::options::{Copies, Options};
use crate::record::{self, millis};
use crate::script;

/// A slot that goes sooner is claimed by the script: it may be gone before its time is told.
const SHORT: Duration = Duration::from_secs(1);

/// How a swap is put to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `SET … NX GET PX`, with the expiry, what is left until then, and the revision after that.
    Claim,
    /// The same in a transaction.
    WholeClaim,
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
    /// The claim changed nothing, and what defeated it went or was replaced before its deadlines
    /// could be told. The script knows better.
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
            (Put::Slot(new), Expect::Vacant) if new.keep_for >= SHORT => Form::Claim,
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

    /// The same as one whole: in a cluster, a key may move on between two commands, and `ASKING`
    /// covers one command or one transaction.
    pub(crate) fn whole(&self) -> Self {
        let form = match self.form {
            Form::Claim => Form::WholeClaim,
            form => form,
        };
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
            (Form::Claim | Form::WholeClaim, Put::Slot(new)) => {
                let whole = self.form == Form::WholeClaim;
                if whole {
                    commands.cmd("MULTI");
                }
                let mut set = redis::Cmd::with_capacity(7, self.key.len() + new.body.len() + 160);
                set.arg("SET").arg(self.key).arg(record::encode(new)?);
                set.arg("NX")
                    .arg("GET")
                    .arg("PX")
                    .arg(millis(new.keep_for)?);
                commands.add_command(set);
                commands.add_command(self.about("PEXPIRETIME", 1));
                // What is left of a slot that defeats it says the time in fewer bytes than TIME.
                commands.add_command(self.about("PTTL", 1));
                let mut rev = self.about("GETRANGE", 3);
                rev.arg("0").arg("16");
                commands.add_command(rev);
                if whole {
                    commands.cmd("EXEC");
                }
                if whole { 6 } else { 4 }
            }
            (Form::Read, _) => {
                commands.cmd("MULTI");
                commands.add_command(self.about("GETEX", 1));
                commands.add_command(self.about("PEXPIRETIME", 1));
                commands.cmd("TIME").cmd("EXEC");
                5
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

    /// A command about the key, with room for so many arguments.
    fn about(&self, name: &str, arguments: usize) -> redis::Cmd {
        let mut command = redis::Cmd::with_capacity(1 + arguments, name.len() + self.key.len() + 8);
        command.arg(name).arg(self.key);
        command
    }

    /// Whether the server may have changed something, though one of the replies is an error.
    pub(crate) fn may_have_changed(&self, replies: &[Value]) -> bool {
        self.form == Form::Claim && matches!(replies.first(), Some(Value::Nil))
    }

    fn script(&self) -> Result<redis::Cmd, RedisFault> {
        let script = if self.claims() {
            &script::CLAIM
        } else {
            &script::REPLACE
        };
        let body = match &self.swap.put {
            Put::Slot(new) => new.body.len(),
            Put::Remove => 0,
        };
        let mut eval = redis::Cmd::with_capacity(9, self.key.len() + body + 280);
        eval.arg("EVALSHA");
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
        match (self.form, &self.swap.put) {
            (Form::Claim, Put::Slot(new)) => return claimed(replies, new),
            (Form::Claim, Put::Remove) => return Err(RedisFault::Reply),
            (Form::WholeClaim, Put::Slot(new)) => match replies.pop() {
                Some(Value::Array(parts)) => return claimed(parts, new),
                _ => return Err(RedisFault::Reply),
            },
            _ => {}
        }
        let last = replies.pop().ok_or(RedisFault::Reply)?;
        match (self.form, last) {
            (Form::Script, Value::Int(now)) => won(now),
            (Form::Script, Value::Array(parts)) => scripted(parts),
            (Form::Read, Value::Array(parts)) => read(parts),
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

fn claimed(replies: Vec<Value>, new: &NewSlot) -> Result<Answer, RedisFault> {
    let Ok(replies) = <[Value; 4]>::try_from(replies) else {
        return Err(RedisFault::Reply);
    };
    let [
        there,
        Value::Int(gone_at),
        Value::Int(left),
        Value::BulkString(rev),
    ] = replies
    else {
        return Err(RedisFault::Reply);
    };
    match value(there)? {
        // The expiry is the server's time of the SET, and `keep_for`.
        None if gone_at > 0 && rev == record::version_and_rev(new.rev) => {
            won(gone_at - millis(new.keep_for)? as i64)
        }
        // It won, and its time is not known any more. To ask again would be to claim twice.
        None => Err(RedisFault::Overtaken),
        Some(value) if rev != value[..value.len().min(17)] => Ok(Answer::Unclear),
        // A key that never expires is no record.
        Some(_) if gone_at == -1 => Err(RedisFault::Damaged),
        // It goes in this millisecond: the server keeps a key through that of its expiry, when by
        // the laws of slots it is gone.
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
