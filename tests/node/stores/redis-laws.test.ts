/** The laws of a store, on every client of Redis, one server and a cluster. */
import { after, before, describe, test } from "node:test";
import { conformance } from "idemp/testing";
import { type Servers, startServers } from "../servers.js";
import { CLIENTS, CLUSTERS, OLDER_CLIENTS, OLDER_CLUSTERS, type Connected } from "./redis-clients.js";
import { inRooms } from "./redis-rooms.js";

let servers: Servers;
let clustered: Servers;
before(async () => {
  [servers, clustered] = await Promise.all([startServers("redis"), startServers("cluster")]);
});
after(() => Promise.all([servers?.stop(), clustered?.stop()]));

/** Nobody listens there. */
const NOWHERE = "redis://127.0.0.1:1";

for (const [name, connect] of Object.entries({ ...CLIENTS, ...OLDER_CLIENTS })) {
  laws(name, () => servers.urls("redis"), ([url]) => connect(url as string));
}
for (const [name, connect] of Object.entries({ ...CLUSTERS, ...OLDER_CLUSTERS })) {
  laws(name, () => clustered.urls("cluster"), connect);
}

function laws(name: string, urls: () => readonly string[], connect: (urls: readonly string[]) => Promise<Connected>) {
  describe(name, () => {
    const all: Connected[] = [];
    let turn = 0;
    before(async () => {
      for (let connections = 0; connections < 2; connections++) all.push(await connect(urls()));
      lost = await CLIENTS.ioredis(NOWHERE);
    });
    after(async () => {
      for (const { end } of [...all, lost]) await end();
    });
    let lost: Connected;
    const next = () => (all[turn++ % 2] as Connected).client;
    for (const law of conformance(inRooms(urls, next, () => lost.client))) test(law.name, law.hold);
  });
}
