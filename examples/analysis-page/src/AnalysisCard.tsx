import { useState } from "react";
import { useOnce } from "idemp/react";
import type { Account } from "./account.js";
import { clientOf } from "./client.js";
import { note } from "./journal.js";
import { end, show, start, type End, type Status } from "./service.js";
import { useStory, useTaskEnd, type Deeds } from "./story.js";

/** What the browser keeps of an analysis until it is settled. */
interface Started {
  readonly taskId: string;
  /** How the key begins that the server was asked with. */
  readonly key: string;
}

/** An analysis that is over; `how` is not known where the service has lost it. */
interface Ended {
  readonly taskId: string;
  readonly how: End | undefined;
}

export function AnalysisCard({ account, file }: { account: Account; file: string }) {
  const client = clientOf(account);
  const intent = ["analysis", account.tenant, file];
  const payload = { tenant_id: account.tenant, video_filename: file };
  const [deeds] = useState<Deeds>(() => ({ started: false, asked: false, settled: new Set() }));
  const [ended, setEnded] = useState<Ended>();

  const once = useOnce<Started>(intent, {
    client,
    payload,
    async work({ key, attempt, fetch }) {
      deeds.asked = true;
      const short = `${key.slice(0, 4)}…`;
      const again = attempt > 1 ? ` again, the ${attempt}. time` : "";
      note(`Asked the server${again} with key ${short}`);
      const { task_id, joined } = await start(fetch, payload);
      note(joined ? `The server says: already active. Joined ${task_id}.` : `The server has started ${task_id}.`);
      return { taskId: task_id, key: short };
    },
  });
  // To press start again is pending for a moment, and it is the same analysis.
  const started = once.status === "success" || once.status === "pending" ? once.data : undefined;

  const seen = { status: once.status, taskId: started?.taskId };
  useStory(client, intent, file, seen, deeds, (taskId) => {
    show(taskId).then(
      (status) => setEnded(endOf(taskId, status)),
      () => {},
    );
  });
  useTaskEnd(started?.taskId, (taskId, status) => void settle(taskId, status));

  function begin() {
    deeds.started = true;
    setEnded(undefined);
    if (once.status === "error") once.retry();
    else once.start();
  }

  /** It is over: the way is free for the next one. */
  async function settle(taskId: string, status: Status | undefined) {
    if (deeds.settled.has(taskId)) return;
    deeds.settled.add(taskId);
    try {
      await once.settle();
    } catch {
      deeds.settled.delete(taskId);
      note(`${taskId} has ended, and whether this browser has noted it is not known. Press again.`);
      return;
    }
    const over = endOf(taskId, status);
    setEnded(over);
    note(
      over.how === undefined
        ? `The server does not know ${taskId} any more, so it is forgotten here.`
        : `${taskId} ${WORDS[over.how]}: settled. The next start begins a new one.`,
    );
  }

  async function finish(how: End) {
    if (started === undefined) return;
    let status;
    try {
      status = await end(started.taskId, how);
    } catch {
      note(`Whether ${started.taskId} has ended is not known. It is safe to press again.`);
      return;
    }
    await settle(started.taskId, status);
  }

  const task = started ?? (once.status === "idle" ? ended : undefined);
  const state = started === undefined ? stateOf(once.status, ended) : "working";
  return (
    <section className="card analysis" data-state={state} aria-labelledby="analysis">
      <div className="head">
        <h2 id="analysis">Analysis</h2>
        <span className="badge">{BADGES[state]}</span>
      </div>
      <div className="bar" aria-hidden="true" />
      <p className="task" aria-label="Task id">
        {task?.taskId ?? "–"}
      </p>
      <p className="words">
        {sentence(state, file)}
        {started && <small> Asked for with key {started.key}</small>}
      </p>
      {once.status === "error" && <p className="error">{messageOf(once.error)}</p>}
      <div className="actions">
        <button className={started ? "" : "primary"} disabled={state === "starting"} onClick={begin}>
          {state === "starting" ? "Starting…" : state === "error" ? "Try again" : "Start the analysis"}
        </button>
        {started && <button onClick={() => void finish("cancelled")}>Cancel</button>}
        <a href={window.location.href} target="_blank" rel="noreferrer">
          Open a second tab
        </a>
      </div>
      {started && (
        <div className="worker" role="group" aria-labelledby="worker">
          <span id="worker">Play the worker:</span>
          <button className="quiet" onClick={() => void finish("completed")}>
            It is complete
          </button>
          <button className="quiet" onClick={() => void finish("failed")}>
            It has failed
          </button>
        </div>
      )}
    </section>
  );
}

function endOf(taskId: string, status: Status | undefined): Ended {
  return { taskId, how: status === "processing" ? undefined : status };
}

type State = "none" | "starting" | "working" | "error" | "lost" | End;

function stateOf(once: "idle" | "pending" | "success" | "error", ended: Ended | undefined): State {
  if (once === "pending") return "starting";
  if (once === "error") return "error";
  return ended === undefined ? "none" : (ended.how ?? "lost");
}

const BADGES: Record<State, string> = {
  none: "not started",
  starting: "starting",
  working: "at work",
  error: "not known",
  completed: "completed",
  failed: "failed",
  cancelled: "cancelled",
  lost: "forgotten",
};

const WORDS: Record<End, string> = {
  completed: "is complete",
  failed: "has failed",
  cancelled: "was cancelled",
};

function sentence(state: State, file: string): string {
  switch (state) {
    case "none":
      return `No analysis of ${file} is active.`;
    case "starting":
      return `The analysis of ${file} is being started.`;
    case "working":
      return `The analysis of ${file} is at work.`;
    case "error":
      return `Whether the analysis of ${file} has started is not known. To try again is safe: it asks with the same key.`;
    case "lost":
      return `The server does not know it any more. You may start the analysis of ${file} again.`;
    default:
      return `The analysis of ${file} ${WORDS[state]}. The next start begins a new one.`;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : "Something went wrong.";
}
