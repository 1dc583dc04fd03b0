//! Where the real parts are: told by `cargo xtask test` through the environment, or found where it puts them.

use std::path::PathBuf;

/// The folder of PostgreSQL's server programs.
pub const PG_BIN_ENV: &str = "BULKHEAD_TEST_PG_BIN";
/// A PostgreSQL server shared by one whole run, as `postgres://user@host:port`.
pub const PG_URL_ENV: &str = "BULKHEAD_TEST_PG_URL";
/// Redis's server program.
pub const REDIS_ENV: &str = "BULKHEAD_TEST_REDIS";
/// Prometheus's own checker of metrics.
pub const PROMTOOL_ENV: &str = "BULKHEAD_TEST_PROMTOOL";
/// A Python with the official SDKs installed.
pub const PYTHON_ENV: &str = "BULKHEAD_TEST_PYTHON";
/// A `node_modules` with the official SDKs installed.
pub const NODE_MODULES_ENV: &str = "BULKHEAD_TEST_NODE_MODULES";
/// Chromium.
pub const CHROMIUM_ENV: &str = "BULKHEAD_TEST_CHROMIUM";
/// The folder of our own SDKs: see [`own_sdks`].
pub const OWN_SDKS_ENV: &str = "BULKHEAD_TEST_OWN_SDKS";

/// The folder of PostgreSQL's server programs: the environment's, or the newest Debian one.
///
/// # Panics
/// When there is none; the message says what to run.
#[must_use]
pub fn postgres_bin() -> PathBuf {
    if let Some(path) = std::env::var_os(PG_BIN_ENV) {
        return path.into();
    }
    installed_postgres().unwrap_or_else(|| panic!("no PostgreSQL server found: run `cargo xtask test`"))
}

/// The newest PostgreSQL server that Debian's packages installed.
#[must_use]
pub fn installed_postgres() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let bins = versions.flatten().map(|version| version.path().join("bin"));
    bins.filter(|bin| bin.join("initdb").exists()).max_by_key(|bin| major_version(bin))
}

/// Redis's server program: the environment's, or Debian's.
///
/// # Panics
/// When there is none; the message says what to run.
#[must_use]
pub fn redis_server() -> PathBuf {
    let named = std::env::var_os(REDIS_ENV).map(PathBuf::from);
    named.or_else(installed_redis).unwrap_or_else(|| panic!("no redis-server found: run `cargo xtask test`"))
}

/// The Redis server that Debian's package installed.
#[must_use]
pub fn installed_redis() -> Option<PathBuf> {
    Some(PathBuf::from("/usr/bin/redis-server")).filter(|path| path.exists())
}

/// Chromium: the environment's, or Debian's.
///
/// # Panics
/// When there is none; the message says what to run.
#[must_use]
pub fn chromium() -> PathBuf {
    let named = std::env::var_os(CHROMIUM_ENV).map(PathBuf::from);
    named.or_else(installed_chromium).unwrap_or_else(|| panic!("no chromium found: run `cargo xtask test`"))
}

/// The Chromium that Debian's package installed.
#[must_use]
pub fn installed_chromium() -> Option<PathBuf> {
    Some(PathBuf::from("/usr/bin/chromium")).filter(|path| path.exists())
}

fn major_version(bin: &std::path::Path) -> u32 {
    let version = bin.parent().and_then(|p| p.file_name()).and_then(|n| n.to_str());
    version.and_then(|v| v.parse().ok()).unwrap_or(0)
}

/// The `promtool` that checks metrics as Prometheus reads them.
///
/// # Panics
/// When `cargo xtask test` has not set it.
#[must_use]
pub fn promtool() -> PathBuf {
    required(PROMTOOL_ENV)
}

/// The Python that has the official SDKs.
///
/// # Panics
/// When `cargo xtask test` has not set it.
#[must_use]
pub fn python() -> PathBuf {
    required(PYTHON_ENV)
}

/// The `node_modules` that has the official SDKs.
///
/// # Panics
/// When `cargo xtask test` has not set it.
#[must_use]
pub fn node_modules() -> PathBuf {
    required(NODE_MODULES_ENV)
}

/// The folder of our own SDKs: `typescript` (its sources, built), `project` (a Node project with nothing but its packed packages,
/// and the seed's snippets) and `python` (a virtual environment with the wheel).
///
/// # Panics
/// When `cargo xtask test` has not set it.
#[must_use]
pub fn own_sdks() -> PathBuf {
    required(OWN_SDKS_ENV)
}

fn required(name: &str) -> PathBuf {
    let path = std::env::var_os(name);
    path.unwrap_or_else(|| panic!("{name} is not set: real-client tests run through `cargo xtask test`"))
        .into()
}
