//! A reader of canonical record text that goes over the bytes once.
//!
//! Verifying a million records means reading a gigabyte of JSON, nearly all of it already canonical. The scanner
//! accepts only text it knows to be canonical and finds the members verification needs; whatever it does not
//! recognise it leaves to the parser. Accepting wrongly would be harmless: the text's own hash would not fit.

use std::ops::Range;

use super::canonical::INTEGER_MAX;

/// Deeper text goes to the parser, which has its own limit.
const DEPTH_MAX: u32 = 16;

/// The members of a record that verification needs, as they stand in the text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Members<'a> {
    pub(super) id: &'a str,
    pub(super) nid: &'a str,
    pub(super) prev_hash: &'a str,
    pub(super) seq: u64,
    pub(super) tenant_id: &'a str,
    /// Where the signature stands, without its quotes.
    pub(super) signature: Range<usize>,
}

/// Finds the members of a record whose text is canonical; `None` when it is not, or is not sure to be.
pub(super) fn scan(text: &str) -> Option<Members<'_>> {
    let mut scanner = Scanner { text, bytes: text.as_bytes(), at: 0 };
    let mut found = Members::default();
    let mut seen = 0;
    scanner.members(|scanner, name| {
        seen += u32::from(matches!(name, "id" | "nid" | "prev_hash" | "seq" | "tenant_id" | "signature"));
        match name {
            "id" => found.id = scanner.plain_string()?,
            "nid" => found.nid = scanner.plain_string()?,
            "prev_hash" => found.prev_hash = scanner.plain_string()?,
            "tenant_id" => found.tenant_id = scanner.plain_string()?,
            "seq" => found.seq = scanner.integer()?,
            "signature" => {
                let start = scanner.at + 1;
                found.signature = start..start + scanner.plain_string()?.len();
            }
            _ => scanner.value(0)?,
        }
        Some(())
    })?;
    (scanner.at == text.len() && seen == 6).then_some(found)
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn literal(&mut self, word: &[u8]) -> Option<()> {
        self.bytes[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    fn value(&mut self, depth: u32) -> Option<()> {
        match self.peek()? {
            _ if depth > DEPTH_MAX => None,
            b'"' => self.string().map(drop),
            b'{' => self.members(|scanner, _| scanner.value(depth + 1)),
            b'[' => self.items(depth),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            b'-' => {
                self.at += 1;
                (self.integer()? != 0).then_some(())
            }
            _ => self.integer().map(drop),
        }
    }

    /// An object, member by member. Names are plain ASCII in strictly ascending order, where the order of bytes is
    /// that of UTF-16 code units.
    fn members(&mut self, mut member: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        if self.expect(b'}').is_some() {
            return Some(());
        }
        let mut last: Option<&str> = None;
        loop {
            let name = self.plain_string()?;
            if !name.is_ascii() || last.is_some_and(|last| last >= name) {
                return None;
            }
            last = Some(name);
            self.expect(b':')?;
            member(self, name)?;
            if self.expect(b',').is_none() {
                return self.expect(b'}');
            }
        }
    }

    fn items(&mut self, depth: u32) -> Option<()> {
        self.expect(b'[')?;
        if self.expect(b']').is_some() {
            return Some(());
        }
        loop {
            self.value(depth + 1)?;
            if self.expect(b',').is_none() {
                return self.expect(b']');
            }
        }
    }

    /// Digits without a leading zero that a double holds exactly; no fraction, no exponent.
    fn integer(&mut self) -> Option<u64> {
        let digits = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = &self.text[self.at..self.at + digits];
        self.at += digits;
        let fraction = matches!(self.peek(), Some(b'.' | b'e' | b'E'));
        let leading_zero = digits > 1 && text.starts_with('0');
        let value = text.parse().ok().filter(|value| *value <= INTEGER_MAX)?;
        (!fraction && !leading_zero).then_some(value)
    }

    /// A string without escapes.
    fn plain_string(&mut self) -> Option<&'a str> {
        let content = self.string()?;
        (!content.contains('\\')).then_some(content)
    }

    /// The content of a string in its shortest form, between the quotes.
    fn string(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            let rest = &self.bytes[self.at..];
            self.at += rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))?;
            match self.peek()? {
                b'"' => break,
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
        self.at += 1;
        self.text.get(start..self.at - 1)
    }

    fn escape(&mut self) -> Option<()> {
        let rest = &self.bytes[self.at + 1..];
        self.at += match rest {
            [b'"' | b'\\' | b'b' | b't' | b'n' | b'f' | b'r', ..] => 2,
            // Control characters without a short form, in lower case.
            [b'u', b'0', b'0', b'0', b'0'..=b'7' | b'b' | b'e' | b'f', ..] => 6,
            [b'u', b'0', b'0', b'1', b'0'..=b'9' | b'a'..=b'f', ..] => 6,
            _ => return None,
        };
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"a":[1,{"b":"\u0001\n"},-2,true,null,[],{}],"id":"x","nid":"n","prev_hash":"00","seq":7,"signature":"sig","tenant_id":"t"}"#;

    #[test]
    fn canonical_text_gives_its_members() {
        let found = scan(RECORD).unwrap();
        let signature = &RECORD[found.signature.clone()];
        assert_eq!(
            (found.id, found.nid, found.prev_hash, found.seq, found.tenant_id),
            ("x", "n", "00", 7, "t")
        );
        assert_eq!(signature, "sig");
    }

    #[test]
    fn text_that_is_not_canonical_is_left_to_the_parser() {
        let variants = [
            ("\"seq\":7", "\"seq\": 7"),
            ("\"seq\":7", "\"seq\":07"),
            ("\"seq\":7", "\"seq\":7.0"),
            ("\"seq\":7", "\"seq\":9007199254740993"),
            ("\"seq\":7", "\"seq\":7,\"seq\":7"),
            ("-2", "-0"),
            ("-2", "1e3"),
            ("\\n", "\\u000a"),
            ("\\u0001", "\\u001F"),
            ("\\u0001", "\\/"),
            ("\"id\"", "\"zz\""),
            ("\"tenant_id\"", "\"tenant_id2\""),
            ("\"x\"", "\"\\\"\""),
            ("\"t\"}", "\"t\"} "),
        ];
        for (from, to) in variants {
            assert_eq!(scan(&RECORD.replacen(from, to, 1)), None, "{to}");
        }
        for length in 0..RECORD.len() {
            assert_eq!(scan(&RECORD[..length]), None, "{length}");
        }
    }
}
