import type { Client, Intent } from "../fetch/client.js";
import type { Work } from "../fetch/work.js";

/** What is shown of an intent. */
export interface Shown<T> {
  /** `pending`: it is at work, here or in another tab. */
  readonly status: "idle" | "pending" | "success" | "error";
  /** The outcome; before that, what the work has published. */
  readonly data: T | undefined;
  /** Why the last attempt of this component came to nothing. */
  readonly error: unknown;
}

/** What to do, as it was rendered last. */
export interface Doing<T> {
  readonly payload: unknown;
  readonly work: (work: Work) => Promise<T>;
  readonly auto: boolean;
}

/** One intent of one client, as a component sees it: a store for `useSyncExternalStore`. */
export class Session<T> {
  #shown: Shown<T> = IDLE;
  readonly #listeners = new Set<() => void>();
  #run: { readonly waiting: AbortController; begun: boolean } | undefined;
  #looks = 0;
  #hush: (() => void) | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly client: Client,
    readonly intent: Intent,
    /** `undefined`: nothing is to be started. */
    public doing: Doing<T> | undefined,
  ) {}

  readonly shown = (): Shown<T> => this.#shown;

  /** The first listener looks at what is known; the last one to go ends what only waits. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    if (this.#listeners.size === 1) this.#connect();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#disconnect();
    };
  };

  /** Starts the work, or joins the one who does; nothing where that is under way. */
  readonly start = async (): Promise<void> => {
    const { doing } = this;
    if (this.#run || !doing) return;
    const run = { waiting: new AbortController(), begun: false };
    this.#run = run;
    this.#show({ status: "pending", error: undefined });
    const work = (given: Work) => {
      run.begun = true;
      return doing.work(given);
    };
    let shown: Partial<Shown<T>>;
    try {
      const { signal } = run.waiting;
      const data = await this.client.once(this.intent, doing.payload, work, { signal });
      shown = { status: "success", data };
    } catch (error) {
      // What it only waited for, somebody settled.
      const settled = (error as { code?: unknown } | undefined)?.code === "SETTLED";
      shown = settled || run.waiting.signal.aborted ? IDLE : { status: "error", error };
    }
    // It was settled meanwhile: what came of it is nobody's concern.
    if (this.#run !== run) return;
    this.#run = undefined;
    this.#show(shown);
  };

  /** It is over: the next start is a new one. */
  readonly settle = async (): Promise<void> => {
    await this.client.settle(this.intent);
    if (!this.#run?.begun) this.#run?.waiting.abort();
    this.#run = undefined;
    this.#show(IDLE);
  };

  #connect(): void {
    try {
      this.#hush = this.client.subscribe(this.intent, () => void this.#look());
    } catch (error) {
      // Nobody is signed in, or the intent is none.
      return this.#show({ status: "error", error });
    }
    void this.#look().then((looked) => {
      if (looked && this.doing?.auto && this.#shown.status !== "success") void this.start();
    });
  }

  #disconnect(): void {
    this.#hush?.();
    clearTimeout(this.#timer);
    this.#looks++;
    const run = this.#run;
    // Strict mode comes back at once. Work that has begun goes on: its outcome is stored.
    setTimeout(() => {
      if (this.#listeners.size === 0 && !run?.begun) run?.waiting.abort();
    });
  }

  /** Shows what is known, and says whether it did: the answer of an earlier look is of no use. */
  async #look(): Promise<boolean> {
    const look = ++this.#looks;
    clearTimeout(this.#timer);
    try {
      const known = await this.client.peek<T>(this.intent);
      if (look !== this.#looks) return false;
      const { status } = this.#shown;
      if (this.#run) {
        if (known?.data !== undefined) this.#show({ data: known.data });
      } else if (known?.status === "done") {
        this.#show({ status: "success", data: known.data, error: undefined });
      } else if (known?.status === "pending") {
        this.#show({ status: "pending", data: known.data, error: undefined });
        // A tab that dies says nothing.
        this.#timer = setTimeout(() => void this.#look(), LOOK_AGAIN);
      } else if (known ? status === "pending" || status === "idle" : status !== "error") {
        // What the component itself was told stands: that it failed, or was done.
        this.#show({ ...IDLE, data: known?.data });
      }
      return true;
    } catch (error) {
      if (look === this.#looks && !this.#run) this.#show({ status: "error", error });
      return false;
    }
  }

  #show(shown: Partial<Shown<T>>): void {
    const next = { ...this.#shown, ...shown };
    const { status, data, error } = this.#shown;
    if (next.status === status && next.data === data && next.error === error) return;
    this.#shown = next;
    for (const listener of [...this.#listeners]) listener();
  }
}

export const IDLE: Shown<never> = { status: "idle", data: undefined, error: undefined };

/** In milliseconds. */
const LOOK_AGAIN = 10_000;
