//! One key of a set: read, used, and shown without its private half.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{
    ED25519, Ed25519KeyPair, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::super::{SignError, base64url, from_base64url, from_object};
use super::KeyProblem;

const KTY_OKP: &str = "OKP";
const KTY_RSA: &str = "RSA";
const KTY_SYMMETRIC: &str = "oct";
const CRV_ED25519: &str = "Ed25519";
/// RSA keys of 2048 to 8192 bits, in bytes of the modulus.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1_024;

/// What a key signs with. A key has one algorithm, whatever a token's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Ed25519 (RFC 8037).
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

impl Algorithm {
    /// Its name in `alg`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }

    /// The algorithm of that name; `None` for all others, `none` among them.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::EdDsa, Self::Rs256].into_iter().find(|algorithm| algorithm.as_str() == name)
    }
}

/// Signatures that were found good, by what [`Jwk`] makes of key, message and signature. One that is forgotten is
/// verified again.
pub trait Proven {
    /// Whether it was found good.
    fn holds(&self, proof: &[u8; 32]) -> bool;
    /// It was found good.
    fn note(&self, proof: [u8; 32]);
}

/// Remembers nothing.
impl Proven for () {
    fn holds(&self, _: &[u8; 32]) -> bool {
        false
    }

    fn note(&self, _: [u8; 32]) {}
}

/// A key that verifies, and signs where its private half is known.
pub struct Jwk {
    id: String,
    key_use: Option<String>,
    public: Public,
    /// Parsed once: parsing costs as much as verifying.
    verifier: ParsedPublicKey,
    signer: Option<Signer>,
}

enum Public {
    Ed25519 { x: Vec<u8> },
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

enum Signer {
    Ed25519(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

/// The members of a key that matter. No `Debug`: half of them are secret.
#[derive(Deserialize)]
struct Members {
    kty: Option<String>,
    kid: Option<String>,
    #[serde(rename = "use")]
    key_use: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    n: Option<String>,
    e: Option<String>,
    #[serde(default, deserialize_with = "secret")]
    d: Option<SecretString>,
    #[serde(default, deserialize_with = "secret")]
    p: Option<SecretString>,
    #[serde(default, deserialize_with = "secret")]
    q: Option<SecretString>,
    #[serde(default, deserialize_with = "secret")]
    dp: Option<SecretString>,
    #[serde(default, deserialize_with = "secret")]
    dq: Option<SecretString>,
    #[serde(default, deserialize_with = "secret")]
    qi: Option<SecretString>,
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(SecretString::from))
}

impl Jwk {
    /// Reads a key; `None` for a symmetric one. A key without `kid` gets its thumbprint (RFC 7638) as id.
    pub(super) fn read(json: &str) -> Result<Option<Self>, KeyProblem> {
        let members: Members = from_object(json.as_bytes()).ok_or(KeyProblem::Form)?;
        let (public, verifier, signer) = match members.kty.as_deref().ok_or(KeyProblem::Member("kty"))? {
            KTY_OKP => ed25519(&members)?,
            KTY_RSA => rsa(&members)?,
            KTY_SYMMETRIC => return Ok(None),
            _ => return Err(KeyProblem::Kind),
        };
        let id = members.kid.filter(|kid| !kid.is_empty()).unwrap_or_else(|| public.thumbprint());
        Ok(Some(Self { id, key_use: members.key_use, public, verifier, signer }))
    }

    /// Its `kid`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self.public {
            Public::Ed25519 { .. } => Algorithm::EdDsa,
            Public::Rsa { .. } => Algorithm::Rs256,
        }
    }

    /// Whether its private half is known.
    #[must_use]
    pub fn can_sign(&self) -> bool {
        self.signer.is_some()
    }

    pub(super) fn key_use(&self) -> Option<&str> {
        self.key_use.as_deref()
    }

    /// The key as it is published: its public half alone.
    #[must_use]
    pub fn public(&self) -> Value {
        let (id, alg) = (&self.id, self.algorithm().as_str());
        match &self.public {
            Public::Ed25519 { x } => {
                json!({ "kty": KTY_OKP, "kid": id, "use": "sig", "alg": alg, "crv": CRV_ED25519, "x": base64url(x) })
            }
            Public::Rsa { n, e } => {
                json!({ "kty": KTY_RSA, "kid": id, "use": "sig", "alg": alg, "n": base64url(n), "e": base64url(e) })
            }
        }
    }

    /// Whether `signature` over `message` is this key's.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.verifier.verify_sig(message, signature).is_ok()
    }

    /// The same, verified only where nobody has before.
    #[must_use]
    pub fn verifies_once(&self, message: &[u8], signature: &[u8], proven: &dyn Proven) -> bool {
        let proof = self.proof(message, signature);
        if proven.holds(&proof) {
            return true;
        }
        let good = self.verifies(message, signature);
        if good {
            proven.note(proof);
        }
        good
    }

    /// SHA-256 of the public key, the message and the signature, each with its length: whether that signature is good
    /// never changes.
    fn proof(&self, message: &[u8], signature: &[u8]) -> [u8; 32] {
        let mut hash = Context::new(&SHA256);
        let mut part = |bytes: &[u8]| {
            hash.update(&(bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(self.algorithm().as_str().as_bytes());
        match &self.public {
            Public::Ed25519 { x } => part(x),
            Public::Rsa { n, e } => {
                part(n);
                part(e);
            }
        }
        part(message);
        part(signature);
        let mut proof = [0; 32];
        proof.copy_from_slice(hash.finish().as_ref());
        proof
    }

    /// Signs. Both algorithms are deterministic: the library takes a source of randomness and ignores it.
    ///
    /// # Errors
    /// [`SignError::NoSigningKey`] for a public key, [`SignError::Rejected`] from the library.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match self.signer.as_ref().ok_or(SignError::NoSigningKey)? {
            Signer::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Signer::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
                    .map_err(|_| SignError::Rejected)?;
                Ok(signature)
            }
        }
    }
}

impl fmt::Debug for Jwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwk")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}

impl Public {
    /// RFC 7638: SHA-256 over the required members in alphabetic order.
    fn thumbprint(&self) -> String {
        let canonical = match self {
            Self::Ed25519 { x } => {
                format!(r#"{{"crv":"{CRV_ED25519}","kty":"{KTY_OKP}","x":"{}"}}"#, base64url(x))
            }
            Self::Rsa { n, e } => {
                format!(r#"{{"e":"{}","kty":"{KTY_RSA}","n":"{}"}}"#, base64url(e), base64url(n))
            }
        };
        base64url(digest(&SHA256, canonical.as_bytes()).as_ref())
    }
}

/// The thumbprint of an Ed25519 public key, the id of a generated one.
pub(super) fn ed25519_thumbprint(x: &[u8]) -> String {
    Public::Ed25519 { x: x.to_vec() }.thumbprint()
}

/// The thumbprint of an RSA public key.
pub(super) fn rsa_thumbprint(n: &[u8], e: &[u8]) -> String {
    Public::Rsa { n: n.to_vec(), e: e.to_vec() }.thumbprint()
}

type Parts = (Public, ParsedPublicKey, Option<Signer>);

fn ed25519(members: &Members) -> Result<Parts, KeyProblem> {
    if members.crv.as_deref() != Some(CRV_ED25519) {
        return Err(KeyProblem::Kind);
    }
    let x = public_number("x", members.x.as_deref())?;
    let verifier = ParsedPublicKey::new(&ED25519, &x).map_err(|_| KeyProblem::Rejected)?;
    let signer = match &members.d {
        None => None,
        Some(seed) => {
            let seed = private_number("d", Some(seed))?;
            let pair = Ed25519KeyPair::from_seed_and_public_key(&seed, &x);
            Some(Signer::Ed25519(pair.map_err(|_| KeyProblem::Rejected)?))
        }
    };
    Ok((Public::Ed25519 { x }, verifier, signer))
}

fn rsa(members: &Members) -> Result<Parts, KeyProblem> {
    let n = without_leading_zeros(public_number("n", members.n.as_deref())?);
    let e = without_leading_zeros(public_number("e", members.e.as_deref())?);
    if !RSA_BYTES.contains(&n.len()) {
        return Err(KeyProblem::Rejected);
    }
    let components = PublicKeyComponents { n: n.as_slice(), e: e.as_slice() };
    let verifier =
        components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).map_err(|_| KeyProblem::Rejected)?;
    let signer = match &members.d {
        None => None,
        Some(d) => Some(Signer::Rsa(Box::new(rsa_pair(components, d, members)?))),
    };
    Ok((Public::Rsa { n, e }, verifier, signer))
}

fn rsa_pair(
    public_key: PublicKeyComponents<&[u8]>,
    d: &SecretString,
    members: &Members,
) -> Result<RsaKeyPair, KeyProblem> {
    let d = private_number("d", Some(d))?;
    let p = private_number("p", members.p.as_ref())?;
    let q = private_number("q", members.q.as_ref())?;
    let dp = private_number("dp", members.dp.as_ref())?;
    let dq = private_number("dq", members.dq.as_ref())?;
    let qi = private_number("qi", members.qi.as_ref())?;
    let components = KeyPairComponents {
        public_key,
        d: d.as_slice(),
        p: p.as_slice(),
        q: q.as_slice(),
        dP: dp.as_slice(),
        dQ: dq.as_slice(),
        qInv: qi.as_slice(),
    };
    RsaKeyPair::from_components(&components).map_err(|_| KeyProblem::Rejected)
}

fn public_number(name: &'static str, text: Option<&str>) -> Result<Vec<u8>, KeyProblem> {
    text.and_then(from_base64url).filter(|bytes| !bytes.is_empty()).ok_or(KeyProblem::Member(name))
}

fn private_number(name: &'static str, text: Option<&SecretString>) -> Result<Zeroizing<Vec<u8>>, KeyProblem> {
    text.and_then(|text| from_base64url(text.expose_secret()))
        .map(Zeroizing::new)
        .ok_or(KeyProblem::Member(name))
}

/// RFC 7518 §2 wants the shortest form; older tools wrote a sign byte.
fn without_leading_zeros(mut bytes: Vec<u8>) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.drain(..zeros);
    bytes
}
