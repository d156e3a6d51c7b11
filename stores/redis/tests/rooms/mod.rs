//! The store as the conformance suite sees it: a prefix for every room, on real servers.

#![allow(dead_code)] // each suite has its own rooms

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use idemp::{AsyncStore, Slot, StoreError, Swap, Swapped, Timestamp, Verdict};
use idemp_conformance::{Limits, Room, RoomClock, Subject};
use idemp_redis::RedisStore;
use idemp_servers::{Redis, RedisCluster};

/// A server that all rooms share.
pub(crate) struct OneServer;

/// A cluster of three nodes that all rooms share.
pub(crate) struct OnCluster;

/// A store in a room whose clock the suite moves.
///
/// The server decides by differences only: of a key's expiry and its clock. So to move all
/// expiries of a room back, and to add as much to every time that comes out of it, is to move the
/// server's clock on; the store itself knows nothing of it.
pub(crate) struct InRoom {
    store: RedisStore,
    clock: RoomClock,
    door: Door,
}

/// Held by all that ask in a room, or by the one that moves its clock: there is no moment between
/// the move of the expiries and that of the offset.
type Door = Arc<tokio::sync::RwLock<()>>;

fn door(room: &Room) -> Door {
    static DOORS: LazyLock<Mutex<HashMap<String, Door>>> = LazyLock::new(Default::default);
    let mut doors = DOORS.lock().expect("no test panics here");
    doors.entry(room.name().to_string()).or_default().clone()
}

impl AsyncStore for InRoom {
    async fn swap(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        let _inside = self.door.read().await;
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
    for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
        redis.call('PEXPIREAT', key, redis.call('PEXPIRETIME', key) - ARGV[2])
    end";

async fn open(urls: &[String], room: &Room) -> InRoom {
    let mut builder = RedisStore::builder(&urls[0]).prefix(format!("{}:", room.name()));
    for url in &urls[1..] {
        builder = builder.node(url);
    }
    InRoom {
        store: builder.connect().await.expect("the server is there"),
        clock: room.clock(),
        door: door(room),
    }
}

async fn step<'a>(nodes: impl IntoIterator<Item = &'a Redis>, room: &Room, by_ms: i64) {
    let pattern = format!("{}:*", room.name());
    let door = door(room);
    let _alone = door.write().await;
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

/// A store whose server is gone.
async fn unreachable(room: &Room) -> InRoom {
    let server = Redis::start(&[]);
    open(&[server.url()], room).await
}

impl Subject for OneServer {
    type Store = InRoom;

    async fn open(&self, room: &Room) -> InRoom {
        open(&urls(room, || vec![Redis::shared().url()]), room).await
    }

    async fn step(&self, room: &Room, by_ms: i64) {
        step([Redis::shared()], room, by_ms).await;
    }

    async fn out_of_reach(&self, room: &Room) -> Option<InRoom> {
        Some(unreachable(room).await)
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
        step(CLUSTER.nodes(), room, by_ms).await;
    }

    async fn out_of_reach(&self, room: &Room) -> Option<InRoom> {
        Some(unreachable(room).await)
    }

    fn limits(&self) -> Limits {
        Limits::default().without_bound()
    }
}
