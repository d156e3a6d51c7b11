import assert from "node:assert/strict";

/** A handler that keeps the thread to itself for so many milliseconds. */
export function stall(span: number): void {
  const end = performance.now() + span;
  while (performance.now() < end);
}

/** Posts under two keys at once, to a handler that stalls for longer than its lease lives: who comes second is
 *  refused, and may come again. */
export async function executesNothingLate(post: (init: RequestInit) => Promise<Response>, runs: () => number): Promise<void> {
  const keyed = (key: string) => post({ headers: { "content-type": "application/json", "idempotency-key": key } });
  const [first, second] = await Promise.all([keyed("first"), keyed("second")]);
  const { code } = (await second.json()) as { code: string };
  assert.deepEqual([first.status, second.status, code], [201, 503, "IDEMPOTENCY_STORE_UNAVAILABLE"]);
  assert.equal(second.headers.get("retry-after"), "1");
  assert.equal(runs(), 1);
  assert.equal((await keyed("second")).status, 201, "the claim was given back");
}
