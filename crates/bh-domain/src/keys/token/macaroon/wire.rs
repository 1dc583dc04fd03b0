//! The V2 binary: a version byte, then fields of type, varint length and bytes; a zero byte ends each section.
//!
//! ```text
//! 02  01 location  02 identifier  00   (02 caveat  00)*  00   06 signature
//! ```
//!
//! Exactly one encoding is accepted for each macaroon: shortest lengths, nothing after the end.

use super::{CAVEAT_BYTES_MAX, CAVEATS_MAX, Macaroon, TOKEN_BYTES_MAX};

const VERSION: u8 = 2;
const END: u8 = 0;
const LOCATION: u8 = 1;
const IDENTIFIER: u8 = 2;
const SIGNATURE: u8 = 6;
/// Bytes of the longest length: 14 bits are more than [`TOKEN_BYTES_MAX`] needs.
const LENGTH_BYTES_MAX: usize = 2;

pub(super) fn write(macaroon: &Macaroon) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    field(&mut bytes, LOCATION, &macaroon.location);
    field(&mut bytes, IDENTIFIER, &macaroon.identifier);
    bytes.push(END);
    for caveat in &macaroon.caveats {
        field(&mut bytes, IDENTIFIER, caveat);
        bytes.push(END);
    }
    bytes.push(END);
    field(&mut bytes, SIGNATURE, &macaroon.tag);
    bytes
}

fn field(bytes: &mut Vec<u8>, kind: u8, content: &[u8]) {
    bytes.push(kind);
    let mut left = content.len();
    loop {
        let low = u8::try_from(left & 0x7f).unwrap_or_default();
        left >>= 7;
        bytes.push(if left == 0 { low } else { low | 0x80 });
        if left == 0 {
            break;
        }
    }
    bytes.extend_from_slice(content);
}

/// Reads a macaroon with first-party caveats only; `None` for anything else.
pub(super) fn read(prefix: &str, bytes: &[u8]) -> Option<Macaroon> {
    let mut reader = Reader(bytes);
    reader.expect(VERSION)?;
    let location = reader.field(LOCATION)?.to_vec();
    let identifier = reader.field(IDENTIFIER)?.to_vec();
    reader.expect(END)?;
    let mut caveats = Vec::new();
    while !reader.ends() {
        let caveat = reader.field(IDENTIFIER)?;
        reader.expect(END)?;
        let claims = caveats.is_empty();
        if caveats.len() > CAVEATS_MAX || (caveat.len() > CAVEAT_BYTES_MAX && !claims) {
            return None;
        }
        caveats.push(caveat.to_vec());
    }
    let tag = reader.field(SIGNATURE)?.try_into().ok()?;
    reader.0.is_empty().then_some(())?;
    Some(Macaroon { prefix: prefix.to_owned(), location, identifier, caveats, tag })
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn expect(&mut self, wanted: u8) -> Option<()> {
        let (&found, rest) = self.0.split_first()?;
        self.0 = rest;
        (found == wanted).then_some(())
    }

    /// Whether the list of caveats ends here; takes its end.
    fn ends(&mut self) -> bool {
        self.0.strip_prefix(&[END]).inspect(|rest| self.0 = rest).is_some()
    }

    fn field(&mut self, kind: u8) -> Option<&'a [u8]> {
        self.expect(kind)?;
        let length = self.length()?;
        let (content, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(content)
    }

    fn length(&mut self) -> Option<usize> {
        let mut length = 0;
        for position in 0..LENGTH_BYTES_MAX {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            length |= usize::from(byte & 0x7f) << (7 * position);
            if byte & 0x80 == 0 {
                let shortest = position == 0 || byte != 0;
                return (shortest && length <= TOKEN_BYTES_MAX).then_some(length);
            }
        }
        None
    }
}
