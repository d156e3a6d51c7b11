/** The requests about analyses: see `analyses.ts`. */
import type { RequestHandler } from "express";
import type { Analyses } from "./analyses.js";
import type { Analysis, End } from "./database.js";
import { Fields } from "./fields.js";
import { Problem } from "./problem.js";
import { subjectOf } from "./subject.js";

export class Track {
  constructor(private readonly analyses: Analyses) {}

  /** `POST /api/v1/track`: 201 with a new analysis, or 200 with the one that is active; 400 where the
   *  body is not as it should be; 409 where somebody else is starting one and has not said its name in
   *  time; 503 where the store failed: then nothing was started. */
  readonly start: RequestHandler = async (request, response) => {
    const fields = Fields.of(request.body);
    // In earnest the tenant comes from the authentication, like the user of a video task.
    const tenant = fields.text("tenant_id", 1, 64);
    const filename = fields.text("video_filename", 1, 1024);
    fields.end();
    const started = await this.analyses.start(subjectOf(tenant, filename)).catch(unavailable);
    if (started.type === "nameless") {
      const message = "This analysis is being started. Ask again for its id.";
      throw new Problem(409, "IN_PROGRESS", message).retryAfter(1);
    }
    const { type, analysis } = started;
    if (type === "new") response.status(201).location(`/api/v1/track/${analysis.task_id}`);
    const message = type === "new" ? "Analysis started" : "Analysis already in progress";
    response.json({ ...analysis, message });
  };

  /** `GET /api/v1/track/:taskId`; 404 where there is no such analysis. */
  readonly show: RequestHandler<{ taskId: string }> = (request, response) => {
    response.json(this.analyses.find(request.params.taskId) ?? missing());
  };

  /** `POST /api/v1/track/:taskId/:end`, where `end` is `complete`, `fail` or `cancel`. The same end
   *  again is 200 again; another one is 409, since the first stands; 503 where the store failed: then it
   *  may be repeated. */
  readonly end: RequestHandler<{ taskId: string; end: string }> = async (request, response) => {
    const { taskId, end } = request.params;
    const status = ENDS.get(end);
    if (!status) throw Problem.notFound("path");
    const analysis: Analysis | undefined = await this.analyses.end(taskId, status).catch(unavailable);
    if (!analysis) return missing();
    if (analysis.status !== status) {
      const message = "The analysis has already ended in another way.";
      throw new Problem(409, "TASK_ALREADY_ENDED", message).detail("status", analysis.status);
    }
    response.json(analysis);
  };
}

const ENDS: ReadonlyMap<string, End> = new Map([
  ["complete", "completed"],
  ["fail", "failed"],
  ["cancel", "cancelled"],
]);

function missing(): never {
  throw Problem.notFound("task");
}

function unavailable(error: unknown): never {
  console.error(`express-video-tasks: an analysis failed: ${String(error)}`);
  const message = "It could not be found out whether this is at work already. Ask again.";
  throw new Problem(503, "IDEMPOTENCY_STORE_UNAVAILABLE", message).retryAfter(1);
}
