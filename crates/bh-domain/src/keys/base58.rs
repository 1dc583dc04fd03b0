//! Base58 (Bitcoin's alphabet) of short texts, ten digits at a time: every presented key passes here before it is known
//! to be one, so this has to cost nanoseconds.

const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/// Marks a byte that is no digit.
const NO_DIGIT: u8 = 0xff;
const DIGITS: [u8; 256] = digits();

/// The most bytes that are encoded or decoded.
pub(super) const BYTES_MAX: usize = 64;
/// The longest text that is looked at.
pub(super) const CHARS_MAX: usize = 128;

/// 58^10 is the largest power below 2^64.
const DIGITS_PER_STEP: usize = 10;
/// 128 digits are fewer than 94 bytes.
const LIMBS: usize = 12;

/// 58^5 is the largest power below 2^32.
const DIGITS_PER_CELL: usize = 5;
const CELL: u64 = 58_u64.pow(5);
/// 64 bytes are at most 88 digits.
const CELLS: usize = 18;

const fn digits() -> [u8; 256] {
    let mut table = [NO_DIGIT; 256];
    let mut value: u8 = 0;
    while value < 58 {
        table[ALPHABET[value as usize] as usize] = value;
        value += 1;
    }
    table
}

/// Decoded bytes, on the stack.
pub(super) struct Decoded {
    bytes: [u8; BYTES_MAX],
    length: usize,
}

impl Decoded {
    /// The bytes.
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Whether every byte is a digit.
pub(super) fn is_text(text: &str) -> bool {
    text.bytes().all(|byte| DIGITS[usize::from(byte)] != NO_DIGIT)
}

/// The bytes `text` stands for; `None` when it is no base58, or longer than [`CHARS_MAX`] or [`BYTES_MAX`] allow.
pub(super) fn decode(text: &str) -> Option<Decoded> {
    if text.len() > CHARS_MAX {
        return None;
    }
    let digits = text.as_bytes();
    let zeros = digits.iter().take_while(|&&digit| digit == ALPHABET[0]).count();
    let mut number = [0_u64; LIMBS];
    let mut limbs = 0;
    for step in digits[zeros..].chunks(DIGITS_PER_STEP) {
        let (value, scale) = read(step)?;
        let mut carry = u128::from(value);
        for limb in &mut number[..limbs] {
            carry += u128::from(*limb) * u128::from(scale);
            *limb = low(carry);
            carry >>= 64;
        }
        if carry > 0 {
            *number.get_mut(limbs)? = low(carry);
            limbs += 1;
        }
    }
    collect(zeros, &number[..limbs])
}

/// Up to ten digits as a number, and 58 to the power of their count.
fn read(step: &[u8]) -> Option<(u64, u64)> {
    let (mut value, mut scale) = (0, 1);
    for &byte in step {
        let digit = DIGITS[usize::from(byte)];
        if digit == NO_DIGIT {
            return None;
        }
        value = value * 58 + u64::from(digit);
        scale *= 58;
    }
    Some((value, scale))
}

/// The low 64 bits.
#[expect(clippy::cast_possible_truncation, reason = "the high half is carried on")]
fn low(wide: u128) -> u64 {
    wide as u64
}

/// Zero bytes, then the number in big-endian order without leading zeros.
fn collect(zeros: usize, number: &[u64]) -> Option<Decoded> {
    let mut bytes = [0; BYTES_MAX];
    let leading = number.last().map_or(0, |limb| limb.leading_zeros() as usize / 8);
    let length = zeros + number.len() * 8 - leading;
    let mut rest = bytes.get_mut(zeros..length)?;
    for (place, limb) in number.iter().rev().enumerate() {
        let limb = limb.to_be_bytes();
        let digits = if place == 0 { &limb[leading..] } else { &limb[..] };
        let (now, later) = rest.split_at_mut(digits.len());
        now.copy_from_slice(digits);
        rest = later;
    }
    Some(Decoded { bytes, length })
}

/// Appends the text of `bytes`, of which there may be [`BYTES_MAX`]; what is beyond is left out.
pub(super) fn encode(bytes: &[u8], into: &mut String) {
    let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    let mut cells = [0_u64; CELLS];
    for &byte in &bytes[zeros..] {
        let mut carry = u64::from(byte);
        for cell in &mut cells {
            carry += *cell << 8;
            *cell = carry % CELL;
            carry /= CELL;
        }
    }
    into.extend(std::iter::repeat_n(char::from(ALPHABET[0]), zeros));
    let digits = cells
        .iter()
        .rev()
        .flat_map(|&cell| (0..DIGITS_PER_CELL).rev().map(move |place| cell / 58_u64.pow(place as u32) % 58));
    let digits = digits.skip_while(|&digit| digit == 0);
    into.extend(digits.map(|digit| char::from(ALPHABET[digit as usize])));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(bytes: &[u8]) -> String {
        let mut text = String::new();
        encode(bytes, &mut text);
        text
    }

    fn decoded(text: &str) -> Option<Vec<u8>> {
        decode(text).map(|decoded| decoded.as_slice().to_vec())
    }

    /// The schoolbook way, digit by digit.
    fn reference(text: &str) -> Option<Vec<u8>> {
        let mut bytes: Vec<u8> = Vec::new();
        for digit in text.bytes() {
            let mut carry = ALPHABET.iter().position(|&a| a == digit)?;
            for byte in bytes.iter_mut().rev() {
                carry += usize::from(*byte) * 58;
                *byte = (carry & 0xff) as u8;
                carry >>= 8;
            }
            while carry > 0 {
                bytes.insert(0, (carry & 0xff) as u8);
                carry >>= 8;
            }
        }
        let zeros = text.bytes().take_while(|&b| b == b'1').count();
        Some([vec![0; zeros], bytes].concat())
    }

    #[test]
    fn known_texts_are_written_and_read() {
        // The Internet draft's vectors (draft-msporny-base58), and edges of our own.
        let cases: [(&[u8], &str); 6] = [
            (b"Hello World!", "2NEpo7TZRRrLZSi2U"),
            (
                b"The quick brown fox jumps over the lazy dog.",
                "USm3fpXnKG5EUBx2ndxBDMPVciP5hGey2Jh4NDv6gmeo1LkMeiKrLJUUBk6Z",
            ),
            (&[0, 0, 0x28, 0x7f, 0xb4, 0xcd], "11233QC4"),
            (b"", ""),
            (&[0], "1"),
            (&[57], "z"),
        ];
        for (bytes, text) in cases {
            assert_eq!((encoded(bytes).as_str(), decoded(text).as_deref()), (text, Some(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_base58_or_too_long_is_refused() {
        for bad in ["0", "O", "I", "l", "a b", "ä", "_", "abc\0"] {
            assert_eq!((decoded(bad), is_text(bad)), (None, false), "{bad}");
        }
        assert_eq!(decoded(&encoded(&[0xff; BYTES_MAX])), Some(vec![0xff; BYTES_MAX]));
        assert_eq!(decoded(&"z".repeat(87)).map(|bytes| bytes.len()), Some(BYTES_MAX));
        assert_eq!(decoded(&"z".repeat(88)), None, "65 bytes");
        assert_eq!(decoded(&"z".repeat(CHARS_MAX)), None);
        assert_eq!(decoded(&"1".repeat(BYTES_MAX + 1)), None, "65 zeros");
        assert_eq!(decoded(&"1".repeat(CHARS_MAX + 1)), None);
    }

    proptest! {
        #[test]
        fn bytes_survive_the_round_trip(bytes in prop::collection::vec(any::<u8>(), 0..=BYTES_MAX), zeros in 0..4_usize) {
            let bytes = [vec![0; zeros.min(BYTES_MAX - bytes.len())], bytes].concat();
            prop_assert_eq!(decoded(&encoded(&bytes)), Some(bytes));
        }

        #[test]
        fn decoding_agrees_with_the_schoolbook(text in "[1-9A-HJ-NP-Za-km-z]{0,100}") {
            let expected = reference(&text).filter(|bytes| bytes.len() <= BYTES_MAX);
            prop_assert_eq!(decoded(&text), expected);
        }
    }
}
