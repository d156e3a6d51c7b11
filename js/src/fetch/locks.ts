/**
 * The Web Lock beside a lease. The browser frees it within milliseconds when its tab dies, where a
 * lease has to lapse, and keeps it where the timers of a tab in the background renew too late. It
 * replaces no lease: who has the lock begins like everybody else.
 */

/** Frees a lock; may be called again. */
export type Free = () => void;

/** Takes the lock. With a signal it waits; without one it gives `undefined` where somebody else has
 *  it. `null` where there are no Web Locks, or none for this page.
 *
 *  @throws the reason of the signal. */
export function taken(slot: string, signal?: AbortSignal): Promise<Free | undefined | null> {
  return new Promise((resolve, reject) => {
    const locks = globalThis.navigator?.locks;
    if (!locks) return resolve(null);
    locks
      .request(nameOf(slot), signal ? { signal } : { ifAvailable: true }, (lock) =>
        lock ? new Promise<void>(resolve) : resolve(undefined),
      )
      .catch((error) => (error?.name === "SecurityError" ? resolve(null) : reject(error)));
  });
}

/** Whether somebody has it; `undefined` where there are no Web Locks, or none for this page. */
export async function isTaken(slot: string): Promise<boolean | undefined> {
  try {
    const { held } = await navigator.locks.query();
    return held?.some(({ name }) => name === nameOf(slot));
  } catch {
    return undefined;
  }
}

const nameOf = (slot: string) => `idemp:${slot}`;
