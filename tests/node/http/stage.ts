/** A store before the real one, with a clock that can be moved on and faults on demand. */
import { StoreError, type Slot, type Store, type Swap, type Swapped } from "idemp";
import type { Fault } from "./case.js";
import { Count, type Gates } from "./gates.js";

const NIL = "0".repeat(32);

/** Each case has one, with slots of its own in the store that all of them share. */
export class Stage implements Store {
  readonly asked = new Count();
  readonly won = new Count();
  /** How far the clock of this stage is before that of the store, in milliseconds. */
  private ahead = 0;
  private faults: Fault[] = [];
  private always: Fault = "none";

  constructor(
    private readonly store: Store,
    /** Stands before the scope of each slot, unlike that of any other case. */
    private readonly name: string,
    private readonly gates: Gates,
  ) {}

  advance(milliseconds: number): void {
    this.ahead += milliseconds;
  }

  fail(fault: Fault): void {
    this.always = fault;
  }

  next(faults: readonly Fault[]): void {
    this.faults.push(...faults);
  }

  swap(swap: Swap): Swapped | Promise<Swapped> {
    this.asked.add();
    const fault = this.faults.shift() ?? this.always;
    // As a store that answers at once does.
    if (fault === "none" && this.ahead === 0) {
      const reply = this.store.swap(this.own(swap));
      return "then" in reply ? reply.then((reply) => this.counted(reply)) : this.counted(reply);
    }
    return this.faulty(fault, swap);
  }

  private async faulty(fault: Fault, swap: Swap): Promise<Swapped> {
    if (fault === "lost") throw new StoreError("STORE_UNAVAILABLE");
    if (fault === "full") throw new StoreError("STORE_FULL");
    if (fault === "corrupt") throw new StoreError("STORE_CORRUPT");
    if (typeof fault === "object" && "wait" in fault) await this.gates.opened(fault.wait);
    const reply = this.counted(await this.shifted(this.own(swap)));
    if (fault === "answer-lost") throw new StoreError("STORE_UNAVAILABLE");
    if (fault === "hang") return new Promise(() => {});
    if (typeof fault === "string" || reply.won || !reply.slot) return reply;
    if ("head" in fault) return lost(reply.now, { ...reply.slot, head: Buffer.from(fault.head, "hex") });
    if ("body" in fault) return lost(reply.now, { ...reply.slot, body: Buffer.from(fault.body, "hex") });
    return reply;
  }

  /** Deadlines lie in the store as this stage's clock has them. */
  private async shifted(swap: Swap): Promise<Swapped> {
    const { ahead } = this;
    if (ahead === 0) return this.store.swap(swap);
    const later: Swap = {
      ...swap,
      put:
        swap.put === "remove"
          ? "remove"
          : {
              ...swap.put,
              keepFor: swap.put.keepFor + ahead,
              // Zero ends a lease by any clock.
              leaseFor: swap.put.leaseFor && swap.put.leaseFor + ahead,
            },
    };
    if (swap.expect !== "vacant") {
      // What is gone by this clock may lie there by the store's.
      const there = await this.store.swap({ slot: swap.slot, expect: { rev: NIL }, put: "remove" });
      const now = there.now + ahead;
      if (there.won || !there.slot || there.slot.goneAt <= now) return lost(now, undefined);
    }
    const reply = await this.store.swap(later);
    const now = reply.now + ahead;
    if (reply.won || !reply.slot || reply.slot.goneAt > now) return { ...reply, now };
    if (swap.expect !== "vacant") return lost(now, undefined);
    return { ...(await this.store.swap({ ...later, expect: { rev: reply.slot.rev } })), now };
  }

  private counted(reply: Swapped): Swapped {
    if (reply.won) this.won.add();
    return reply;
  }

  /** The same, in a slot of this case's own. */
  private own(swap: Swap): Swap {
    const count = Number.parseInt(swap.slot.slice(0, 2), 16) + 1;
    const name = Buffer.from(this.name);
    const part = byte(name.length >> 8) + byte(name.length & 255) + name.toString("hex");
    return { ...swap, slot: byte(count) + part + swap.slot.slice(2) };
  }
}

function byte(value: number): string {
  return value.toString(16).padStart(2, "0");
}

function lost(now: number, slot: Slot | undefined): Swapped {
  return { now, won: false, slot };
}
