/** The store as the laws see it: a prefix for every room, on real servers. */
import { type RedisClient, redisStore } from "idemp/redis";
import { type Store, type Swapped } from "idemp";
import { type Room, type Subject } from "idemp/testing";
import { Redis } from "ioredis";

/**
 * A subject on these servers.
 *
 * The server decides by differences only: of a key's expiry and its clock. So to move all expiries of
 * a room back, and to add as much to every time that comes out of it, is to move the server's clock on;
 * the store itself knows nothing of it.
 */
export function inRooms(urls: () => readonly string[], client: () => RedisClient, lost: () => RedisClient): Subject {
  return {
    // Storms on a machine that has other work to do take their time.
    open: (room) => moved(redisStore(client(), { prefix: `${room.name}:`, answerWithin: "30s" }), room),
    async step(room, byMs) {
      for (const url of urls()) {
        await onServer(url, async (redis) => {
          const [role] = (await redis.call("ROLE")) as [string];
          // A replica does as its primary did.
          if (role === "master") await redis.eval(MOVE, 0, `${room.name}:*`, byMs);
        });
      }
    },
    outOfReach: (room) => redisStore(lost(), { prefix: `${room.name}:`, answerWithin: "200ms" }),
    limits: { unbounded: true, cannotForget: true },
  };
}

function moved(store: Store, room: Room): Store {
  return {
    async swap(swap): Promise<Swapped> {
      const reply = await store.swap(swap);
      const now = reply.now + room.offset;
      if (reply.won || reply.slot === undefined) return { ...reply, now };
      const { slot } = reply;
      const [leaseUntil, goneAt] = [slot.leaseUntil + room.offset, slot.goneAt + room.offset];
      return { now, won: false, slot: { ...slot, leaseUntil, goneAt } };
    },
  };
}

/** Moves the expiry of every key of a room, at once for all that is asked of this server. */
const MOVE = `
  for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
    redis.call('PEXPIREAT', key, redis.call('PEXPIRETIME', key) - ARGV[2])
  end`;

/** Asks a server by a client that no store uses. */
export async function onServer<T>(url: string, work: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url);
  try {
    return await work(redis);
  } finally {
    redis.disconnect();
  }
}
