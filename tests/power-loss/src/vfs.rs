//! SQLite's VFS over simulated disks.
//!
//! It is SQLite's own VFS, of which it replaces four functions: open and delete, and for each open file write, truncate,
//! sync and close. All others, such as locks and shared memory, are SQLite's. Files outside of the disks are not touched.
//! The VFS is the default of the process, so the hub's store needs no option for it.
//!
//! After it created a journal or WAL, SQLite syncs the folder together with the file, and ignores an error of the folder.
//! Here, both are one operation. Reads never fail.

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};

use rusqlite::ffi;

use crate::{Change, Disk, Failure};

/// SQLite's own VFS.
static SYSTEM: AtomicPtr<ffi::sqlite3_vfs> = AtomicPtr::new(ptr::null_mut());
static DISKS: Mutex<Vec<Weak<Disk>>> = Mutex::new(Vec::new());

/// Types of files whose folder SQLite syncs after it created them.
const JOURNALS: c_int = ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL | ffi::SQLITE_OPEN_WAL;

/// Lets SQLite use the simulated disk for all databases in its folder, in the whole process.
///
/// # Panics
/// If SQLite cannot be started.
pub fn install_vfs(disk: &Arc<Disk>) {
    static REGISTER: Once = Once::new();
    REGISTER.call_once(register);
    let mut disks = DISKS.lock().unwrap_or_else(PoisonError::into_inner);
    disks.retain(|disk| disk.strong_count() > 0);
    disks.push(Arc::downgrade(disk));
}

fn register() {
    // SAFETY: it may be called at any time, and has no arguments.
    let started = unsafe { ffi::sqlite3_initialize() };
    assert_eq!(started, ffi::SQLITE_OK, "cannot start SQLite");
    // SAFETY: SQLite is started. A null name asks for the default VFS.
    let system = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
    // SAFETY: the result is null or a VFS that SQLite never frees.
    let mut vfs = *unsafe { system.as_ref() }.expect("SQLite has a default VFS");
    SYSTEM.store(system, Ordering::Release);
    vfs.pNext = ptr::null_mut();
    vfs.zName = c"power-loss".as_ptr();
    vfs.xOpen = Some(open);
    vfs.xDelete = Some(delete);
    // SAFETY: the VFS is leaked, so it lives as long as the process. The functions that it took over from SQLite's VFS read
    // nothing of it but `pAppData` and `mxPathname`, which are copied.
    let registered = unsafe { ffi::sqlite3_vfs_register(Box::leak(Box::new(vfs)), 1) };
    assert_eq!(registered, ffi::SQLITE_OK, "cannot register the VFS");
}

/// Returns the disk that a path belongs to.
///
/// # Safety
/// `name` must be null or a string that ends with 0.
unsafe fn place_of(name: *const c_char) -> Option<(Arc<Disk>, PathBuf)> {
    if name.is_null() {
        return None;
    }
    // SAFETY: the caller promises a string.
    let name = unsafe { CStr::from_ptr(name) };
    let path = Path::new(OsStr::from_bytes(name.to_bytes()));
    let disks = DISKS.lock().unwrap_or_else(PoisonError::into_inner);
    let disk = disks.iter().filter_map(Weak::upgrade).find(|disk| path.starts_with(disk.root()))?;
    Some((disk, path.to_path_buf()))
}

/// An open file of a disk. SQLite has a pointer to `methods`, and so to the whole.
#[repr(C)]
struct OpenFile {
    /// Those of SQLite's VFS, with ours in some places.
    methods: ffi::sqlite3_io_methods,
    system: *const ffi::sqlite3_io_methods,
    disk: Arc<Disk>,
    path: PathBuf,
    /// Whether a sync also syncs the folder.
    syncs_folder: bool,
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let system_open = || {
        let system = SYSTEM.load(Ordering::Acquire);
        // SAFETY: `register` has stored a VFS that SQLite never frees.
        match unsafe { (*system).xOpen } {
            // SAFETY: the arguments are those that SQLite passed, with its own VFS. `file` has the size that it needs,
            // because `szOsFile` is copied.
            Some(open) => unsafe { open(system, name, file, flags, out_flags) },
            None => ffi::SQLITE_CANTOPEN,
        }
    };
    // SAFETY: SQLite passes null or a string.
    let Some((disk, path)) = (unsafe { place_of(name) }) else { return system_open() };
    let may_create = flags & ffi::SQLITE_OPEN_CREATE != 0;
    let opened = if may_create && !path.exists() {
        disk.change(Change::Create(&path), system_open)
    } else {
        Ok(system_open())
    };
    match opened {
        Ok(ffi::SQLITE_OK) => {}
        Ok(code) => return code,
        Err(_) => {
            // SAFETY: `file` is memory for a file. Without methods, SQLite does not close it.
            unsafe { (*file).pMethods = ptr::null() };
            return ffi::SQLITE_CANTOPEN;
        }
    }
    // SAFETY: SQLite's VFS has opened the file, so it has methods.
    let system = unsafe { (*file).pMethods };
    // SAFETY: the methods of SQLite's VFS are static.
    let mut methods = unsafe { *system };
    // Version 2 has no memory-mapped reads.
    methods.iVersion = methods.iVersion.min(2);
    methods.xClose = Some(close);
    methods.xWrite = Some(write);
    methods.xTruncate = Some(truncate);
    methods.xSync = Some(sync);
    let syncs_folder = may_create && flags & JOURNALS != 0;
    let open_file = Box::new(OpenFile { methods, system, disk, path, syncs_folder });
    // SAFETY: `close` frees the box, and SQLite does not use the file after that.
    unsafe { (*file).pMethods = Box::into_raw(open_file).cast() };
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, name: *const c_char, sync_folder: c_int) -> c_int {
    let system_delete = || {
        let system = SYSTEM.load(Ordering::Acquire);
        // SAFETY: `register` has stored a VFS that SQLite never frees.
        match unsafe { (*system).xDelete } {
            // SAFETY: the name is the one that SQLite passed.
            Some(delete) => unsafe { delete(system, name, 0) },
            None => ffi::SQLITE_IOERR_DELETE,
        }
    };
    // SAFETY: SQLite passes a string.
    let Some((disk, path)) = (unsafe { place_of(name) }) else { return system_delete() };
    if !path.exists() {
        return system_delete();
    }
    match (disk.change(Change::Remove(&path), system_delete), path.parent()) {
        (Err(_), _) => ffi::SQLITE_IOERR_DELETE,
        (Ok(ffi::SQLITE_OK), Some(folder)) if sync_folder != 0 => {
            code(disk.change(Change::SyncFolder(folder), || ffi::SQLITE_OK), ffi::SQLITE_IOERR_DIR_FSYNC)
        }
        (Ok(code), _) => code,
    }
}

/// Returns the result of a change as SQLite's code. `error` is that of an I/O error.
fn code(result: Result<c_int, Failure>, error: c_int) -> c_int {
    match result {
        Ok(code) => code,
        Err(Failure::Full) => ffi::SQLITE_FULL,
        Err(Failure::Io) => error,
    }
}

/// Returns a file that [`open`] has opened.
///
/// # Safety
/// `file` must be such a file, and not be closed while the result is used.
unsafe fn open_file<'a>(file: *mut ffi::sqlite3_file) -> &'a OpenFile {
    // SAFETY: the caller promises that it is open.
    let methods = unsafe { (*file).pMethods };
    // SAFETY: `open` has set the pointer to an `OpenFile`, whose first field are the methods.
    unsafe { &*methods.cast::<OpenFile>() }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    data: *const c_void,
    length: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite calls methods of a file while it is open.
    let open = unsafe { open_file(file) };
    // SAFETY: SQLite passes `length` bytes.
    let bytes = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), length.unsigned_abs() as usize) };
    let system_write = || {
        // SAFETY: the methods of SQLite's VFS are static.
        match unsafe { (*open.system).xWrite } {
            // SAFETY: the arguments are those that SQLite passed.
            Some(write) => unsafe { write(file, data, length, offset) },
            None => ffi::SQLITE_IOERR_WRITE,
        }
    };
    let change = Change::Write { path: &open.path, offset: offset.unsigned_abs(), data: bytes };
    code(open.disk.change(change, system_write), ffi::SQLITE_IOERR_WRITE)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: ffi::sqlite3_int64) -> c_int {
    // SAFETY: SQLite calls methods of a file while it is open.
    let open = unsafe { open_file(file) };
    let system_truncate = || {
        // SAFETY: the methods of SQLite's VFS are static.
        match unsafe { (*open.system).xTruncate } {
            // SAFETY: the arguments are those that SQLite passed.
            Some(truncate) => unsafe { truncate(file, size) },
            None => ffi::SQLITE_IOERR_TRUNCATE,
        }
    };
    let change = Change::Resize { path: &open.path, size: size.unsigned_abs() };
    code(open.disk.change(change, system_truncate), ffi::SQLITE_IOERR_TRUNCATE)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: SQLite calls methods of a file while it is open.
    let open = unsafe { open_file(file) };
    let change = Change::Sync { path: &open.path, with_name: open.syncs_folder };
    code(open.disk.change(change, || ffi::SQLITE_OK), ffi::SQLITE_IOERR_FSYNC)
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes a file once, while it is open.
    let methods = unsafe { (*file).pMethods };
    // SAFETY: `open` has made the pointer from a box, and only `close` takes it back.
    let open = unsafe { Box::from_raw(methods.cast::<OpenFile>().cast_mut()) };
    // SAFETY: the file is still open.
    unsafe { (*file).pMethods = open.system };
    // SAFETY: the methods of SQLite's VFS are static.
    match unsafe { (*open.system).xClose } {
        // SAFETY: the file has the methods of SQLite's VFS again.
        Some(close) => unsafe { close(file) },
        None => ffi::SQLITE_OK,
    }
}
