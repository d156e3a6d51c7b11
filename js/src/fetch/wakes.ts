/**
 * Wakes who waits for a slot, in this tab and in the others of the origin. A message holds the
 * digests of a user and an intent, nothing that they were made of. It may be lost, and come for
 * nothing: who is woken looks into the store.
 */
export class Wakes {
  readonly #listeners = new Map<Listener, string>();
  #channel: BroadcastChannel | undefined;

  /** Calls `listener` for every message about the slot `id`, until the function that comes back is
   *  called. */
  listen(id: string, listener: Listener): () => void {
    // A new function for each, so that one listener may listen twice.
    const heard: Listener = (vacated) => listener(vacated);
    this.#listeners.set(heard, id);
    this.#channel ??= opened((message) => this.#tell(message));
    return () => {
      this.#listeners.delete(heard);
      // An open channel keeps a page out of the back-forward cache, and a process alive.
      if (this.#listeners.size === 0) this.#hush();
    };
  }

  /** Something changed in the slots whose names begin with `id`; `vacated`: whatever was in flight
   *  there is nobody's any more. */
  wake(id: string, vacated = false): void {
    const message: Message = { id, vacated };
    this.#tell(message);
    const channel = this.#channel ?? opened();
    channel?.postMessage(message);
    if (channel !== this.#channel) channel?.close();
  }

  close(): void {
    this.#listeners.clear();
    this.#hush();
  }

  #hush(): void {
    this.#channel?.close();
    this.#channel = undefined;
  }

  #tell({ id, vacated }: Message): void {
    for (const [listener, slot] of [...this.#listeners]) {
      if (!slot.startsWith(id)) continue;
      try {
        listener(vacated);
      } catch (error) {
        // A listener that throws changes no result.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}

export type Listener = (vacated: boolean) => void;

interface Message {
  readonly id: string;
  readonly vacated: boolean;
}

function opened(tell?: (message: Message) => void): BroadcastChannel | undefined {
  if (typeof BroadcastChannel !== "function") return undefined;
  let channel;
  try {
    channel = new BroadcastChannel("idemp");
  } catch {
    // Refused, such as where site data is blocked. Who waits looks by himself.
    return undefined;
  }
  if (tell) channel.onmessage = ({ data }) => tell(data);
  return channel;
}
