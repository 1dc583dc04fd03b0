//! The short name of a configuration.

use std::io::{self, BufWriter, Write};

use aws_lc_rs::digest::{Context, SHA256};
use bh_config::Loaded;
use bh_domain::evidence::hex;

/// Hex digits of a name.
const DIGITS: usize = 12;

/// A short name for what is in force, the same on every replica with the same settings. Secrets do not change it.
pub(super) fn of(loaded: &Loaded) -> String {
    let mut digest = BufWriter::new(Digest(Context::new(&SHA256)));
    // A digest takes everything, so there is nothing to fail.
    let _written = loaded.write_json(&mut digest).and_then(|()| digest.flush());
    let digest = digest.into_parts().0.0.finish();
    hex::encode(digest.as_ref()).chars().take(DIGITS).collect()
}

/// Digests what is written to it.
struct Digest(Context);

impl Write for Digest {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.0.update(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bh_config::{SourceFile, Sources};

    use super::*;

    fn version(text: &str) -> String {
        let read_file = |_: &std::path::Path| Err(io::Error::from(io::ErrorKind::NotFound));
        let file = Some(SourceFile { name: "bulkhead.yaml", text });
        of(&bh_config::load(Sources { file, env: &BTreeMap::new(), read_file: &read_file }).unwrap())
    }

    #[test]
    fn a_version_follows_the_settings_and_neither_their_spelling_nor_their_secrets() {
        let caller = |key, cap| {
            let policy = format!("policy_overrides: {{ max_daily_cost: {cap} }}");
            version(&format!(
                "gateway: {{ callers: [{{ name: a, api_key: {key}-0123456789abcdef, {policy} }}] }}"
            ))
        };
        let before = caller("one", "5");
        assert_eq!(before.len(), DIGITS);
        assert_eq!(before, caller("two", "5.00"));
        assert_ne!(before, caller("one", "6"));
    }
}
