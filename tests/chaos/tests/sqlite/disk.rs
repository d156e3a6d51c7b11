//! A disk that can lose its power: a layer between SQLite and its files that remembers what was
//! written and what was synced, for files in a folder that is watched.
//!
//! Every call goes on to SQLite's own layer, so locks and shared memory are the real ones. After a
//! power loss a file holds what was synced, and of what was written since any part, in pieces of
//! 512 bytes. A new name is in its folder once the folder was synced, which SQLite does with the
//! first sync of a log or journal that it made.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, Once};

use rusqlite::ffi;

use crate::dice::Dice;

/// A folder whose files are watched.
pub(crate) struct Disk {
    folder: PathBuf,
    shared: Arc<Mutex<State>>,
}

/// What lies on a disk at one moment.
#[derive(Clone, Default)]
pub(crate) struct State {
    files: Vec<Contents>,
    names: HashMap<String, usize>,
    synced_names: HashMap<String, usize>,
    syncs: u64,
    fault: Option<Fault>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Syncs fail.
    Sync,
    /// Writes find no room.
    Full,
}

#[derive(Clone, Default)]
struct Contents {
    synced: Vec<u8>,
    since: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Written(usize, Vec<u8>),
    Cut(usize),
}

impl Disk {
    /// Watches what SQLite does in this folder from now on. It has to be empty.
    pub(crate) fn watch(folder: &Path) -> Self {
        Self::with(folder, State::default())
    }

    /// The disk of a machine on which every process was killed and nothing else happened: files
    /// hold all that was written, and what was not synced may still be lost.
    pub(crate) fn after_a_kill(state: &State, folder: &Path) -> Self {
        for (name, file) in &state.names {
            std::fs::write(folder.join(name), state.files[*file].as_written()).unwrap();
        }
        Self::with(folder, state.clone())
    }

    fn with(folder: &Path, state: State) -> Self {
        static LAYER: Once = Once::new();
        LAYER.call_once(register);
        let shared = Arc::new(Mutex::new(state));
        lock(&WATCHED).insert(folder.to_path_buf(), shared.clone());
        Self {
            folder: folder.to_path_buf(),
            shared,
        }
    }

    /// What lies there at this moment.
    pub(crate) fn state(&self) -> State {
        lock(&self.shared).clone()
    }

    pub(crate) fn syncs(&self) -> u64 {
        lock(&self.shared).syncs
    }

    pub(crate) fn fault(&self, fault: Option<Fault>) {
        lock(&self.shared).fault = fault;
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        lock(&WATCHED).remove(&self.folder);
    }
}

impl State {
    /// Puts into `folder` what a power loss left.
    pub(crate) fn lose_power(&self, dice: &mut Dice, folder: &Path) {
        let names = match dice.below(2) {
            0 => &self.names,
            _ => &self.synced_names,
        };
        for (name, file) in names {
            std::fs::write(folder.join(name), self.files[*file].left(dice)).unwrap();
        }
    }

    fn file(&mut self, name: &str) -> usize {
        if let Some(file) = self.names.get(name) {
            return *file;
        }
        self.files.push(Contents::default());
        self.names.insert(name.to_string(), self.files.len() - 1);
        self.files.len() - 1
    }

    fn sync(&mut self, file: usize, with_its_folder: bool) {
        let synced = self.files[file].as_written();
        self.files[file] = Contents {
            synced,
            since: Vec::new(),
        };
        if with_its_folder {
            self.synced_names = self.names.clone();
        }
        self.syncs += 1;
    }
}

impl Contents {
    fn as_written(&self) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        self.since.iter().for_each(|change| change.on(&mut bytes));
        bytes
    }

    fn left(&self, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        let count = self.since.len();
        match dice.below(3) {
            0 => {}
            // All up to a moment, and of the last write a part.
            1 => {
                let until = dice.below(count + 1);
                self.since[..until]
                    .iter()
                    .for_each(|change| change.on(&mut bytes));
                if let Some(Change::Written(at, written)) = self.since.get(until) {
                    let part = dice.below(written.len() / 512 + 1) * 512;
                    Change::Written(*at, written[..part].to_vec()).on(&mut bytes);
                }
            }
            // Any of them: a disk writes in the order that it likes.
            _ => {
                let some = self.since.iter().filter(|_| dice.below(2) == 0);
                some.for_each(|change| change.on(&mut bytes));
            }
        }
        bytes
    }
}

impl Change {
    fn on(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Cut(length) => bytes.resize(*length, 0),
            Self::Written(at, written) => {
                let end = at + written.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*at..end].copy_from_slice(written);
            }
        }
    }
}

static WATCHED: LazyLock<Mutex<HashMap<PathBuf, Arc<Mutex<State>>>>> =
    LazyLock::new(Mutex::default);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// What SQLite holds for an open file: its own, which lies behind this one, and what is watched.
#[repr(C)]
struct Open {
    base: ffi::sqlite3_file,
    watched: *mut Watched,
}

struct Watched {
    disk: Arc<Mutex<State>>,
    file: usize,
    syncs_folder: bool,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    // Without memory maps, which SQLite then does not use.
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock_file),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// Makes the layer the one that SQLite takes unless it is told otherwise.
fn register() {
    // SAFETY: the default layer is there from the first call on and stays; the copy and its name are
    // leaked, so they live as long as SQLite may use them, and `pAppData` leads to the original.
    unsafe {
        let default = ffi::sqlite3_vfs_find(std::ptr::null());
        assert!(!default.is_null());
        let mut layer = *default;
        layer.szOsFile += size_of::<Open>() as c_int;
        layer.zName = c"power".as_ptr();
        layer.pNext = std::ptr::null_mut();
        layer.pAppData = default.cast();
        layer.xOpen = Some(open);
        layer.xDelete = Some(delete);
        layer.xAccess = Some(access);
        layer.xFullPathname = Some(full_pathname);
        let registered = ffi::sqlite3_vfs_register(Box::leak(Box::new(layer)), 1);
        assert_eq!(registered, ffi::SQLITE_OK);
    }
}

/// The disk and the name of a path that is watched.
///
/// # Safety
/// `path` is null or a string that ends with zero.
unsafe fn watched(path: *const c_char) -> Option<(Arc<Mutex<State>>, String)> {
    if path.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    let path = Path::new(unsafe { CStr::from_ptr(path) }.to_str().ok()?);
    let disk = lock(&WATCHED).get(path.parent()?)?.clone();
    Some((disk, path.file_name()?.to_str()?.to_string()))
}

// All functions below are called by SQLite alone, with the pointers that it got from `register` and
// `open`. For each of them:
//
// SAFETY: a `sqlite3_vfs` is the one that was registered, whose `pAppData` is the default layer; a
// `sqlite3_file` was filled in by `open`, has `szOsFile` bytes and so the default layer's file right
// behind `Open`; other arguments go on as they came.

unsafe fn default_layer(layer: *mut ffi::sqlite3_vfs) -> *mut ffi::sqlite3_vfs {
    // SAFETY: see above.
    unsafe { (*layer).pAppData.cast() }
}

unsafe fn behind(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    // SAFETY: see above.
    unsafe { file.cast::<Open>().add(1).cast() }
}

unsafe fn state<'a>(file: *mut ffi::sqlite3_file) -> Option<&'a Watched> {
    // SAFETY: see above; `watched` is null or a box that `close` gives back.
    unsafe { (*file.cast::<Open>()).watched.as_ref() }
}

unsafe extern "C" fn open(
    layer: *mut ffi::sqlite3_vfs,
    path: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: see above.
    unsafe {
        let opened = file.cast::<Open>();
        (*opened).base.pMethods = std::ptr::null();
        (*opened).watched = std::ptr::null_mut();
        let default = default_layer(layer);
        let code = (*default).xOpen.unwrap()(default, path, behind(file), flags, out);
        if code != ffi::SQLITE_OK {
            return code;
        }
        (*opened).base.pMethods = &METHODS;
        if let Some((disk, name)) = watched(path) {
            let of_its_own = ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL;
            let file = lock(&disk).file(&name);
            (*opened).watched = Box::into_raw(Box::new(Watched {
                disk,
                file,
                syncs_folder: flags & of_its_own != 0 && flags & ffi::SQLITE_OPEN_CREATE != 0,
            }));
        }
        code
    }
}

unsafe extern "C" fn delete(
    layer: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    sync_folder: c_int,
) -> c_int {
    // SAFETY: see above.
    unsafe {
        let default = default_layer(layer);
        let code = (*default).xDelete.unwrap()(default, path, sync_folder);
        if let (ffi::SQLITE_OK, Some((disk, name))) = (code, watched(path)) {
            let mut disk = lock(&disk);
            disk.names.remove(&name);
            if sync_folder != 0 {
                disk.synced_names = disk.names.clone();
            }
        }
        code
    }
}

unsafe extern "C" fn access(
    layer: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: see above.
    unsafe {
        let default = default_layer(layer);
        (*default).xAccess.unwrap()(default, path, flags, out)
    }
}

unsafe extern "C" fn full_pathname(
    layer: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    length: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: see above.
    unsafe {
        let default = default_layer(layer);
        (*default).xFullPathname.unwrap()(default, path, length, out)
    }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: see above; SQLite closes a file once.
    unsafe {
        let opened = file.cast::<Open>();
        if !(*opened).watched.is_null() {
            drop(Box::from_raw((*opened).watched));
        }
        let behind = behind(file);
        (*(*behind).pMethods).xClose.unwrap()(behind)
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    count: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: see above; `bytes` are `count` bytes that SQLite lends.
    unsafe {
        let behind = behind(file);
        let write = (*(*behind).pMethods).xWrite.unwrap();
        let Some(watched) = state(file) else {
            return write(behind, bytes, count, at);
        };
        // Under the lock, so that no other change comes between.
        let mut disk = lock(&watched.disk);
        if disk.fault == Some(Fault::Full) {
            return ffi::SQLITE_FULL;
        }
        let code = write(behind, bytes, count, at);
        if code == ffi::SQLITE_OK {
            let bytes = std::slice::from_raw_parts(bytes.cast::<u8>(), count as usize).to_vec();
            let change = Change::Written(at as usize, bytes);
            disk.files[watched.file].since.push(change);
        }
        code
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, length: ffi::sqlite3_int64) -> c_int {
    // SAFETY: see above.
    unsafe {
        let behind = behind(file);
        let code = (*(*behind).pMethods).xTruncate.unwrap()(behind, length);
        if let (ffi::SQLITE_OK, Some(watched)) = (code, state(file)) {
            let change = Change::Cut(length as usize);
            lock(&watched.disk).files[watched.file].since.push(change);
        }
        code
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: see above. A write that comes during the sync counts as synced only if it came before
    // the state is taken, which is before the sync.
    unsafe {
        let behind = behind(file);
        let real = (*(*behind).pMethods).xSync.unwrap();
        let Some(watched) = state(file) else {
            return real(behind, flags);
        };
        let mut disk = lock(&watched.disk);
        if disk.fault == Some(Fault::Sync) {
            return ffi::SQLITE_IOERR_FSYNC;
        }
        // The real sync would cost its time and prove nothing: the disk here is this state.
        disk.sync(watched.file, watched.syncs_folder);
        ffi::SQLITE_OK
    }
}

/// Hands a method on to the file behind.
macro_rules! hand_on {
    ($($name:ident = $method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        $(
            unsafe extern "C" fn $name(
                file: *mut ffi::sqlite3_file,
                $($argument: $type),*
            ) -> $answer {
                // SAFETY: see above.
                unsafe {
                    let behind = behind(file);
                    (*(*behind).pMethods).$method.unwrap()(behind, $($argument),*)
                }
            }
        )*
    };
}

hand_on! {
    read = xRead(to: *mut c_void, count: c_int, at: ffi::sqlite3_int64) -> c_int;
    file_size = xFileSize(out: *mut ffi::sqlite3_int64) -> c_int;
    lock_file = xLock(level: c_int) -> c_int;
    unlock = xUnlock(level: c_int) -> c_int;
    check_reserved_lock = xCheckReservedLock(out: *mut c_int) -> c_int;
    file_control = xFileControl(code: c_int, argument: *mut c_void) -> c_int;
    sector_size = xSectorSize() -> c_int;
    device_characteristics = xDeviceCharacteristics() -> c_int;
    shm_map = xShmMap(page: c_int, size: c_int, extend: c_int, out: *mut *mut c_void) -> c_int;
    shm_lock = xShmLock(at: c_int, count: c_int, flags: c_int) -> c_int;
    shm_barrier = xShmBarrier() -> ();
    shm_unmap = xShmUnmap(delete: c_int) -> c_int;
}
