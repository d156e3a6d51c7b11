import { useSyncExternalStore } from "react";
import { ACCOUNTS, type Account } from "./account.js";

/** Who looks at which video. The address says it: a reload and a second tab show the same. */
export interface Visit {
  readonly account: Account | undefined;
  readonly file: string | undefined;
}

/** The present visit, and how to go to another one. */
export function useVisit(): [Visit, (next: Visit) => void] {
  const search = useSyncExternalStore(subscribe, () => window.location.search);
  return [read(search), go];
}

function read(search: string): Visit {
  const asked = new URLSearchParams(search);
  return {
    account: ACCOUNTS.find(({ user }) => user === asked.get("user")),
    file: asked.get("file") ?? undefined,
  };
}

function go({ account, file }: Visit) {
  const next = new URLSearchParams();
  if (account !== undefined) next.set("user", account.user);
  if (file !== undefined) next.set("file", file);
  history.pushState(null, "", `?${next}`);
  for (const listener of listeners) listener();
}

const listeners = new Set<() => void>();

function subscribe(listener: () => void) {
  listeners.add(listener);
  window.addEventListener("popstate", listener);
  return () => {
    listeners.delete(listener);
    window.removeEventListener("popstate", listener);
  };
}
