//! The store as the conformance suite sees it: a prefix for every room, on real servers.

use std::sync::LazyLock;

use idemp::{AsyncStore, Slot, StoreError, Swap, Swapped, Timestamp, Verdict};
use idemp_conformance::{Limits, Room, RoomClock, Subject};
use idemp_redis::RedisStore;
use idemp_servers::{Redis, RedisCluster};

/// A server that all rooms share.
pub struct OneServer;

/// A cluster of three nodes that all rooms share.
pub struct OnCluster;

/// A store in a room whose clock the suite moves.
///
/// The server decides by differences only: of a key's expiry and its clock. So to move all
/// expiries of a room back, and to add as much to every time that comes out of it, is to move the
/// server's clock on; the store itself knows nothing of it.
pub struct InRoom {
    store: RedisStore,
    clock: RoomClock,
}

impl AsyncStore for InRoom {
    async fn swap(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        let Swapped { now, verdict } = self.store.swap(swap).await?;
        let offset = self.clock.offset();
        let moved =
            |at: Timestamp| Timestamp::from_millis(at.as_millis().saturating_add_signed(offset));
        Ok(Swapped {
            now: moved(now),
            verdict: match verdict {
                Verdict::Lost(Some(slot)) => Verdict::Lost(Some(Slot {
                    lease_until: moved(slot.lease_until),
                    gone_at: moved(slot.gone_at),
                    ..slot
                })),
                other => other,
            },
        })
    }
}

/// Moves the expiry of every key of a room, at once for all that is asked of this server.
const MOVE: &str = "
    local cursor = '0'
    repeat
        local found = redis.call('SCAN', cursor, 'MATCH', ARGV[1], 'COUNT', 1000)
        cursor = found[1]
        for _, key in ipairs(found[2]) do
            redis.call('PEXPIREAT', key, redis.call('PEXPIRETIME', key) - ARGV[2])
        end
    until cursor == '0'";

async fn open(urls: &[String], room: &Room) -> InRoom {
    let mut builder = RedisStore::builder(&urls[0]).prefix(format!("{}:", room.name()));
    for url in &urls[1..] {
        builder = builder.node(url);
    }
    InRoom {
        store: builder.connect().await.expect("the server is there"),
        clock: room.clock(),
    }
}

fn step<'a>(nodes: impl IntoIterator<Item = &'a Redis>, room: &Room, by_ms: i64) {
    let pattern = format!("{}:*", room.name());
    for node in nodes {
        node.command(&["EVAL", MOVE, "0", &pattern, &by_ms.to_string()]);
    }
    room.step(by_ms);
}

/// What is opened in a joined room is found by its address, which the first left in the folder.
fn urls(room: &Room, ours: impl FnOnce() -> Vec<String>) -> Vec<String> {
    let note = room.folder().join("urls");
    if !room.is_joined() {
        std::fs::write(&note, ours().join("\n")).expect("the folder can be written");
    }
    let told = std::fs::read_to_string(&note).expect("the first to open the room leaves it");
    told.lines().map(String::from).collect()
}

impl Subject for OneServer {
    type Store = InRoom;

    async fn open(&self, room: &Room) -> InRoom {
        open(&urls(room, || vec![Redis::shared().url()]), room).await
    }

    async fn step(&self, room: &Room, by_ms: i64) {
        step([Redis::shared()], room, by_ms);
    }

    fn limits(&self) -> Limits {
        Limits::default().without_bound()
    }
}

static CLUSTER: LazyLock<RedisCluster> = LazyLock::new(|| RedisCluster::start(3));

impl Subject for OnCluster {
    type Store = InRoom;

    async fn open(&self, room: &Room) -> InRoom {
        open(&urls(room, || CLUSTER.urls()), room).await
    }

    async fn step(&self, room: &Room, by_ms: i64) {
        step(CLUSTER.nodes(), room, by_ms);
    }

    fn limits(&self) -> Limits {
        Limits::default().without_bound()
    }
}
