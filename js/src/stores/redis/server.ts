/** What has to be known about a server before it is trusted with a record. */
import { Buffer } from "node:buffer";
import type { StoreError } from "../../errors.js";
import { inTime } from "../in-time.js";
import { fault, meaning } from "./fault.js";
import { firstError, type Link } from "./link.js";
import type { Options } from "./options.js";

/** After so long a node of a cluster that did not tell is asked again, in milliseconds. */
const SOON = 1000;

/** Whether the servers behind a client can be trusted, as far as was seen in the last while. */
export class Trust {
  private refused: StoreError | undefined;
  private dueAt = -Infinity;
  /** After how many connections the servers were looked at. */
  private seen = -1;
  private checking: Promise<void> | undefined;

  constructor(
    private readonly link: Link,
    private readonly options: Options,
    /** Counts connections: behind a new one there may be another server. */
    private readonly connections: () => number,
  ) {}

  /**
   * Makes sure of the server before the first question over a connection, and, before one that may
   * grant a lease, that it does not evict.
   *
   * @returns a promise only where something has to be waited for.
   * @throws StoreError, or rejects with it.
   */
  allow(granting: boolean): void | Promise<void> {
    const known = this.seen === this.connections();
    // Whoever finds a check under way goes on with what was seen last, where something was.
    if (known && (!granting || this.checking || performance.now() < this.dueAt)) return this.judge(granting);
    this.checking ??= this.check().finally(() => (this.checking = undefined));
    return this.checking.then(() => this.judge(granting));
  }

  /** Asks anew. */
  async check(): Promise<void> {
    const { answerWithin, checkEvery } = this.options;
    const seen = this.connections();
    try {
      const told = await inTime(answerWithin, this.link.info());
      const servers = told.filter((info) => !(info instanceof Error));
      const failed = firstError(told);
      // A node that cannot be reached has nothing to say, unless it is the only one.
      if (failed && (servers.length === 0 || failed.code !== undefined)) throw failed.error;
      if (servers.length === 0) throw fault("client", "no node of the cluster is known");
      const refusals = servers.map((info) => look(read(info), this.options, this.link.alone));
      this.refused = refusals.find((refusal) => refusal !== undefined);
      this.dueAt = performance.now() + (failed ? Math.min(SOON, checkEvery) : checkEvery);
      this.seen = seen;
    } catch (error) {
      this.seen = -1;
      throw meaning(error);
    }
  }

  private judge(granting: boolean): void {
    if (granting && this.refused) throw this.refused;
  }
}

interface Server {
  readonly version: string;
  readonly evicts: string | undefined;
  readonly replica: boolean;
  readonly appends: boolean;
}

/** Why no lease may be granted there. Throws where the server cannot be used at all. */
function look(server: Server, { copies, allowEviction }: Options, alone: boolean): StoreError | undefined {
  const tooOld = (wanted: string) =>
    fault("too-old", `the server is of version ${server.version}, which lacks commands; take Redis 7.0 or newer (${wanted})`);
  if (!isAtLeast(server, 7, 0)) throw tooOld("7.0 for any use");
  if (copies?.onDisk && !isAtLeast(server, 7, 2)) throw tooOld("7.2 for WAITAOF");
  if (copies?.onDisk && copies.local > 0 && !server.appends) {
    throw fault("no-append-file", "the server keeps no append-only file; set appendonly to yes, or wait for replicas alone");
  }
  // In a cluster the client may not have heard of a fail-over yet, and is sent on.
  if (server.replica && alone) throw fault("replica", "the server is a replica; the primary is needed");
  if (server.evicts === undefined || allowEviction) return undefined;
  return fault(
    "evicts",
    `the server may evict records: its maxmemory-policy is ${server.evicts}; set noeviction, or accept the loss by \`allowEviction\``,
  );
}

/** What `INFO` tells. */
function read(info: unknown): Server {
  const text = info instanceof Uint8Array ? Buffer.from(info).toString() : String(info);
  const fields = new Map(
    text.split(/\r?\n/).flatMap((line): [string, string][] => {
      const at = line.indexOf(":");
      return at < 0 ? [] : [[line.slice(0, at), line.slice(at + 1).trim()]];
    }),
  );
  const field = (name: string): string => {
    const value = fields.get(name);
    if (value === undefined) throw fault("silent", `the server does not tell its ${name} by INFO; let this user run INFO`);
    return value;
  };
  const policy = field("maxmemory_policy");
  const limited = field("maxmemory") !== "0";
  return {
    // Valkey says, as its redis_version, which one it is compatible with.
    version: /^[\d.]{1,20}$/.exec(field("redis_version"))?.[0] ?? "unknown",
    evicts: limited && policy !== "noeviction" ? policy.slice(0, 40) : undefined,
    replica: field("role") !== "master",
    appends: fields.get("aof_enabled") === "1",
  };
}

function isAtLeast({ version }: Server, major: number, minor: number): boolean {
  const [first = 0, second = 0] = version.split(".").map((part) => Number.parseInt(part, 10) || 0);
  return first > major || (first === major && second >= minor);
}
