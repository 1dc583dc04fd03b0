//! The command line of `cargo xtask bench`.

/// Printed for `--help`.
pub(super) const HELP: &str = "\
Usage: cargo xtask bench [OPTION…]

  --quick           one short round: a look, not a result
  --rounds N        rounds to take medians over (default 3)
  --rows N          evidence rows, sealed in the tenants' chains, in the store before the gateway starts (default 0)
  --tenants N       tenants configured, one caller and key each; the load uses every key in turn (default 1)
  --store STORE     sqlite (default) or postgres, a private server on the load's core
  --streams N       only this: memory while N paced streams are open at the same time
  --verify N        only this: seconds that `bulkhead audit verify` takes over N records, in the store and exported
  --keys N          only this: how fast N issued keys are verified over HTTP, beside a bare server and a Redis GET
  --tenant-rows N   only this: what an operator reads of N tenants with 100 rows of usage each
  --onboard N       only this: one tenant's latency while N others are made by our SDK
  --noisy           only this: one tenant's latency beside another at 100 × its limit, and beside unknown keys
  --self-check      leaves the gateway out: the rig against its own floor proxies

Needs two cores. Ends everything it starts.
";

/// Most rows a run may ask for.
const ROWS_MAX: u64 = 100_000_000;
/// Most streams a run may open: each costs the gateway two files, and a limit of 65,536 is common.
const STREAMS_MAX: u64 = 20_000;
/// Most tenants a run may ask for.
const TENANTS_MAX: u64 = 100_000;
/// Most keys a run may issue, one by one.
const KEYS_MAX: u64 = 100_000;
const ROUNDS_MAX: u64 = 100;

/// Where the gateway keeps its evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreKind {
    Sqlite,
    Postgres,
}

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Every scenario, for the table.
    Table,
    /// So many streams, open at the same time.
    Streams(u64),
    /// Verification of so many records.
    Verify(u64),
    /// Verification of so many keys over HTTP.
    Keys(u64),
    /// What is read of so many tenants.
    TenantRows(u64),
    /// One tenant while so many others are made.
    Onboard(u64),
    /// One tenant beside another's noise.
    Noisy,
}

/// What to measure, and how long.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Options {
    pub(super) mode: Mode,
    pub(super) rounds: u64,
    /// Multiplies every duration.
    pub(super) scale: f64,
    pub(super) rows: u64,
    pub(super) tenants: u64,
    pub(super) store: StoreKind,
    pub(super) self_check: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: Mode::Table,
            rounds: 3,
            scale: 1.0,
            rows: 0,
            tenants: 1,
            store: StoreKind::Sqlite,
            self_check: false,
        }
    }
}

impl Options {
    /// Reads the arguments; `None` when help was asked for.
    ///
    /// # Errors
    /// For an unknown option, a missing value, or a number out of its bounds.
    pub(super) fn parse(args: &[&str]) -> Result<Option<Self>, String> {
        let mut options = Self::default();
        let mut args = args.iter().copied();
        while let Some(option) = args.next() {
            match option {
                "--help" => return Ok(None),
                "--self-check" => options.self_check = true,
                "--quick" => (options.rounds, options.scale) = (1, 0.3),
                "--rounds" => options.rounds = number(option, args.next(), ROUNDS_MAX)?.max(1),
                "--rows" => options.rows = number(option, args.next(), ROWS_MAX)?,
                "--tenants" => options.tenants = number(option, args.next(), TENANTS_MAX)?.max(1),
                "--streams" => {
                    options.mode = Mode::Streams(number(option, args.next(), STREAMS_MAX)?.max(1));
                }
                "--verify" => options.mode = Mode::Verify(number(option, args.next(), ROWS_MAX)?.max(1)),
                "--keys" => options.mode = Mode::Keys(number(option, args.next(), KEYS_MAX)?.max(1)),
                "--tenant-rows" => {
                    options.mode = Mode::TenantRows(number(option, args.next(), TENANTS_MAX)?.max(1))
                }
                "--onboard" => options.mode = Mode::Onboard(number(option, args.next(), TENANTS_MAX)?.max(1)),
                "--noisy" => options.mode = Mode::Noisy,
                "--store" => options.store = store(args.next())?,
                other => return Err(format!("bench: no such option: {other}\n\n{HELP}")),
            }
        }
        Ok(Some(options))
    }
}

fn number(option: &str, value: Option<&str>, max: u64) -> Result<u64, String> {
    let number = value.and_then(|v| v.replace('_', "").parse().ok()).filter(|n| *n <= max);
    number.ok_or_else(|| format!("bench: {option} needs a number up to {max}"))
}

fn store(value: Option<&str>) -> Result<StoreKind, String> {
    match value {
        Some("sqlite") => Ok(StoreKind::Sqlite),
        Some("postgres") => Ok(StoreKind::Postgres),
        _ => Err("bench: --store is sqlite or postgres".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_bounded() {
        let read = Options::parse(&["--rounds", "5", "--rows", "1_000_000", "--store", "postgres"]).unwrap();
        let wanted = Options { rounds: 5, rows: 1_000_000, store: StoreKind::Postgres, ..Options::default() };
        assert_eq!(read, Some(wanted));
        let mode = |args: &[&str]| Options::parse(args).map(|options| options.map(|o| o.mode));
        assert_eq!(mode(&["--streams", "1_000"]), Ok(Some(Mode::Streams(1_000))));
        assert_eq!(mode(&["--keys", "7"]), Ok(Some(Mode::Keys(7))));
        assert_eq!(mode(&["--verify", "7"]), Ok(Some(Mode::Verify(7))));
        assert_eq!(mode(&["--streams", "x"]), Err("bench: --streams needs a number up to 20000".to_owned()));
        assert_eq!(Options::parse(&["--help"]), Ok(None));
        assert_eq!(
            Options::parse(&["--tenants", "100001"]),
            Err("bench: --tenants needs a number up to 100000".to_owned())
        );
        assert!(Options::parse(&["--fast"]).unwrap_err().starts_with("bench: no such option: --fast"));
    }
}
