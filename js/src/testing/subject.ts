import type { Store } from "../store.js";

/** A store under test: how to open it, and what the laws may do with it. */
export interface Subject<S extends Store = Store> {
  /**
   * Opens the store in `room`, several times: what is opened in one room is one store, what is
   * opened in two shares nothing. The store's clock has to be `room.now`, unless you give
   * {@link step} or {@link Limits.clockStandsApart}.
   */
  open(room: Room): S | Promise<S>;
  /**
   * Removes what is gone, and says how many slots that were; `undefined` where it cannot tell.
   * Leave it out where the store does that by itself only.
   */
  purge?(store: S): number | undefined | Promise<number | undefined>;
  /**
   * Moves the clock of every store in `room`, backwards too; for stores with a running clock of
   * their own, such as a server's, to which they add `room.offset`.
   */
  step?(room: Room, byMs: number): void | Promise<void>;
  /** A store that cannot reach its records. It is asked how its errors look. */
  outOfReach?(room: Room): S | Promise<S>;
  /** How many trips to its records `store` has made, where it counts them. */
  trips?(store: S): number;
  /** Removes what a test left behind. Its stores are closed by then. */
  leave?(room: Room): void | Promise<void>;
  /** What the store cannot do. */
  limits?: Limits;
}

/** What a store cannot do. Each takes tests away, so say only what is truly so. */
export interface Limits {
  /** It is the one client of its records: there is no second opening. */
  oneOpening?: boolean;
  /** Its clock cannot be moved at all: the laws wait for real time, in short spans. */
  clockStandsApart?: boolean;
  /** Its clock cannot be moved backwards. */
  neverStepsBack?: boolean;
  /** It takes as many slots as its disk or server does: {@link Room.capacity} means nothing to it. */
  unbounded?: boolean;
  /** It has no `forget`: it is not the store of one person. */
  cannotForget?: boolean;
  /** A body has at most so many bytes. */
  bodyBytes?: number;
}

/** A place of its own for one test. */
export class Room {
  /** A name that no other room has: `[a-z0-9]`, 16 characters, begins with a letter. */
  readonly name: string;
  /** How many milliseconds the clock was moved in all. */
  offset = 0;
  readonly #start = Date.now();

  constructor(
    /** How many slots the store may hold; `undefined` where the test needs no bound. */
    readonly capacity: number | undefined,
  ) {
    const drawn = crypto.getRandomValues(new Uint8Array(15));
    this.name = `r${Array.from(drawn, (byte) => (byte % 36).toString(36)).join("")}`;
  }

  /** The store's clock: it stands still, and the tests move it. */
  readonly now = (): number => this.#start + this.offset;
}
