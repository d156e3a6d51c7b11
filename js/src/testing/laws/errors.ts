/** Law 6: errors. They mean "unknown", and they tell no secret. */

import { toHex } from "../../core/bytes.js";
import type { Swap } from "../../store.js";
import { told, verdict } from "../words.js";
import { HOUR, type World, broken, ensure, fresh, newSlot, read, slotKey } from "../world.js";

const KEY = "hunter2-is-what-the-key-hides";
const BODY = "swordfish-is-what-the-body-hides";

/** A claim of which nobody may see anything. */
export function secret(): Swap {
  const slot = slotKey(["tenant-7", "user-1"], `key-1234-${KEY}`);
  return { slot, expect: "vacant", put: { ...newSlot(HOUR, HOUR), body: new TextEncoder().encode(BODY) } };
}

/** The code of an error, where it has one. */
export function codeOf(error: unknown): string | undefined {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === "string" ? code : undefined;
}

/** In no form in which an error is shown. */
export function showsNoSecret(error: unknown): void {
  let shown = "";
  for (let cause = error; cause !== undefined && cause !== null; cause = (cause as { cause?: unknown }).cause) {
    shown += `${cause} ${(cause as { stack?: string }).stack} ${own(cause)} `;
  }
  for (const [what, secret] of [["name", KEY], ["body", BODY]] as const) {
    const bytes = new TextEncoder().encode(secret);
    const forms = [secret, toHex(bytes), btoa(secret).slice(0, -4), bytes.join(","), JSON.stringify(bytes).slice(1, -1)];
    ensure(!forms.some((form) => shown.toLowerCase().includes(form.toLowerCase())), () =>
      `an error shows the ${what} of the slot that it is about`);
  }
}

function own(error: unknown): string {
  try {
    return JSON.stringify(error);
  } catch {
    return "";
  }
}

/** A store that cannot reach its records says so: it never says that there are none. */
export async function outOfReach(world: World): Promise<void> {
  const store = await world.subject.outOfReach?.(world.room);
  if (store === undefined) return;
  const claim = secret();
  const expect = { rev: fresh() };
  for (const swap of [claim, { ...claim, expect }, { ...claim, expect, put: "remove" as const }, read(claim.slot)]) {
    const outcome = await world.tryAsk(swap, store);
    if (!("error" in outcome)) {
      broken(`a store that cannot reach its records was asked to ${told(swap)}, and answered ${verdict(outcome.swapped)}`);
    }
    showsNoSecret(outcome.error);
    ensure(codeOf(outcome.error)?.startsWith("STORE_") === true, () =>
      `a store that cannot reach its records has to throw a StoreError; it threw: ${outcome.error}`);
  }
  await store.close?.();
}
