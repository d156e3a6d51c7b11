/** How a question goes to the server over the user's own client. */
import { Buffer } from "node:buffer";
import type { RedisClient } from "./client.js";
import { meet } from "./connections.js";
import { fault, replyCode } from "./fault.js";
import type { Command } from "./question.js";

/** A client, whichever it is. */
export interface Link {
  /**
   * Sends the commands in one go and gives all replies, those that are errors among them. Several are
   * run one after the other by the server that has the key. Rejects where there is no connection.
   */
  ask(key: Buffer, commands: readonly Command[]): Promise<readonly unknown[]>;
  /** Lets the client learn who has the key now; it follows redirections of single commands. */
  learn(key: Buffer): Promise<unknown>;
  /** What every primary tells by `INFO`, or why it does not. */
  info(): Promise<readonly unknown[]>;
  /** Whether a server is alone, and no command is sent on to another one. */
  readonly alone: boolean;
}

/** @throws StoreError STORE_UNUSABLE where it is no client that is known. */
export function linkTo(client: RedisClient): Link {
  const has = (name: string) => typeof (client as unknown as Record<string, unknown> | null)?.[name] === "function";
  if (has("pipeline") && has("on")) return ioredis(client as unknown as IoredisClient);
  if (has("withTypeMapping") && has("nodeClient")) return cluster(client as unknown as Cluster);
  if (has("withTypeMapping") && has("execute")) return pool(client as unknown as Pool);
  // A client for Sentinel has `use`, and another order of arguments.
  if (has("withTypeMapping") && has("sendCommand") && !has("use")) return nodeRedis(client as unknown as Client);
  throw fault("option", "this is no client that is known; take `Redis` or `Cluster` of ioredis 5.4, or a client, a pool or a cluster of redis 5, or newer ones");
}

/** As far as it is used. */
interface IoredisClient {
  readonly isCluster?: boolean;
  pipeline(): Pipeline;
  nodes?(role: string): IoredisClient[];
}

interface Pipeline {
  callBuffer(...command: readonly (string | Buffer)[]): unknown;
  exec(): Promise<[error: unknown, reply: unknown][] | null>;
}

function ioredis(client: IoredisClient): Link {
  const ask = async (on: IoredisClient, commands: readonly Command[]) => {
    // Not by the client's own methods: with `enableAutoPipelining` they go by the wrong key.
    const pipeline = on.pipeline();
    for (const command of commands) pipeline.callBuffer(...command);
    const replies = (await pipeline.exec()) ?? [];
    return replies.map(([error, reply]) => error ?? reply);
  };
  return {
    alone: client.isCluster !== true,
    ask: (_key, commands) => ask(client, commands),
    learn: (key) => ask(client, [["GETEX", key]]),
    async info() {
      if (client.isCluster !== true) return ask(client, [["INFO"]]);
      // It has no nodes before it is asked something.
      if (client.nodes?.("master").length === 0) await ask(client, [["PING"]]);
      return each(client.nodes?.("master") ?? [], (node) => ask(node, [["INFO"]]));
    },
  };
}

interface Client {
  sendCommand(args: readonly (string | Buffer)[], options: typeof IN_BYTES): Promise<unknown>;
}

interface Pool {
  execute<T>(task: (client: Client) => Promise<T>): Promise<T>;
}

interface Cluster {
  sendCommand(key: Buffer, isReadonly: boolean, args: readonly (string | Buffer)[], options: typeof IN_BYTES): Promise<unknown>;
  readonly masters: readonly unknown[];
  nodeClient(node: unknown): Client | Promise<Client>;
  getNodeClientForKey?(key: Buffer, isReadonly: boolean): Promise<Client>;
}

/** Strings come as bytes, and everything else as the client has it by default, whatever it was told.
 *  Commands in order: `asap` puts each before those that wait, so a wait for copies before its write. */
const IN_BYTES = { typeMapping: { 36: Buffer }, asap: false };

/** Commands that are sent in the same turn go out together, in order. */
function send(client: Client, commands: readonly Command[]): Promise<unknown[]> {
  return Promise.all(commands.map((command) => caught(client.sendCommand(command, IN_BYTES))));
}

function nodeRedis(client: Client): Link {
  return {
    alone: true,
    ask: (_key, commands) => send(client, commands),
    learn: () => Promise.resolve(),
    info: () => send(client, [["INFO"]]),
  };
}

function pool(pool: Pool): Link {
  // On one client of the pool: on two of them the order would be anybody's.
  const ask = (commands: readonly Command[]) =>
    pool.execute((client) => {
      meet(pool, client);
      return send(client, commands);
    });
  return {
    alone: true,
    ask: (_key, commands) => ask(commands),
    learn: () => Promise.resolve(),
    info: () => ask([["INFO"]]),
  };
}

function cluster(cluster: Cluster): Link {
  const one = (key: Buffer, command: Command) => caught(cluster.sendCommand(key, false, command, IN_BYTES));
  return {
    alone: false,
    async ask(key, commands) {
      const [command, ...more] = commands as [Command, ...Command[]];
      if (more.length === 0) return [await one(key, command)];
      // A wait is for what its own connection wrote.
      if (!cluster.getNodeClientForKey) throw fault("option", "a wait for copies on a cluster takes redis 6 or newer");
      return send(await cluster.getNodeClientForKey(key, false), commands);
    },
    learn: (key) => one(key, ["GETEX", key]),
    info: () => each(cluster.masters, async (node) => send(await cluster.nodeClient(node), [["INFO"]])),
  };
}

async function each<T>(nodes: readonly T[], ask: (node: T) => Promise<readonly unknown[]>): Promise<unknown[]> {
  return (await Promise.all(nodes.map((node) => caught(ask(node))))).flat();
}

/** An error as a value: of a server's reply, or of the client. */
function caught<T>(asked: Promise<T>): Promise<T | Error> {
  return asked.catch((error: unknown) => (error instanceof Error ? error : new Error("the client failed")));
}

/** The first error among replies, where there is one. */
export function firstError(replies: readonly unknown[]): { error: unknown; code: string | undefined } | undefined {
  for (const reply of replies) if (reply instanceof Error) return { error: reply, code: replyCode(reply) };
  return undefined;
}
