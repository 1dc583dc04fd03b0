//! Whether one tenant's noise is felt by another: a neighbour far over its limit, and a flood of keys that are nobody's.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::bare::{self, write};
use super::figures::Spread;
use super::gateway::{CHAT_PATH, Home, key};
use super::options::Options;
use super::process::{Pinned, free_port};
use super::sample::{Keys, Load, Sample};
use super::target::{LOAD_CORE, TARGET_CORE, fresh_folder};

/// What the noisy tenant may send: ten a second.
const LIMIT_PER_MINUTE: u32 = 600;
/// A hundred times that.
const NOISE_PER_S: f64 = 1_000.0;
const CONNECTIONS: u32 = 8;
const SECONDS: f64 = 5.0;
/// Keys that nobody has, in turn.
const JUNK_KEYS: u64 = 10_000;
/// What the bare server says to all of it.
const ANSWER: &str = "content-type: application/json\n\n{\"error\":{\"message\":\"no\"}}";
const HEAD: &str = "\
| evidence | beside it | p50 µs | p99 µs | p99, × alone | CPU of the gateway, % | noise let through /s | noise refused /s | failed |
|---|---|---|---|---|---|---|---|---|
";

/// What happens beside the tenant that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    Nothing,
    /// As much noise, on the same core, in a server that does nothing but answer.
    Bare,
    Neighbour,
    Junk,
}

impl Beside {
    const ALL: [Self; 4] = [Self::Nothing, Self::Bare, Self::Neighbour, Self::Junk];

    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Bare => "as much noise in a bare server on the same core",
            Self::Neighbour => "a tenant at 100 × its limit",
            Self::Junk => "unknown keys",
        }
    }
}

/// One round of one row.
#[derive(Clone, Debug)]
struct Heard {
    quiet: Sample,
    noise: Option<Sample>,
}

/// What stands beside the gateway: a provider, and a server that only answers.
pub(super) struct Street {
    pub(super) rig: PathBuf,
    pub(super) work: PathBuf,
    pub(super) mock_port: u16,
    _mock: Pinned,
}

impl Street {
    /// Starts the provider.
    pub(super) fn new(rig: &Path) -> Result<Self, String> {
        let work = fresh_folder()?;
        let mock_port = free_port()?;
        let (log, port) = (work.join("mock.log"), mock_port.to_string());
        let mut mock = Pinned::spawn(LOAD_CORE, &log, &rig.join("mock"), &[&port], &[])?;
        mock.await_port(mock_port)?;
        Ok(Self { rig: rig.to_path_buf(), work, mock_port, _mock: mock })
    }
}

/// A gateway of two tenants, and what is sent to it.
struct Scene<'a> {
    street: &'a Street,
    gateway: Pinned,
    chat: String,
    bare: String,
    quiet: Keys,
    neighbour: Keys,
    junk: &'a Keys,
}

/// Measures one tenant's latency alone and beside noise, in both durabilities; the table.
///
/// # Errors
/// When a part cannot be started.
pub(super) fn table(rig: &Path, binary: &Path, options: &Options) -> Result<String, String> {
    let street = Street::new(rig)?;
    let (_bare, bare) = bare::serve(rig, &street.work, ANSWER)?;
    let junk: Vec<String> = (0..JUNK_KEYS).map(|n| format!("sk-bad-{n:08}")).collect();
    let junk = Keys::File(write(&street.work, "junk.txt", &junk.join("\n"))?);
    let mut text = HEAD.to_owned();
    for durability in ["relaxed", "strict"] {
        let make = |own| configuration(own, street.mock_port, durability);
        let (gateway, url) = Home::with(street.work.join(durability), make)?.serve(binary, TARGET_CORE)?;
        let (chat, bare) = (url + CHAT_PATH, format!("{bare}{CHAT_PATH}"));
        let (quiet, neighbour) = (Keys::One(key(0)), Keys::One(key(1)));
        let scene = Scene { street: &street, gateway, chat, bare, quiet, neighbour, junk: &junk };
        text.push_str(&report(durability, &scene.rounds(options)?, options));
    }
    Ok(text)
}

impl Scene<'_> {
    /// Every row, in turn within each round.
    fn rounds(&self, options: &Options) -> Result<Vec<(Beside, Vec<Heard>)>, String> {
        let mut rows: Vec<(Beside, Vec<Heard>)> = Beside::ALL.map(|beside| (beside, Vec::new())).into();
        for round in 1..=options.rounds {
            eprintln!("bench: round {round} of {}", options.rounds);
            for (beside, heard) in &mut rows {
                let one = self.listen(*beside, options)?;
                eprintln!("  {:48} {}", beside.name(), one.quiet);
                heard.push(one);
            }
        }
        Ok(rows)
    }

    fn listen(&self, beside: Beside, options: &Options) -> Result<Heard, String> {
        let Self { street, gateway, chat, bare, quiet, neighbour, junk } = self;
        let seconds = SECONDS * options.scale;
        let quiet = single(chat, quiet, seconds, 1.0);
        let noise = match beside {
            Beside::Nothing => None,
            Beside::Bare => Some((bare, neighbour)),
            Beside::Neighbour => Some((chat, neighbour)),
            Beside::Junk => Some((chat, *junk)),
        };
        // It begins before what is measured does, and ends after it.
        let noise = noise.map(|(url, keys)| paced(url, keys, NOISE_PER_S, seconds + 2.0, 0.1));
        std::thread::scope(|scope| {
            let noise = noise.map(|noise| scope.spawn(move || noise.run(&street.rig, LOAD_CORE, None)));
            let quiet = quiet.run(&street.rig, LOAD_CORE, Some(gateway))?;
            let noise =
                noise.map(|noise| noise.join().map_err(|_| "load: it panicked".to_owned())?).transpose()?;
            Ok(Heard { quiet, noise })
        })
    }
}

/// One request after the other: what is measured is the gateway, and no timer of the generator's.
pub(super) fn single<'a>(url: &'a str, keys: &'a Keys, seconds: f64, warm_up_s: f64) -> Load<'a> {
    Load { connections: 1, rate: None, ..paced(url, keys, 0.0, seconds, warm_up_s) }
}

/// So many requests a second.
fn paced<'a>(url: &'a str, keys: &'a Keys, per_s: f64, seconds: f64, warm_up_s: f64) -> Load<'a> {
    Load {
        url,
        keys,
        connections: CONNECTIONS,
        seconds,
        warm_up_s,
        prompt_bytes: 600,
        stream: false,
        directive: "",
        requests_max: None,
        rate: Some(per_s),
    }
}

/// Two tenants: one that nothing keeps from sending, one that may send ten requests a second.
pub(super) fn configuration(port: u16, mock: u16, durability: &str) -> String {
    let (quiet, noisy) = (key(0), key(1));
    format!(
        r#"server:
  listen: "127.0.0.1:{port}"
gateway:
  providers:
    openai:
      base_url: "http://127.0.0.1:{mock}"
      api_family: openai
      api_key: sk-upstream
      allow_private_network: true
  rate_limits:
    global_requests_per_min: 100000000
    per_tenant_requests_per_min: 100000000
    per_caller_requests_per_min: 100000000
  default_policy: {{max_daily_cost: 1000000, max_monthly_cost: 9000000}}
  callers:
    - {{name: quiet, tenant_key: {quiet}, tenant_id: t0}}
    - {{name: noisy, tenant_key: {noisy}, tenant_id: t1}}
tenants:
  - {{id: t0, budgets: {{daily: 1000000, monthly: 9000000}}}}
  - {{id: t1, budgets: {{daily: 1000000, monthly: 9000000}}, rate_limits: {{requests_per_minute: {LIMIT_PER_MINUTE}}}}}
pricing:
  providers:
    openai:
      models:
        mock-model: {{input_per_1m: 3, output_per_1m: 15}}
evidence:
  durability: {durability}
"#
    )
}

fn report(durability: &str, rows: &[(Beside, Vec<Heard>)], options: &Options) -> String {
    let spread = |heard: &[Heard], figure: &dyn Fn(&Heard) -> f64| {
        let valid = !heard.iter().any(|one| one.quiet.is_invalid());
        valid.then(|| Spread::of(heard.iter().map(figure).collect())).flatten()
    };
    let p99 = |heard: &[Heard]| spread(heard, &|one| one.quiet.p99_us);
    let alone = rows.first().and_then(|(_, heard)| p99(heard));
    let cpu =
        |one: &Heard| one.quiet.cpu_us * one.quiet.good as f64 / (SECONDS * options.scale * 1e6) * 100.0;
    let noise = |figure: fn(&Sample) -> f64| move |one: &Heard| one.noise.as_ref().map_or(0.0, figure);
    let mut text = String::new();
    for (beside, heard) in rows {
        let failed: u64 = heard.iter().map(|one| one.quiet.failed).sum();
        let cells = [
            super::report::cell(spread(heard, &|one| one.quiet.p50_us), 0),
            super::report::cell(p99(heard), 0),
            super::report::ratio(p99(heard), alone),
            super::report::cell(spread(heard, &cpu), 1),
            super::report::cell(spread(heard, &noise(|sample| sample.requests_per_s)), 0),
            super::report::cell(spread(heard, &noise(Sample::failed_per_s)), 0),
        ];
        writeln!(text, "| `{durability}` | {} | {} | {failed} |", beside.name(), cells.join(" | ")).ok();
    }
    text
}
