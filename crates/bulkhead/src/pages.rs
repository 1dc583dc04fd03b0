//! Memory pages: small ones, as most of what a connection reserves is never touched, and none that nobody needs.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// For how many milliseconds the allocator keeps freed pages. It would keep them a second, with which what a start or a
/// reload frees, and what a burst of calls does, is resident side by side with what comes next: 10 to 18 MiB with ten
/// thousand tenants. A buffer that comes back within some milliseconds still finds its page.
const PAGES_KEPT: (&str, &str) = ("MIMALLOC_PURGE_DELAY", "10");

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

/// Has the allocator give freed pages back soon, unless the environment says how long it is to keep them.
///
/// The allocator reads this from the environment alone, and before `main` (decision 20). So the program takes its own
/// place once, as the same process with the same arguments. To be called first of all by a command that serves: nothing
/// is open yet.
pub(crate) fn give_back_soon() {
    let (name, value) = PAGES_KEPT;
    if std::env::var_os(name).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut anew = Command::new(program);
    anew.arg0(arguments.next().unwrap_or_default()).args(arguments).env(name, value);
    // Comes back only where that is not allowed, or the program's file was replaced just now: the gateway only uses more
    // memory. (And SIGPIPE is at its default then; `serve` sees to that.)
    let _not_allowed = anew.exec();
}
