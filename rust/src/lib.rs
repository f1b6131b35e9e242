// SPDX-License-Identifier: BSD-2-Clause
//! Registered memory for RDMA that stays correct across `fork()`.
//!
//! A [`Pool`] hands out blocks of memory that is registered with all of its rails and that no
//! `fork()` moves under a device: as a [`PoolBox`] of a value or a slice, or through
//! [`std::alloc::GlobalAlloc`]'s functions, which a `Pool` has. A box borrows its pool, so the pool
//! outlives it. Errors are [`io::Error`] with the errno that the C function's manual page lists.
//!
//! ```no_run
//! let pool = rdmalloc::Pool::new(&rdmalloc::Config::default())?;
//! let mut buffer = pool.slice(4096, 0u8)?;
//! buffer[0] = 1;
//! # Ok::<(), std::io::Error>(())
//! ```

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::{c_void, CString};
use std::io;
use std::marker::PhantomData;
use std::mem::size_of;
use std::ops::{Deref, DerefMut};
use std::os::raw::c_int;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr::{self, NonNull};
use std::sync::Mutex;

mod ffi;
pub use ffi::{version, Stats};

const EINVAL: c_int = 22;
const EIO: c_int = 5;
/// Blocks of `rdm_malloc()` have this alignment at least.
const ALIGNMENT: usize = 64;

/// Where the memory of a pool's slabs comes from.
#[derive(Clone, Copy, Debug)]
pub enum Backing {
    Default,
    Anon,
    Hugetlb,
    Shared,
}

/// What a child finds at the addresses of a pool's blocks after `fork()`.
#[derive(Clone, Copy, Debug)]
pub enum ForkPolicy {
    Default,
    Hole,
    Zero,
    Copy,
}

/// `struct rdm_pool_config`; what is left alone is the library's default.
#[derive(Clone, Debug)]
pub struct Config {
    pub name: String,
    pub slab_size: usize,
    pub limit: usize,
    pub backing: Backing,
    pub fork: ForkPolicy,
    pub node: Option<u32>,
    pub watermark: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            name: String::new(),
            slab_size: 0,
            limit: 0,
            backing: Backing::Default,
            fork: ForkPolicy::Default,
            node: None,
            watermark: 0,
        }
    }
}

/// One registration of a slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mr {
    pub lkey: u32,
    pub rkey: u32,
    pub handle: usize,
}

/// A rail of the program's own. Both may be called by threads of the library's, and must not fork.
/// A panic counts as `EIO`.
pub trait Registrar: Send + Sync {
    fn register(&self, address: *mut u8, length: usize) -> io::Result<Mr>;
    fn deregister(&self, mr: &Mr) -> io::Result<()>;
}

/// What [`key`] says of a pointer on one rail.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub lkey: u32,
    pub rkey: u32,
    pub handle: usize,
    pub base: *mut u8,
    pub length: usize,
}

type Rail = Box<Box<dyn Registrar>>;

/// A pool, which its drop destroys. Where that is refused (a rail does not let go, blocks of
/// `GlobalAlloc` live) it stays, and the library says so.
pub struct Pool {
    handle: NonNull<ffi::PoolHandle>,
    rails: Mutex<Vec<(c_int, Rail)>>,
    // The library keeps pointers to names.
    names: Mutex<Vec<CString>>,
}

// All functions of the library may be called from any thread.
unsafe impl Send for Pool {}
unsafe impl Sync for Pool {}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

fn c_string(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(|_| io::Error::from_raw_os_error(EINVAL))
}

fn status_of(call: impl FnOnce() -> io::Result<()>) -> c_int {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => error.raw_os_error().unwrap_or(EIO),
        Err(_) => EIO,
    }
}

unsafe extern "C" fn reg(
    context: *mut c_void,
    address: *mut c_void,
    length: usize,
    mr: *mut ffi::Mr,
) -> c_int {
    let rail = &*(context as *const Box<dyn Registrar>);
    status_of(|| {
        let made = rail.register(address as *mut u8, length)?;
        *mr = ffi::Mr { lkey: made.lkey, rkey: made.rkey, handle: made.handle as *mut c_void };
        Ok(())
    })
}

unsafe extern "C" fn dereg(context: *mut c_void, mr: *const ffi::Mr) -> c_int {
    let rail = &*(context as *const Box<dyn Registrar>);
    let mr = Mr { lkey: (*mr).lkey, rkey: (*mr).rkey, handle: (*mr).handle as usize };
    status_of(|| rail.deregister(&mr))
}

impl Pool {
    pub fn new(config: &Config) -> io::Result<Pool> {
        let name = c_string(&config.name)?;
        let raw = ffi::PoolConfig {
            size: size_of::<ffi::PoolConfig>(),
            name: if config.name.is_empty() { ptr::null() } else { name.as_ptr() },
            slab_size: config.slab_size,
            limit: config.limit,
            backing: config.backing as u32,
            pages: 0,
            fork: config.fork as u32,
            node: config.node.map_or(-1, |node| node as c_int),
            watermark: config.watermark,
        };
        let handle = NonNull::new(unsafe { ffi::rdm_pool_create(&raw) });
        Ok(Pool {
            handle: handle.ok_or_else(io::Error::last_os_error)?,
            rails: Mutex::new(Vec::new()),
            names: Mutex::new(Vec::new()),
        })
    }

    /// Ends the pool, and says whether it could.
    pub fn destroy(self) -> io::Result<()> {
        check(unsafe { ffi::rdm_pool_destroy(self.handle.as_ptr()) })?;
        let pool = std::mem::ManuallyDrop::new(self);
        // What the library knew of is dropped, and not the pool once more.
        unsafe {
            drop(ptr::read(&pool.rails));
            drop(ptr::read(&pool.names));
        }
        Ok(())
    }

    /// The `rdm_pool *`.
    pub fn handle(&self) -> *mut c_void {
        self.handle.as_ptr() as *mut c_void
    }

    /// Returns the number of the rail.
    pub fn add_rail(&self, name: &str, rail: impl Registrar + 'static) -> io::Result<i32> {
        let name = c_string(name)?;
        let rail: Rail = Box::new(Box::new(rail));
        let registrar = ffi::Registrar {
            size: size_of::<ffi::Registrar>(),
            name: name.as_ptr(),
            max_len: 0,
            reg,
            dereg,
        };
        let context = &*rail as *const Box<dyn Registrar> as *mut c_void;
        let result = unsafe { ffi::rdm_pool_add_rail(self.handle.as_ptr(), &registrar, context) };
        let error = io::Error::last_os_error();
        // Of one that failed something may be left, which the library undoes later.
        self.names.lock().unwrap().push(name);
        self.rails.lock().unwrap().push((result, rail));
        if result < 0 {
            return Err(error);
        }
        Ok(result)
    }

    /// # Safety
    /// `pd` is a `struct ibv_pd *` that outlives the rail.
    pub unsafe fn add_verbs(&self, pd: *mut c_void, access: i32) -> io::Result<i32> {
        check(ffi::rdm_pool_add_verbs(self.handle.as_ptr(), pd, access))
    }

    /// No operation may be under way on the rail.
    pub fn remove_rail(&self, rail: i32) -> io::Result<()> {
        check(unsafe { ffi::rdm_pool_remove_rail(self.handle.as_ptr(), rail) })?;
        self.rails.lock().unwrap().retain(|(number, _)| *number != rail);
        Ok(())
    }

    pub fn reserve(&self, bytes: usize) -> io::Result<()> {
        check(unsafe { ffi::rdm_pool_reserve(self.handle.as_ptr(), bytes) }).map(drop)
    }

    pub fn trim(&self, keep: usize) -> io::Result<()> {
        check(unsafe { ffi::rdm_pool_trim(self.handle.as_ptr(), keep) }).map(drop)
    }

    pub fn stats(&self) -> io::Result<Stats> {
        let mut stats = Stats { size: size_of::<Stats>(), ..Default::default() };
        check(unsafe { ffi::rdm_pool_stats(self.handle.as_ptr(), &mut stats) })?;
        Ok(stats)
    }

    /// A value in a block.
    pub fn boxed<T>(&self, value: T) -> io::Result<PoolBox<'_, T>> {
        let block = self.block::<T>(1)?;
        unsafe { block.as_ptr().write(value) };
        Ok(PoolBox { block, pool: PhantomData })
    }

    /// So many copies of a value in a block.
    pub fn slice<T: Copy>(&self, length: usize, value: T) -> io::Result<PoolBox<'_, [T]>> {
        let block = self.block::<T>(length)?;
        for i in 0..length {
            unsafe { block.as_ptr().add(i).write(value) };
        }
        let block = NonNull::new(ptr::slice_from_raw_parts_mut(block.as_ptr(), length));
        Ok(PoolBox { block: block.unwrap(), pool: PhantomData })
    }

    fn block<T>(&self, count: usize) -> io::Result<NonNull<T>> {
        let layout = Layout::array::<T>(count).map_err(|_| io::Error::from_raw_os_error(EINVAL))?;
        NonNull::new(unsafe { self.alloc(layout) } as *mut T).ok_or_else(io::Error::last_os_error)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if unsafe { ffi::rdm_pool_destroy(self.handle.as_ptr()) } < 0 {
            // The pool is still there, and may call its rails.
            std::mem::forget(std::mem::take(&mut *self.rails.lock().unwrap()));
            std::mem::forget(std::mem::take(&mut *self.names.lock().unwrap()));
        }
    }
}

/// As of any allocator, but that a pool is no static.
unsafe impl GlobalAlloc for Pool {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= ALIGNMENT {
            return ffi::rdm_malloc(self.handle.as_ptr(), layout.size()) as *mut u8;
        }
        ffi::rdm_aligned_alloc(self.handle.as_ptr(), layout.align(), layout.size()) as *mut u8
    }

    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        ffi::rdm_free(block as *mut c_void);
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= ALIGNMENT {
            return ffi::rdm_calloc(self.handle.as_ptr(), 1, layout.size()) as *mut u8;
        }
        let block = self.alloc(layout);
        if !block.is_null() {
            ptr::write_bytes(block, 0, layout.size());
        }
        block
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.align() <= ALIGNMENT {
            return ffi::rdm_realloc(self.handle.as_ptr(), block as *mut c_void, size) as *mut u8;
        }
        let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
        if !moved.is_null() {
            ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
            self.dealloc(block, layout);
        }
        moved
    }
}

/// A value, or a slice, in a block of a pool.
pub struct PoolBox<'pool, T: ?Sized> {
    block: NonNull<T>,
    pool: PhantomData<(&'pool Pool, T)>,
}

unsafe impl<T: ?Sized + Send> Send for PoolBox<'_, T> {}
unsafe impl<T: ?Sized + Sync> Sync for PoolBox<'_, T> {}

impl<T: ?Sized> Deref for PoolBox<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        unsafe { self.block.as_ref() }
    }
}

impl<T: ?Sized> DerefMut for PoolBox<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        unsafe { self.block.as_mut() }
    }
}

impl<T: ?Sized> Drop for PoolBox<'_, T> {
    fn drop(&mut self) {
        unsafe {
            ptr::drop_in_place(self.block.as_ptr());
            ffi::rdm_free(self.block.as_ptr() as *mut c_void);
        }
    }
}

/// The keys of a pointer into any block, on one rail.
pub fn key<T: ?Sized>(pointer: *const T, rail: i32) -> io::Result<Key> {
    let mut raw = ffi::Key {
        lkey: 0,
        rkey: 0,
        handle: ptr::null_mut(),
        base: ptr::null_mut(),
        length: 0,
    };
    check(unsafe { ffi::rdm_key(pointer as *const c_void, rail, &mut raw) })?;
    Ok(Key {
        lkey: raw.lkey,
        rkey: raw.rkey,
        handle: raw.handle as usize,
        base: raw.base as *mut u8,
        length: raw.length,
    })
}

/// Gives the free blocks that the calling thread keeps to all threads.
pub fn thread_flush() {
    unsafe { ffi::rdm_thread_flush() }
}
