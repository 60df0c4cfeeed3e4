//! How `tidegate` is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = |what: &str| std::env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    // What the loader has to relocate takes a few kilobytes so, and half a megabyte otherwise, all
    // of which it reads into memory. Its glibc has to be that of Debian 12, 2.36, or later.
    if target("OS") == "linux" && target("ENV") == "gnu" {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
