/**
 * {@link Database}: where the tasks are. A service that forgets what it sold when it is restarted would
 * have no use for an idempotency key that outlives it.
 */
import { randomBytes } from "node:crypto";
import { Journal } from "./journal.js";

/** A task to make a video, as its user sees it. */
export interface VideoTask {
  /** `vt_` and 8 hex digits. */
  readonly task_id: string;
  /** A pending one counts against the limit. */
  readonly status: "pending" | "completed";
  /** What the video shall show. */
  readonly prompt: string;
  /** In seconds. */
  readonly duration: number;
  /** Width to height. */
  readonly aspect_ratio: "16:9" | "9:16" | "1:1";
}

/** What there is to say of an analysis. Also what its owner publishes. */
export interface Analysis {
  /** `tr_` and 8 hex digits. */
  readonly task_id: string;
  readonly status: "processing" | End;
}

export type End = "completed" | "failed" | "cancelled";

/** An analysis, with the right to end it and to make its subject free for the next one. */
export interface Held extends Analysis {
  readonly lease: string;
}

type Entry =
  | { type: "ordered"; user: string; task: VideoTask }
  | { type: "completed"; user: string; task_id: string }
  | { type: "started"; task_id: string; lease: string }
  | { type: "withdrawn"; task_id: string }
  | { type: "ended"; task_id: string; status: End };

/** The tasks of all users, in one file that the service and its workers share. */
export class Database {
  private readonly journal: Journal<Entry>;
  private readonly videos = new Map<string, { user: string; task: VideoTask }>();
  private readonly analyses = new Map<string, Held>();

  /** @throws where the file cannot be written. */
  constructor(path: string) {
    this.journal = new Journal(path);
  }

  /** Takes a task in, unless the user has `limit` at work. */
  order(user: string, ordered: Omit<VideoTask, "task_id" | "status">, limit: number): VideoTask | "full" {
    // Counting and taking in are one step: nothing else runs in between.
    const active = this.tasksOf(user).filter(({ status }) => status === "pending");
    if (active.length >= limit) return "full";
    const task: VideoTask = { task_id: fresh("vt", this.videos), status: "pending", ...ordered };
    this.append({ type: "ordered", user, task });
    return task;
  }

  /** The tasks of a user, the oldest first. */
  tasksOf(user: string): VideoTask[] {
    this.read();
    return [...this.videos.values()].filter((video) => video.user === user).map(({ task }) => task);
  }

  /** A user's task, now completed; `undefined` where there is none. */
  complete(user: string, taskId: string): VideoTask | undefined {
    if (this.taskOf(user, taskId)?.status === "pending") this.append({ type: "completed", user, task_id: taskId });
    return this.taskOf(user, taskId);
  }

  taskOf(user: string, taskId: string): VideoTask | undefined {
    this.read();
    const video = this.videos.get(taskId);
    return video?.user === user ? video.task : undefined;
  }

  /** Notes a new analysis. `lease` is the text of its lease's token. */
  start(lease: string): Analysis {
    this.read();
    const task_id = fresh("tr", this.analyses);
    this.append({ type: "started", task_id, lease });
    return { task_id, status: "processing" };
  }

  /** It came to nothing. */
  withdraw(taskId: string): void {
    this.append({ type: "withdrawn", task_id: taskId });
  }

  /** Notes how an analysis ended, unless it had ended before. Of two ends at once one is noted: hands
   *  that one back. */
  end(taskId: string, end: End): Analysis["status"] {
    if (this.analysis(taskId)?.status === "processing") this.append({ type: "ended", task_id: taskId, status: end });
    return this.analysis(taskId)?.status ?? end;
  }

  analysis(taskId: string): Held | undefined {
    this.read();
    return this.analyses.get(taskId);
  }

  /** The analyses that nobody has ended. */
  atWork(): Held[] {
    this.read();
    return [...this.analyses.values()].filter(({ status }) => status === "processing");
  }

  close(): void {
    this.journal.close();
  }

  private append(entry: Entry): void {
    this.journal.append(entry);
    this.read();
  }

  private read(): void {
    for (const entry of this.journal.news()) this.apply(entry);
  }

  private apply(entry: Entry): void {
    if (entry.type === "ordered") {
      const { user, task } = entry;
      this.videos.set(task.task_id, { user, task });
    } else if (entry.type === "completed") {
      const video = this.videos.get(entry.task_id);
      if (video) video.task = { ...video.task, status: "completed" };
    } else if (entry.type === "started") {
      const { task_id, lease } = entry;
      this.analyses.set(task_id, { task_id, status: "processing", lease });
    } else if (entry.type === "withdrawn") {
      this.analyses.delete(entry.task_id);
    } else {
      const analysis = this.analyses.get(entry.task_id);
      const { status } = entry;
      if (analysis?.status === "processing") this.analyses.set(analysis.task_id, { ...analysis, status });
    }
  }
}

/** An id that is not taken. */
function fresh(kind: string, taken: ReadonlyMap<string, unknown>): string {
  let id;
  do id = `${kind}_${randomBytes(4).toString("hex")}`;
  while (taken.has(id));
  return id;
}
