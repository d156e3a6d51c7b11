/** Every law catches the stores that break it, and says which law it is. */

import "../src/core/inline.js";
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Broken, conformance } from "../src/testing/index.js";
import { type Fault, faulty } from "./faulty-store.js";

/** Who breaks which law, and a part of what is said about it then. */
const BREAKERS: Record<string, [fault: Fault, seen: string][]> = {
  law_1_of_many_callers_exactly_one_wins: [
    ["reads, then writes", "callers that asked for one slot at once"],
    ["hands back what it read before", "not to the winner's slot"],
  ],
  law_1_of_many_that_come_when_a_slot_is_gone_exactly_one_wins: [["reads, then writes", "callers that asked for one slot at once"]],
  law_1_of_many_that_take_over_exactly_one_wins: [["reads, then writes", "callers that asked for one slot at once"]],
  law_1_a_swap_is_atomic_and_no_step_is_lost: [["reads, then writes", "was made twice"]],
  law_1_two_openings_are_one_store: [["reads from its own memory", "another one then found"]],
  law_2_a_swap_wins_if_and_only_if_the_comparison_held_and_replaces_the_whole_slot: [
    ["claims what has lapsed", "it has to be `lost`"],
    ["takes any revision", "it has to be `lost`"],
    ["takes the nil revision", "it has to be `lost`"],
    ["keeps the old head", "the head differs"],
    ["keeps the old body", "the body differs"],
    ["removes nothing", "expected nothing"],
    ["takes nothing for absent", "found nothing"],
    ["loses to nothing", "found nothing"],
  ],
  law_2_random_commands_are_answered_as_defined: [
    ["claims what has lapsed", "to draw the same again: { seed:"],
    ["takes any revision", "it has to be `lost`"],
    ["keeps the old body", "what was said to this slot"],
    ["counts spans in seconds", "on the store's clock"],
    ["goes a millisecond late", "on the store's clock"],
    ["goes a millisecond early", "on the store's clock"],
    ["moves deadlines back", "gone at"],
    ["keeps a lease that is given up", "lease until"],
    ["loses and prolongs", "gone at"],
  ],
  law_2_a_slot_is_there_until_the_instant_it_is_gone_and_not_at_it: [
    ["goes a millisecond late", "on the store's clock"],
    ["goes a millisecond early", "on the store's clock"],
  ],
  law_2_deadlines_never_move_back: [
    ["moves deadlines back", "was replaced by one with a lease of"],
    ["keeps a lease that is given up", "lease until"],
    ["goes by a clock of its own", "give it `room.now`"],
  ],
  law_2_what_won_outlives_the_store_that_said_so: [["forgets when it is closed", "was opened once more"]],
  law_3_a_lost_swap_changes_nothing_and_returns_what_defeated_it: [
    ["loses to nothing", "did not hand back what defeated it"],
    ["loses to what is gone", "had been gone since"],
    ["loses and puts", "lost, and changed the slot: "],
    ["loses and prolongs", "lost, and changed the slot: "],
    ["finds null", "neither a slot nor `undefined`"],
  ],
  law_4_nothing_goes_before_its_time: [
    ["purges with the lease", "whose lease was over"],
    ["miscounts what it purges", "said that it removed 5"],
  ],
  law_4_a_purge_spares_what_is_claimed_anew: [["purges by name", "while purges ran"]],
  law_4_a_full_store_fails_loudly: [
    ["evicts the oldest", "one more was answered `won`"],
    ["is never full", "one more was answered `won`"],
    ["is unavailable when full", "has to say STORE_FULL"],
  ],
  law_4_forget_removes_what_it_is_told_and_nothing_else: [
    ["forgets too much", "does not begin with the forgotten prefix"],
    ["forgets only what has lapsed", "is there still"],
  ],
  law_5_head_and_body_come_back_byte_for_byte: [
    ["cuts at a zero", "the body differs"],
    ["reads bytes as text", "the body differs"],
    ["cuts at 64 KiB", "65535 came back"],
    ["takes nothing for absent", "nothing lay there"],
    ["clones the whole buffer", "the head differs"],
  ],
  law_5_what_is_kept_is_shared_with_nobody: [
    ["keeps the caller's arrays", "the arrays that were put were overwritten afterwards"],
    ["lends its own arrays", "the arrays of an answer were overwritten"],
    ["copies with slice", "like Node's Buffer"],
  ],
  law_6_a_store_out_of_reach_says_so_and_shows_no_secret: [
    ["is vacant when out of reach", "cannot reach its records"],
    ["throws what it caught", "has to throw a StoreError"],
    ["shows the key", "shows the name"],
    ["shows the body", "shows the name"],
  ],
  law_7_names_never_alias: [
    ["joins parts", "the key"],
    ["folds case", "the key"],
    ["cuts names", "the key"],
    ["forgets the scope", "the key"],
    ["matches by prefix", "the key"],
  ],
  law_8_one_trip_a_call: [["takes two trips", "made 2 trips"]],
};

for (const { name } of conformance(faulty("none"))) {
  describe(name, () => {
    test("a store without a fault keeps it", () => law(name, "none").hold());
    const breakers = BREAKERS[name] ?? [];
    // A law that no store breaks is not tested.
    assert.notEqual(breakers.length, 0, name);
    for (const [fault, seen] of breakers) {
      test(`a store that ${fault} breaks it`, async () => {
        const error = await law(name, fault).hold().then(() => undefined, (error: unknown) => error);
        assert.ok(error instanceof Broken, `it was let pass, or threw something else: ${error}`);
        assert.ok(error.message.includes(`the law: ${name[4]}. `) && error.seen.includes(seen), error.message);
      });
    }
  });
}

function law(name: string, fault: Fault) {
  const found = conformance(faulty(fault)).find((law) => law.name === name);
  assert.ok(found);
  return found;
}
