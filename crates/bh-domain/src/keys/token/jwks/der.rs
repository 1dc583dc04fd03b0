//! The numbers of an RSA key in PKCS#8 (RFC 5208, RFC 8017 A.1.2): the library writes keys as DER, a JWK wants them
//! one by one. It reads what the library wrote and refuses the rest; whether the numbers make a key, the library says.

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// `rsaEncryption` with its NULL parameter.
const RSA_ENCRYPTION: [u8; 13] =
    [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// Big-endian numbers without leading zeros, borrowed from the document.
pub(super) struct RsaPrivateKey<'a> {
    pub(super) n: &'a [u8],
    pub(super) e: &'a [u8],
    pub(super) d: &'a [u8],
    pub(super) p: &'a [u8],
    pub(super) q: &'a [u8],
    pub(super) dp: &'a [u8],
    pub(super) dq: &'a [u8],
    pub(super) qi: &'a [u8],
}

impl<'a> RsaPrivateKey<'a> {
    pub(super) fn read(pkcs8: &'a [u8]) -> Option<Self> {
        let mut info = Reader(Reader(pkcs8).value(SEQUENCE)?);
        let version = info.value(INTEGER)?;
        let algorithm = info.value(SEQUENCE)?;
        let mut key = Reader(Reader(info.value(OCTET_STRING)?).value(SEQUENCE)?);
        let two_primes = key.value(INTEGER)?;
        let plain = version == [0] && algorithm == RSA_ENCRYPTION && two_primes == [0];
        let (n, e, d) = (key.number()?, key.number()?, key.number()?);
        let (p, q) = (key.number()?, key.number()?);
        let (dp, dq, qi) = (key.number()?, key.number()?, key.number()?);
        (plain && key.0.is_empty()).then_some(Self { n, e, d, p, q, dp, dq, qi })
    }
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The content of the next value, if it has this tag.
    fn value(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&found, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81 => {
                let (&length, rest) = rest.split_first()?;
                (usize::from(length), rest)
            }
            0x82 => {
                let (length, rest) = rest.split_first_chunk::<2>()?;
                (usize::from(u16::from_be_bytes(*length)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        (found == tag).then_some(content)
    }

    /// The next number without its sign byte; never negative, never zero.
    fn number(&mut self) -> Option<&'a [u8]> {
        let bytes = self.value(INTEGER)?;
        let bytes = bytes.strip_prefix(&[0]).unwrap_or(bytes);
        bytes.first().is_some_and(|byte| *byte != 0).then_some(bytes)
    }
}
