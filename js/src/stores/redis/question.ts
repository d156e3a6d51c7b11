/**
 * A swap as commands, and the replies as its answer: `question.rs` of the crate `idemp-redis` in
 * JavaScript, with the same commands and the same script.
 *
 * A claim of a vacant slot is native commands, which a server answers in half the time of a script.
 * The key's expiry has to be that of the value beside it, also where another client's write gets
 * between two commands: so the last command reads the revision once more. A revision is put once, so
 * where it is still that of the value that the `SET` left there, nothing was written since, and what
 * the commands between them said is of that value, at a moment when it lay there.
 *
 * In a cluster, where a key may move on between two commands, and where the client sends again what
 * went to the wrong node, a question is one command: the script.
 */
import { Buffer } from "node:buffer";
import { CLAIM, REPLACE } from "../../generated/redis.js";
import type { NewSlot, Slot, Swap, Swapped } from "../../store.js";
import { fault } from "./fault.js";
import type { Copies } from "./options.js";
import { damaged, decode, encode, millis, rest, versionAndRev } from "./record.js";

export type Command = readonly [name: string, ...args: (string | Buffer)[]];

/** What the replies say. Where a claim changed nothing, and what defeated it went or was replaced
 *  before its deadlines could be told, it is unclear, and the script knows better. */
export type Answer = Swapped | "unclear";

/** A slot that goes sooner is claimed by the script: it may be gone before its time is told. */
const SHORT = 1000;
const NOTHING = Buffer.alloc(0);

/** The revision that matches none: it asks only to read. */
export const NIL = "0".repeat(32);

/** Whether it may grant a lease where none was. */
export function claims({ expect, put }: Swap): boolean {
  return expect === "vacant" && put !== "remove";
}

/** What the server is asked. */
export class Question {
  /** The server does not know the script: it is sent whole. */
  private whole = false;

  private constructor(
    readonly swap: Swap,
    readonly key: Buffer,
    private readonly natively: boolean,
    private readonly copies: Copies | undefined,
  ) {}

  /**
   * @param ordered whether several commands are run one after the other by one server. Where copies
   * are waited for, what defeats a swap is waited for, too, and only the script writes what makes
   * that sure.
   */
  static of(swap: Swap, key: Buffer, ordered: boolean, copies: Copies | undefined): Question {
    const { put } = swap;
    const natively = ordered && !copies && claims(swap) && (put as NewSlot).keepFor >= SHORT;
    return new Question(swap, key, natively, copies);
  }

  /** The same by the script, which knows every case. */
  byScript(): Question {
    return new Question(this.swap, this.key, false, this.copies);
  }

  /** Sends the script's text from now on; `false` where that was done. */
  tells(): boolean {
    if (this.natively || this.whole) return false;
    return (this.whole = true);
  }

  commands(): Command[] {
    const commands = this.natively ? this.claim(this.swap.put as NewSlot) : [this.script()];
    if (this.copies) commands.push(wait(this.copies));
    return commands;
  }

  private claim(put: NewSlot): Command[] {
    return [
      ["SET", this.key, encode(put), "NX", "GET", "PX", String(millis(put.keepFor))],
      ["PEXPIRETIME", this.key],
      // What is left of a slot that defeats it says the time in fewer bytes than TIME.
      ["PTTL", this.key],
      ["GETRANGE", this.key, "0", "16"],
    ];
  }

  private script(): Command {
    const { expect, put } = this.swap;
    const { text, sha } = claims(this.swap) ? CLAIM : REPLACE;
    const expected = expect === "vacant" ? "" : expect.rev === NIL ? "none" : Buffer.from(expect.rev, "hex");
    const [rev, leaseFor, keepFor, behind] =
      put === "remove"
        ? [NOTHING, 0, 0, NOTHING]
        : [versionAndRev(put.rev), millis(put.leaseFor), millis(put.keepFor), rest(put)];
    const args = [expected, rev, String(leaseFor), String(keepFor), behind, this.copies ? "1" : ""];
    return this.whole ? ["EVAL", text, "1", this.key, ...args] : ["EVALSHA", sha, "1", this.key, ...args];
  }

  /** Whether the server may have changed something, though one of the replies is an error. */
  mayHaveChanged(replies: readonly unknown[]): boolean {
    return this.natively && replies[0] === null;
  }

  /** Reads the replies, none of which is an error. */
  answer(replies: readonly unknown[]): Answer {
    if (this.copies) confirmed(replies[1], this.copies);
    return this.natively ? claimed(replies, this.swap.put as NewSlot) : scripted(replies[0]);
  }
}

function wait({ onDisk, local, replicas, within }: Copies): Command {
  const wanted = onDisk ? [String(local), String(replicas)] : [String(replicas)];
  return [onDisk ? "WAITAOF" : "WAIT", ...wanted, String(within)];
}

/** Whether enough copies confirmed, by the reply to `WAIT` or `WAITAOF`. */
function confirmed(reply: unknown, { onDisk, local, replicas }: Copies): void {
  const reached = onDisk ? list(reply, 2).map(whole) : [0, whole(reply)];
  const [here, there] = reached as [number, number];
  if (here >= local && there >= replicas) return;
  const count = Math.min(here, local) + Math.min(there, replicas);
  throw fault("unreplicated", `too few copies confirmed the write in time: ${count}, not ${local + replicas}`);
}

function claimed(replies: readonly unknown[], put: NewSlot): Answer {
  const [there, expiry, rest, start] = list(replies, 4);
  const [goneAt, left, rev] = [whole(expiry), whole(rest), bytes(start)];
  if (there === null) {
    // The expiry is the server's time of the SET, and `keepFor`.
    if (goneAt > 0 && rev.equals(versionAndRev(put.rev))) return won(goneAt - put.keepFor);
    // It won, and its time is not known any more. To ask again would be to claim twice.
    throw fault("overtaken", "the slot was claimed, and changed before its deadlines were told");
  }
  const value = bytes(there);
  if (!rev.equals(value.subarray(0, 17))) return "unclear";
  // A key that never expires is no record.
  if (goneAt === -1) throw damaged();
  // It goes in this millisecond: the server keeps a key through that of its expiry, when by the laws
  // of slots it is gone.
  if (left <= 0 || goneAt < 0) return "unclear";
  return lost(goneAt - left, decode(value, goneAt));
}

/** What the script answers: a number where it won. */
function scripted(reply: unknown): Answer {
  if (!Array.isArray(reply)) return won(whole(reply));
  if (reply.length === 1) return lost(whole(reply[0]), undefined);
  const [now, goneAt, value] = list(reply, 3);
  return lost(whole(now), decode(bytes(value), whole(goneAt)));
}

function won(now: number): Swapped {
  return { now: time(now), won: true };
}

function lost(now: number, slot: Slot | undefined): Swapped {
  return { now: time(now), won: false, slot };
}

function time(now: number): number {
  return now >= 0 ? now : unreadable();
}

function list(reply: unknown, length: number): readonly unknown[] {
  return Array.isArray(reply) && reply.length === length ? reply : unreadable();
}

/** A number, however the client was told to hand it over. */
function whole(reply: unknown): number {
  const text = reply instanceof Uint8Array ? Buffer.from(reply).toString() : String(reply);
  const number = /^-?\d{1,16}$/.test(text) ? Number(text) : NaN;
  return Number.isSafeInteger(number) ? number : unreadable();
}

function bytes(reply: unknown): Buffer {
  return Buffer.isBuffer(reply) ? reply : unreadable();
}

function unreadable(): never {
  throw fault("reply", "the server's reply cannot be understood");
}
