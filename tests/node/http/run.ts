/** Runs the cases, step by step, served by each framework. */
import assert from "node:assert/strict";
import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, test } from "node:test";
import { createIdempotency, type Store } from "idemp";
import { bytesOf, topics, type Case, type Counts, type Expected, type Step } from "./case.js";
import { Exchange } from "./client.js";
import { express4, express5 } from "./frameworks/express.js";
import { fastify } from "./frameworks/fastify.js";
import { hono } from "./frameworks/hono.js";
import { web } from "./frameworks/web.js";
import { Count, Gates } from "./gates.js";
import { differs } from "./judge.js";
import { Service, type Framework } from "./service.js";
import { Stage } from "./stage.js";

const FRAMEWORKS: readonly Framework[] = [express5, express4, fastify, hono, web];

/** All of them, on a store that they share. */
export function runAll(store: () => Store): void {
  each(FRAMEWORKS, "", () => true, (one, framework) => run(one, framework, store()));
}

/** Those that want nothing of a {@link Stage}, with nothing before the store: as applications have it, and
 *  as stores have it that drive themselves. */
export function runAlone(store: () => Store): void {
  each([express5, web], ", alone", isPlain, (one, framework) => run(one, framework, store(), true));
}

/** Those frameworks that `IDEMP_FRAMEWORK` names, and cases whose name holds `IDEMP_CASE`, or all. */
function each(
  frameworks: readonly Framework[],
  how: string,
  wanted: (one: Case) => boolean,
  run: (one: Case, framework: Framework) => Promise<void>,
): void {
  const only = process.env["IDEMP_CASE"] ?? "";
  const named = process.env["IDEMP_FRAMEWORK"];
  for (const framework of frameworks.filter(({ name }) => !named || name === named)) {
    describe(framework.name + how, { concurrency: 8 }, () => {
      for (const [topic, { cases }] of topics()) {
        for (const one of cases.filter((one) => one.name.includes(only) && wanted(one))) {
          test(`${topic}: ${one.name}`, () => run(one, framework));
        }
      }
    });
  }
}

function isPlain({ routes = {}, steps, handler = [] }: Case): boolean {
  if (Object.values(routes).some((route) => route?.scope === "unscoped")) return false;
  const counts = (counts: Counts | undefined) => counts?.asked !== undefined || counts?.won !== undefined;
  const staged = ({ advance, store, next, wait, check }: Step) => advance ?? store ?? next ?? (counts(wait) || counts(check));
  return !steps.some(staged) && !handler.some(({ store }) => store);
}

let count = 0;

async function run(one: Case, framework: Framework, store: Store, alone = false): Promise<void> {
  const gates = new Gates();
  // Unlike the names of all others, also those of another run on the same server.
  const name = `${process.pid} ${count++}`;
  const stage = new Stage(store, name, gates);
  const idem = createIdempotency({ store: alone ? store : stage, ...one.policy });
  const service = new Service(one, idem, stage, gates, alone ? `${name} ` : "");
  const server = await framework.serve(service);
  try {
    await new Run(service, stage, gates, server, framework).steps(one);
  } finally {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  }
}

class Run {
  private readonly started = new Map<string, Exchange>();
  private readonly arrived = new Count();
  private readonly closed = new Count();

  constructor(
    private readonly service: Service,
    private readonly stage: Stage,
    private readonly gates: Gates,
    private readonly server: Server,
    private readonly framework: Framework,
  ) {
    server.on("request", () => this.arrived.add());
    server.on("connection", (socket) => socket.on("close", () => this.closed.add()));
  }

  async steps({ steps, runs }: Case): Promise<void> {
    for (const [at, step] of steps.entries()) {
      try {
        await this.step(step);
      } catch (error) {
        throw new Error(`step ${at + 1}: ${(error as Error).message}`, { cause: error });
      }
    }
    assert.equal(this.service.runs.is, runs, "runs of the handler in the end");
    assert.equal(this.started.size, 0, "what was started is answered or dropped");
  }

  private async step(step: Step): Promise<void> {
    const { send, expect, start, answer, received, drop, race, others, open, wait, check, advance, store, next } = step;
    if (send && race !== undefined && expect && others) {
      const racing = Array.from({ length: race }, () => this.begin(send));
      const answers = await Promise.all(racing.map((exchange) => exchange.answer()));
      const losers = answers.filter((answer) => differs(answer, expect, this.framework) !== undefined);
      assert.equal(answers.length - losers.length, 1, "of the answers are as expected");
      for (const loser of losers) {
        const why = others.map((other) => differs(loser, other, this.framework));
        if (!why.includes(undefined)) throw new Error(why.join("\n  or "));
      }
    } else if (send && start) this.started.set(start, this.begin(send));
    else if (send && expect) await this.judge(this.begin(send), expect);
    else if (answer && expect) await this.judge(this.take(answer), expect);
    else if (received && step.body !== undefined) await this.started.get(received)?.begins(bytesOf(step.body));
    else if (drop) {
      const before = this.closed.is;
      this.take(drop).drop();
      await this.closed.reached(before + 1, "connections that are closed");
    } else if (wait) {
      for (const [name, count] of this.counts()) {
        if (wait[name] !== undefined) await count.reached(wait[name], name);
      }
    } else if (check) {
      for (const [name, count] of this.counts()) if (check[name] !== undefined) assert.equal(count.is, check[name], name);
    } else if (open) this.gates.open(open);
    else if (advance) this.stage.advance(advance);
    else if (store) this.stage.fail(store);
    else if (next) this.stage.next(next);
    else throw new Error("this is no step");
  }

  private begin(request: NonNullable<Step["send"]>): Exchange {
    return new Exchange((this.server.address() as AddressInfo).port, request);
  }

  private take(name: string): Exchange {
    const exchange = this.started.get(name);
    if (!exchange) throw new Error(`${name} was not started`);
    this.started.delete(name);
    return exchange;
  }

  private async judge(exchange: Exchange, expected: Expected): Promise<void> {
    const why = differs(await exchange.answer(), expected, this.framework);
    if (why !== undefined) throw new Error(why);
  }

  private counts(): readonly (readonly [keyof Counts, Count])[] {
    const { arrived, stage, service } = this;
    return [
      ["arrived", arrived],
      ["runs", service.runs],
      ["asked", stage.asked],
      ["won", stage.won],
    ];
  }
}
