//! A store in a folder that any number of processes share: `apply`, behind a file that is the
//! lock. A toy in every respect but one: it obeys the laws.

use std::collections::HashMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use idemp::{Clock, OnBlockingThreads, Slot, Store, StoreError, Swap, Swapped, apply};
use idemp_conformance::{Limits, Room, RoomClock, Subject};

/// The store, and whether it locks other processes out, as it has to.
pub struct Files {
    pub locked: bool,
}

impl Subject for Files {
    type Store = OnBlockingThreads<FileStore>;

    async fn open(&self, room: &Room) -> Self::Store {
        let folder = room.folder().join("records");
        fs::create_dir_all(&folder).unwrap();
        self.store(folder, room)
    }

    async fn purge(&self, store: &Self::Store) -> Option<u64> {
        let store = store.0.clone();
        let purged = tokio::task::spawn_blocking(move || store.purge().unwrap());
        Some(purged.await.unwrap())
    }

    async fn out_of_reach(&self, room: &Room) -> Option<Self::Store> {
        Some(self.store(room.folder().join("not there"), room))
    }

    fn limits(&self) -> Limits {
        Limits::default().without_bound()
    }
}

impl Files {
    fn store(&self, folder: PathBuf, room: &Room) -> OnBlockingThreads<FileStore> {
        static THREADS: LazyLock<Mutex<HashMap<PathBuf, Arc<Mutex<()>>>>> =
            LazyLock::new(Default::default);
        let threads = THREADS
            .lock()
            .unwrap()
            .entry(folder.clone())
            .or_default()
            .clone();
        OnBlockingThreads(Arc::new(FileStore {
            threads,
            folder,
            clock: room.clock(),
            locked: self.locked,
        }))
    }
}

pub struct FileStore {
    folder: PathBuf,
    clock: RoomClock,
    locked: bool,
    /// Those of this process do not spin.
    threads: Arc<Mutex<()>>,
}

impl Store for FileStore {
    fn swap(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        let _lock = self.lock()?;
        let path = self.path(swap.slot.as_bytes());
        let mut slot = slot_in(&path)?;
        let reply = apply(&mut slot, swap, self.clock.now());
        match &slot {
            Some(slot) => {
                let next = path.with_extension(format!("next-{}", std::process::id()));
                let bytes = serde_json::to_vec(slot).map_err(StoreError::corrupt)?;
                fs::write(&next, bytes).map_err(StoreError::unavailable)?;
                fs::rename(&next, &path).map_err(StoreError::unavailable)?;
            }
            None if path.exists() => fs::remove_file(&path).map_err(StoreError::unavailable)?,
            None => {}
        }
        Ok(reply)
    }
}

impl FileStore {
    fn path(&self, key: &[u8]) -> PathBuf {
        let half = |seed: u64| {
            let mut hash = DefaultHasher::new();
            (seed, key).hash(&mut hash);
            hash.finish()
        };
        self.folder
            .join(format!("{:016x}{:016x}.slot", half(1), half(2)))
    }

    fn purge(&self) -> Result<u64, StoreError> {
        let _lock = self.lock()?;
        let mut purged = 0;
        for entry in fs::read_dir(&self.folder).map_err(StoreError::unavailable)? {
            let path = entry.map_err(StoreError::unavailable)?.path();
            let slot = if path.extension().is_some_and(|end| end == "slot") {
                slot_in(&path)?
            } else {
                None
            };
            if slot.is_some_and(|slot| slot.gone_at <= self.clock.now()) {
                fs::remove_file(&path).map_err(StoreError::unavailable)?;
                purged += 1;
            }
        }
        Ok(purged)
    }

    /// One thread of this process at a time, and of all processes one.
    fn lock(&self) -> Result<impl Drop, StoreError> {
        struct Lock<'a>(Option<PathBuf>, #[allow(dead_code)] MutexGuard<'a, ()>);
        impl Drop for Lock<'_> {
            fn drop(&mut self) {
                if let Some(path) = &self.0 {
                    fs::remove_file(path).unwrap();
                }
            }
        }
        let guard = self
            .threads
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if !self.locked {
            return Ok(Lock(None, guard));
        }
        let path = self.folder.join("lock");
        let started = Instant::now();
        loop {
            match File::create_new(&path) {
                Ok(_) => return Ok(Lock(Some(path), guard)),
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(StoreError::unavailable(error));
                }
                Err(_) if started.elapsed() > Duration::from_secs(10) => {
                    return Err(StoreError::Timeout);
                }
                Err(_) => std::thread::yield_now(),
            }
        }
    }
}

fn slot_in(path: &Path) -> Result<Option<Slot>, StoreError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(StoreError::corrupt),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::unavailable(error)),
    }
}
