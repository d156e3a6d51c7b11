/**
 * The Web Lock beside a lease. The browser frees it within milliseconds when its tab dies, where a
 * lease has to lapse, and keeps it where the timers of a tab in the background renew too late. It
 * replaces no lease: who has the lock begins like everybody else.
 */
export const locks = (): LockManager | undefined => globalThis.navigator?.locks;

/** Takes the lock, and gives the function that frees it. With a signal it waits; without one it
 *  gives `undefined` where somebody else has the lock.
 *
 *  @throws the reason of the signal. */
export function taken(name: string, signal?: AbortSignal): Promise<(() => void) | undefined> {
  return new Promise((resolve, reject) => {
    const options = signal ? { signal } : { ifAvailable: true };
    locks()!
      .request(name, options, (lock) => lock ? new Promise<void>(resolve) : resolve(undefined))
      .catch(reject);
  });
}

/** Whether somebody has it. */
export async function isTaken(name: string): Promise<boolean> {
  const { held = [] } = await locks()!.query();
  return held.some((lock) => lock.name === name);
}
