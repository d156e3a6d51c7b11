/**
 * Case 1: video tasks. Each costs money, so each carries an `Idempotency-Key`.
 *
 * The handlers know nothing of idempotency: `app.ts` puts the layer before {@link VideoTasks.create}.
 * What is refused here, for the limit or for a mistake in the body, is refused behind the layer. So a
 * replay is answered even while new work is refused, and a refusal leaves the key as it was.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { RequestHandler } from "express";
import { userOf } from "./bearer.js";
import type { Database } from "./database.js";
import { Fields } from "./fields.js";
import { Problem } from "./problem.js";

/** The tasks of all users. */
export class VideoTasks {
  /** A user may have `activeLimit` at work; to place one with the vendor takes `vendorTakes` ms. */
  constructor(
    private readonly database: Database,
    private readonly activeLimit: number,
    private readonly vendorTakes: number,
  ) {}

  /** `POST /api/video-tasks`: 201 with the new task; 400 where the body is not as it should be, 429
   *  where the user has too many tasks at work. */
  readonly create: RequestHandler = async (request, response) => {
    const user = userOf(request);
    const fields = Fields.of(request.body);
    const ordered = {
      prompt: fields.text("prompt", 1, 2000),
      duration: fields.whole("duration", 1, 60),
      aspect_ratio: fields.choice("aspect_ratio", ["16:9", "9:16", "1:1"]),
    };
    fields.end();
    const task = this.database.order(user, ordered, this.activeLimit);
    if (task === "full") {
      const message = "Too many of your tasks are at work. Wait until one has completed.";
      const refused = new Problem(429, "TOO_MANY_ACTIVE_TASKS", message);
      throw refused.detail("limit", this.activeLimit).retryAfter(5);
    }
    // Stands for the call to the vendor: the time in which a retry finds the first one at work.
    await sleep(this.vendorTakes);
    response.status(201).location(`/api/video-tasks/${task.task_id}`).json(task);
  };

  /** `GET /api/video-tasks`: all tasks of the user, the oldest first. */
  readonly list: RequestHandler = (request, response) => {
    const tasks = this.database.tasksOf(userOf(request));
    response.json({ count: tasks.length, tasks });
  };

  /** `GET /api/video-tasks/:taskId`; 404 where the user has no such task. */
  readonly show: RequestHandler<{ taskId: string }> = (request, response) => {
    response.json(this.database.taskOf(userOf(request as never), request.params.taskId) ?? missing());
  };

  /** `POST /api/video-tasks/:taskId/complete`: what the vendor would call. Makes room for another. */
  readonly complete: RequestHandler<{ taskId: string }> = (request, response) => {
    response.json(this.database.complete(userOf(request as never), request.params.taskId) ?? missing());
  };
}

function missing(): never {
  throw Problem.notFound("task");
}
