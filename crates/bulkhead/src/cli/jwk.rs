//! `bulkhead jwk …`: signing keys for derived tokens.

use std::path::PathBuf;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bh_domain::keys::token::NewJwk;
use clap::{Args, Subcommand, ValueEnum};
use secrecy::ExposeSecret as _;
use secrecy::zeroize::Zeroizing;

use super::Failure;
use super::audit::output::Output;

#[derive(Debug, Subcommand)]
pub(crate) enum JwkCommand {
    /// Make a private key.
    Generate(GenerateArgs),
}

#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// What it signs.
    #[arg(value_enum)]
    algorithm: Algorithm,
    /// Its id; its thumbprint without it.
    #[arg(long)]
    kid: Option<String>,
    /// Print a key set that holds it, as `signing_keys.urls` takes one.
    #[arg(long)]
    jwks: bool,
    /// Print the set as `base64://...`, to be put into the configuration as it is.
    #[arg(long, requires = "jwks")]
    base64: bool,
    /// File to write, readable by its owner alone; standard output without it.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Accepted for compatibility: a key is JSON.
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Algorithm {
    /// Ed25519: small and fast.
    Eddsa,
    /// RSA of 2048 bits, for verifiers that know nothing else.
    Rs256,
}

/// Runs `bulkhead jwk …`.
pub(super) fn run(command: JwkCommand) -> Result<(), Failure> {
    let JwkCommand::Generate(args) = command;
    let key = match args.algorithm {
        Algorithm::Eddsa => {
            let mut seed = Zeroizing::new([0; 32]);
            aws_lc_rs::rand::fill(seed.as_mut_slice()).map_err(|_| Failure::new("no chance to be had"))?;
            NewJwk::ed25519(&seed, args.kid.as_deref())?
        }
        Algorithm::Rs256 => {
            let failed = |_| Failure::new("the RSA key could not be made");
            let pair = KeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
            NewJwk::rsa(pair.as_der().map_err(failed)?.as_ref(), args.kid.as_deref())?
        }
    };
    let mut text = Zeroizing::new(key.json.expose_secret().to_owned());
    if args.jwks {
        text = Zeroizing::new(format!("{{\"keys\":[{}]}}", text.as_str()));
    }
    if args.base64 {
        text = Zeroizing::new(format!("base64://{}", STANDARD.encode(text.as_bytes())));
    }
    let mut output = Output::open(args.output.as_deref())?;
    output.write(text.as_bytes())?;
    output.write(b"\n")?;
    output.finish()
}
