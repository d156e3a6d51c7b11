import "../src/core/inline.js";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { suite, test } from "node:test";

import type { Fingerprint } from "../src/core/fingerprint.js";
import { StoreError, type StoreErrorCode } from "../src/errors.js";
import type { IdempEvent } from "../src/events/event.js";
import { eventText } from "../src/events/text.js";
import { createIdempotency } from "../src/idempotency.js";
import type { Lease } from "../src/lease.js";
import type { PolicyOptions } from "../src/policy.js";
import type { Store } from "../src/store.js";
import { memoryStore } from "../src/stores/memory.js";

interface Story {
  name: string;
  scope: string[];
  key: string;
  userPart: number;
  policy: PolicyOptions;
  steps: Step[];
}

interface Step {
  do: string;
  as: string;
  body: string | null;
  payload: number;
  ms: number;
  code: StoreErrorCode | "RECORD_CORRUPT" | null;
  told: { line: string; kind: string; user: string; key: string; task: string | null; warning: boolean }[];
}

const stories: Story[] = JSON.parse(
  readFileSync(new URL("../../tests/vectors/events.json", import.meta.url), "utf8"),
);

suite("the events of a story are those that Rust tells", () => {
  for (const story of stories) test(story.name, () => play(story));
});

async function play({ scope, key, userPart, policy, steps }: Story): Promise<void> {
  let now = 1_000_000_000_000;
  let fault: Step["code"] = null;
  const inner = memoryStore({ now: () => now });
  const store: Store = {
    swap(swap) {
      if (fault !== null && fault !== "RECORD_CORRUPT") throw new StoreError(fault);
      const swapped = inner.swap(swap);
      if (fault === null || swapped.won || !swapped.slot) return swapped;
      return { ...swapped, slot: { ...swapped.slot, head: new TextEncoder().encode("?") } };
    },
  };
  const events: IdempEvent[] = [];
  const idem = createIdempotency({
    store,
    userPart,
    ...policy,
    onEvent: (event) => events.push(event),
    label: (outcome) => new TextDecoder().decode(outcome) || undefined,
  });
  const leases = new Map<string, Lease>();
  for (const [at, step] of steps.entries()) {
    const body = new TextEncoder().encode(step.body ?? "");
    const lease = () => leases.get(step.as)!;
    const verbs: Record<string, () => unknown> = {
      advance: () => (now += step.ms),
      fault: () => (fault = step.code),
      async begin() {
        const fingerprint = "01" + step.payload.toString(16).padStart(2, "0").repeat(32);
        const decision = await idem.begin(scope, key, fingerprint as Fingerprint);
        if (decision.type === "miss") leases.set(step.as, decision.lease);
      },
      resolve: () => idem.resolve(scope, key, step.body === null ? undefined : body),
      finish: () => lease().finish(body),
      publish: () => lease().publish(body),
      unstorable: () => lease().finishUnstorable(),
      fence: () => lease().abandon(),
      renew: () => lease().renew(),
      release: () => lease().release(),
      forget: () => lease().forget(),
    };
    try {
      await verbs[step.do]!();
    } catch (error) {
      assert.notEqual(fault, null, `only a store that fails throws: ${error}`);
    }
    const told = events.splice(0).map((event) => {
      assert.equal(event.step, step.do);
      const { kind, user, key, task = null, warning } = event;
      return { line: eventText(event), kind, user, key, task, warning };
    });
    assert.deepEqual(told, step.told, `step ${at}: ${step.do}`);
  }
}
