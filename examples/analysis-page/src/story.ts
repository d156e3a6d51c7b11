import { useEffect, useEffectEvent, useRef } from "react";
import type { Client, Intent } from "idemp/fetch";
import { note } from "./journal.js";
import { show, type Status } from "./service.js";

/** What the hook says of an intent, in the words of this page. */
export interface Seen {
  readonly status: "idle" | "pending" | "success" | "error";
  readonly taskId: string | undefined;
}

/** What this tab did itself since it shows this video. */
export interface Deeds {
  /** It wanted a start. */
  started: boolean;
  /** It asked the server. */
  asked: boolean;
  /** The tasks that it settled. */
  readonly settled: Set<string>;
}

/**
 * Notes what came without a deed of this tab: what the browser remembers, and what other tabs do.
 * `settledElsewhere` is told a task that another tab settled.
 */
export function useStory(
  client: Client,
  intent: Intent,
  file: string,
  seen: Seen,
  deeds: Deeds,
  settledElsewhere: (taskId: string) => void,
) {
  const last = useRef<Seen>({ status: "idle", taskId: undefined });
  /** One thing after the other, the first look before all else: it says which task was known. */
  const telling = useRef<Promise<string | undefined>>(undefined);

  useEffect(() => {
    telling.current ??= look(client, intent, file);
    // The card is made anew for another account or file.
  }, []);

  const tell = useEffectEvent((before: Seen, now: Seen) => {
    const { started, asked } = deeds;
    if (now.status !== "pending") deeds.started = deeds.asked = false;
    telling.current = telling.current?.then((known) => {
      if (now.status === "pending" && !started) {
        note("Another tab has started it: waiting for its answer.");
      } else if (now.taskId !== undefined && now.taskId !== known) {
        if (started && !asked) note(`Another tab had started it: joined ${now.taskId}.`);
        else if (!started) note(`Another tab has started ${now.taskId}: shown here, too.`);
      } else if (now.status === "success" && started && !asked) {
        note(`Already active: joined ${now.taskId}. Nothing was sent.`);
      } else if (now.status === "idle" && before.taskId !== undefined && !deeds.settled.has(before.taskId)) {
        note(`Another tab has settled ${before.taskId}. The next start begins a new one.`);
        settledElsewhere(before.taskId);
      }
      return now.taskId ?? known;
    });
  });

  useEffect(() => {
    const before = last.current;
    const now = { status: seen.status, taskId: seen.taskId };
    if (before.status === now.status && before.taskId === now.taskId) return;
    last.current = now;
    tell(before, now);
  }, [seen.status, seen.taskId]);
}

/** Notes what this browser knows of the intent, and gives the task. */
async function look(client: Client, intent: Intent, file: string): Promise<string | undefined> {
  let found;
  try {
    found = await client.peek<{ taskId: string }>(intent);
  } catch {
    note("What this browser remembers cannot be read.");
    return undefined;
  }
  const key = found && `${found.key.slice(0, 4)}…`;
  switch (found?.status) {
    case "done":
      note(`This browser remembers ${found.data?.taskId} for ${file}. Nothing was sent.`);
      return found.data?.taskId;
    case "pending":
      note(`${file} is being started in another tab, with key ${key}`);
      return undefined;
    case "interrupted":
      note(`The start of ${file} was interrupted. The next one asks with the same key ${key}`);
      return undefined;
    case undefined:
      note(`Nothing is active for ${file}, as far as this browser knows.`);
      return undefined;
  }
}

/** How often the page looks at an analysis that is at work, in milliseconds. */
const LOOK_EVERY = 3000;

/**
 * What the service says of a task, again and again while somebody looks. `over` is told once that it
 * is not at work any more; `undefined`: the service does not know it.
 */
export function useTaskEnd(taskId: string | undefined, over: (taskId: string, status: Status | undefined) => void) {
  const told = useEffectEvent(over);
  useEffect(() => {
    if (taskId === undefined) return;
    const stop = new AbortController();
    const look = () => {
      if (document.visibilityState === "hidden") return;
      show(taskId, stop.signal).then(
        (status) => {
          if (stop.signal.aborted || status === "processing") return;
          stop.abort();
          told(taskId, status);
        },
        // The service is away: what was started is as it was.
        () => {},
      );
    };
    look();
    const looking = setInterval(look, LOOK_EVERY);
    document.addEventListener("visibilitychange", look);
    stop.signal.addEventListener("abort", () => {
      clearInterval(looking);
      document.removeEventListener("visibilitychange", look);
    });
    return () => stop.abort();
  }, [taskId]);
}
