// SPDX-License-Identifier: BSD-2-Clause
//! The crate for Rust: who owns what, and what fails how.

use std::alloc::{GlobalAlloc, Layout};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use rdmalloc::{key, Config, Mr, Pool, Registrar};

const ENOENT: i32 = 2;
const EPERM: i32 = 1;
const EIO: i32 = 5;
const ENOMEM: i32 = 12;
const EINVAL: i32 = 22;
static ALIVE: AtomicUsize = AtomicUsize::new(0);

struct Counted(u64);

impl Counted {
    fn new(number: u64) -> Counted {
        ALIVE.fetch_add(1, Ordering::Relaxed);
        Counted(number)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

#[repr(align(4096))]
#[derive(Clone, Copy)]
struct Page([u8; 4096]);

enum Bad {
    Refuses,
    Panics,
}

impl Registrar for Bad {
    fn register(&self, _address: *mut u8, _length: usize) -> io::Result<Mr> {
        match self {
            Bad::Refuses => Err(io::Error::from_raw_os_error(EPERM)),
            Bad::Panics => panic!("as it should"),
        }
    }

    fn deregister(&self, _mr: &Mr) -> io::Result<()> {
        Ok(())
    }
}

fn errno_of<T>(result: io::Result<T>) -> i32 {
    result.err().map_or(0, |error| error.raw_os_error().unwrap_or(-1))
}

fn main() -> io::Result<()> {
    let pool = Pool::new(&Config { limit: 64 << 20, ..Config::default() })?;
    {
        let one = pool.boxed(Counted::new(3))?;
        let mut pages = pool.slice(3, Page([1; 4096]))?;
        assert!(one.0 == 3 && ALIVE.load(Ordering::Relaxed) == 1);
        assert_eq!(pages.as_ptr() as usize % 4096, 0);
        pages[2].0[4095] = 9;
        assert_eq!(pool.stats()?.live_blocks, 2);
        assert_eq!(errno_of(key(&*one, 0)), ENOENT);
        assert_eq!(errno_of(key(&pool, 0)), EINVAL);
        std::thread::scope(|scope| {
            scope.spawn(|| drop(one));
        });
        assert_eq!(ALIVE.load(Ordering::Relaxed), 0);
    }
    assert_eq!(pool.stats()?.live_blocks, 0);
    assert_eq!(errno_of(pool.slice(1 << 30, 0u8)), ENOMEM);
    assert_eq!(errno_of(pool.slice(usize::MAX, 0u64)), EINVAL);
    pool.reserve(4 << 20)?;
    assert_eq!(errno_of(pool.add_rail("bad", Bad::Refuses)), EPERM);
    assert_eq!(errno_of(pool.add_rail("bad", Bad::Panics)), EIO);
    assert_eq!(errno_of(pool.remove_rail(5)), ENOENT);
    for align in [8, 8192] {
        let layout = Layout::from_size_align(1000, align).unwrap();
        unsafe {
            let mut block = pool.alloc_zeroed(layout);
            assert!((0..1000).all(|i| *block.add(i) == 0));
            block.write_bytes(5, 1000);
            block = pool.realloc(block, layout, 100_000);
            assert!(block as usize % align == 0 && (0..1000).all(|i| *block.add(i) == 5));
            pool.dealloc(block, Layout::from_size_align(100_000, align).unwrap());
        }
    }
    pool.trim(0)?;
    assert_eq!(pool.stats()?.slabs, 0);
    pool.destroy()?;
    assert_eq!(errno_of(Pool::new(&Config { slab_size: 1, ..Config::default() })), EINVAL);
    assert_eq!(rdmalloc::version(), env!("RDMALLOC_VERSION"));
    Ok(())
}
