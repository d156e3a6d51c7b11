import { storm, stormAfterTheEnd, stormOfTakers, stepsAreCounted, twoOpenings } from "./laws/atomic.js";
import { bytesComeBack, nothingIsShared } from "./laws/bytes.js";
import { randomCommands } from "./laws/commands.js";
import { everyCase } from "./laws/defined.js";
import { outlivesItsStore } from "./laws/durable.js";
import { outOfReach } from "./laws/errors.js";
import { forgetsWhatItIsTold } from "./laws/forget.js";
import { fullFailsLoudly, purgeSparesTheNew, untilItsTime } from "./laws/kept.js";
import { changesNothing } from "./laws/lost.js";
import { namesNeverAlias } from "./laws/names.js";
import { boundaries, neverBack } from "./laws/times.js";
import { oneTripACall } from "./laws/trips.js";
import type { Store } from "../store.js";
import type { Subject } from "./subject.js";
import { Seen, World } from "./world.js";

/** One law of a store, as a test. */
export interface Law {
  /** The name of the test, such as `law_1_of_many_callers_exactly_one_wins`. */
  readonly name: string;
  /** The law, in words. */
  readonly words: string;
  /**
   * Opens the store in a room of its own, and asks it.
   *
   * @throws Broken where the store breaks the law.
   */
  readonly hold: () => Promise<void>;
}

/** A law that a store breaks: its message says the law in words, and what was seen instead. */
export class Broken extends Error {
  override name = "Broken";

  constructor(
    readonly law: Law,
    /** What was seen. It shows no name of a slot of yours, and no bytes. */
    readonly seen: string,
    options?: ErrorOptions,
  ) {
    super(`this store breaks a law.\n  the law: ${law.words}\n  what was seen: ${seen}\n  the test: ${law.name}`, options);
  }
}

/**
 * The laws of a store, for any test runner, and for a page without one:
 *
 * ```ts
 * for (const law of conformance({ open: (room) => myStore(room.name, { now: room.now }) })) {
 *   test(law.name, law.hold);
 * }
 * ```
 *
 * Every answer is compared with that of `apply`, the definition of a swap, deadlines to the
 * millisecond. What {@link Subject} leaves out is not in the list: give all that you can. What the laws cannot show is that an acknowledged swap outlives a crash or a power loss.
 *
 * @param options `seed` draws the same random commands again: a failure says the number.
 */
export function conformance<S extends Store>(subject: Subject<S>, options: { seed?: number } = {}): Law[] {
  const seed = options.seed ?? Math.floor(Math.random() * 2 ** 32);
  const subjectOfAny = subject as Subject;
  return LAWS.filter(({ of }) => of === undefined || of(subjectOfAny)).map(({ name, check, capacity }) => {
    const law: Law = {
      name,
      words: WORDS[Number(name[4]) - 1] as string,
      async hold() {
        const world = await World.enter(subjectOfAny, seed, capacity);
        try {
          await check(world);
        } catch (error) {
          if (error instanceof Seen) throw new Broken(law, error.message, { cause: error });
          throw error;
        } finally {
          await world.leave();
        }
      },
    };
    return law;
  });
}

interface Entry {
  readonly name: string;
  readonly check: (world: World) => Promise<void>;
  /** Which subjects it can be asked of; all, where it says nothing. */
  readonly of?: (subject: Subject) => boolean;
  /** How many slots its store may hold. */
  readonly capacity?: number;
}

const openedTwice = ({ limits }: Subject) => !limits?.oneOpening;

const LAWS: readonly Entry[] = [
  { name: "law_1_of_many_callers_exactly_one_wins", check: storm },
  { name: "law_1_of_many_that_come_when_a_slot_is_gone_exactly_one_wins", check: stormAfterTheEnd },
  { name: "law_1_of_many_that_take_over_exactly_one_wins", check: stormOfTakers },
  { name: "law_1_a_swap_is_atomic_and_no_step_is_lost", check: stepsAreCounted },
  { name: "law_1_two_openings_are_one_store", check: twoOpenings, of: openedTwice },
  { name: "law_2_a_swap_wins_if_and_only_if_the_comparison_held_and_replaces_the_whole_slot", check: everyCase },
  { name: "law_2_random_commands_are_answered_as_defined", check: randomCommands },
  { name: "law_2_a_slot_is_there_until_the_instant_it_is_gone_and_not_at_it", check: boundaries },
  { name: "law_2_deadlines_never_move_back", check: neverBack },
  { name: "law_2_what_won_outlives_the_store_that_said_so", check: outlivesItsStore, of: openedTwice },
  { name: "law_3_a_lost_swap_changes_nothing_and_returns_what_defeated_it", check: changesNothing },
  { name: "law_4_nothing_goes_before_its_time", check: untilItsTime },
  { name: "law_4_a_purge_spares_what_is_claimed_anew", check: purgeSparesTheNew },
  { name: "law_4_a_full_store_fails_loudly", check: fullFailsLoudly, of: ({ limits }) => !limits?.unbounded, capacity: 8 },
  { name: "law_4_forget_removes_what_it_is_told_and_nothing_else", check: forgetsWhatItIsTold, of: ({ limits }) => !limits?.cannotForget },
  { name: "law_5_head_and_body_come_back_byte_for_byte", check: bytesComeBack },
  { name: "law_5_what_is_kept_is_shared_with_nobody", check: nothingIsShared },
  { name: "law_6_a_store_out_of_reach_says_so_and_shows_no_secret", check: outOfReach, of: ({ outOfReach }) => outOfReach !== undefined },
  { name: "law_7_names_never_alias", check: namesNeverAlias },
  { name: "law_8_one_trip_a_call", check: oneTripACall, of: ({ trips }) => trips !== undefined },
];

const WORDS = [
  "1. A swap is atomic for every other client: of all that expect the same, one wins.",
  "2. A swap wins if and only if the comparison held; then the whole slot is replaced, durably, before the call returns. `apply` is the definition, deadlines included.",
  "3. A swap that lost changes nothing, and hands back the slot that defeated it, never one that is already gone.",
  "4. Nothing is purged before `goneAt`, and no bound on size evicts anything earlier: a full store throws. Only `forget` removes what is live.",
  "5. Head and body come back byte for byte: any bytes, none, and many; and nobody but a swap changes them.",
  "6. An error means that the outcome is unknown: never a vacancy, and it shows no name and no bytes.",
  "7. Names never alias: two that differ in any character are two slots.",
  "8. One trip to the store a call.",
];
