import {
  createContext,
  createElement,
  useContext,
  useEffect,
  useMemo,
  useSyncExternalStore,
  type ReactElement,
  type ReactNode,
} from "react";

import type { Client, Intent } from "../fetch/client.js";
import type { Work } from "../fetch/work.js";
import { IDLE, Session, type Shown } from "./session.js";

export interface UseOnceOptions<T> {
  /** What is the same for the same operation: its JSON is compared. */
  payload: unknown;
  /** Does it: see {@link Client.once}. */
  work: (work: Work) => Promise<T>;
  /** By default that of {@link IdempProvider}. */
  client?: Client;
  /** Starts, or joins, when the component mounts or its intent changes, unless it is done. */
  auto?: boolean;
  /** `false` while it is not yet known what is wanted: nothing is looked up and nothing starts. */
  enabled?: boolean;
}

export interface UsedOnce<T> extends Shown<T> {
  /** Starts the work, or joins the tab that does. What comes of it is shown; it never rejects. */
  readonly start: () => Promise<void>;
  /** The same, for after an error: the work starts again with the same key. */
  readonly retry: () => Promise<void>;
  /** It completed, failed or was cancelled: the next start is a new one.
   *
   *  @throws StoreError where it is not known whether it is settled. */
  readonly settle: () => Promise<void>;
}

/**
 * An operation that happens once, in a component: shows what is known of the intent, whoever
 * started it, here, in another tab or before a reload.
 *
 * ```tsx
 * const { status, data, error, start, retry, settle } = useOnce(["analysis", tenant, file.name], {
 *   payload: { tenant, file: file.name },
 *   work: async (work) => (await work.fetch("/api/v1/track", request)).json(),
 * });
 * ```
 *
 * To mount looks, and starts nothing unless `auto` is set. To unmount ends what only waits for
 * another tab; work that has begun goes on, and its outcome is there for the next mount. A change of
 * the intent, or of the user, shows nothing of the former one: render anew when another one signs in.
 */
export function useOnce<T>(intent: Intent, options: UseOnceOptions<T>): UsedOnce<T> {
  const { payload, work, auto = false, enabled = true } = options;
  const provided = useContext(Context);
  const client = options.client ?? provided;
  if (client === undefined) throw new Error("useOnce: give it a client, or wrap the page in IdempProvider");
  const name = JSON.stringify(intent);
  const doing = enabled ? { payload, work, auto } : undefined;
  const { user } = client;
  const session = useMemo(() => new Session<T>(client, JSON.parse(name), doing), [client, user, name]);
  // Declared before the subscription's own effect, which may start the work.
  useEffect(() => {
    session.doing = doing;
  });
  const shown = useSyncExternalStore(enabled ? session.subscribe : never, session.shown, idle);
  const { start, settle } = session;
  return { ...(enabled ? shown : IDLE), start, retry: start, settle };
}

/** Gives a client to the hooks below it. */
export function IdempProvider(props: { client: Client; children?: ReactNode }): ReactElement {
  return createElement(Context.Provider, { value: props.client }, props.children);
}

/** The client of the {@link IdempProvider} around.
 *
 *  @throws Error where there is none. */
export function useClient(): Client {
  const client = useContext(Context);
  if (client === undefined) throw new Error("useClient: wrap the page in IdempProvider");
  return client;
}

const Context = createContext<Client | undefined>(undefined);

const idle = () => IDLE;
const never = () => () => {};

export type { Shown } from "./session.js";
