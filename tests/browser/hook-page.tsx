import { StrictMode, useEffect, type ReactElement } from "react";
import { createRoot, type Root } from "react-dom/client";

import "../../js/src/core/inline.js";
import { createClient } from "../../js/src/fetch/index.js";
import { IdempProvider, useOnce } from "../../js/src/react/index.js";

/** What a test of the hook asks for. */
export interface HookPage {
  /** Renders the component anew with these; `undefined` unmounts it. */
  render(props: OrderProps | undefined): void;
  /** What was shown, in order. */
  seen: Seen[];
  /** How often work began. */
  begun: number;
  /** Who is signed in from now on. */
  signIn(name: string): void;
  start(): Promise<void>;
  settle(): Promise<void>;
  /** How many wait for a lock. */
  waiting(): Promise<number>;
}

export interface OrderProps {
  readonly intent: string;
  readonly auto?: boolean;
  readonly enabled?: boolean;
}

export interface Seen {
  readonly intent: string;
  readonly status: string;
  readonly data: { intent: string; id?: number } | undefined;
  readonly error: string | undefined;
}

let user = "ada";
const client = createClient({ user: () => user, retry: { base: 50, attempts: 8 } });
let root: Root | undefined;
let shown: ReturnType<typeof useOnce> | undefined;

function Order({ intent, auto, enabled }: OrderProps): ReactElement {
  const used = useOnce<{ intent: string; id?: number }>(intent, {
    payload: { intent },
    auto: auto ?? false,
    enabled: enabled ?? true,
    async work({ fetch, publish }) {
      api.begun++;
      await publish({ intent });
      const headers = { "content-type": "application/json" };
      const response = await fetch("/orders", { method: "POST", headers, body: JSON.stringify({ intent }) });
      return { intent, ...(await response.json()) };
    },
  });
  const { status, data, error } = used;
  shown = used;
  api.seen.push({ intent, status, data, error: (error as { code?: string })?.code });
  useEffect(() => {
    document.title = status;
  });
  return <output>{JSON.stringify({ intent, status, data })}</output>;
}

const api: HookPage = {
  render(props) {
    if (props === undefined) {
      root?.unmount();
      root = undefined;
      return;
    }
    root ??= createRoot(document.getElementById("root")!);
    root.render(
      <StrictMode>
        <IdempProvider client={client}>
          <Order {...props} />
        </IdempProvider>
      </StrictMode>,
    );
  },
  seen: [],
  begun: 0,
  signIn: (name) => void (user = name),
  start: () => shown!.start(),
  settle: () => shown!.settle(),
  waiting: async () => (await navigator.locks.query()).pending!.length,
};

Object.assign(globalThis, { api });
