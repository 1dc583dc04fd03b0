//! Memory pages: small ones, as most of what a connection reserves is never touched.

/// Keeps the kernel from backing memory with huge pages (2 MiB), where the machine does so for every process. With
/// them, each buffer that a connection reserves is resident in full, used or not: at a thousand open streams half as
/// much memory again. The allocator itself does not ask for them (feature `no_thp`).
pub(crate) fn keep_small() {
    #[cfg(target_os = "linux")]
    {
        // A kernel without the switch: the gateway only uses more memory.
        let _unknown_here = rustix::thread::disable_transparent_huge_pages(true);
    }
}
