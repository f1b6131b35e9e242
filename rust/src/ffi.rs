// SPDX-License-Identifier: BSD-2-Clause
//! What rdmalloc.h says.

use std::ffi::{c_void, CStr};
use std::os::raw::{c_char, c_int, c_uint};

#[repr(C)]
pub struct PoolHandle {
    _private: [u8; 0],
}

#[repr(C)]
pub struct PoolConfig {
    pub size: usize,
    pub name: *const c_char,
    pub slab_size: usize,
    pub limit: usize,
    pub backing: c_uint,
    pub pages: c_uint,
    pub fork: c_uint,
    pub node: c_int,
    pub watermark: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Mr {
    pub lkey: u32,
    pub rkey: u32,
    pub handle: *mut c_void,
}

#[repr(C)]
pub struct Registrar {
    pub size: usize,
    pub name: *const c_char,
    pub max_len: usize,
    pub reg: unsafe extern "C" fn(*mut c_void, *mut c_void, usize, *mut Mr) -> c_int,
    pub dereg: unsafe extern "C" fn(*mut c_void, *const Mr) -> c_int,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Key {
    pub lkey: u32,
    pub rkey: u32,
    pub handle: *mut c_void,
    pub base: *mut c_void,
    pub length: usize,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    pub(crate) size: usize,
    pub slabs: usize,
    pub slab_bytes: usize,
    pub carved_bytes: usize,
    pub live_bytes: usize,
    pub live_blocks: usize,
    pub magazine_bytes: usize,
    pub depot_bytes: usize,
    pub limit: usize,
    pub rails: usize,
    pub quarantined: usize,
    pub registrations: u64,
    pub deregistrations: u64,
    pub growths: u64,
    pub background_growths: u64,
    pub forks: u64,
    pub last_fork_ns: u64,
    pub inherited: c_int,
}

#[link(name = "rdmalloc")]
extern "C" {
    pub fn rdm_pool_create(config: *const PoolConfig) -> *mut PoolHandle;
    pub fn rdm_pool_destroy(pool: *mut PoolHandle) -> c_int;
    pub fn rdm_pool_add_rail(
        pool: *mut PoolHandle,
        registrar: *const Registrar,
        context: *mut c_void,
    ) -> c_int;
    pub fn rdm_pool_add_verbs(pool: *mut PoolHandle, pd: *mut c_void, access: c_int) -> c_int;
    pub fn rdm_pool_remove_rail(pool: *mut PoolHandle, rail: c_int) -> c_int;
    pub fn rdm_pool_reserve(pool: *mut PoolHandle, bytes: usize) -> c_int;
    pub fn rdm_pool_trim(pool: *mut PoolHandle, keep: usize) -> c_int;
    pub fn rdm_pool_stats(pool: *mut PoolHandle, stats: *mut Stats) -> c_int;
    pub fn rdm_malloc(pool: *mut PoolHandle, size: usize) -> *mut c_void;
    pub fn rdm_calloc(pool: *mut PoolHandle, count: usize, size: usize) -> *mut c_void;
    pub fn rdm_aligned_alloc(pool: *mut PoolHandle, align: usize, size: usize) -> *mut c_void;
    pub fn rdm_realloc(pool: *mut PoolHandle, ptr: *mut c_void, size: usize) -> *mut c_void;
    pub fn rdm_free(ptr: *mut c_void);
    pub fn rdm_key(ptr: *const c_void, rail: c_int, key: *mut Key) -> c_int;
    pub fn rdm_thread_flush();
    fn rdm_version() -> *const c_char;
}

/// The library's, "0.1.0".
pub fn version() -> &'static str {
    // A string of the library's that never goes.
    unsafe { CStr::from_ptr(rdm_version()) }.to_str().unwrap_or("")
}
