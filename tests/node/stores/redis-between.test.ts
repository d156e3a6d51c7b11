/** Another client's writes between the commands of one claim. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, type Socket, connect, createServer } from "node:net";
import { after, before, test } from "node:test";
import type { Slot, Store, Swap, Swapped } from "idemp";
import { redisStore } from "idemp/redis";
import { Redis } from "ioredis";
import { type Servers, startServers } from "../servers.js";
import { KEPT, type Put, claim, failure, kind, lies, outcome } from "./asks.js";
import { ioredis, nodeRedis } from "./redis-clients.js";

let servers: Servers;
let admin: Redis;
let theirs: Redis;
let other: Store;
before(async () => {
  servers = await startServers("redis");
  admin = new Redis(servers.url("redis"));
  theirs = new Redis(servers.url("redis"));
  other = redisStore(theirs);
});
after(async () => {
  for (const client of [admin, theirs]) client?.disconnect();
  await servers?.stop();
});

/** A claim is so many commands: the other client's turn is before one of them, or behind the last. */
const COMMANDS = 4;

/** What the other client does, by what lies there: keeps it longer, or exactly as long; removes it; and
 *  begins anew. */
const DEEDS: Record<string, (there: Slot) => Swap[]> = {
  longer: (there) => [replaced(there, 2 * KEPT)],
  "as long": (there) => [replaced(there, 1)],
  removed: (there) => [removed(there)],
  "begun anew": (there) => [removed(there), claim("a")],
  "begun anew, for longer": (there) => [removed(there), claim("a", { keepFor: 3 * KEPT })],
};

function replaced({ rev }: Slot, keepFor: number): Put {
  return { ...outcome(claim("a"), "another's", keepFor), expect: { rev } };
}

function removed({ rev }: Slot): Swap {
  return { slot: claim("a").slot, expect: { rev }, put: "remove" };
}

for (const [label, connected] of [["ioredis", ioredis], ["redis", nodeRedis]] as const) {
  test(`${label}: a claim that loses tells a slot and a time at which it lay there`, async () => {
    for (const [name, deed] of Object.entries(DEEDS)) {
      for (let turn = 0; turn <= COMMANDS; turn++) {
        await admin.flushall();
        await other.swap(claim("a"));
        const there = (await lies(other, "a")) as Slot;
        const slowed = await Slowed.before(turn, () => acted(deed(there)));
        const { client, end } = await connected(slowed.url);
        const reply = await redisStore(client).swap(claim("a"));
        const after = await lies(other, "a");
        await end();
        const replies = await slowed.done();
        const what = `${name}, before command ${turn}: ${JSON.stringify(reply)}`;
        if (reply.won) {
          // The slot was removed, and is claimed behind that.
          assert.equal(name, "removed", what);
          assert.ok(reply.now >= (replies[0] as Swapped).now, what);
          assert.equal(after?.goneAt, reply.now + KEPT, what);
        } else if (reply.slot?.rev === there.rev) {
          assert.deepEqual(reply.slot, there, what);
          assert.ok(reply.now <= (replies[0] as Swapped).now, what);
        } else {
          assert.deepEqual(reply.slot, after, what);
          assert.ok(reply.now >= (replies.at(-1) as Swapped).now, what);
        }
      }
    }
  });

  test(`${label}: a claim that wins tells when it did, or that it does not know`, async () => {
    for (const [name, deed] of Object.entries(DEEDS)) {
      for (let turn = 1; turn <= COMMANDS; turn++) {
        await admin.flushall();
        const ours = claim("a");
        let seen: Slot | undefined;
        let swaps: Swap[] = [];
        const slowed = await Slowed.before(turn, async () => {
          seen = await lies(other, "a");
          return acted((swaps = deed(seen as Slot)));
        });
        const { client, end } = await connected(slowed.url);
        const store = redisStore(client);
        const what = `${name}, before command ${turn}`;
        if (turn === COMMANDS) {
          const reply = await store.swap(ours);
          assert.equal(reply.won, true, what);
          assert.equal(seen?.goneAt, reply.now + KEPT, what);
        } else {
          const error = await failure(store.swap(ours));
          assert.equal(error.code, "STORE_UNAVAILABLE", what);
          assert.equal(kind(error), "overtaken", what);
        }
        assert.equal(seen?.rev, ours.put.rev, what);
        await end();
        await slowed.done();
        // Nothing of the other client's is undone.
        const last = swaps.at(-1)?.put;
        const left = last === "remove" ? undefined : last?.rev;
        assert.equal((await lies(other, "a"))?.rev, left, what);
      }
    }
  });
}

async function acted(swaps: Swap[]): Promise<Swapped[]> {
  const replies: Swapped[] = [];
  for (const swap of swaps) {
    const reply = await other.swap(swap);
    assert.equal(reply.won, true, "the other client has its way");
    replies.push(reply);
  }
  return replies;
}

/** Passes commands on one at a time, and lets another client act before the one of that number, counted
 *  from a `SET` with seven words on. */
class Slowed {
  private passed = 0;
  private claims = false;
  private readonly acted: Promise<Swapped[]>;
  private act!: () => Promise<void>;

  private constructor(
    private readonly server: ReturnType<typeof createServer>,
    private readonly turn: number,
    deed: () => Promise<Swapped[]>,
  ) {
    this.acted = new Promise((resolve, reject) => {
      this.act = () => deed().then(resolve, reject);
    });
    this.server.on("connection", (client) => void this.pass(client));
  }

  static async before(turn: number, deed: () => Promise<Swapped[]>): Promise<Slowed> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new Slowed(server, turn, deed);
  }

  get url(): string {
    return `redis://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** What the other client was answered. */
  async done(): Promise<Swapped[]> {
    this.server.close();
    return this.acted;
  }

  private async pass(client: Socket): Promise<void> {
    const server = connect(Number(new URL(servers.url("redis")).port), "127.0.0.1");
    for (const [end, far] of [[client, server], [server, client]] as const) {
      end.on("error", () => undefined); // its end is seen
      end.on("close", () => far.destroy());
    }
    const replies = elements(server);
    for await (const command of elements(client)) {
      this.claims ||= command.subarray(0, 13).toString().toUpperCase() === "*7\r\n$3\r\nSET\r\n";
      if (this.claims && this.passed === this.turn) await this.actOnce();
      server.write(command);
      const { value } = await replies.next();
      if (this.claims) this.passed += 1;
      // The reply to the last command waits for what comes behind it.
      if (this.claims && this.passed === this.turn && this.turn === COMMANDS) await this.actOnce();
      if (value) client.write(value);
    }
  }

  private actOnce(): Promise<void> {
    const { act } = this;
    this.act = async () => undefined;
    return act();
  }
}

/** The elements of the protocol that come from there, whole. */
async function* elements(from: Socket): AsyncGenerator<Buffer> {
  let bytes: Buffer = Buffer.alloc(0);
  for await (const chunk of from) {
    bytes = Buffer.concat([bytes, chunk as Buffer]);
    for (let end = element(bytes, 0); end !== undefined; end = element(bytes, 0)) {
      yield bytes.subarray(0, end);
      bytes = bytes.subarray(end);
    }
  }
}

/** Where the element that begins there ends; `undefined` where it is not whole yet. */
function element(bytes: Buffer, at: number): number | undefined {
  const line = bytes.indexOf("\r\n", at);
  if (line < 0) return undefined;
  const [type, length] = [String.fromCharCode(bytes[at] as number), Number(bytes.toString("latin1", at + 1, line))];
  let end: number | undefined = line + 2;
  if ("$=!".includes(type)) end += length < 0 ? 0 : length + 2;
  const parts = "*~>".includes(type) ? length : type === "%" ? 2 * length : 0;
  for (let part = 0; part < parts && end !== undefined; part++) end = element(bytes, end);
  return end !== undefined && end <= bytes.length ? end : undefined;
}
