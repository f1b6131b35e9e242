// SPDX-License-Identifier: BSD-2-Clause
//! A buffer's life, see life.c.

use std::io;
use std::os::raw::{c_int, c_uint, c_ulong};
use std::sync::atomic::{AtomicU32, Ordering};

use rdmalloc::{Config, ForkPolicy, Mr, Pool, Registrar};

const LENGTH: usize = 10000;
const LKEY: u32 = 7;
static REGISTERED: AtomicU32 = AtomicU32::new(0);

struct Pipe;

impl Registrar for Pipe {
    fn register(&self, _address: *mut u8, _length: usize) -> io::Result<Mr> {
        REGISTERED.fetch_add(1, Ordering::Relaxed);
        Ok(Mr { lkey: LKEY, rkey: 0, handle: 0 })
    }

    fn deregister(&self, mr: &Mr) -> io::Result<()> {
        REGISTERED.fetch_sub(1, Ordering::Relaxed);
        assert_eq!(mr.lkey, LKEY);
        Ok(())
    }
}

#[repr(C)]
struct Iovec {
    base: *const u8,
    length: usize,
}

extern "C" {
    fn pipe(ends: *mut c_int) -> c_int;
    fn fork() -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn read(fd: c_int, buffer: *mut u8, length: usize) -> isize;
    fn write(fd: c_int, buffer: *const u8, length: usize) -> isize;
    fn vmsplice(fd: c_int, pages: *const Iovec, count: c_ulong, flags: c_uint) -> isize;
    fn _exit(status: c_int) -> !;
}

fn registered() -> u32 {
    REGISTERED.load(Ordering::Relaxed)
}

fn all_are(bytes: &[u8], value: u8) -> bool {
    bytes.iter().all(|byte| *byte == value)
}

fn main() -> io::Result<()> {
    let config = Config { name: "life".into(), fork: ForkPolicy::Copy, ..Config::default() };
    let pool = Pool::new(&config)?;
    let (mut device, mut gate, mut status) = ([0; 2], [0; 2], 0);
    let mut received = [0u8; LENGTH];
    unsafe { assert!(pipe(device.as_mut_ptr()) == 0 && pipe(gate.as_mut_ptr()) == 0) };
    println!("rail: {}", pool.add_rail("a pipe", Pipe)?);

    let mut buffer = pool.slice(LENGTH, 1u8)?;
    println!("registered: {}", registered());
    let key = rdmalloc::key(&buffer[LENGTH - 1], 0)?;
    let (base, start) = (key.base as usize, buffer.as_ptr() as usize);
    let covers = base <= start && base + key.length >= start + LENGTH;
    println!("key: {}, of all of it: {}", key.lkey, covers as u32);

    let pages = Iovec { base: buffer.as_ptr(), length: LENGTH };
    unsafe { assert_eq!(vmsplice(device[1], &pages, 1, 0), LENGTH as isize) };
    let child = unsafe { fork() };
    assert!(child >= 0);
    if child == 0 {
        let mut go = 0u8;
        let good = unsafe { read(gate[0], &mut go, 1) } == 1 && all_are(&buffer, 1);
        buffer.fill(3);
        unsafe { _exit(!good as c_int) };
    }
    buffer.fill(2);
    unsafe {
        assert_eq!(write(gate[1], &0, 1), 1);
        assert_eq!(waitpid(child, &mut status, 0), child);
    }
    println!("the child read what was written before it: {}", (status == 0) as u32);
    unsafe { assert_eq!(read(device[0], received.as_mut_ptr(), LENGTH), LENGTH as isize) };
    println!("the device read what was written since: {}", all_are(&received, 2) as u32);
    println!("and so did the parent: {}", all_are(&buffer, 2) as u32);

    drop(buffer);
    println!("live: {}", pool.stats()?.live_blocks);
    pool.destroy()?;
    println!("registered: {}", registered());
    Ok(())
}
