import { useSyncExternalStore } from "react";

/** One thing that happened, in words. */
export interface Entry {
  readonly number: number;
  readonly at: Date;
  readonly words: string;
}

/** Notes what happened in this tab. */
export function note(words: string) {
  entries = [...entries, { number: entries.length, at: new Date(), words }];
  for (const listener of listeners) listener();
}

/** What happened in this tab, the oldest first. */
export function useJournal(): readonly Entry[] {
  return useSyncExternalStore(subscribe, () => entries);
}

let entries: readonly Entry[] = [];
const listeners = new Set<() => void>();

function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
