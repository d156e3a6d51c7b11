/** How often a client connected: behind a new connection there may be another server. */

/** Every event after which there may be another server, of any client: when it is there, and when the
 *  one before it is lost, since what is asked meanwhile waits for it. */
const CONNECTED = ["reconnecting", "ready", "-node", "+node", "node-reconnecting", "node-ready"];

interface Count {
  connections: number;
  /** What tells of its connections. One listener each, however many stores the client has. */
  readonly heard: WeakSet<object>;
}

const counts = new WeakMap<object, Count>();

/** How often a client connected, as far as it tells. */
export function connectionsOf(client: object): () => number {
  const count = hear(client, client);
  return () => count.connections;
}

/** A pool tells nothing of its own, and each of its clients does, from when it is met on. */
export function meet(pool: object, client: object): void {
  hear(pool, client);
}

function hear(client: object, from: object): Count {
  let count = counts.get(client);
  if (!count) counts.set(client, (count = { connections: 0, heard: new WeakSet() }));
  const of = count;
  if ("on" in from && !of.heard.has(from)) {
    of.heard.add(from);
    const { on } = from as { on(event: string, heard: () => void): unknown };
    for (const event of CONNECTED) on.call(from, event, () => (of.connections += 1));
  }
  return of;
}
