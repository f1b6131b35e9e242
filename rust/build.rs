// SPDX-License-Identifier: BSD-2-Clause
// librdmalloc is where the linker looks, or in RDMALLOC_LIB_DIR.
fn main() {
    println!("cargo:rerun-if-env-changed=RDMALLOC_LIB_DIR");
    if let Ok(dir) = std::env::var("RDMALLOC_LIB_DIR") {
        println!("cargo:rustc-link-search=native={}", dir);
    }
}
