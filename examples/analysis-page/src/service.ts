/** What the service says of an analysis. */
export interface Analysis {
  readonly task_id: string;
  readonly status: Status;
}

export type Status = "processing" | End;
export type End = "completed" | "failed" | "cancelled";

/** An answer that is no success. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/** Asks for an analysis. `fetch` is the client's: it sends the key, and tries again. */
export async function start(
  fetch: typeof globalThis.fetch,
  body: { tenant_id: string; video_filename: string },
): Promise<Analysis & { joined: boolean }> {
  const response = await fetch("/api/v1/track", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const analysis = await read<Analysis>(response);
  return { ...analysis, joined: response.status === 200 };
}

/** How far it is; `undefined` where the service does not know it any more. */
export async function show(taskId: string, signal?: AbortSignal): Promise<Status | undefined> {
  const response = await fetch(path(taskId), { signal: signal ?? null });
  if (response.status === 404) return undefined;
  return (await read<Analysis>(response)).status;
}

/** Ends it, as its worker or its user would. May be repeated. Gives how it ended. */
export async function end(taskId: string, how: End): Promise<Status | undefined> {
  const verb = { completed: "complete", failed: "fail", cancelled: "cancel" }[how];
  const response = await fetch(`${path(taskId)}/${verb}`, { method: "POST" });
  // Somebody else was quicker, or the service has lost it: what it says now is what there is.
  if (response.status === 409 || response.status === 404) return show(taskId);
  return (await read<Analysis>(response)).status;
}

function path(taskId: string) {
  return `/api/v1/track/${encodeURIComponent(taskId)}`;
}

async function read<T>(response: Response): Promise<T> {
  const body = await response.json().catch(() => undefined);
  if (response.ok && body !== undefined) return body as T;
  const { code = "NO_ANSWER", message = "The service does not answer." } = (body ?? {}) as {
    code?: string;
    message?: string;
  };
  throw new Refused(response.status, code, message);
}
