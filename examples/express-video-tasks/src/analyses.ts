/**
 * Case 2: analyses of videos, without a key from the client. What a request is about, a tenant and a
 * file name, is its natural key, and it is held while the analysis is active.
 *
 * Of requests that come at once one is the owner. It creates the analysis, publishes its id on the
 * slot, and only then answers; the others are given what it published. The lease is handed over as a
 * token, kept with the analysis, to whoever ends it, in this process or in another one: then the slot
 * is vacant at once, and the next request starts a new analysis.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Decision, Idempotency, Lease, PolicyOptions } from "idemp";
import type { Analysis, Database, End } from "./database.js";
import type { Subject } from "./subject.js";

/** How a natural key is held: for 6 hours at most. */
export const WHILE_ACTIVE: PolicyOptions = { usage: "while-active", retention: "6h" };

/** What a request for an analysis comes to. */
export type Started =
  /** A new one. */
  | { readonly type: "new"; readonly analysis: Analysis }
  /** One that is at work already. */
  | { readonly type: "joined"; readonly analysis: Analysis }
  /** Somebody else is starting one, and has not said its name yet. */
  | { readonly type: "nameless" };

/** All analyses. */
export class Analyses {
  /** To start one takes `startTakes` ms; so long its duplicates wait for its name, but no longer than
   *  `patience` ms. */
  constructor(
    private readonly idem: Idempotency,
    private readonly database: Database,
    private readonly startTakes = 20,
    private readonly patience = 2000,
  ) {}

  /** Starts an analysis, or joins the one that is active. @throws where the store failed: nothing was
   *  started. */
  async start(subject: Subject): Promise<Started> {
    // A second look finds the slot vacant where the analysis ended after the first one.
    for (let look = 0; look < LOOKS; look++) {
      const decision = await this.begin(subject);
      if (decision.type === "miss") return { type: "new", analysis: await this.create(decision.lease) };
      // One natural key has one fingerprint and no outcome: this does not come. If it does, nothing is
      // started.
      if (decision.type !== "in-progress") throw new Error(`the subject is ${decision.type}`);
      if (!decision.other.published) return { type: "nameless" };
      const analysis = this.active(decision.other.published);
      if (analysis) return { type: "joined", analysis };
    }
    return { type: "nameless" };
  }

  find(taskId: string): Analysis | undefined {
    const found = this.database.analysis(taskId);
    return found && { task_id: taskId, status: found.status };
  }

  /**
   * Ends an analysis, and makes the way free for the next one of its subject. Hands back how it ended,
   * which may be otherwise: the first end stands.
   *
   * @throws where the store failed: it may be ended again.
   */
  async end(taskId: string, end: End): Promise<Analysis | undefined> {
    const held = this.database.analysis(taskId);
    if (!held) return undefined;
    if (held.status !== "processing") return { task_id: taskId, status: held.status };
    // First the slot, then the status: whoever reads that it has ended finds it vacant. The slot may be
    // another one's already, where this was active for longer than the policy allows: then there is
    // nothing to vacate.
    await this.idem.resume(held.lease).finish(utf8.encode(JSON.stringify(end)));
    return { task_id: taskId, status: this.database.end(taskId, end) };
  }

  /** Claims the subject. Where somebody else has it, waits until the owner has published. */
  private async begin({ scope, key, fingerprint }: Subject): Promise<Decision> {
    const since = performance.now();
    for (;;) {
      const decision = await this.idem.begin(scope, key, fingerprint, WHILE_ACTIVE);
      const waits = decision.type === "in-progress" && !decision.other.published;
      if (!waits || performance.now() - since >= this.patience) return decision;
      await sleep(LOOK_EVERY);
    }
  }

  /** What the owner published, with the present status; `undefined` where the analysis has just ended,
   *  so that its slot is vacant now. */
  private active(published: Uint8Array): Analysis | undefined {
    const analysis = JSON.parse(new TextDecoder().decode(published)) as Analysis;
    // One of a service with another database is as it was published.
    const now = this.find(analysis.task_id) ?? analysis;
    return now.status === "processing" ? now : undefined;
  }

  /** Creates an analysis as the owner of its subject. */
  private async create(lease: Lease): Promise<Analysis> {
    let analysis: Analysis | undefined;
    try {
      // Stands for what it takes to start an analysis.
      await sleep(this.startTakes);
      analysis = this.database.start(lease.token);
      const told = await lease.publish(utf8.encode(JSON.stringify(analysis)));
      // The end of the analysis is the end of the lease: until then nobody holds it here.
      if (told.type === "held") return analysis;
      throw new Error(`the lease is ${told.type}`);
    } catch (error) {
      // Its name may not be known to the duplicates: it came to nothing.
      if (analysis) this.database.withdraw(analysis.task_id);
      await lease.release().catch(() => undefined); // else it lapses
      throw error;
    }
  }
}

/** Analyses that end each time between two looks: after so many the caller had better ask again. */
const LOOKS = 8;
/** How often a duplicate looks for the name, in milliseconds. */
const LOOK_EVERY = 5;
const utf8 = new TextEncoder();
