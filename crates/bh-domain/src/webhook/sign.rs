//! Signatures as Standard Webhooks defines them: HMAC-SHA256 over `id.timestamp.body`.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const SECRET_PREFIX: &str = "whsec_";
const SIGNATURE_VERSION: &str = "v1";
/// How long the bytes of a secret may be (Standard Webhooks, "Symmetric").
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Why a text is no signing secret. It never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It begins with something else.
    #[error("must begin with `whsec_`")]
    Prefix,
    /// What follows is no base64.
    #[error("must be base64 after `whsec_`")]
    Base64,
    /// Too short to be safe, or longer than the standard takes.
    #[error("must hold 24 to 64 bytes, e.g. `whsec_` and the output of `openssl rand -base64 32`")]
    Length,
}

/// What one endpoint's deliveries are signed with.
#[derive(Clone)]
pub struct SigningSecret(hmac::Key);

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(..)")
    }
}

impl SigningSecret {
    /// Reads `whsec_` and base64, with or without its padding.
    ///
    /// # Errors
    /// [`SecretError`]
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let encoded = text.strip_prefix(SECRET_PREFIX).ok_or(SecretError::Prefix)?;
        let padded = format!("{0}{1}", encoded.trim_end_matches('='), padding(encoded));
        let bytes = STANDARD.decode(padded).map_err(|_| SecretError::Base64)?;
        if !SECRET_BYTES.contains(&bytes.len()) {
            return Err(SecretError::Length);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    fn sign(&self, id: &str, at_s: i64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{at_s}.").as_bytes());
        context.update(body);
        format!("{SIGNATURE_VERSION},{}", STANDARD.encode(context.sign()))
    }
}

/// The `=` that the text lacks.
fn padding(encoded: &str) -> &'static str {
    match encoded.trim_end_matches('=').len() % 4 {
        2 => "==",
        3 => "=",
        _ => "",
    }
}

/// The value of `webhook-signature`: one signature for each secret, so that a receiver may have any of them. `at_s` is
/// `webhook-timestamp`, in seconds.
#[must_use]
pub fn signature_header(secrets: &[SigningSecret], id: &str, at_s: i64, body: &[u8]) -> String {
    let signatures: Vec<String> = secrets.iter().map(|secret| secret.sign(id, at_s, body)).collect();
    signatures.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_standards_own_example_is_signed_as_it_says() {
        let secret = SigningSecret::parse(SECRET).unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signed = signature_header(
            std::slice::from_ref(&secret),
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            body,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let other = SigningSecret::parse(&format!("whsec_{}", STANDARD.encode([7; 32]))).unwrap();
        let both = signature_header(&[secret, other], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert!(both.starts_with(&format!("{signed} v1,")) && both.len() > signed.len() + 4, "{both}");
    }

    #[test]
    fn a_secret_is_whsec_and_enough_bytes_and_never_shows() {
        let cases = [
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", SecretError::Prefix),
            ("whsec_not base64!", SecretError::Base64),
            ("whsec_c2hvcnQ=", SecretError::Length),
        ];
        for (text, error) in cases {
            assert_eq!(SigningSecret::parse(text).map(drop), Err(error), "{text}");
        }
        let unpadded = STANDARD.encode([1; 32]);
        assert!(SigningSecret::parse(&format!("whsec_{}", unpadded.trim_end_matches('='))).is_ok());
        assert_eq!(format!("{:?}", SigningSecret::parse(SECRET).unwrap()), "SigningSecret(..)");
    }
}
