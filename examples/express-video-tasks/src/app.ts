/**
 * The service put together. The order of the layers is the point:
 *
 *     request id → who is asking → Idempotency-Key → limit and handler → problems
 *
 * Nobody gets a replay who could not have made the request; a replay is answered before anything could
 * refuse it as new work.
 */
import express, { type Express, Router } from "express";
import type { Idempotency } from "idemp";
import { idempotent, type Idempotent } from "idemp/express";
import { Analyses } from "./analyses.js";
import { known, userOf } from "./bearer.js";
import type { Database } from "./database.js";
import { BODY_LIMIT, body, unread } from "./fields.js";
import { noSuchPath, onlyMethods, tell } from "./problem.js";
import { named } from "./request-id.js";
import { Track } from "./track.js";
import { VideoTasks } from "./video.js";

/** What differs from service to service. */
export interface Config {
  /** How many video tasks of one user may be at work. */
  readonly activeLimit: number;
  /** How long it takes to place a video task with the vendor, in milliseconds. */
  readonly vendorTakes: number;
}

export const DEFAULTS: Config = { activeLimit: 3, vendorTakes: 60 };

/** The service, before it listens. */
export interface VideoService {
  readonly app: Express;
  /** Resolves when nothing is executed any more, also for clients that are gone. */
  idle(): Promise<void>;
}

/** With the slots of `idem` and the tasks of `database`. */
export function videoService(idem: Idempotency, database: Database, config: Config = DEFAULTS): VideoService {
  // The scope names the caller and the operation: a key says nothing to anybody else.
  const once = idempotent(idem, {
    scope: (request) => [userOf(request), "POST /api/video-tasks"],
    required: true,
    bodyLimit: BODY_LIMIT,
  });
  const videos = new VideoTasks(database, config.activeLimit, config.vendorTakes);
  const track = new Track(new Analyses(idem, database));
  const app = express().disable("x-powered-by").disable("etag");
  app.use(named);
  app.use("/api/video-tasks", videoRoutes(videos, once));
  app.use("/api/v1/track", trackRoutes(track));
  const health = app.route("/healthz").get((_, response) => void response.type("text").send("ok\n"));
  health.all(onlyMethods("GET,HEAD"));
  app.use(noSuchPath).use(tell);
  return { app, idle: () => once.idle() };
}

function videoRoutes(videos: VideoTasks, once: Idempotent): Router {
  const routes = Router();
  routes.use(known);
  const tasks = routes.route("/").get(videos.list).post(once, ...body, unread, videos.create);
  tasks.all(onlyMethods("GET,HEAD,POST"));
  routes.route("/:taskId").get(videos.show).all(onlyMethods("GET,HEAD"));
  routes.route("/:taskId/complete").post(videos.complete).all(onlyMethods("POST"));
  return routes;
}

function trackRoutes(track: Track): Router {
  const routes = Router();
  routes.route("/").post(...body, unread, track.start).all(onlyMethods("POST"));
  routes.route("/:taskId").get(track.show).all(onlyMethods("GET,HEAD"));
  routes.route("/:taskId/:end").post(track.end).all(onlyMethods("POST"));
  return routes;
}
